package lines

import (
	"bytes"
	"testing"

	"logscan/internal/entry"
	"logscan/internal/journal"
)

// BenchmarkSource is the cost of a line of 120 bytes on its way from a block of
// frames in memory.
func BenchmarkSource(b *testing.B) {
	frame := entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: 1e18, Line: bytes.Repeat([]byte("x"), 120)})
	block := bytes.Repeat(frame, 1500)
	s := New(newLog(b, journal.DefaultOptions).j, Position{}, Config{})
	defer s.Close()
	n := 0
	for b.Loop() {
		s.block = block
		for {
			l, more := s.Step()
			if l != nil {
				n++
			}
			if !more {
				break
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/line")
}
