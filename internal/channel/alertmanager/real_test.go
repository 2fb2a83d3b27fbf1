package alertmanager_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"logscan/internal/channel"
	"logscan/internal/channel/alertmanager"
	ct "logscan/internal/channel/channeltest"
	"logscan/internal/egress"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// config tells a webhook of alerts at once, and of their ends.
const config = `
route: {receiver: test, group_by: ["..."], group_wait: 1ms, group_interval: 1ms, repeat_interval: 100h}
receivers:
  - name: test
    webhook_configs: [{url: %q, send_resolved: true}]
`

var listening = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

// start runs Debian's Alertmanager, which tells a URL, and returns its host and
// port.
func start(t *testing.T, tell string) string {
	t.Helper()
	host, _ := startAt(t, tell, "127.0.0.1:0")
	return host
}

// startAt is start at a host and port; what it returns besides ends it.
func startAt(t *testing.T, tell, at string) (string, func()) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, tell), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		t.Fatalf("%v (Debian: apt-get install prometheus-alertmanager)", err)
	}
	// Its templates are looked for in /usr/share, wherever it was unpacked.
	share := filepath.Join(filepath.Dir(program), "../share")
	cmd := exec.Command("unshare", "--mount", "sh", "-c", `mount --bind "$1" /usr/share && shift && exec "$@"`, "sh", share,
		program, "--config.file="+file, "--storage.path="+dir, "--web.listen-address="+at, "--cluster.listen-address=")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(end)
	address := make(chan string, 1)
	var last string
	go func() {
		defer close(address)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			last = lines.Text()
			if m := listening.FindStringSubmatch(last); m != nil {
				address <- m[1]
			}
		}
	}()
	host, ok := <-address
	if !ok {
		t.Fatalf("Alertmanager ended before it listened: %s", last)
	}
	return host, end
}

// stored is an alert as Alertmanager shows it.
type stored struct {
	alertmanager.Alert
	Fingerprint string
	UpdatedAt   time.Time
	Status      struct{ State string }
}

func list(t *testing.T, host string) (alerts []stored) {
	t.Helper()
	res, err := http.Get("http://" + host + "/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&alerts); err != nil {
		t.Fatal(err)
	}
	return alerts
}

// told is what Alertmanager tells a webhook.
type told struct {
	Status string
	Alerts []struct {
		Status string
		Labels map[string]string
		EndsAt time.Time
	}
}

// tells are what a webhook was told.
type tells chan told

func receive(t *testing.T) (_ tells, url string) {
	all := make(tells, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var n told
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			t.Error(err)
		}
		all <- n
	}))
	t.Cleanup(receiver.Close)
	return all, receiver.URL
}

func (all tells) next(t *testing.T) told {
	t.Helper()
	select {
	case n := <-all:
		return n
	case <-time.After(time.Minute):
		t.Fatal("Alertmanager tells nothing")
		return told{}
	}
}

