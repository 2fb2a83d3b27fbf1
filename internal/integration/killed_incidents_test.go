package integration

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/channel"
	"logscan/internal/enginetest"
	"logscan/internal/store/storetest"
)

// closedSink is a sink whose port refuses connections until open is called.
func closedSink(t *testing.T, behave func(w http.ResponseWriter, n int) int) (s *sink, open func()) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "port") // taken, and nobody listens
	t.Cleanup(func() { f.Close() })
	s = &sink{behave: behave}
	s.Server = &httptest.Server{URL: fmt.Sprintf("http://127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)}
	return s, func() {
		t.Helper()
		if err := unix.Listen(fd, 128); err != nil {
			t.Fatal(err)
		}
		l, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		s.Server = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(s.serve)}}
		s.Start()
		t.Cleanup(s.Close)
	}
}

// ill answers in every bad way there is, one after the other, and takes what comes
// between.
func ill(w http.ResponseWriter, n int) int {
	if n%2 == 1 {
		return 200
	}
	switch n / 2 % 5 {
	case 0:
		return 500
	case 1:
		w.Header().Set("Retry-After", "1")
		return 429
	case 2:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "<html><h1>Down for maintenance</h1></html>")
		return -1
	case 3:
		return 0
	}
	if conn, _, err := w.(http.Hijacker).Hijack(); err == nil { // in the middle of an answer
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Le")
		conn.Close()
	}
	return -1
}

