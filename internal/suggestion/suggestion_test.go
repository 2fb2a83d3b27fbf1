package suggestion

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
	"logscan/internal/journal"
	"logscan/internal/packs"
	"logscan/internal/query"
	"logscan/internal/rule"
)

// logs are those of containers.
type logs struct {
	t     *testing.T
	dir   *journal.Dir
	n     int      // containers
	tried []string // rules of backtests
}

func newLogs(t *testing.T) *logs {
	dir, err := journal.OpenDir(journal.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return &logs{t: t, dir: dir}
}

// write has a container of a workload write lines, a second apart, from so long ago on,
// and end.
func (l *logs) write(workload, image string, ago time.Duration, lines ...string) {
	l.t.Helper()
	l.n++
	j, err := l.dir.Create(journal.Container{ID: fmt.Sprintf("%064x", l.n), Name: workload + "-1", Image: image, Workload: workload, Scan: true, Options: journal.DefaultOptions})
	if err != nil {
		l.t.Fatal(err)
	}
	defer j.Release()
	w := j.Attach(false)
	defer w.Detach()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		l.t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	at := time.Now().Add(-ago)
	for k, line := range lines {
		b := entry.Append(nil, &entry.Entry{Source: "stderr", TimeNano: at.Add(time.Duration(k) * time.Second).UnixNano(), Line: []byte(line)})
		if _, err := unix.Write(p[1], b); err != nil {
			l.t.Fatal(err)
		}
		if _, err := w.Ingest(p[0], 1<<20); err != nil && !errors.Is(err, unix.EAGAIN) {
			l.t.Fatal(err)
		}
	}
}

func (l *logs) find(ctx context.Context, q Query) List {
	l.t.Helper()
	out, err := Find(ctx, l.dir, l.backtest, q)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

func (l *logs) backtest(ctx context.Context, q query.BacktestQuery) (query.Backtest, error) {
	l.tried = append(l.tried, q.Rule.Name+" in "+q.Workload)
	return query.RunBacktest(ctx, query.BacktestConfig{Journals: l.dir, Dir: l.t.TempDir(), Bucket: rule.DefaultBucket}, q)
}

const (
	day     = 24 * time.Hour
	refused = `2026/11/30 21:00:00 [error] 29#29: *1 connect() failed (111: Connection refused) while connecting to upstream, client: 172.17.0.1, server: localhost, request: "GET /app HTTP/1.1", upstream: "http://127.0.0.1:81/app", host: "localhost"`
	closed  = `2026/11/30 21:00:00 [info] 29#29: *3 client 172.17.0.1 closed keepalive connection`
	started = `2026/11/30 21:00:00 [notice] 1#1: start worker processes`
)

// summary is what is suggested, in a line each.
func summary(of List) (out []string) {
	for _, i := range of.Items {
		text := fmt.Sprintf("%s: %s by image=%s shapes=%d, %d", i.Workload, i.Pack, i.Image, i.Shapes, i.Incidents)
		for _, r := range i.Rules {
			text += fmt.Sprintf(", %s %d %d %s %.10s", r.Rule, r.Hits, r.Incidents, r.Last.Container, r.Last.Message)
		}
		out = append(out, text)
	}
	return out
}

func TestFind(t *testing.T) {
	l := newLogs(t)
	l.write("front", "shop/front:3", 5*day, started, refused, closed)
	l.write("front", "shop/front:4", time.Hour, refused, started, closed)
	l.write("cache", "redis", time.Hour, "hello")
	l.write("one", "shop/one", time.Hour, closed, closed, "nginx is mentioned")             // one kind of line is anybody's
	l.write("app", "shop/app", time.Hour, "cannot write: No space left on device")          // what any program says
	l.write("syslog", "shop/syslog", time.Hour, "Started a thing.", "GET / HTTP/1.1", "ok") // of no pack

	q := Query{Since: time.Now().Add(-7 * day)}
	got := l.find(t.Context(), q)
	want := []string{
		"cache: redis by image=redis shapes=0, 0",
		"front: nginx by image= shapes=3, 2, nginx-upstream-unreachable 2 2 front-1 2026/11/30",
		": common by image= shapes=0, 1, common-disk-full 1 1 app-1 cannot wri",
	}
	if !slices.Equal(summary(got), want) || !got.Complete || time.Since(got.Until) > time.Minute {
		t.Errorf("%q\n%+v", summary(got), got)
	}
	// Only rules that match something took a backtest.
	if want := []string{"nginx-upstream-unreachable in front", "common-disk-full in "}; !slices.Equal(l.tried, want) {
		t.Errorf("tried: %q", l.tried)
	}

	q.Added = map[string]bool{"nginx": true, packs.Common: true}
	if got := l.find(t.Context(), q); !slices.Equal(summary(got), want[:1]) {
		t.Errorf("where packs are added: %q", summary(got))
	}
	if got := l.find(t.Context(), Query{Since: time.Now().Add(time.Minute)}); len(got.Items) != 1 || got.Items[0].Pack != packs.Common {
		t.Errorf("where all ended before: %q", summary(got))
	}
	q = Query{Since: time.Now().Add(-2 * day)}
	if got := summary(l.find(t.Context(), q)); !strings.Contains(strings.Join(got, "\n"), "front: nginx by image= shapes=3, 1, ") {
		t.Errorf("of two days: %q", got)
	}
}

// A program is known by what it said when it started, too, and a sample is bounded.
func TestSample(t *testing.T) {
	l := newLogs(t)
	access := slices.Repeat([]string{`172.17.0.1 - - [30/Nov/2026:21:00:00 +0000] "GET / HTTP/1.1" 200 615 "-" "curl/8.14.1" "-"`}, maxSampleLines)
	l.write("busy", "shop/busy", day, slices.Concat([]string{started, closed}, access)...)
	l.write("between", "shop/between", day, slices.Concat(access, []string{started, closed}, access)...) // beyond both samples
	l.write("long", "shop/long", day, slices.Concat([]string{started}, slices.Repeat([]string{strings.Repeat("x ", 6<<10)}, 300), []string{closed})...)
	got := summary(l.find(t.Context(), Query{Since: time.Now().Add(-7 * day), Added: map[string]bool{packs.Common: true}}))
	want := []string{"busy: nginx by image= shapes=2, 0", "long: nginx by image= shapes=2, 0"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// A query that is cancelled ends, and one whose time is over tells what it has.
func TestFindEnds(t *testing.T) {
	l := newLogs(t)
	l.write("front", "nginx", time.Hour, refused)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ctx, l.dir, l.backtest, Query{Since: time.Now().Add(-day)}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	ctx, cancel = context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if got := l.find(ctx, Query{Since: time.Now().Add(-day)}); got.Complete || len(got.Items) == 0 || got.Items[0].Pack != "nginx" {
		t.Errorf("out of time: %+v", got)
	}
	failing := func(context.Context, query.BacktestQuery) (query.Backtest, error) {
		return query.Backtest{}, errors.New("disk full")
	}
	if _, err := Find(t.Context(), l.dir, failing, Query{Since: time.Now().Add(-day)}); err == nil || err.Error() != "disk full" {
		t.Errorf("a backtest that fails: %v", err)
	}
}

// The lines of each pack's tests look like its program, and no other pack's: at least one
// line of most rules is said by no other program.
func TestOwnLinesLookLikeTheProgram(t *testing.T) {
	for _, p := range packs.All() {
		var l looking
		for _, r := range p.Set().Rules {
			for line := range r.TestLines() {
				l.add([]byte(line))
			}
		}
		if l.found[p.Name] < p.Rules || len(l.found) != 1 {
			t.Errorf("%s, of %d rules: %v", p.Name, p.Rules, l.found)
		}
	}
}
