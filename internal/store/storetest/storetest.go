// Package storetest checks what package store promises of incidents, on a database
// of any origin: each event is part of one incident, each incident counts what is
// part of it, each notice is told once, and nobody is left out.
package storetest

import (
	"database/sql"
	"encoding/json"
	"slices"
	"testing"

	"logscan/internal/channel"
	"logscan/internal/channel/all"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/trigger"
)

// Check fails the test for whatever is wrong with the incidents in a database and
// with what is told of them. No event may have been removed. Of its triggers, those
// that want every incident must have been there, and enabled, from the beginning.
func Check(t testing.TB, db *sql.DB) {
	t.Helper()
	tx, err := db.Begin() // all of it as of one moment
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	CheckTx(t, tx)
}

// CheckTx is Check as a transaction sees it.
func CheckTx(t testing.TB, tx *sql.Tx) {
	t.Helper()
	c := &checker{TB: t, tx: tx}
	c.rows()
	c.incidents()
	c.messages()
}

type checker struct {
	testing.TB
	tx *sql.Tx
	// All by id.
	known map[int64]*incident.Incident
	// notices are by incident, in order.
	notices map[int64][]notice
}

type notice struct {
	id       int64
	kind     incident.Kind
	severity event.Severity
	matches  int64
	silenced bool
	shadow   bool
}

// none fails for each row that a query finds; its one column tells which it is.
func (c *checker) none(what, query string) {
	c.Helper()
	each(c, query, func(r *sql.Rows) error {
		var which string
		err := r.Scan(&which)
		c.Errorf("%s: %s", what, which)
		return err
	})
}

func each(c *checker, query string, row func(*sql.Rows) error) {
	c.Helper()
	rows, err := c.tx.Query(query)
	if err != nil {
		c.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			c.Fatalf("%s: %v", query, err)
		}
	}
	if err := rows.Err(); err != nil {
		c.Fatalf("%s: %v", query, err)
	}
}

// rows checks what SQL alone can tell.
func (c *checker) rows() {
	c.Helper()
	for what, query := range map[string]string{
		"event in no incident":                        "SELECT e.id FROM event_log e LEFT JOIN incidents i ON i.id = e.incident_id WHERE i.id IS NULL",
		"event in another rule's incident":            "SELECT e.id FROM event_log e JOIN incidents i ON i.id = e.incident_id WHERE e.source <> 'system' AND i.rule_id <> ifnull(e.rule_id, 0)",
		"event in another workload's incident":        "SELECT e.id FROM event_log e JOIN incidents i ON i.id = e.incident_id WHERE i.workload <> ifnull(e.workload_id, '')",
		"two open incidents of the same":              "SELECT max(id) FROM incidents WHERE state <> 'resolved' GROUP BY rule_id, workload, by_values, shape HAVING count(*) > 1",
		"not begun by one notice":                     "SELECT i.id FROM incidents i WHERE (SELECT count(*) FROM notices WHERE incident_id = i.id AND kind IN ('opened', 'system')) <> 1",
		"resolved, and not told once":                 "SELECT i.id FROM incidents i WHERE (SELECT count(*) FROM notices WHERE incident_id = i.id AND kind = 'resolved') <> (i.state = 'resolved')",
		"same notice twice":                           "SELECT max(id) FROM notices GROUP BY incident_id, kind, at, matches HAVING count(*) > 1",
		"notice held that is not there":               "SELECT seq FROM held WHERE notice_id NOT IN (SELECT id FROM notices)",
		"notice held twice":                           "SELECT max(seq) FROM held GROUP BY trigger_id, notice_id HAVING count(*) > 1",
		"silenced notice held":                        "SELECT n.id FROM notices n JOIN held h ON h.notice_id = n.id WHERE n.silenced_by <> 0 AND n.kind NOT IN ('acknowledged', 'resolved')",
		"notice of a rule in shadow held":             "SELECT n.id FROM notices n JOIN held h ON h.notice_id = n.id WHERE n.shadow <> 0 AND n.kind NOT IN ('acknowledged', 'resolved')",
		"event of a rule in shadow delivered":         "SELECT e.id FROM event_log e JOIN deliveries d ON d.event_id = e.id WHERE e.source <> 'system' AND e.metadata ->> '$.shadow'",
		"event delivered twice":                       "SELECT max(seq) FROM deliveries WHERE event_id IS NOT NULL GROUP BY trigger_id, event_id HAVING count(*) > 1",
		"delivery of nothing, or of both":             "SELECT seq FROM deliveries WHERE (event_id IS NULL) = (message = '')",
		"deliveries counted wrongly":                  "SELECT trigger_id || ' ' || state FROM delivery_counts c WHERE n <> (SELECT count(*) FROM deliveries d WHERE d.trigger_id = c.trigger_id AND d.state = c.state)",
		"message about an incident that is not there": "SELECT seq FROM deliveries WHERE incident_id <> 0 AND incident_id NOT IN (SELECT id FROM incidents)",
		"message that waits for no other":             "SELECT seq FROM deliveries d WHERE thread <> 0 AND state = 'pending' AND attempts = 0 AND next_at > since AND NOT EXISTS (SELECT 1 FROM deliveries b WHERE b.trigger_id = d.trigger_id AND b.thread = d.thread AND b.state = 'pending' AND b.seq < d.seq)",
		"something due of an incident that is over":   "SELECT id FROM incidents WHERE state = 'resolved' AND due_at <> 0",
		"incident that ends before it began":          "SELECT id FROM incidents WHERE last_at < first_at OR ended_at <> 0 AND state <> 'resolved'",
		"predecessor that is none":                    "SELECT i.id FROM incidents i LEFT JOIN incidents b ON b.id = i.data ->> '$.before.id' WHERE i.data ->> '$.before' IS NOT NULL AND (b.id IS NULL OR b.id >= i.id OR b.state <> 'resolved' OR (b.rule_id, b.workload, b.by_values, b.shape) <> (i.rule_id, i.workload, i.by_values, i.shape))",
	} {
		c.none(what, query)
	}
}

