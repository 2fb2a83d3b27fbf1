package lines

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"logscan/internal/entry"
	"logscan/internal/journal"
)

// texts finds a text.
type texts struct {
	text, frames []byte
}

func (f *texts) Begin(frames []byte) { f.frames = frames }
func (f *texts) From(at int) int {
	if next := bytes.Index(f.frames[at:], f.text); next >= 0 {
		return at + next
	}
	return len(f.frames)
}

// skimBlocks makes blocks of frames of some bytes: whole lines, chunks of lines of several
// streams, and frames that are none.
func skimBlocks(b []byte) (blocks [][]byte) {
	words := []string{"", "wan", "ted", "wanted", "all is well", "xx wanted xx", "wantwanted"}
	var block []byte
	for n := 0; len(b) >= 2; n++ {
		how, text := b[0], words[int(b[1])%len(words)]
		b = b[2:]
		e := entry.Entry{Source: []string{"stdout", "stderr", "other"}[how%3], TimeNano: 1e18 + int64(n)*int64(how)*1e8, Line: []byte(text)}
		switch how / 3 % 8 {
		case 0, 1:
			e.Partial, e.HasMeta, e.ID, e.Ordinal, e.Last = true, true, fmt.Sprint(how%3, how>>7), int32(1+how>>5%3), how&0x40 != 0
		case 2:
			block = binary.BigEndian.AppendUint32(block, uint32(1+len(text)))
			block = append(append(block, how), text...)
			continue
		case 3:
			blocks, block = append(blocks, block), nil
		}
		block = entry.Append(block, &e)
	}
	return append(blocks, block)
}

// FuzzSkim reads blocks of frames with and without passing over lines that aren't wanted:
// those that are wanted come alike, and none is lost from the count.
func FuzzSkim(f *testing.F) {
	f.Add([]byte("\x18\x03\x18\x04\x18\x05\x00\x01\x00\x02\x40\x03\x18\x03"), uint16(0))
	f.Add(bytes.Repeat([]byte("\x1b\x04\x19\x05\x01\x01\x41\x02\x09\x03\x06\x03"), 5), uint16(90))
	l := newLog(f, journal.DefaultOptions)
	f.Fuzz(func(t *testing.T, b []byte, before uint16) {
		blocks := skimBlocks(b)
		read := func(skim bool) (wanted []string, all int64, at Position) {
			s := New(l.j, Position{}, Config{Max: 40})
			defer s.Close()
			finder := &texts{text: []byte("wanted")}
			for _, block := range blocks {
				s.block, s.filled, s.skimmed = block, block, false
				for more := true; more; {
					if skim {
						all += s.Skim(finder, int64(before))
					}
					var line *Line
					if line, more = s.Step(); line == nil {
						continue
					}
					if all++; bytes.Contains(line.Text, finder.text) {
						wanted = append(wanted, fmt.Sprintf("%+v", *line))
					}
				}
			}
			return wanted, all, s.Position()
		}
		want, n, end := read(false)
		got, passed, at := read(true)
		if !slices.Equal(got, want) || passed != n || fmt.Sprint(at.Next, len(at.Streams)) != fmt.Sprint(end.Next, len(end.Streams)) {
			t.Fatalf("%d lines, up to %+v: %q\nwithout: %d, up to %+v: %q", passed, at, got, n, end, want)
		}
	})
}
