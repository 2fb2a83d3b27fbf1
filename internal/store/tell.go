package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"math"
	"strings"
	"time"

	"logscan/internal/channel"
	"logscan/internal/incident"
	"logscan/internal/trigger"
)

// tell keeps a notice of an incident and has each trigger that wants it tell it, now
// or later.
func (f *folding) tell(ctx context.Context, n incident.Notice, of *incident.Incident) error {
	now, in := f.s.now(), f.s.incidents
	silence := int64(0)
	if in != nil && !of.Shadow {
		silence = in.Silenced(of, now)
	}
	id, err := f.notice(ctx, n, of, silence, now)
	if err != nil || in == nil {
		return err
	}
	for _, p := range in.Policies() {
		told, err := f.tells(ctx, p, n, of, silence)
		if err != nil {
			return err
		}
		if told {
			if err := f.decide(ctx, p, id, n, of, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxNotices is how many notices of an incident are kept, the newest.
const maxNotices = 1000

// notice keeps a notice and returns its id.
func (f *folding) notice(ctx context.Context, n incident.Notice, of *incident.Incident, silence int64, now time.Time) (int64, error) {
	res, err := f.tx.ExecContext(ctx, "INSERT INTO notices (incident_id, kind, reason, severity, matches, at, created_at, silenced_by, shadow) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		of.ID, n.Kind, n.Reason, of.Severity, of.Matches, nanos(n.At), nanos(now), silence, of.Shadow)
	if err != nil {
		return 0, err
	}
	if _, err := f.tx.ExecContext(ctx, tooManyNotices, of.ID, maxNotices); err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

const tooManyNotices = "DELETE FROM notices WHERE incident_id = ?1 AND id <= (SELECT id FROM notices WHERE incident_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)"

// decide tells a notice at once, with what was held for its group, or holds it.
func (f *folding) decide(ctx context.Context, p *trigger.Policy, id int64, n incident.Notice, of *incident.Incident, now time.Time) error {
	s, tx, key := f.s, f.tx, p.Group(of)
	var g trigger.Group
	var err error
	if !p.Single {
		if g, err = group(ctx, tx, p.ID, key); err != nil {
			return err
		}
	}
	digest, err := group(ctx, tx, p.ID, trigger.Digest)
	if err != nil {
		return err
	}
	full, err := s.full(ctx, tx, p, now)
	if err != nil {
		return err
	}
	hold := p.Decide(of, n, g, digest, full, now)
	if !hold.Until.IsZero() {
		return s.hold(ctx, tx, p.ID, id, hold, now)
	}
	if !g.Due.IsZero() {
		if err := s.hold(ctx, tx, p.ID, id, trigger.Hold{Group: key, Until: now}, now); err != nil {
			return err
		}
		if err := f.flush(ctx); err != nil { // it is read there
			return err
		}
		_, err := s.releaseGroup(ctx, tx, p, key, now)
		return err
	}
	delivery, err := s.message(ctx, tx, p, key, []trigger.Told{{Incident: of, Notice: n}}, now)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO told VALUES (?, ?, ?)", id, p.ID, delivery)
	return err
}

func (s *Store) hold(ctx context.Context, tx *sql.Tx, triggerID, noticeID int64, h trigger.Hold, now time.Time) error {
	// The trigger may have gone since it was known.
	_, err := tx.ExecContext(ctx, "INSERT INTO held (trigger_id, group_key, notice_id, why, due_at, created_at) SELECT id, ?2, ?3, ?4, ?5, ?6 FROM triggers WHERE id = ?1",
		triggerID, h.Group, noticeID, h.Why, nanos(h.Until), nanos(now))
	s.due(h.Until)
	return err
}

func group(ctx context.Context, tx *sql.Tx, triggerID int64, key string) (g trigger.Group, err error) {
	var told, due int64
	err = tx.QueryRowContext(ctx, "SELECT told_at, severity FROM groups WHERE trigger_id = ? AND group_key = ?", triggerID, key).Scan(&told, &g.Worst)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if err == nil {
		err = tx.QueryRowContext(ctx, firstOfGroup, triggerID, key).Scan(&due)
	}
	g.Told, g.Due = instant(told), instant(due)
	return g, err
}

const firstOfGroup = "SELECT coalesce(min(due_at), 0) FROM held WHERE trigger_id = ? AND group_key = ?"

// full is when a trigger's budget of messages has room again; zero where it has.
func (s *Store) full(ctx context.Context, tx *sql.Tx, p *trigger.Policy, now time.Time) (time.Time, error) {
	b := p.AtMost()
	if b.N <= 0 {
		return time.Time{}, nil
	}
	var at int64
	err := tx.QueryRowContext(ctx, lastMessageBut, p.ID, nanos(now), b.N-1).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if room := instant(at).Add(b.Per); err == nil && room.After(now) {
		return room, nil
	}
	return time.Time{}, err
}

const lastMessageBut = "SELECT created_at FROM deliveries WHERE trigger_id = ? AND message <> '' AND created_at <= ? ORDER BY created_at DESC LIMIT 1 OFFSET ?"

const dueGroups = "SELECT DISTINCT group_key FROM held WHERE trigger_id = ? AND due_at <= ?"

// release tells what was held until now, and reports whether there is more of it.
// What a trigger holds that is switched off waits until it is on again.
func (s *Store) release(ctx context.Context, tx *sql.Tx, now time.Time) (more bool, err error) {
	if s.incidents != nil {
		for _, p := range s.incidents.Policies() {
			rows, err := tx.QueryContext(ctx, dueGroups, p.ID, nanos(now))
			groups, err := collect(rows, err, func(r row) (key string, err error) { return key, r.Scan(&key) })
			if err != nil {
				return false, err
			}
			for _, key := range groups {
				rest, err := s.releaseGroup(ctx, tx, p, key, now)
				if err != nil {
					return false, err
				}
				more = more || rest
			}
		}
	}
	return more, s.findDue(ctx, tx)
}

// maxReleased bounds how many messages one transaction makes of what was held.
const maxReleased = 500

// heldNotice is a notice that is held, with what says how bad its incident is; only
// what is told is read whole.
type heldNotice struct {
	seq int64
	trigger.Told
}

const heldNotices = `SELECT h.seq, h.why, h.created_at, n.kind, n.reason, n.at, i.id, i.state, i.severity, n.matches
	FROM held h JOIN notices n ON n.id = h.notice_id JOIN incidents i ON i.id = n.incident_id
	WHERE h.trigger_id = ? AND h.group_key = ? AND h.due_at <= ? ORDER BY h.seq`

func scanHeld(r row) (h heldNotice, err error) {
	var created, at int64
	h.Incident = &incident.Incident{}
	err = r.Scan(&h.seq, &h.Why, &created, &h.Notice.Kind, &h.Notice.Reason, &at, &h.Incident.ID, &h.Incident.State, &h.Incident.Severity, &h.Incident.Matches)
	h.HeldSince, h.Notice.At = instant(created), instant(at)
	return h, err
}

// releaseGroup tells what a trigger has held for a group, and reports whether there
// is more than one transaction should tell.
func (s *Store) releaseGroup(ctx context.Context, tx *sql.Tx, p *trigger.Policy, key string, now time.Time) (more bool, err error) {
	upTo := int64(math.MaxInt64) // the rest of a group doesn't wait for longer
	if trigger.EachByItself(key) {
		upTo = nanos(now)
	}
	wait := func(until time.Time) error {
		_, err := tx.ExecContext(ctx, "UPDATE held SET group_key = ?, due_at = ? WHERE trigger_id = ? AND group_key = ? AND due_at <= ?", trigger.Digest, nanos(until), p.ID, key, upTo)
		s.due(until)
		return err
	}
	full, err := s.full(ctx, tx, p, now)
	if err != nil {
		return false, err
	}
	if full.After(now) {
		return false, wait(full)
	}
	rows, err := tx.QueryContext(ctx, heldNotices, p.ID, key, upTo)
	held, err := collect(rows, err, scanHeld)
	if err != nil {
		return false, err
	}
	told := make([]trigger.Told, len(held))
	for k, h := range held {
		told[k] = h.Told
	}
	told = p.Still(told)
	if until := p.Wait(told, now); until.After(now) {
		return false, wait(until)
	}
	latest := trigger.Latest(told)
	by := map[int64]string{} // the delivery that tells of an incident
	if !p.Single {
		if len(latest) > 0 {
			if err := whole(ctx, tx, latest[:min(len(latest), trigger.MaxNotices)]); err != nil {
				return false, err
			}
			delivery, err := s.message(ctx, tx, p, trigger.Together(key), latest, now)
			if err != nil {
				return false, err
			}
			for _, t := range latest {
				by[t.Incident.ID] = delivery
			}
		}
		return false, forget(ctx, tx, held, nil, by)
	}
	rest := map[int64]bool{} // incidents that are not told yet
	for k := range latest {
		if k > 0 {
			if full, err = s.full(ctx, tx, p, now); err != nil {
				return false, err
			}
		}
		if more = k >= maxReleased; more || full.After(now) {
			for _, t := range latest[k:] {
				rest[t.Incident.ID] = true
			}
			break
		}
		if err := whole(ctx, tx, latest[k:k+1]); err != nil {
			return false, err
		}
		if by[latest[k].Incident.ID], err = s.message(ctx, tx, p, "", latest[k:k+1], now); err != nil {
			return false, err
		}
	}
	if err := forget(ctx, tx, held, rest, by); err != nil || len(rest) == 0 || more {
		return more, err
	}
	return false, wait(full)
}

// forget no longer holds notices, but of the incidents in but. by are the deliveries
// that tell of incidents; the others need not be told any more.
func forget(ctx context.Context, tx *sql.Tx, held []heldNotice, but map[int64]bool, by map[int64]string) error {
	gone := make([][2]any, 0, len(held))
	for _, h := range held {
		if !but[h.Incident.ID] {
			gone = append(gone, [2]any{h.seq, by[h.Incident.ID]})
		}
	}
	list := asJSON(gone)
	if _, err := tx.ExecContext(ctx, heldIsTold, list); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM held WHERE seq IN (SELECT value ->> 0 FROM json_each(?))", list)
	return err
}

const heldIsTold = "INSERT OR REPLACE INTO told SELECT h.notice_id, h.trigger_id, v.value ->> 1 FROM json_each(?) v CROSS JOIN held h ON h.seq = v.value ->> 0"

// whole reads all of the incidents that notices are about.
func whole(ctx context.Context, tx *sql.Tx, told []trigger.Told) error {
	for k := range told {
		i, err := scanIncident(tx.QueryRowContext(ctx, "SELECT "+incidentColumns+" FROM incidents i WHERE id = ?", told[k].Incident.ID))
		if err != nil {
			return err
		}
		told[k].Incident = &i
	}
	return nil
}

// message puts a message into the outbox, and notes when its group was told. It returns
// the delivery's id.
func (s *Store) message(ctx context.Context, tx *sql.Tx, p *trigger.Policy, key string, told []trigger.Told, now time.Time) (string, error) {
	if s.installation == "" {
		if err := tx.QueryRowContext(ctx, "SELECT id FROM installation").Scan(&s.installation); err != nil {
			return "", err
		}
	}
	if p.Single {
		err := tx.QueryRowContext(ctx, lastSeverity, p.ID, told[0].Incident.ID).Scan(&told[0].Was)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return "", err
		}
	}
	if err := records(ctx, tx, told[:min(len(told), trigger.MaxNotices)]); err != nil {
		return "", err
	}
	m := p.Message(s.installation, told, now)
	if !p.Single {
		_, err := tx.ExecContext(ctx, "INSERT INTO groups SELECT id, ?2, ?3, ?4 FROM triggers WHERE id = ?1 ON CONFLICT DO UPDATE SET told_at = excluded.told_at, severity = excluded.severity",
			p.ID, key, nanos(now), m.Worst().Severity)
		if err != nil {
			return "", err
		}
	}
	shows := int64(0)
	for _, t := range told {
		shows = max(shows, t.Event) // the last one
	}
	return s.send(ctx, tx, p, m, told[0].Incident.ID, shows, trigger.AboutDead(told))
}

// firstRecord and lastRecord are the records of an incident's first and last hit.
const (
	firstRecord = "SELECT id, ifnull(metadata ->> '$.record', ''), message FROM event_log WHERE incident_id = ? ORDER BY id LIMIT 1"
	lastRecord  = "SELECT id, ifnull(metadata ->> '$.record', ''), message FROM event_log WHERE incident_id = ? ORDER BY id DESC LIMIT 1"
)

// maxTold is how many bytes of records a message has, of all its notices.
const maxTold = 64 << 10

// records finds the hits that a message shows, and their records.
func records(ctx context.Context, tx *sql.Tx, told []trigger.Told) error {
	for k := range told {
		t := &told[k]
		query, text := lastRecord, t.Incident.LastText
		switch t.Notice.Kind {
		case incident.NoticeOpened:
			query, text = firstRecord, t.Incident.FirstText
		case incident.NoticeEscalated, incident.NoticeRepeated:
		default:
			continue
		}
		var message string
		err := tx.QueryRowContext(ctx, query, t.Incident.ID).Scan(&t.Event, &t.Record, &message)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if !strings.HasPrefix(message, strings.TrimSuffix(text, "…")) {
			t.Record, t.Event = "", 0 // that is of another line than the one that is told
		}
		if most := maxTold / len(told); len(t.Record) > most {
			t.Record = channel.Cut(t.Record, most) + "…"
		}
	}
	return nil
}

// lastSeverity is what the last message of a trigger about an incident said of it. A
// message of several incidents, as of another service that the trigger was for, says
// nothing.
const lastSeverity = `SELECT iif(json_array_length(message, '$.notices') = 1, message ->> '$.notices[0].severity', '') FROM deliveries
	WHERE trigger_id = ? AND incident_id = ? AND incident_id <> 0 ORDER BY seq DESC LIMIT 1`

func (s *Store) send(ctx context.Context, tx *sql.Tx, p *trigger.Policy, m channel.Message, incidentID, shows int64, aboutDead bool) (string, error) {
	m.ID = "msg_" + rand.Text()
	return m.ID, s.insertDelivery(ctx, tx, outgoing{id: m.ID, triggerID: p.ID, message: asJSON(m), incidentID: incidentID, shows: shows, thread: p.Thread(m), aboutDead: aboutDead})
}

// due notes that something is to be done at a time; zero for nothing.
func (s *Store) due(at time.Time) {
	if n := nanos(at); n != 0 && (s.nextDue.Load() == 0 || n < s.nextDue.Load()) {
		s.nextDue.Store(n)
	}
}

const (
	firstIncident = "SELECT coalesce(min(due_at), 0) FROM incidents WHERE due_at > 0"
	firstHeld     = "SELECT coalesce(min(due_at), 0) FROM held WHERE trigger_id = ?"
)

// findDue looks up when something is to be done next.
func (s *Store) findDue(ctx context.Context, tx *sql.Tx) error {
	var first int64
	if err := tx.QueryRowContext(ctx, firstIncident).Scan(&first); err != nil {
		return err
	}
	s.nextDue.Store(first)
	if s.incidents == nil {
		return nil
	}
	for _, p := range s.incidents.Policies() {
		if err := tx.QueryRowContext(ctx, firstHeld, p.ID).Scan(&first); err != nil {
			return err
		}
		s.due(instant(first))
	}
	return nil
}

// Due returns when Pass may have something to do; zero for not before something
// else happens.
func (s *Store) Due() time.Time { return instant(s.nextDue.Load()) }
