package scan

import (
	"bytes"
	"testing"

	"logscan/internal/entry"
	"logscan/internal/rule"
	"logscan/internal/rule/match/matchtest"
)

// BenchmarkScan is the cost of lines of 120 bytes from the journal through 1,000
// rules that don't match: of kind line, and a third each of kinds count, absent and new.
func BenchmarkScan(b *testing.B) {
	b.Run("line", func(b *testing.B) { benchmarkScan(b, func(int, *rule.Rule) {}) })
	b.Run("kinds", func(b *testing.B) {
		benchmarkScan(b, func(n int, r *rule.Rule) {
			switch n % 3 {
			case 0:
				r.Kind, r.Per, r.AtLeast, r.WithinSeconds = rule.KindCount, rule.PerContainer, 5, 600
			case 1:
				r.Kind, r.Per, r.ForSeconds, r.Arm, r.WhenStopped = rule.KindAbsent, rule.PerContainer, 3600, rule.ArmStart, rule.StoppedPause
			case 2:
				r.Kind, r.Per, r.ForgetSeconds, r.AtMost = rule.KindNew, rule.PerContainer, rule.DefaultForget, rule.DefaultAtMost
			}
		})
	})
}

func benchmarkScan(b *testing.B, kind func(n int, r *rule.Rule)) {
	const lines, block = 500_000, 1000
	var rules []rule.Rule
	for n, p := range matchtest.Rules(1000) {
		r := rule.Rule{Pattern: p.Pattern}
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
