package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A log that is removed and made again would use offsets twice if each began at
// 0: whoever had read the one up to some offset would take the beginning of the
// other for what he had read. So a log begins at the time of its making, in
// microseconds since 1970, which is beyond the end of any that its container had
// before: but for one that was written faster than a byte per microsecond all
// the time, or where the clock has been set back. So how far the logs that were
// removed had come is remembered, in a file in the journals' root, as a decimal
// number. A log that an older version has made began at 0.

const passedName = "passed"

// pass notes that a log which is to be removed ends at an offset.
func (d *Dir) pass(end int64) {
	d.mu.Lock()
	passed := max(d.passed, end+1)
	news := passed > d.passed
	d.passed = passed
	d.mu.Unlock()
	if !news {
		return
	}
	if err := replaceFile(filepath.Join(d.cfg.Root, passedName), append(strconv.AppendInt(nil, passed, 10), '\n'), false); err != nil {
		d.cfg.Logger.Error("how far a removed log had come is not noted", "err", err)
	}
}

// beginLocked has a log that was found empty begin now: it may have lost all its
// files.
func (j *Journal) beginLocked() {
	if j.made || len(j.segments) > 0 || j.state.End != j.state.Birth {
		return
	}
	d := j.dir
	d.mu.Lock()
	birth := max(j.state.End, d.now(), d.passed)
	j.of.meta.Born = birth
	d.mu.Unlock()
	j.made = true
	j.meta.Born, j.unsaved = birth, j.unsaved || birth != j.state.Birth
	j.state.First, j.state.End, j.state.Birth = birth, birth, birth
}

func readPassed(root string) (int64, error) {
	b, err := os.ReadFile(filepath.Join(root, passedName))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n < 0 {
		return 0, errors.New("journal: not an offset in " + passedName)
	}
	return n, nil
}

// lastOffset returns an offset that the log in a directory doesn't pass, going
// by its files.
func lastOffset(path string) (end int64, err error) {
	files, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	for _, f := range files {
		base, suffix, ok := parseName(f.Name())
		if !ok || base+segmentMax <= end {
			continue
		}
		info, err := f.Info()
		if err != nil {
			continue // removed meanwhile
		}
		size := info.Size()
		if strings.HasPrefix(suffix, compressedSuffix) {
			t, err := readTrailer(filepath.Join(path, f.Name()))
			if size = t.size; err != nil {
				size = segmentMax
			}
		}
		end = max(end, base+size)
	}
	return end, nil
}
