package scan

import (
	"bytes"
	"testing"

	"logscan/internal/entry"
	"logscan/internal/rule"
)

// BenchmarkScan is the cost of a line of 120 bytes from the journal through one
// rule that doesn't match.
func BenchmarkScan(b *testing.B) {
	g := newRig(b)
	w := g.container(0)
	defer w.end()
	frame := entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: 1e18, Line: bytes.Repeat([]byte("x"), 120)})
	const block = 1000
	for range b.N/block + 1 {
		w.raw(bytes.Repeat(frame, block))
	}
	b.SetBytes(int64(len(frame)))
	b.ResetTimer()
	g.start(compile(b, rule.Rule{Pattern: "ERROR"}))
	g.caughtUp()
}
