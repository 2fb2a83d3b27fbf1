package journal

import (
	"errors"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
)

// recover reads what is on disk. It succeeds on whatever a kill, a full disk
// or a power cut left: what can't be read is set aside, never deleted. While
// patient, a disk that fails is an error.
func (j *Journal) recover(patient bool) error {
	j.state.Birth = j.meta.Born
	j.state.First, j.state.End, j.state.LastEnd = j.meta.Born, j.meta.Born, j.meta.Born
	give := func(err error) bool { return scarce(err) || patient && errors.Is(err, unix.EIO) }
	files, err := os.ReadDir(j.path)
	if errors.Is(err, os.ErrNotExist) {
		j.unsaved = true // a full disk: the first line makes it
		return nil
	}
	if err != nil {
		return err
	}
	if err := j.recoverNote(); give(err) {
		return err
	}
	if err := j.readRuns(); give(err) {
		return err
	}
	raw := map[int64]bool{}
	compressed := map[int64]bool{}
	var indexes []int64
	for _, f := range files {
		base, suffix, ok := parseName(f.Name())
		switch {
		case strings.HasSuffix(f.Name(), tmpSuffix): // was being written when the process ended
			os.Remove(filepath.Join(j.path, f.Name()))
		case !ok:
		case suffix == rawSuffix:
			raw[base] = true
		case suffix == compressedSuffix:
			compressed[base] = true
		case suffix == indexSuffix:
			indexes = append(indexes, base)
		}
	}
	for _, base := range indexes {
		if !raw[base] { // killed between two removals
			os.Remove(segmentPath(j.path, base, indexSuffix))
		}
	}
	limits := bounds(raw, compressed)
	for base := range compressed {
		if raw[base] { // killed between rename and unlink; the raw one is the truth
			os.Remove(segmentPath(j.path, base, compressedSuffix))
			delete(compressed, base)
		} else if t, err := readTrailer(segmentPath(j.path, base, compressedSuffix)); err == nil && t.size <= limits[base] {
			j.segments = append(j.segments, &segment{summary: t.summary, base: base, compressed: true})
		} else if give(err) {
			return err
		} else if err := restoreRaw(j.path, base, limits[base]); err != nil {
			j.setAside(base, compressedSuffix, errIndex)
			j.log.Error("and can't be unpacked without its index", "err", err)
		} else {
			j.setAside(base, compressedSuffix, errIndex)
			raw[base] = true
		}
	}
	for base := range raw {
		seg, err := recoverRaw(j.path, base, limits[base])
		if give(err) {
			return err
		}
		if err != nil { // its offsets are not to be used again
			if info, err := os.Stat(segmentPath(j.path, base, rawSuffix)); err == nil {
				j.state.End = max(j.state.End, base+min(info.Size(), limits[base]))
			}
		}
		if seg == nil {
			j.setAside(base, rawSuffix, err)
			continue
		}
		j.segments = append(j.segments, seg)
	}
	slices.SortFunc(j.segments, func(a, b *segment) int { return int(min(max(a.base-b.base, -1), 1)) })
	j.recovery.Segments = len(j.segments)
	if err := j.reopenActive(); give(err) {
		return err
	} else if err != nil {
		j.closeActive() // lines go to a new one, if need be once the disk is well
		if last := len(j.segments) - 1; j.segments[last].size == 0 {
			j.segments = j.segments[:last] // which may have this one's name
		}
		j.log.Error("the newest segment can't be written to", "container", j.id, "err", err)
	}
	if _, files := j.dir.limits(j.meta.Options); len(j.segments) > files || len(j.uncompressedLocked()) > 0 {
		j.needsMaintenanceLocked() // a kill came before maintain
	}
	if len(j.segments) > 0 {
		j.state.First, j.state.End = j.segments[0].base, max(j.state.End, j.segments[len(j.segments)-1].end())
		j.state.Birth = min(j.state.Birth, j.state.First)
	}
	// Offsets are never used twice, not even those of a file set aside.
	for base := range limits {
		j.state.End = max(j.state.End, base)
	}
	j.state.LastEnd = j.state.End
	j.reportMissing()
	if r := j.recovery; r.Torn+r.Cut+r.Missing > 0 || r.SetAside > 0 {
		j.log.Info("journal recovered", "container", j.id, "segments", r.Segments, "unfinished_bytes", r.Torn, "cut_bytes", r.Cut, "missing_bytes", r.Missing, "set_aside", r.SetAside)
	}
	return nil
}

// reportMissing reports the bytes before End that are in no segment, once in the
// life of the process.
func (j *Journal) reportMissing() {
	next := j.state.First
	for i, s := range j.segments {
		if i > 0 {
			j.recovery.Missing += s.base - next
		}
		next = s.end()
	}
	if len(j.segments) > 0 {
		j.recovery.Missing += j.state.End - next
	}
	n := j.recovery.Missing
	if n -= j.of.missing.Swap(n); n > 0 {
		j.dir.loss(Loss{ContainerID: j.id, Reason: "corrupt", Bytes: n, From: j.state.First, To: j.state.End})
	}
}

