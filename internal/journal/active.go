package journal

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
)

// active is what is open of the segment being written.
type active struct {
	file   *os.File
	index  *os.File
	note   *os.File // nil until there is a transfer
	size   int64    // of the file: whole frames, and the start of one that is not yet whole
	need   int64    // file size at which the unfinished frame, or its header, is whole; 0 at a boundary
	points int64    // records in the index file

	indexed int  // of the segment's points, those that were written to it; the first is in none
	stale   bool // the file may be longer than size: to be cut before more is written
	behind  bool // what was written last could not be read back yet
}

// openSegment opens a segment, if possible without noting when it was read: else
// each line would have that noted anew.
func openSegment(name string, flag int) (*os.File, error) {
	file, err := os.OpenFile(name, flag|unix.O_NOATIME, 0o600)
	if errors.Is(err, unix.EPERM) { // the file is another user's
		file, err = os.OpenFile(name, flag, 0o600)
	}
	return file, err
}

// prepareLocked makes sure that there is an active segment with room, rotating
// at a frame boundary.
func (j *Journal) prepareLocked() error {
	if j.stray != nil {
		return j.stray
	}
	if j.rotatesLocked() {
		j.closeActive()
		j.segments[len(j.segments)-1].rotated = time.Now()
		j.needsMaintenanceLocked()
		if after := j.dir.cfg.CompressAfter; after > 0 && j.meta.Options.Compress {
			time.AfterFunc(after, func() { j.dir.compressSoon(j.id) })
		}
	}
	if act := j.active; act != nil {
		return act.cut()
	}
	j.beginLocked()
	if j.unsaved {
		if err := writeMeta(j.path, j.meta, false); err != nil {
			return fmt.Errorf("new segment: %w", err)
		}
		j.unsaved, j.unsynced = false, true
		j.needsMaintenanceLocked()
	}
	base := j.state.End
	file, err := openSegment(segmentPath(j.path, base, rawSuffix), os.O_CREATE|os.O_RDWR)
	if err != nil {
		return fmt.Errorf("new segment: %w", err)
	}
	index, err := os.OpenFile(segmentPath(j.path, base, indexSuffix), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		file.Close()
		return fmt.Errorf("new segment: %w", err)
	}
	j.active = &active{file: file, index: index, indexed: 1}
	j.rotations++
	j.segments = append(j.segments, &segment{
		summary: summary{maxTime: noTime}, base: base, points: []point{{maxTime: noTime}},
	})
	return nil
}

// atLimitLocked reports whether the active segment has reached max-size.
func (j *Journal) atLimitLocked() bool {
	size, _ := j.dir.limits(j.meta.Options)
	return j.active != nil && j.active.size >= size
}

// rotatesLocked reports whether the next frame begins a new segment: max-size is
// reached, at a frame boundary.
func (j *Journal) rotatesLocked() bool {
	return j.atLimitLocked() && j.active.need == 0 && !j.active.behind
}

// cut removes what may lie behind the active segment's size.
func (act *active) cut() error {
	if !act.stale {
		return nil
	}
	if err := act.file.Truncate(act.size); err != nil {
		return fmt.Errorf("remove an unfinished entry: %w", err)
	}
	act.stale = false
	return nil
}

func (j *Journal) closeActive() {
	if j.active == nil {
		return
	}
	j.active.file.Close()
	j.active.index.Close()
	if j.active.note != nil {
		j.active.note.Close()
	}
	j.active = nil
}

// hopLocked finds the frames in what was just written, by reading it back from
// the page cache.
func (j *Journal) hopLocked() error {
	act, seg := j.active, j.segments[len(j.segments)-1]
	if act.need > act.size {
		return nil // the middle of a long frame
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	from, all := seg.size, act.size-seg.size
	if err := j.framesLocked(*buf); err != nil {
		return err
	}
	if n := seg.size - from; n > 0 && n <= tailMax && all <= int64(len(*buf)) { // buf holds them still
		j.tail.add(seg.base+from, (*buf)[:n])
	}
	return nil
}

// framesLocked is hopLocked's work.
func (j *Journal) framesLocked(buf []byte) error {
	act, seg := j.active, j.segments[len(j.segments)-1]
	act.need = 0
	for seg.size < act.size && act.need == 0 {
		b := buf[:min(int64(len(buf)), act.size-seg.size)]
		if _, err := act.file.ReadAt(b, seg.size); err != nil {
			return err
		}
		left, err := seg.pass(b)
		act.writePoints(seg)
		if err != nil {
			return err
		}
		if len(left) < entry.HeaderLen {
			if len(left) > 0 && seg.size+int64(len(left)) == act.size {
				act.need = seg.size + entry.HeaderLen
			}
			continue // else it is read again from its start
		}
		n, err := entry.BodyLen(left)
		if err != nil {
			return err
		}
		if end := seg.size + int64(entry.HeaderLen+n); end > act.size {
			act.need = end
		} else if len(left) == len(b) { // larger than the buffer
			seg.add(left[entry.HeaderLen:], n)
			act.writePoints(seg)
		}
	}
	j.state.End = seg.end()
	return nil
}

// pass moves the segment's end over the whole frames at the beginning of b, which
// lies there, and returns what is left of b. Their points are not yet written.
func (s *segment) pass(b []byte) (left []byte, err error) {
	for len(b) >= entry.HeaderLen {
		n, err := entry.BodyLen(b)
		if err != nil {
			return b, err
		}
		if len(b) < entry.HeaderLen+n {
			break
		}
		s.add(b[entry.HeaderLen:entry.HeaderLen+n], n)
		b = b[entry.HeaderLen+n:]
	}
	return b, nil
}

// add adds a frame with a body of n bytes. The beginning of the body will do: a
// frame's time stands there.
func (s *segment) add(body []byte, n int) {
	if t, err := entry.Time(body); err == nil && t > s.maxTime {
		s.maxTime = t
	}
	s.size += int64(entry.HeaderLen + n)
	s.frames++
	if s.size-s.points[len(s.points)-1].offset >= blockSize {
		s.points = append(s.points, point{offset: s.size, frames: s.frames, maxTime: s.maxTime, pos: s.size})
	}
}

// writePoints writes the segment's points that are new to the index. Where they
// can't be written, it has a gap, which costs a longer hop and nothing else.
func (act *active) writePoints(seg *segment) {
	fresh := seg.points[act.indexed:]
	if len(fresh) == 0 {
		return
	}
	act.indexed = len(seg.points)
	var recs []byte
	for _, p := range fresh {
		recs = appendRawPoint(recs, p)
	}
	if _, err := act.index.WriteAt(recs, act.points*rawPointLen); err == nil {
		act.points += int64(len(fresh))
	}
}

// cutLocked removes the unfinished frame at the end, if there is one, and
// reports it.
func (j *Journal) cutLocked(reason string) int64 {
	torn := j.truncateLocked()
	if torn > 0 {
		j.dir.loss(j.lossLocked(reason, torn, 0))
	}
	return torn
}

// truncateLocked removes what follows the last whole frame and returns how many
// bytes that is. Where the file can't be cut now, it is before the next write.
func (j *Journal) truncateLocked() int64 {
	j.owner = nil
	act := j.active
	if act == nil {
		return 0
	}
	seg := j.segments[len(j.segments)-1]
	torn := act.size - seg.size
	act.need, act.behind = 0, false
	if torn == 0 {
		return 0
	}
	act.size = seg.size
	j.state.End = seg.end()
	if err := act.file.Truncate(seg.size); err != nil {
		act.stale = true
		j.log.Error("remove an unfinished entry", "container", j.id, "err", err)
	}
	return torn
}
