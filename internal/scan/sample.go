package scan

import (
	"cmp"
	"slices"

	"logscan/internal/entry"
	"logscan/internal/journal"
)

const (
	// maxSampled is of how many containers a sample has lines at most.
	maxSampled = 32
	// shortLine is the bytes that a line takes at least, on average: it decides
	// how many entries are read.
	shortLine = 64
)

// Sample returns what was written last, for statistics: up to size bytes of
// lines, with a newline behind each, from the containers that wrote most
// recently, about the same from each. What can't be read is left out.
func Sample(journals *journal.Dir, size int) []byte {
	infos := slices.DeleteFunc(journals.List(), func(i journal.Info) bool { return !i.Scan || i.Bytes == 0 })
	slices.SortStableFunc(infos, func(a, b journal.Info) int {
		return cmp.Or(cmp.Compare(b.Attached, a.Attached), b.Latest.Compare(a.Latest))
	})
	infos = infos[:min(len(infos), maxSampled)]
	// The smallest first: what one doesn't use of its share is the next ones'.
	slices.SortStableFunc(infos, func(a, b journal.Info) int { return cmp.Compare(a.Bytes, b.Bytes) })
	var out []byte
	for i, info := range infos {
		out = sampleOf(journals, info.ID, len(out)+(size-len(out))/(len(infos)-i), out)
	}
	return out
}

// sampleOf appends a container's last lines until out has about size bytes.
func sampleOf(journals *journal.Dir, id string, size int, out []byte) []byte {
	j, err := journals.Acquire(id)
	if err != nil {
		return out
	}
	defer j.Release()
	off, err := j.SeekTail(int64((size-len(out))/shortLine) + 1)
	if err != nil {
		return out
	}
	r := j.NewReader(off)
	defer r.Close()
	var e entry.Entry
	for {
		block, _, err := r.Next()
		if err != nil {
			return out
		}
		for len(block) > 0 {
			frame, rest, err := entry.Next(block)
			if err != nil {
				return out
			}
			block = rest
			if entry.Decode(frame[entry.HeaderLen:], &e) != nil {
				continue
			}
			if len(out)+len(e.Line)+1 > size {
				return out
			}
			out = append(append(out, e.Line...), '\n')
		}
	}
}