// scarce reports whether an error tells of the process rather than of the file.
func scarce(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

func (j *Journal) setAside(base int64, suffix string, err error) {
	name := segmentPath(j.path, base, suffix)
	j.log.Error("segment can't be read; set aside", "file", name, "err", err)
	j.recovery.SetAside++
	if err := os.Rename(name, name+asideSuffix); err != nil {
		j.log.Error("set aside", "err", err)
	}
}

// bounds returns how many bytes each segment may have: up to where the next one
// begins.
func bounds(files ...map[int64]bool) map[int64]int64 {
	var bases []int64
	for _, f := range files {
		bases = slices.AppendSeq(bases, maps.Keys(f))
	}
	slices.Sort(bases)
	bases = slices.Compact(bases)
	limits := map[int64]int64{}
	for i, b := range bases {
		limits[b] = math.MaxInt64 - b
		if i+1 < len(bases) {
			limits[b] = bases[i+1] - b
		}
	}
	return limits
}

// tornMax is the longest frame that the Engine writes, and some: one that ends
// behind the file's end and is longer has a damaged length.
const tornMax = 20 << 10

// recoverRaw reads a raw segment's index, and hops over what lies behind it. The
// segment has no more than limit bytes. What is no frame in between is passed
// over, and has a point of the index on either side. With an error there is as much
// of it as can be read; nil: nothing.
func recoverRaw(path string, base, limit int64) (*segment, error) {
	f, err := os.Open(segmentPath(path, base, rawSuffix))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := min(info.Size(), limit)
	points, err := readIndex(segmentPath(path, base, indexSuffix), size)
	if err != nil {
		return nil, err
	}
	seg := &segment{base: base, points: points}
	last := seg.points[len(seg.points)-1]
	seg.summary = summary{size: last.offset, frames: last.frames, maxTime: last.maxTime}
	addPoint := func() {
		if last.offset < seg.size {
			last = point{offset: seg.size, frames: seg.frames, maxTime: seg.maxTime, pos: seg.size}
			seg.points = append(seg.points, last)
		}
	}
	r := io.NewSectionReader(f, 0, size)
	buf := make([]byte, 64<<10)
	start, have := int64(0), 0 // buf[:have] holds the file from start
	for {
		var h []byte // a frame's header, source and time
		if seg.size >= start && seg.size+64 <= start+int64(have) {
			h = buf[seg.size-start:][:64]
		} else {
			start = seg.size
			if have, err = r.ReadAt(buf, start); err != nil && err != io.EOF {
				if seg.size == 0 {
					return nil, err
				}
				return seg, err
			}
			h = buf[:min(have, 64)]
		}
		if len(h) < entry.HeaderLen {
			return seg, nil
		}
		n, err := entry.BodyLen(h)
		if end := seg.size + int64(entry.HeaderLen+n); err != nil || end > size {
			if err == nil && n <= tornMax {
				return seg, nil
			}
			next := findFrame(r, seg.size+1)
			if next < 0 {
				return seg, nil
			}
			addPoint()
			seg.size = next
			seg.frames++ // so that frames grow from point to point; at least one was there
			addPoint()
			continue
		}
		if t, err := entry.Time(h[entry.HeaderLen:min(len(h), entry.HeaderLen+n)]); err == nil {
			seg.maxTime = max(seg.maxTime, t)
		}
		seg.size += int64(entry.HeaderLen + n)
		seg.frames++
		if seg.size-last.offset >= blockSize {
			addPoint()
		}
	}
}

// readIndex reads the index of a raw segment of size bytes; of one that is not
// there, the first point.
func readIndex(name string, size int64) ([]point, error) {
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return rawPoints(nil, size), nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, indexMax(size)))
	if err != nil {
		return rawPoints(nil, size), nil // it is a hint
	}
	return rawPoints(b, size), nil
}

// indexMax bounds what is read of an index.
func indexMax(size int64) int64 { return (size/blockSize + 2) * rawPointLen }

// findFrame looks for the first frame at or behind off that is whole, and
// returns where it begins; -1 if none is found.
func findFrame(r *io.SectionReader, off int64) int64 {
	const overlap = 2 << 20 // holds the longest frame
	buf := make([]byte, 2*overlap)
	for off < r.Size() {
		n, err := r.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			return -1
		}
		b := buf[:n]
		for {
			k, found := entry.Sync(b)
			if !found {
				break
			}
			if b = b[k:]; len(b) < overlap && off+int64(n) < r.Size() {
				break // look again with all of it
			}
			if _, _, err := entry.Next(b); err == nil {
				return off + int64(n-len(b))
			}
			b = b[1:]
		}
		if off+int64(n) >= r.Size() {
			break
		}
		off += int64(n - min(len(b), overlap))
	}
	return -1
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
	file, err := openSegment(segmentPath(j.path, seg.base, rawSuffix), os.O_RDWR)
	if err != nil {
		return err
	}
	index, err := os.OpenFile(segmentPath(j.path, seg.base, indexSuffix), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		file.Close()
		return err
	}
	j.active = &active{file: file, index: index, size: seg.size}
	act := j.active
	info, err := file.Stat()
	if err != nil {
		return err
	}
	onDisk, err := index.Stat()
	if err != nil {
		return err
	}
	points, err := readIndex(index.Name(), info.Size())
	if err != nil {
		return err
	}
	act.points = int64(min(len(points), len(seg.points)) - 1)
	// Only where there is something to cut off: opening a log is not to make it
	// look as if it had just been written.
	if onDisk.Size() > act.points*rawPointLen {
		if err := index.Truncate(act.points * rawPointLen); err != nil {
			j.log.Warn("index", "container", j.id, "err", err)
		}
	}
	// What was written but not indexed when the process ended is indexed now, so
	// that gaps of several ends don't add up to a block too large to unpack.
	act.indexed = 1 + int(act.points)
	act.writePoints(seg)
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
