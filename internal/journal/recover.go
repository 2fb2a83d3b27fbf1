package journal

import (
	"errors"
	"io"
	"os"
	"slices"

	"logscan/internal/entry"
)

// recover reads what is on disk. It succeeds on whatever a kill, a full disk
// or a power cut left: what can't be read is set aside, never deleted.
func (j *Journal) recover() error {
	files, err := os.ReadDir(j.path)
	if err != nil {
		return err
	}
	raw := map[int64]bool{}
	compressed := map[int64]bool{}
	for _, f := range files {
		base, suffix, ok := parseName(f.Name())
		switch {
		case !ok:
		case suffix == rawSuffix:
			raw[base] = true
		case suffix == compressedSuffix:
			compressed[base] = true
		case suffix == compressedSuffix+tmpSuffix: // a compression that was cut short
			os.Remove(segmentPath(j.path, base, suffix))
		}
	}
	for base := range raw {
		if compressed[base] { // killed between rename and unlink; the raw one is the truth
			os.Remove(segmentPath(j.path, base, compressedSuffix))
			delete(compressed, base)
		}
		seg, err := recoverRaw(j.path, base)
		if err != nil {
			j.setAside(base, rawSuffix, err)
			continue
		}
		j.segments = append(j.segments, seg)
	}
	for base := range compressed {
		seg, err := openCompressed(j.path, base)
		if err != nil {
			j.setAside(base, compressedSuffix, err)
			continue
		}
		j.segments = append(j.segments, seg)
	}
	slices.SortFunc(j.segments, func(a, b *segment) int { return int(min(max(a.base-b.base, -1), 1)) })
	j.recovery.Segments = len(j.segments)
	if err := j.reopenActive(); err != nil {
		return err
	}
	if len(j.segments) > 0 {
		j.state.First, j.state.End = j.segments[0].base, j.segments[len(j.segments)-1].end()
	}
	// Offsets are never used twice, not even those of a file set aside.
	for base := range raw {
		j.state.End = max(j.state.End, base)
	}
	j.state.LastEnd = j.state.End
	if r := j.recovery; r.Torn+r.Cut > 0 || r.SetAside > 0 {
		j.log.Info("journal recovered", "container", j.id, "segments", r.Segments, "unfinished_bytes", r.Torn, "cut_bytes", r.Cut, "set_aside", r.SetAside)
	}
	return nil
}

func (j *Journal) setAside(base int64, suffix string, err error) {
	name := segmentPath(j.path, base, suffix)
	j.log.Error("segment can't be read; set aside", "file", name, "err", err)
	j.recovery.SetAside++
	if err := os.Rename(name, name+asideSuffix); err != nil {
		j.log.Error("set aside", "err", err)
	}
	j.dir.loss(Loss{ContainerID: j.id, Reason: "corrupt", From: base, To: base})
}

// recoverRaw reads a raw segment's index, and hops over what lies behind it.
func recoverRaw(path string, base int64) (*segment, error) {
	f, err := os.Open(segmentPath(path, base, rawSuffix))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	index, err := os.ReadFile(segmentPath(path, base, indexSuffix))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	seg := &segment{base: base, points: rawPoints(index, info.Size())}
	last := seg.points[len(seg.points)-1]
	seg.summary = summary{size: last.offset, frames: last.frames, maxTime: last.maxTime}
	r := io.NewSectionReader(f, 0, info.Size())
	buf := make([]byte, 64<<10)
	start, n := int64(0), 0 // buf[:n] holds the file from start
	for {
		var h []byte // a frame's header, source and time
		if seg.size >= start && seg.size+64 <= start+int64(n) {
			h = buf[seg.size-start:][:64]
		} else {
			start = seg.size
			if n, err = r.ReadAt(buf, start); err != nil && err != io.EOF {
				return nil, err
			}
			h = buf[:min(n, 64)]
		}
		if len(h) < entry.HeaderLen {
			return seg, nil
		}
		size, err := entry.BodyLen(h)
		if err != nil || seg.size+int64(entry.HeaderLen+size) > info.Size() {
			return seg, nil
		}
		if t, err := entry.Time(h[entry.HeaderLen:min(len(h), entry.HeaderLen+size)]); err == nil {
			seg.maxTime = max(seg.maxTime, t)
		}
		seg.size += int64(entry.HeaderLen + size)
		seg.frames++
		if seg.size-last.offset >= blockSize {
			last = point{offset: seg.size, frames: seg.frames, maxTime: seg.maxTime, pos: seg.size}
			seg.points = append(seg.points, last)
		}
	}
}

// reopenActive goes on with the last segment if it is a raw one. What follows
// its last whole frame is kept if it can be the start of a frame, because the
// rest may still be in the pipe.
func (j *Journal) reopenActive() error {
	if len(j.segments) == 0 {
		return nil
	}
	seg := j.segments[len(j.segments)-1]
	if seg.compressed {
		return nil
	}
	file, err := os.OpenFile(segmentPath(j.path, seg.base, rawSuffix), os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	index, err := os.OpenFile(segmentPath(j.path, seg.base, indexSuffix), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		file.Close()
		return err
	}
	j.active = &active{file: file, index: index, size: seg.size, idxPos: seg.points[len(seg.points)-1].offset}
	act := j.active
	info, err := file.Stat()
	if err != nil {
		return err
	}
	onDisk, err := io.ReadAll(index)
	if err != nil {
		return err
	}
	act.points = int64(len(rawPoints(onDisk, info.Size())) - 1)
	// Only where there is something to cut off: opening a log is not to make it
	// look as if it had just been written.
	if int64(len(onDisk)) > act.points*rawPointLen {
		if err := index.Truncate(act.points * rawPointLen); err != nil {
			j.log.Warn("index", "container", j.id, "err", err)
		}
	}
	if tail := info.Size() - seg.size; tail > 0 {
		act.size = info.Size()
		if err := j.hopLocked(); errors.Is(err, entry.ErrFrame) {
			j.recovery.Cut = j.cutLocked("corrupt")
		} else if err != nil {
			return err
		} else {
			j.recovery.Torn = tail
		}
	}
	return nil
}
