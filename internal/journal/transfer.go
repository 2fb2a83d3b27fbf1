package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"logscan/internal/pipe"
)

// Splice holds the pipe's lock for as long as the write to the file takes, and the
// pipe's writer spins meanwhile. So where much comes, frames are copied instead:
//
//  1. look at what is in the pipe, without taking it (tee)
//  2. note in the container's directory that it will be written, and where
//  3. write it to the segment
//  4. note that it is written
//  5. take it out of the pipe, in one system call
//
// A kill before 4 leaves bytes in the file that are still in the pipe: they are
// cut off when the journal is opened. A kill between 4 and 5 leaves whole frames
// in both: what the next process finds at the pipe's head is compared with what
// the note says was written last, and taken out if it is the same. It can't be
// the same by chance, since it begins with a frame and so with its time in
// nanoseconds. Readers see the frames when all of this is done.

const (
	// transferMin is how many bytes a turn has to take for the next one to be a
	// transfer. Splice is quicker below.
	transferMin = 32 << 10
	// sureLen is how many bytes at a pipe's head that are those written last
	// show that all of these are still in it: a frame's header, source and time.
	sureLen = 64
)

// note is what a container's directory says about its latest transfer:
//
//	transfer, written before and after a turn that copies, integers big-endian:
//	+--------------+-------------+--------------+---------------+--------+
//	| phase uint32 | base uint64 | start uint64 | length uint32 | crc32c |  28 bytes
//	+--------------+-------------+--------------+---------------+--------+
//
// Base is the segment's; phase is 1 while the bytes are being written, 2 when they
// are but may still be in the pipe too, and 0 where there is nothing to know.
type note struct {
	phase  uint32
	base   int64 // of the segment
	start  int64 // in its file
	length int   // bytes
}

const (
	noteLen = 28

	phaseNone    = 0
	phaseWriting = 1 // the file may have it, or a part of it; all of it is in the pipe
	phaseWritten = 2 // the file has it, and the pipe may have it too
)

func (n note) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, n.phase)
	b = binary.BigEndian.AppendUint64(b, uint64(n.base))
	b = binary.BigEndian.AppendUint64(b, uint64(n.start))
	b = binary.BigEndian.AppendUint32(b, uint32(n.length))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeNote returns a note of phaseNone for what is none.
func decodeNote(b []byte) note {
	if len(b) != noteLen || crc32.Checksum(b[:noteLen-4], castagnoli) != binary.BigEndian.Uint32(b[noteLen-4:]) {
		return note{}
	}
	return note{
		phase:  binary.BigEndian.Uint32(b),
		base:   int64(binary.BigEndian.Uint64(b[4:])),
		start:  int64(binary.BigEndian.Uint64(b[12:])),
		length: int(binary.BigEndian.Uint32(b[20:])),
	}
}

// transferLocked moves whole frames, max bytes of them at most, from the pipe fd
// to the end of the active segment. Where ok is false, it has done nothing, and
// splice is to do it. Where splice is refused, all that is whole goes this way.
func (w *Writer) transferLocked(fd, max int) (n int, ok bool, err error) {
	j := w.j
	act := j.active
	w.more = false
	least := transferMin
	if j.noSplice {
		least = 1
	}
	if w.flow < transferMin && !j.noSplice || max < least || act.need != 0 || act.behind || len(w.spill) > 0 {
		return 0, false, nil
	}
	m, err := pipe.TryMover()
	if err != nil {
		j.log.Debug("large turns are spliced", "err", err)
	}
	if m == nil {
		return 0, false, nil
	}
	defer m.Release()
	buf := buffers.Get().(*[]byte)
	kept := false
	defer func() {
		if !kept {
			buffers.Put(buf)
		}
	}()
	got, err := m.Peek(fd, (*buf)[:min(max, len(*buf))])
	if err != nil || got < least {
		return 0, false, nil
	}
	seg := j.segments[len(j.segments)-1]
	grown := *seg
	if _, err := grown.pass((*buf)[:got]); err != nil || grown.size == seg.size {
		return 0, false, nil
	}
	n = int(grown.size - seg.size)
	if err := j.noteLocked(note{phaseWriting, seg.base, act.size, n}); err != nil {
		return 0, false, nil
	}
	if k, err := unix.Pwrite(int(act.file.Fd()), (*buf)[:n], act.size); err != nil || k < n {
		act.stale = true
		if err == nil {
			err = unix.ENOSPC
		}
		// Splice comes to what is wrong, or writes what there is room for.
		return 0, j.noSplice, fmt.Errorf("write log: %w", err)
	}
	if err := j.noteLocked(note{phaseWritten, seg.base, act.size, n}); err != nil {
		act.stale = true
		return 0, true, fmt.Errorf("write log: %w", err)
	}
	if taken, err := m.Take(fd, n); taken < n {
		j.log.Error("take entries out of their FIFO", "container", j.id, "bytes", n, "taken", taken, "err", err)
		act.stale, act.behind = true, true
		act.size += int64(taken)
		j.owner = w
		return taken, true, err
	}
	at := seg.end()
	*seg = grown
	act.size = seg.size
	act.writePoints(seg)
	j.state.End = seg.end()
	w.more = got == len(*buf)
	kept = j.meta.Scan && j.fresh.add(at, buf, n)
	return n, true, nil
}

