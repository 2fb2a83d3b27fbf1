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

// BenchmarkRecords is the cost of telling that a line is a record by itself.
func BenchmarkRecords(b *testing.B) {
	for name, text := range map[string]string{
		"logfmt":    `level=info msg="request handled" path=/api/v1/items/42 status=200 dur=12ms user=alice request=8a7b6c5d4e3f2a1b0c9d8e`,
		"timestamp": `2026-01-02T15:04:05.123Z INFO request handled path=/api/v1/items/42 status=200 dur=12ms user=alice request=8a7b6c5d`,
		"JSON":      `{"level":"info","msg":"request handled","path":"/api/v1/items/42","status":200,"dur":"12ms","user":"alice","request":"8a7b"}`,
		"bracket":   `[2026-01-02 15:04:05] INFO request handled path=/api/v1/items/42 status=200 dur=12ms user=alice request=8a7b6c5d`,
		"words":     `Request handled path=/api/v1/items/42 status=200 dur=12ms user=alice request=8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b`,
	} {
		b.Run(name, func(b *testing.B) {
			var r Records
			n := 0
			count := func(*Record) { n++ }
			l := Line{Stream: "stdout", TimeNano: 1e18, Text: []byte(text)}
			b.ReportAllocs()
			for b.Loop() {
				r.Add(&l, nil, count)
			}
			if n != b.N {
				b.Fatal(n)
			}
		})
	}
}