// incidents checks that incidents agree with their events and notices.
func (c *checker) incidents() {
	c.Helper()
	c.known, c.notices = map[int64]*incident.Incident{}, map[int64][]notice{}
	each(c, "SELECT id, incident_id, kind, severity, matches, silenced_by <> 0, shadow FROM notices ORDER BY id", func(r *sql.Rows) error {
		var n notice
		var of int64
		err := r.Scan(&n.id, &of, &n.kind, &n.severity, &n.matches, &n.silenced, &n.shadow)
		c.notices[of] = append(c.notices[of], n)
		return err
	})
	type counts struct {
		hits       int64
		worst      event.Severity
		containers map[string]int64
	}
	of := map[int64]*counts{}
	each(c, "SELECT incident_id, severity, ifnull(metadata ->> '$.container_name', '') FROM event_log WHERE incident_id IS NOT NULL", func(r *sql.Rows) error {
		var id int64
		var severity event.Severity
		var container string
		err := r.Scan(&id, &severity, &container)
		n := of[id]
		if n == nil {
			n = &counts{worst: severity, containers: map[string]int64{}}
			of[id] = n
		}
		n.hits++
		n.containers[container]++
		if severity.Compare(n.worst) > 0 {
			n.worst = severity
		}
		return err
	})
	each(c, "SELECT id, state, rule_id, shape, severity, data FROM incidents", func(r *sql.Rows) error {
		i := &incident.Incident{}
		var data []byte
		var severity event.Severity
		if err := r.Scan(&i.ID, &i.State, &i.Key.RuleID, &i.Key.Shape, &severity, &data); err != nil {
			return err
		}
		if err := json.Unmarshal(data, i); err != nil {
			return err
		}
		c.known[i.ID] = i
		n := of[i.ID]
		if n == nil { // of what was held back alone
			n = &counts{worst: i.Severity}
		}
		held := i.Matches - n.hits // they may be worse than the hits
		if i.Hits != n.hits || held < 0 || i.Matches == 0 || severity != i.Severity || severity.Compare(n.worst) < 0 || held == 0 && severity != n.worst {
			c.Errorf("incident %d has %d hits, %d matches and is %s; its %d events are %s", i.ID, i.Hits, i.Matches, i.Severity, n.hits, n.worst)
		}
		var inContainers int64
		for name, hits := range i.Containers {
			inContainers += hits
			if len(name) < 250 && hits > n.containers[name] {
				c.Errorf("incident %d has %d hits in container %s, its events %d", i.ID, hits, name, n.containers[name])
			}
		}
		if inContainers+i.Beyond != i.Hits {
			c.Errorf("incident %d has %d hits, %d by containers", i.ID, i.Hits, inContainers+i.Beyond)
		}
		var matches int64
		for k, n := range c.notices[i.ID] {
			began := n.kind == incident.NoticeOpened || n.kind == incident.NoticeSystem
			if began != (k == 0) || n.matches < matches || n.matches > i.Matches || n.severity.Compare(i.Severity) > 0 ||
				n.kind == incident.NoticeResolved && k != len(c.notices[i.ID])-1 {
				c.Errorf("notice %d of incident %d: %+v", k, i.ID, n)
			}
			matches = n.matches
		}
		return nil
	})
}

