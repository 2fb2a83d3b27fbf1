package scan

import (
	"bytes"
	"testing"

	"logscan/internal/entry"
	"logscan/internal/rule"
)

// BenchmarkScan is the cost of lines of 120 bytes from the journal through one
// rule that doesn't match.
func BenchmarkScan(b *testing.B) {
	const lines, block = 500_000, 1000
	frame := entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: 1e18, Line: bytes.Repeat([]byte("x"), 120)})
	for range b.N {
		b.StopTimer()
		g := newRig(b)
		w := g.container(0)
		for range lines / block {
			w.raw(bytes.Repeat(frame, block))
		}
		b.StartTimer()
		g.start(compile(b, rule.Rule{Pattern: "ERROR"}))
		g.caughtUp()
		b.StopTimer()
		g.stop()
		w.end()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/line")
}
