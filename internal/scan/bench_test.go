package scan

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
	"logscan/internal/rule"
	"logscan/internal/rule/match/matchtest"
	"logscan/internal/store"
)

// BenchmarkScan is the cost of lines of 120 bytes from the journal through 1,000
// rules that don't match: of kind line, and of all kinds, as many of each.
func BenchmarkScan(b *testing.B) {
	b.Run("line", func(b *testing.B) { benchmarkScan(b, func(int, *rule.Rule) {}) })
	b.Run("kinds", func(b *testing.B) {
		kinds := slices.DeleteFunc(slices.Clone(rule.Kinds), func(kind string) bool { return kind == rule.KindLine })
		benchmarkScan(b, func(n int, r *rule.Rule) {
			pattern := r.Pattern
			switch r.Kind = kinds[n%len(kinds)]; r.Kind {
			case rule.KindCount, rule.KindAbsent, rule.KindNew, rule.KindSpike:
			case rule.KindSequence:
				r.Pattern, r.Steps, r.WithinSeconds = "", []string{pattern, pattern}, 600
			case rule.KindChange:
				r.Pattern, r.Field = "(?P<value>"+pattern+")", "$value"
			case rule.KindRun:
				r.Pattern, r.MustNot, r.MinLines = "", []string{pattern}, 3
			case rule.KindRatio:
				r.Of, r.Over = pattern, "5%"
			default:
				b.Fatalf("kind %s isn't measured", r.Kind)
			}
			switch r.Kind {
			case rule.KindCount:
				r.AtLeast, r.WithinSeconds = 5, 600
			case rule.KindAbsent:
				r.ForSeconds = 3600
			}
		})
	})
}

// BenchmarkScanKeys is that of lines of which one in a hundred adds to one of 100,000
// keys, of ten rules; and of the same lines where the rules don't match any.
func BenchmarkScanKeys(b *testing.B) {
	for _, live := range []bool{false, true} {
		b.Run(fmt.Sprint(live), func(b *testing.B) {
			const lines, keys = 500_000, 10_000
			var rules []rule.Rule
			for n := range 10 {
				r := rule.New()
				r.Kind, r.By, r.AtLeast, r.WithinSeconds = rule.KindCount, []string{"$ip"}, 1000, 1e6
				r.Pattern = fmt.Sprintf(`failed %d from (?P<ip>\S+)`, n)
				if !live {
					r.Pattern = "not " + r.Pattern
				}
				rules = append(rules, r)
			}
			snapshot := compile(b, rules...)
			frames := func(key int) (out []byte) {
				text := fmt.Sprintf("level=warn msg=\"failed %d from 192.0.%d.%d\" path=/api/v1/items/42 status=401 dur=12ms user=alice and all that ", key%10, key/10/256, key/10%256)
				out = entry.Append(out, &entry.Entry{Source: "stdout", TimeNano: 1e18, Line: []byte((text + text)[:120])})
				return out
			}
			text := bytes.Repeat([]byte(`0000000042 level=info msg="request handled" path=/api/v1/items/42 status=200 dur=12ms user=alice `), 2)
			other := bytes.Repeat(entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: 1e18, Line: text[:120]}), 99)
			for range b.N {
				b.StopTimer()
				g := newRig(b)
				w := g.container(0)
				for key := range 10 * keys { // all of them are there
					w.raw(frames(key))
				}
				g.start(snapshot)
				eventually(b, "keys", func() bool { return g.s.Stats().Lines == 10*keys && g.s.Stats().Waiting == 0 })
				b.StartTimer()
				for n := range lines / 100 {
					w.raw(append(frames(n*7%(10*keys)), other...))
				}
				eventually(b, "end", func() bool { return g.s.Stats().Lines == 10*keys+lines })
				b.StopTimer()
				g.stop()
				w.end()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/line")
		})
	}
}

func benchmarkScan(b *testing.B, kind func(n int, r *rule.Rule)) {
	const lines, block = 500_000, 1000
	var rules []rule.Rule
	for n, p := range matchtest.Rules(1000) {
		r := rule.New()
		r.Pattern = p.Pattern
		kind(n, &r)
		rules = append(rules, r)
	}
	snapshot := compile(b, rules...)
	text := bytes.Repeat([]byte(`0000000042 level=info msg="request handled" path=/api/v1/items/42 status=200 dur=12ms user=alice `), 2)
	frame := entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: 1e18, Line: text[:120]})
	for range b.N {
		b.StopTimer()
		g := newRig(b)
		w := g.container(0)
		for range lines / block {
			w.raw(bytes.Repeat(frame, block))
		}
		b.StartTimer()
		g.start(snapshot)
		eventually(b, "end", func() bool { return g.s.Stats().Lines == lines })
		b.StopTimer()
		g.stop()
		w.end()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/line")
}

// BenchmarkReplay is that of the same lines as BenchmarkScan's, and rules of kind line,
// live and in a replay, in turn, in the
// process's CPU time.
func BenchmarkReplay(b *testing.B) {
	const lines, block = 500_000, 1000
	var rules []rule.Rule
	for _, p := range matchtest.Rules(1000) {
		r := rule.New()
		r.Pattern = p.Pattern
		rules = append(rules, r)
	}
	snapshot := compile(b, rules...)
	text := bytes.Repeat([]byte(`0000000042 level=info msg="request handled" path=/api/v1/items/42 status=200 dur=12ms user=alice `), 2)
	frame := entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: 1e18, Line: text[:120]})
	var live, replayed time.Duration
	for range b.N {
		g := newRig(b)
		w := g.container(0)
		for range lines / block {
			w.raw(bytes.Repeat(frame, block))
		}
		began := cpuTime(b)
		g.start(snapshot)
		eventually(b, "end", func() bool { return g.s.Stats().Lines == lines })
		live += cpuTime(b) - began
		g.stop()
		w.end()
		db, err := store.OpenScratch(filepath.Join(b.TempDir(), "scratch.db"))
		if err != nil {
			b.Fatal(err)
		}
		began = cpuTime(b)
		all, _, err := Replay(b.Context(), ReplayConfig{
			Config: Config{Journals: g.dir, Store: db}, Rules: snapshot, Since: time.Unix(0, 1e18), Until: time.Unix(0, 1e18).Add(time.Minute),
			Clock: func(time.Time) {}, Pass: func(context.Context, time.Time) error { return nil }, Due: db.Due,
		})
		replayed += cpuTime(b) - began
		if err != nil || all[0].Lines != lines {
			b.Fatal(all, err)
		}
		db.Close()
	}
	perLine := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(b.N*lines) }
	b.ReportMetric(perLine(live), "live-ns/line")
	b.ReportMetric(perLine(replayed), "replay-ns/line")
	b.ReportMetric(replayed.Seconds()/live.Seconds(), "replay/live")
}

// cpuTime is how much of the processors' time this process has taken.
func cpuTime(b *testing.B) time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