// An incident is one alert in a real Alertmanager, which tells of it when it opens,
// keeps it longer when it is repeated, and tells of its end.
func TestReal(t *testing.T) {
	tells, url := receive(t)
	host := start(t, url)
	c := ct.Open(t, alertmanager.Kind, "alertmanager+http://"+host, "")
	now := time.Now().UTC().Truncate(time.Millisecond)
	send := func(kind string, at time.Time) {
		t.Helper()
		m := ct.Message()
		n := &m.Notices[0]
		m.At, n.Kind, n.First, n.Last = at, kind, now.Add(-time.Minute), now.Add(-time.Second)
		if v := c.Send(t.Context(), m); v.Reason != "" {
			t.Fatalf("%s: %+v", kind, v)
		}
	}
	want := map[string]string{"alertname": "oom", "severity": "critical", "workload": "shop", "host": "node-1", "incident": "inc_7"}

	send(channel.Opened, now)
	opened := list(t, host)
	if len(opened) != 1 {
		t.Fatalf("%d alerts: %+v", len(opened), opened)
	}
	a := opened[0]
	if !reflect.DeepEqual(a.Labels, want) || !a.StartsAt.Equal(now.Add(-time.Minute)) || !a.EndsAt.Equal(now.Add(alertmanager.Lasts)) || a.Generator != "https://logs.example.com/" ||
		!strings.HasPrefix(a.Annotations["description"], "["+ct.Mark+"]") || a.Annotations["container"] != "shop-db-1" {
		t.Errorf("%+v", a)
	}
	if n := tells.next(t); n.Status != "firing" || len(n.Alerts) != 1 || !reflect.DeepEqual(n.Alerts[0].Labels, want) {
		t.Errorf("%+v", n)
	}

	// The same again, as after an answer that was lost, and later ones.
	send(channel.Opened, now)
	send(channel.Repeated, now.Add(time.Hour))
	send(channel.Repeated, now.Add(24*time.Hour))
	repeated := list(t, host)
	if len(repeated) != 1 || repeated[0].Fingerprint != a.Fingerprint || !repeated[0].EndsAt.Equal(now.Add(24*time.Hour+alertmanager.Lasts)) || !repeated[0].StartsAt.Equal(a.StartsAt) {
		t.Errorf("%+v", repeated)
	}

	// Who acknowledges it ends nothing there.
	send(channel.Acknowledged, now.Add(26*time.Hour))
	if known := list(t, host); len(known) != 1 || known[0].Fingerprint != a.Fingerprint || !known[0].EndsAt.Equal(now.Add(26*time.Hour+alertmanager.Lasts)) || known[0].Status.State != "active" {
		t.Errorf("%+v", known)
	}

	send(channel.Resolved, now)
	if n := tells.next(t); n.Status != "resolved" || len(n.Alerts) != 1 || !reflect.DeepEqual(n.Alerts[0].Labels, want) || !n.Alerts[0].EndsAt.Equal(now.Add(-time.Second)) {
		t.Errorf("%+v", n)
	}
	if left := list(t, host); len(left) != 0 {
		t.Errorf("after its end: %+v", left)
	}
}

// Where an incident's severity rises, one alert fires in a real Alertmanager, with the
// new one, and Alertmanager tells of the end of the other.
func TestRealEscalation(t *testing.T) {
	tells, url := receive(t)
	host := start(t, url)
	c := ct.Open(t, alertmanager.Kind, "alertmanager+http://"+host, "")
	now := time.Now().UTC().Truncate(time.Millisecond)
	was := ""
	for _, severity := range []string{"warn", "error", "critical"} {
		m := ct.Severity(severity)
		n := &m.Notices[0]
		m.At, n.First, n.Last = now, now.Add(-time.Minute), now
		if n.Was = was; was != "" {
			n.Kind = channel.Escalated
		}
		if v := c.Send(t.Context(), m); v.Reason != "" {
			t.Fatalf("%+v", v)
		}
		if firing := list(t, host); len(firing) != 1 || firing[0].Labels["severity"] != severity {
			t.Errorf("%s: %+v", severity, firing)
		}
		want := map[string]string{severity: "firing"}
		if was != "" {
			want[was] = "resolved"
		}
		for len(want) > 0 { // they are in groups of their own
			n := tells.next(t)
			if severity := n.Alerts[0].Labels["severity"]; want[severity] != n.Status {
				t.Fatalf("%s is %s, of %v", severity, n.Status, want)
			} else {
				delete(want, severity)
			}
		}
		was = severity
	}
}

// folds are incidents with every default.
type folds struct{ *trigger.Router }

func (folds) Settings(int64) incident.Settings             { return incident.Defaults }
func (folds) Silenced(*incident.Incident, time.Time) int64 { return 0 }

// outbox counts how often all that is open has been gone through.
type outbox struct {
	*store.Store
	rounds atomic.Int64
}

func (o *outbox) LastTold(ctx context.Context, trigger, after int64) (trigger.Job, error) {
	job, err := o.Store.LastTold(ctx, trigger, after)
	if err == nil && job.Delivery.ID == "" {
		o.rounds.Add(1)
	}
	return job, err
}

