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
	"sync"

	"golang.org/x/sys/unix"
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

// note is what a container's directory says about its latest transfer; doc.go has
// its format.
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

// siphon is what transfers need: a pipe to look through, and one to pour what was
// taken into.
type siphon struct {
	look, waste [2]int
	null        int
}

var siphons struct {
	sync.Mutex // held in use
	*siphon
}

func newSiphon() (*siphon, error) {
	s := &siphon{look: [2]int{-1, -1}, waste: [2]int{-1, -1}, null: -1}
	var err error
	if s.null, err = unix.Open(os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
		if err = unix.Pipe2(s.look[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err == nil {
			if err = unix.Pipe2(s.waste[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err == nil {
				err = s.size()
			}
		}
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("pipes to look through: %w", err)
	}
	return s, nil
}

// size gives both pipes as many buffers as the largest has, where that is allowed;
// and makes them alike, so that what was looked at can be taken at once.
func (s *siphon) size() error {
	least := 1 << 20
	for _, fd := range []int{s.look[0], s.waste[0]} {
		for size := 1 << 20; size > 64<<10; size /= 2 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, size); err == nil {
				break
			}
		}
		size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
		if err != nil {
			return err
		}
		least = min(least, size)
	}
	_, err := unix.FcntlInt(uintptr(s.look[0]), unix.F_SETPIPE_SZ, least)
	return err
}

func (s *siphon) close() {
	for _, fd := range []int{s.look[0], s.look[1], s.waste[0], s.waste[1], s.null} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// openSiphon returns the siphon, whose lock the caller holds.
func openSiphon() (*siphon, error) {
	if siphons.siphon == nil {
		s, err := newSiphon()
		if err != nil {
			return nil, err
		}
		siphons.siphon = s
	}
	return siphons.siphon, nil
}

// reset gives up the siphon, with whatever is left in it.
func (s *siphon) reset() {
	s.close()
	siphons.siphon = nil
}

// peek is peekThrough, which may leave something in the pipe where it fails.
func (s *siphon) peek(fd int, b []byte) (int, error) {
	n, err := peekThrough(s.look, fd, b)
	if err != nil && err != unix.EAGAIN {
		s.reset()
	}
	return n, err
}

// take takes n bytes out of the pipe fd, which has them, and returns how many it
// took. All go by one system call, which a kill doesn't interrupt.
func (s *siphon) take(fd, n int) (taken int, err error) {
	m, err := unix.Splice(fd, nil, s.waste[1], nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	if taken = max(int(m), 0); taken < n {
		rest, err := discard(fd, n-taken)
		s.reset()
		return taken + rest, err
	}
	for left := taken; left > 0; {
		m, err := unix.Splice(s.waste[0], nil, s.null, nil, left, unix.SPLICE_F_NONBLOCK)
		if err != nil && err != unix.EINTR || err == nil && m == 0 {
			s.reset()
			break
		}
		left -= int(max(m, 0))
	}
	return taken, nil
}

// discard reads n bytes from the pipe fd, which has them.
func discard(fd, n int) (int, error) {
	buf := make([]byte, n)
	for {
		m, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		return max(m, 0), err
	}
}

// transferLocked moves whole frames, max bytes of them at most, from the pipe fd
// to the end of the active segment. Where ok is false, it has done nothing, and
// splice is to do it. Where splice is refused, all that is whole goes this way.
func (a *Attachment) transferLocked(fd, max int) (n int, ok bool, err error) {
	j := a.j
	act := j.active
	a.more = false
	least := transferMin
	if j.noSplice {
		least = 1
	}
	if a.flow < transferMin && !j.noSplice || max < least || act.need != 0 || act.behind || len(a.spill) > 0 || !siphons.TryLock() {
		return 0, false, nil
	}
	defer siphons.Unlock()
	s, err := openSiphon()
	if err != nil {
		j.log.Debug("large turns are spliced", "err", err)
		return 0, false, nil
	}
	buf := buffers.Get().(*[]byte)
	kept := false
	defer func() {
		if !kept {
			buffers.Put(buf)
		}
	}()
	got, err := s.peek(fd, (*buf)[:min(max, len(*buf))])
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
	if m, err := unix.Pwrite(int(act.file.Fd()), (*buf)[:n], act.size); err != nil || m < n {
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
	if taken, err := s.take(fd, n); taken < n {
		j.log.Error("take entries out of their FIFO", "container", j.id, "bytes", n, "taken", taken, "err", err)
		act.stale, act.behind = true, true
		act.size += int64(taken)
		j.owner = a
		return taken, true, err
	}
	at := seg.end()
	*seg = grown
	act.size = seg.size
	act.writePoints(seg)
	j.state.End = seg.end()
	a.more = got == len(*buf)
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
func (a *Attachment) settleLocked(fd int) error {
	j, n := a.j, a.doubt
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
		a.doubt = note{}
		return nil
	}
	siphons.Lock()
	defer siphons.Unlock()
	s, err := openSiphon()
	if err != nil {
		return err
	}
	ahead := make([]byte, n.length)
	got, err := s.peek(fd, ahead)
	if err != nil && err != unix.EAGAIN {
		return err
	}
	a.doubt = note{}
	if got < min(n.length, sureLen) || !bytes.Equal(ahead[:got], written[:got]) {
		return nil
	}
	j.log.Info("entries that were written before a kill were still in their FIFO", "container", j.id, "bytes", n.length)
	_, err = discard(fd, n.length)
	return err
}