// TestKillingThePluginTellsOfIncidentsOnce kills the plugin again and again, while
// containers write lines of several shapes, people deal with incidents, and the
// receiver is down and then ill in every way. Each line is counted once, each
// incident opened once, and each message arrives under the one id that it has.
func TestKillingThePluginTellsOfIncidentsOnce(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(append([]string{"LOGSCAN_ALLOW_TARGETS=127.0.0.1"}, unbounded...)...)
	c := control(t, e)
	var how atomic.Pointer[func(http.ResponseWriter, int) int]
	behave := func(w http.ResponseWriter, n int) int { return (*how.Load())(w, n) }
	become := func(f func(http.ResponseWriter, int) int) { how.Store(&f) }
	become(ill)
	each, openEach := closedSink(t, behave)
	grouped := newSink(t, behave)
	for _, tr := range []api.TriggerCreate{
		{Name: "each", ActionURL: each.URL, TriggerFields: api.TriggerFields{"group_by": "incident", "group_interval_seconds": 0, "notices": "opened,escalated,acknowledged,resolved,system"}},
		{Name: "grouped", ActionURL: grouped.URL, TriggerFields: api.TriggerFields{"group_by": "workload", "group_interval_seconds": 2}},
	} {
		if _, err := c.CreateTrigger(ctx, tr); err != nil {
			t.Fatal(err)
		}
	}
	addRule(t, c, "failed", `^(\w+) (?P<n>\d+) failed`)
	makeRule(t, c, "trial", `^disk (?P<n>\d+) failed`, api.RuleFields{"cooldown_seconds": 0, "state": "shadow"})
	makeRule(t, c, "slow", `^slow (?P<n>\d+)`, api.RuleFields{"cooldown_seconds": 1})

	causes := []string{"disk", "upstream", "certificate", "quota"}
	dirs := map[string]string{} // by container
	write := func(workload, lines string) (dir string) {
		t.Helper()
		dir = t.TempDir()
		script := "i=0; while [ ! -e /ctl/stop ]; do " + lines + "; i=$((i+1)); sleep 0.1; done; echo $i >/ctl/n"
		dirs[e.Run([]string{"--log-driver", enginetest.Plugin, "--log-opt", "workload=" + workload, "-v", dir + ":/ctl"}, "sh", "-c", script)] = dir
		return dir
	}
	for _, workload := range []string{"shop/a", "shop/b", "shop/a"} {
		write(workload, "for w in "+strings.Join(causes, " ")+"; do echo $w $i failed; done; echo slow $i >&2")
	}
	fresh := write("new", "echo $(echo $i | tr 0-9 k-t) $i failed") // each of a shape of its own
	incidents := func(q api.IncidentQuery) []api.Incident {
		t.Helper()
		q.State, q.Limit = "all", 1000
		all, err := c.Incidents(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	e.Eventually(time.Minute, "an incident of each shape in each workload", func() bool {
		return len(incidents(api.IncidentQuery{Workload: "shop/a"})) == len(causes)+2 && len(incidents(api.IncidentQuery{Workload: "shop/b"})) == len(causes)+2
	})
	some := incidents(api.IncidentQuery{Rule: "failed", Workload: "shop/b"})
	resolved, acknowledged := some[0], some[1]
	rnd := rand.New(rand.NewPCG(1, 1))
	for n := range 16 {
		if n%5 == 2 {
			e.KillPlugin()
		} else {
			e.KillWorker()
		}
		c = control(t, e)
		more := len(hits(t, c, "failed")) + rnd.IntN(30) // by then it is in the middle of something else
		e.Eventually(time.Minute, "more hits", func() bool { return len(hits(t, c, "failed")) >= more })
		switch n {
		case 4:
			openEach()
		case 7:
			if _, err := c.ChangeIncident(ctx, resolved.ID, "resolve", api.IncidentChange{}); err != nil {
				t.Error(err)
			}
			if _, err := c.ChangeIncident(ctx, acknowledged.ID, "acknowledge", api.IncidentChange{By: "me"}); err != nil {
				t.Error(err)
			}
		}
	}
	// The receivers are well, but some of what they take is the last thing that the
	// worker does.
	supervisor := e.SupervisorPID()
	var deadly atomic.Int64
	become(func(_ http.ResponseWriter, n int) int {
		if pid := e.WorkerOf(supervisor); n%3 == 0 && pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			deadly.Add(1)
		}
		return 200
	})
	e.Eventually(time.Minute, "workers being killed at what they send", func() bool { return deadly.Load() >= 5 })
	become(ill)
	c = control(t, e)
	for name, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, "stop"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		e.Wait(name)
	}
	caughtUp(t, e, c)
	become(answer(200))
	known := incidents(api.IncidentQuery{}) // logscan may have more to say of itself later
	sinks := map[string]*sink{"each": each, "grouped": grouped}
	e.Eventually(2*time.Minute, "all being told", func() bool {
		for name, s := range sinks {
			if len(s.taken()) != count(t, e, "SELECT count(*) FROM deliveries d JOIN triggers t ON t.id = d.trigger_id WHERE t.definition ->> '$.name' = '"+name+"'") {
				return false
			}
		}
		return count(t, e, "SELECT count(*) FROM deliveries WHERE state <> 'delivered'") == 0 && count(t, e, "SELECT count(*) FROM held") == 0
	})

	// Each line is one hit, and each hit is part of one incident.
	failed, slow, suppressed := map[string]int{}, 0, 0
	for _, ev := range hits(t, c, "failed") {
		failed[meta(ev, "container_name")+" "+ev.Message]++
	}
	for _, ev := range hits(t, c, "slow") {
		slow++
		n, _ := ev.Metadata["suppressed"].(float64)
		suppressed += int(n)
	}
	lines, own := 0, 0
	for name, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "n"))
		var n int
		if err == nil {
			_, err = fmt.Sscan(string(text), &n)
		}
		if err != nil {
			t.Fatal(err)
		}
		if dir == fresh {
			if all := incidents(api.IncidentQuery{Workload: "new"}); len(all) != n {
				t.Errorf("%d incidents of %d shapes", len(all), n)
			}
			own = n
			continue
		}
		lines += n
		for i := range n {
			for _, cause := range causes {
				if line := fmt.Sprintf("%s %s %d failed", name, cause, i); failed[line] != 1 {
					t.Errorf("%d hits of %q", failed[line], line)
				}
			}
		}
	}
	if len(failed) != lines*len(causes)+own {
		t.Errorf("hits of %d lines, of %d", len(failed), lines*len(causes)+own)
	}
	var hits, matches int64
	for _, i := range incidents(api.IncidentQuery{Rule: "failed"}) {
		hits += i.Hits
		want := map[int64]string{resolved.ID: "resolved", acknowledged.ID: "acknowledged"}[i.ID]
		if want != "" && i.State != want || i.Again != nil && i.Again.ID != resolved.ID {
			t.Errorf("incident %+v", i)
		}
	}
	var slowHits int64
	e.Eventually(time.Minute, "what was held back counted too", func() bool {
		slowHits, matches = 0, 0
		for _, i := range incidents(api.IncidentQuery{Rule: "slow"}) {
			slowHits += i.Hits
			matches += i.Matches
		}
		return int(matches) >= lines
	})
	hits += slowHits
	// What was held back since the last hit is in no event yet.
	if int(hits) != lines*len(causes)+own+slow || int(matches) != lines || slow+suppressed > lines || suppressed == 0 {
		t.Errorf("%d lines of each sort; incidents have %d hits and %d matches of slow ones, of which there are %d, and %d suppressed", lines, hits, matches, slow, suppressed)
	}
	if a, b := len(incidents(api.IncidentQuery{Workload: "shop/a"})), len(incidents(api.IncidentQuery{Workload: "shop/b"})); a != len(causes)+2 || b != len(causes)+3 {
		t.Errorf("%d and %d incidents of %d shapes, one of them in shadow too, and one of which was resolved and came again", a, b, len(causes)+1)
	}
	// What a rule in shadow found is counted as well as the rest.
	trials := 0
	for _, i := range incidents(api.IncidentQuery{Rule: "trial"}) {
		trials += int(i.Hits)
		if !i.Shadow {
			t.Errorf("not in shadow: %+v", i)
		}
	}
	if n := count(t, e, "SELECT count(*) FROM event_log WHERE rule_name = 'trial' AND metadata ->> '$.shadow'"); trials != lines || n != lines {
		t.Errorf("the rule in shadow has %d hits and %d events with its mark, of %d lines", trials, n, lines)
	}
	// What is kept of all that was written tells which share of it a rule would match.
	saved, err := c.AddRule(ctx, api.RuleCreate{Name: "late", Pattern: "^slow"}, true, time.Time{})
	if err != nil || saved.Hint == nil || *saved.Hint != (api.Hint{Since: saved.Hint.Since, Lines: int64(lines*(len(causes)+1) + own), Matched: int64(lines)}) {
		t.Errorf("the hint is %+v, %v, of %d lines", saved.Hint, err, lines*(len(causes)+1)+own)
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(e.PluginData(), ".logscan/logscan.db")+"?mode=ro&_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	storetest.Check(t, db)

	// Each message has arrived, once, and tells of what it should.
	for name, s := range sinks {
		if bad := s.stable(); bad != "" {
			t.Errorf("%s: %s", name, bad)
		}
		took, told := map[string]bool{}, map[string]int{}
		refused, twice, beyond := 0, 0, 0
		for _, r := range s.all() {
			if !r.took {
				refused++
				continue
			}
			var body struct {
				Data struct {
					Notices []channel.Notice
					Held    channel.Held
				}
			}
			if err := json.Unmarshal([]byte(r.body), &body); err != nil {
				t.Fatal(err)
			}
			if took[r.id] {
				twice++
				continue // its answer was lost with the plugin
			}
			took[r.id] = true
			beyond += body.Data.Held.Notices
			for _, n := range body.Data.Notices {
				if n.Rule == "trial" {
					t.Errorf("%s was told %+v of the rule in shadow", name, n)
				}
				told[fmt.Sprint(n.Kind, " ", n.Incident)]++
			}
		}
		if refused == 0 {
			t.Errorf("%s refused nothing", name)
		}
		missing := 0
		for _, i := range known {
			if i.Shadow {
				continue
			}
			opened := "opened"
			if i.RuleID == 0 {
				opened = "system"
			}
			switch n := told[fmt.Sprint(opened, " ", i.ID)]; {
			case n == 0:
				missing++
			case n > 1:
				t.Errorf("%s was told %d times that incident %d began, of %q", name, n, i.ID, i.FirstText)
			}
		}
		if missing > beyond || name == "each" && beyond != 0 { // messages about very many name the first of them
			t.Errorf("%s wasn't told that %d incidents began, and that there are %d more", name, missing, beyond)
		}
		if n := told[fmt.Sprint("resolved ", resolved.ID)]; name == "each" && n != 1 {
			t.Errorf("%s was told %d times that an incident is resolved", name, n)
		}
		if n := told[fmt.Sprint("acknowledged ", acknowledged.ID)]; n != map[string]int{"each": 1}[name] {
			t.Errorf("%s was told %d times that an incident was acknowledged", name, n)
		}
		if twice == 0 && name == "each" {
			t.Errorf("%s never got a message again whose answer was lost", name)
		}
		t.Logf("%s: %d messages, %d refusals, %d twice", name, len(took), refused, twice)
	}
	t.Logf("%d lines of each sort, %d of a shape of their own", lines, own)
}
