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
	size   int64 // of the file: whole frames, and the start of one that is not yet whole
	need   int64 // file size at which the unfinished frame, or its header, is whole; 0 at a boundary
	points int64 // records in the index file
	idxPos int64 // offset of the last point
	stale  bool  // the file may be longer than size: to be cut before more is written
	behind bool  // what was written last could not be read back yet
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
		j.untidyLocked()
		if after := j.dir.cfg.CompressAfter; after > 0 && j.meta.Options.Compress {
			time.AfterFunc(after, func() { j.dir.compressSoon(j.id) })
		}
	}
	if act := j.active; act != nil {
		return act.cut()
	}
	if j.unsaved {
		if err := writeMeta(j.path, j.meta); err != nil {
			return fmt.Errorf("new segment: %w", err)
		}
		j.unsaved = false
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
	j.active = &active{file: file, index: index}
	j.segments = append(j.segments, &segment{
		summary: summary{maxTime: noTime}, base: base, points: []point{{maxTime: noTime}},
	})
	return nil
}

// atLimitLocked reports whether the active segment has reached max-size.
func (j *Journal) atLimitLocked() bool {
	act, limit := j.active, j.meta.Options.MaxSize
	return act != nil && limit > 0 && act.size >= limit
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
	for seg.size < act.size {
		b := buf[:min(int64(len(buf)), act.size-seg.size)]
		if _, err := act.file.ReadAt(b, seg.size); err != nil {
			return err
		}
		left := b
		for len(left) >= entry.HeaderLen {
			n, err := entry.BodyLen(left)
			if err != nil {
				return err
			}
			end := seg.size + int64(entry.HeaderLen+n)
			if end > act.size {
				act.need = end
				j.state.End = seg.end()
				return nil
			}
			body := left[entry.HeaderLen:min(len(left), entry.HeaderLen+n)]
			if len(body) < n && len(left) < len(b) {
				break // read it again from its start
			}
			// The time stands at the body's start, so that of a frame larger
			// than the buffer the first part will do.
			if t, err := entry.Time(body); err == nil && t > seg.maxTime {
				seg.maxTime = t
			}
			left = left[entry.HeaderLen+len(body):]
			seg.size = end
			seg.frames++
			if seg.size-act.idxPos >= blockSize {
				j.addPoint(seg)
			}
		}
		if len(left) < entry.HeaderLen && seg.size+int64(len(left)) == act.size && len(left) > 0 {
			act.need = seg.size + entry.HeaderLen
			break
		}
	}
	j.state.End = seg.end()
	return nil
}

// addPoint adds a point at the segment's present end. Where it can't be
// written, the index has a gap, which costs a longer hop and nothing else.
func (j *Journal) addPoint(seg *segment) {
	act := j.active
	p := point{offset: seg.size, frames: seg.frames, maxTime: seg.maxTime, pos: seg.size}
	seg.points = append(seg.points, p)
	act.idxPos = p.offset
	var rec [rawPointLen]byte
	if _, err := act.index.WriteAt(appendRawPoint(rec[:0], p), act.points*rawPointLen); err == nil {
		act.points++
	}
}

// cutLocked removes the unfinished frame at the end, if there is one, and
// reports it.
func (j *Journal) cutLocked(reason string) int64 {
	torn := j.truncateLocked()
	if torn > 0 {
		j.dir.loss(Loss{ContainerID: j.id, Reason: reason, Bytes: torn, From: j.state.End, To: j.state.End})
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
