package scan

import (
	"bytes"
	"testing"

	"logscan/internal/entry"
	"logscan/internal/rule"
	"logscan/internal/rule/match/matchtest"
)

// BenchmarkScan is the cost of lines of 120 bytes from the journal through 1,000
// rules that don't match.
func BenchmarkScan(b *testing.B) {
	const lines, block = 500_000, 1000
	var rules []rule.Rule
	for _, r := range matchtest.Rules(1000) {
		rules = append(rules, rule.Rule{Pattern: r.Pattern})
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
