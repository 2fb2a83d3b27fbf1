package shape

import (
	"bytes"
	"fmt"
	"testing"
)

// BenchmarkOf takes the lines of testdata by turns, but for those of over 1 KB.
func BenchmarkOf(b *testing.B) {
	var lines [][]byte
	size := 0
	for _, v := range golden(b) {
		if len(v.line) <= 1024 {
			lines = append(lines, v.line)
			size += len(v.line)
		}
	}
	b.ReportAllocs()
	b.SetBytes(int64(size))
	for b.Loop() {
		for _, line := range lines {
			Of(line)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(lines)), "ns/line")
}

func BenchmarkReadable(b *testing.B) {
	line := []byte(`2026-03-01T10:00:00Z ERROR [worker-7] request 550e8400-e29b-41d4-a716-446655440000 to db-3.prod.internal:5432 failed after 3.2s`)
	b.ReportAllocs()
	for b.Loop() {
		Readable(line, 256)
	}
}

// hostile returns what lines are made of that look for the most work: each byte of
// ASCII that is no letter or digit, and what opens and doesn't close.
func hostile() []string {
	hs := []string{
		`{"a":`, `{"a":[`, `{"a":"`, `{"error":{`, `{"msg":"\`, `="`, ` '`, ` "`, `("a/1 `, `"a/1 `, "level=", "a=", "1a=", `msg="`, "\x1b[", "\x1b]", "://", "a@",
		"for ", "Mon ", "Mon,", "a1", "a1.", "a1:", "1.1.", "/a", "./", `\\`, "ab12", "aB1", "0f", "blk_1 ", "GET /", "HTTP/1 ", "- a [12/", "\xff", "é",
	}
	for c := byte(0); c < 0x80; c++ {
		if !is(c, alnum) {
			hs = append(hs, string(rune(c)))
		}
	}
	return append(hs, "a", "F", "7")
}

// BenchmarkHostile shows that time doesn't grow with the line: the figures for 1 MiB
// are those for 16 KiB.
func BenchmarkHostile(b *testing.B) {
	for _, h := range hostile() {
		for _, size := range []int{16 << 10, 1 << 20} {
			line := bytes.Repeat([]byte(h), size/len(h))
			b.Run(fmt.Sprintf("%q/%dKiB", h, size>>10), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Of(line)
				}
			})
		}
	}
}