// until waits until something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A real Alertmanager that was restarted has forgotten its alerts, and gets those of
// open incidents again, as they are by then; once an incident is over, its alert stays
// away.
func TestRealRestart(t *testing.T) {
	host, end := startAt(t, "http://127.0.0.1:1/", "127.0.0.1:0")
	var ahead atomic.Int64 // of the real clock, which it never comes up to: Alertmanager's is that one
	ahead.Store(-int64(alertmanager.Lasts - 2*alertmanager.Again))
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	db, err := store.Open(filepath.Join(t.TempDir(), "logscan.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	router := trigger.NewRouter()
	db.UseClock(now)
	db.UseIncidents(folds{router})
	prom := trigger.Fields.New()
	prom.Name, prom.ActionURL = "prom", "alertmanager+http://"+host
	prom, err = db.CreateTrigger(t.Context(), prom)
	if err != nil {
		t.Fatal(err)
	}
	router.Set([]trigger.Trigger{prom})
	out := &outbox{Store: db}
	worker := trigger.NewWorker(trigger.WorkerConfig{
		Store: out, Route: router.Match, Targets: egress.Targets{Allow: []string{"127.0.0.1"}}, Now: now,
		// Whoever waits looks at the clock again and again, which may jump.
		After: func(d time.Duration) <-chan time.Time { return time.After(min(d, 10*time.Millisecond)) },
	})
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { worker.Run(ctx) })
	defer running.Wait()
	defer stop()
	hit := func(severity event.Severity) {
		t.Helper()
		e := event.Event{Source: event.Logscan, Severity: severity, Message: "a broke", Time: now(), Metadata: map[string]any{"rule_id": 1, "rule_name": "r", "workload_id": "shop"}}
		if _, err := db.Commit(t.Context(), store.Batch{Events: []event.Event{e}}, router.Match); err != nil {
			t.Fatal(err)
		}
	}
	fires := func(severity string) func() bool {
		return func() bool {
			all := list(t, host)
			return len(all) == 1 && all[0].Labels["severity"] == severity && all[0].Labels["workload"] == "shop"
		}
	}
	restart := func() {
		t.Helper()
		end()
		host, end = startAt(t, "http://127.0.0.1:1/", host)
		if all := list(t, host); len(all) != 0 {
			t.Errorf("a new Alertmanager knows %+v", all)
		}
	}
	rounds := func(n int64) { // that begin from now on
		t.Helper()
		for upTo := out.rounds.Load() + n + 1; out.rounds.Load() < upTo; {
			before := out.rounds.Load()
			ahead.Add(int64(alertmanager.Again))
			until(t, "a round is over", func() bool { return out.rounds.Load() > before })
		}
	}

	hit("error")
	until(t, "it fires", fires("error"))
	restart()
	ahead.Add(int64(alertmanager.Again))
	until(t, "it fires again", fires("error"))
	hit("critical")
	until(t, "it fires with the new severity alone", fires("critical"))
	rounds(2)
	if !fires("critical")() {
		t.Errorf("told again: %+v", list(t, host))
	}
	restart()
	ahead.Add(int64(alertmanager.Again))
	until(t, "it fires again", fires("critical"))
	if _, err := db.ChangeIncident(t.Context(), 1, func(i *incident.Incident) (incident.Notice, error) { return i.Resolve(now(), "me", "") }); err != nil {
		t.Fatal(err)
	}
	until(t, "it is over", func() bool { return len(list(t, host)) == 0 })
	rounds(2)
	if all := list(t, host); len(all) != 0 {
		t.Errorf("after the end: %+v", all)
	}
}

// Whatever a line, or a name, is made of, a real Alertmanager takes it.
func TestRealHostile(t *testing.T) {
	host := start(t, "http://127.0.0.1:1/")
	c := ct.Open(t, alertmanager.Kind, "alertmanager+http://"+host, "")
	for name, line := range ct.Hostile {
		m := ct.Line(line)
		n := &m.Notices[0]
		m.At, m.URL = time.Now(), "https://logs.example.com/"
		n.First, n.Last, n.Kind, n.Key = m.At, m.At, channel.Opened, name
		n.Rule, n.Workload, n.Container, n.Host, n.Severity, n.Reason = line, line, line, line, line, line
		if v := c.Send(t.Context(), m); v.Reason != "" {
			t.Errorf("%s: %+v", name, v)
		}
	}
	alerts := list(t, host)
	if len(alerts) != len(ct.Hostile) {
		t.Errorf("%d alerts of %d", len(alerts), len(ct.Hostile))
	}
	for _, a := range alerts {
		if !utf8.ValidString(a.Annotations["description"]) || !strings.HasPrefix(a.Annotations["description"], "["+ct.Mark+"]") {
			t.Errorf("%q", a.Annotations["description"])
		}
	}
}
