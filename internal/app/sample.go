package app

import (
	"cmp"
	"slices"

	"logscan/internal/journal"
	"logscan/internal/lines"
)

const (
	// maxSampled is of how many containers a sample has lines at most.
	maxSampled = 32
	// shortLine is the bytes that a line takes at least, on average: it decides
	// how many entries are read.
	shortLine = 64
)

// sample returns what was written last, for the matcher's statistics: up to size
// bytes of lines, with a newline behind each, from the containers that wrote most
// recently, about the same from each. What can't be read is left out.
func sample(journals *journal.Dir, size int) []byte {
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
	src := lines.New(j, lines.Position{Next: off}, lines.Config{})
	defer src.Close()
	for {
		l, err := src.Next()
		if err != nil || len(out)+len(l.Text)+1 > size {
			return out
		}
		out = append(append(out, l.Text...), '\n')
	}
}