// messages checks what triggers tell: nothing twice, and of those that want every
// incident, that each is told, held or silenced.
func (c *checker) messages() {
	c.Helper()
	triggers := map[int64]trigger.Trigger{}
	each(c, "SELECT id, definition FROM triggers", func(r *sql.Rows) error {
		var id int64
		var definition []byte
		if err := r.Scan(&id, &definition); err != nil {
			return err
		}
		t := trigger.Fields.New()
		err := trigger.Fields.UnmarshalDefinition(definition, &t)
		t.ID = id
		triggers[id] = t
		return err
	})
	type of struct {
		trigger, incident int64
		kind              incident.Kind
	}
	told, held, beyond := map[of]int{}, map[of]int{}, map[int64]int{}
	each(c, "SELECT h.trigger_id, n.incident_id, n.kind FROM held h JOIN notices n ON n.id = h.notice_id", func(r *sql.Rows) error {
		var o of
		err := r.Scan(&o.trigger, &o.incident, &o.kind)
		held[o]++
		return err
	})
	each(c, "SELECT id, trigger_id, message, incident_id FROM deliveries WHERE message <> ''", func(r *sql.Rows) error {
		var id, message string
		var triggerID, incidentID int64
		if err := r.Scan(&id, &triggerID, &message, &incidentID); err != nil {
			return err
		}
		var m channel.Message
		if err := json.Unmarshal([]byte(message), &m); err != nil {
			return err
		}
		if m.ID != id || len(m.Notices) == 0 || m.Trigger != triggers[triggerID].Name {
			c.Errorf("message %+v of delivery %s", m, id)
		}
		seen := map[int64]bool{}
		for _, n := range m.Notices {
			if n.Kind == channel.Digest {
				continue
			}
			if i := c.known[n.Incident]; i == nil || seen[n.Incident] || n.Count > i.Matches || n.Count < 1 {
				c.Errorf("notice %+v of delivery %s", n, id)
			}
			seen[n.Incident] = true
			told[of{triggerID, n.Incident, incident.Kind(n.Kind)}]++
		}
		beyond[triggerID] += m.Held.Notices
		return nil
	})
	if c.Failed() {
		return
	}
	for o, n := range told {
		there := 0
		kind, _, err := all.Find(triggers[o.trigger].ActionURL)
		calms := func(k incident.Kind) bool { // it is told though it is silenced
			return err == nil && (kind.Single && k == incident.NoticeResolved || kind.Acknowledges && k == incident.NoticeAcknowledged)
		}
		for _, n := range c.notices[o.incident] {
			if n.kind == o.kind && (!n.silenced && !n.shadow || calms(n.kind)) {
				there++
			}
		}
		if n+held[o] > there {
			c.Errorf("trigger %d tells of incident %d %d times that it is %s, and holds %d; there are %d notices", o.trigger, o.incident, n, o.kind, held[o], there)
		}
	}
	for id, t := range triggers {
		if !wantsEvery(t) {
			continue
		}
		var without []int64
		for about, i := range c.known {
			if first := c.notices[about][0]; first.silenced || first.shadow || i.About == id {
				continue
			}
			known := func(k incident.Kind) bool { return told[of{id, about, k}]+held[of{id, about, k}] > 0 }
			if !slices.ContainsFunc(incident.Kinds(), known) {
				without = append(without, about)
			}
		}
		if len(without) > beyond[id] {
			slices.Sort(without)
			c.Errorf("trigger %s neither told nor holds %d incidents, and has told of %d more in all: %d", t.Name, len(without), beyond[id], without)
		}
	}
}

// wantsEvery reports whether a trigger is to tell of each incident.
func wantsEvery(t trigger.Trigger) bool {
	return t.Enabled && t.Mode == trigger.ModeIncidents && len(t.Severities) == 0 && t.MinSeverity == "" && len(t.Sources) == 0 && len(t.Rules) == 0 &&
		len(t.Workloads) == 0 && t.MessageRegex == "" && len(t.Notices) == 0 && t.UnacknowledgedForSeconds == 0
}