// noteLocked writes the note, which a kill doesn't tear: it lies in one page.
func (j *Journal) noteLocked(n note) error {
	act := j.active
	if act.note == nil {
		f, err := os.OpenFile(filepath.Join(j.path, noteName), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		act.note = f
	}
	j.noting = true // a write that fails may have been done all the same
	if _, err := act.note.WriteAt(n.encode(), 0); err != nil {
		return err
	}
	j.noting = n.phase == phaseWriting
	return nil
}

// clearNoteLocked makes sure that no note says that a transfer is being written,
// before something else is.
func (j *Journal) clearNoteLocked() error {
	if !j.noting {
		return nil
	}
	if err := j.noteLocked(note{}); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}

// recoverNote reads the note, and cuts off what a transfer had not finished
// writing. After an error it is not known what that was.
func (j *Journal) recoverNote() error {
	b, err := os.ReadFile(filepath.Join(j.path, noteName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		j.log.Error("what was written last is not known", "container", j.id, "err", err)
		return err
	}
	n := decodeNote(b)
	if n.phase == phaseWriting {
		j.noting = true
		seg := segmentPath(j.path, n.base, rawSuffix)
		info, err := os.Stat(seg)
		if err != nil || info.Size() <= n.start || info.Size() > n.start+int64(n.length) {
			return nil
		}
		if err := os.Truncate(seg, n.start); err == nil {
			return nil
		}
		n.phase, n.length = phaseWritten, int(info.Size()-n.start)
	}
	if n.phase == phaseWritten && 0 < n.length && n.length <= readSize {
		j.doubt = n
	}
	return nil
}

// settleLocked takes out of the pipe fd what the journal has already, where a kill
// came in between.
func (w *Writer) settleLocked(fd int) error {
	j, n := w.j, w.doubt
	written := make([]byte, n.length)
	f, err := openSegment(segmentPath(j.path, n.base, rawSuffix), os.O_RDONLY)
	if err == nil {
		_, err = f.ReadAt(written, n.start)
		f.Close()
	}
	if errors.Is(err, unix.EIO) {
		return err // it may pass
	}
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) && err != io.EOF {
			j.log.Error("what was written last can't be read", "container", j.id, "err", err)
		}
		w.doubt = note{}
		return nil
	}
	m, err := pipe.TheMover()
	if err != nil {
		return err
	}
	defer m.Release()
	ahead := make([]byte, n.length)
	got, err := m.Peek(fd, ahead)
	if err != nil && err != unix.EAGAIN {
		return err
	}
	w.doubt = note{}
	if got < min(n.length, sureLen) || !bytes.Equal(ahead[:got], written[:got]) {
		return nil
	}
	j.log.Info("entries that were written before a kill were still in their FIFO", "container", j.id, "bytes", n.length)
	_, err = pipe.Discard(fd, n.length)
	return err
}
