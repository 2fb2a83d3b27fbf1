package journal

import (
	"errors"
	"io"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
)

const (
	// patience is how long lines wait in their FIFO for a disk that can't be
	// written to. A container blocks when its FIFO is full, so it is not long.
	patience = 5 * time.Second
	// stallAfter is how long an attachment may be inside a frame without going
	// on while another one of the same container waits for it.
	stallAfter = 30 * time.Second
	// writeAgain is how often writing is tried while lines are dropped.
	writeAgain = 100 * time.Millisecond
	// wellAfter is how many bytes must be written before a disk counts as
	// working again; an empty pipe will do as well.
	wellAfter = 256 << 10
)

// dropping is the state of an attachment whose lines can't be kept: what it
// throws away, always up to the end of a frame.
type dropping struct {
	trouble time.Time // since when writing fails; zero where it doesn't
	tried   time.Time // when it last did
	wrote   int       // bytes since then
	on      bool      // patience is over: lines are dropped

	head []byte // the beginning of a header, of a frame that is not kept
	rest int    // bytes to come of a frame that is not kept
	lost bool   // in rubbish: the next frame is being looked for

	reason string // why
	goesOn bool   // what is not kept now is one loss with what was reported before
}

// inside reports whether the next byte belongs to a frame that is not kept.
func (d *dropping) inside() bool { return len(d.head) > 0 || d.rest > 0 || d.lost }

// pass returns how many bytes of b are not to be kept, at least one, and of
// them how many frames begin there and how many bytes are rubbish. A frame counts
// where it begins: a kill before its end leaves only rubbish of it.
func (d *dropping) pass(b []byte) (n int, frames int64, rubbish int) {
	switch {
	case d.lost:
		n, found := entry.Sync(b)
		d.lost = !found
		return n, 0, n
	case len(d.head) > 0:
		n = min(entry.HeaderLen-len(d.head), len(b))
		if d.head = append(d.head, b[:n]...); len(d.head) < entry.HeaderLen {
			return n, 0, 0
		}
		var err error
		d.rest, err = entry.BodyLen(d.head)
		if d.head, d.lost = nil, err != nil; !d.lost {
			frames = 1
		}
		return n, frames, 0
	case d.rest > 0:
		n = min(d.rest, len(b))
		d.rest -= n
		return n, 0, 0
	}
	for left := b; len(left) > 0; frames++ {
		frame, rest, err := entry.Next(left)
		switch {
		case err == nil:
			n, left = n+len(frame), rest
			continue
		case n > 0: // the next call deals with it
		case err == entry.ErrFrame:
			n, d.lost = 1, true
			rubbish = 1
		case len(b) < entry.HeaderLen:
			n, d.head = len(b), append([]byte(nil), b...)
		default: // larger than what is there
			size, _ := entry.BodyLen(b)
			n, d.rest = len(b), entry.HeaderLen+size-len(b)
			frames = 1
		}
		break
	}
	return n, frames, rubbish
}

// Stray returns an attachment for a container whose journal can't be opened, and
// why: it keeps its writer waiting, and then drops its lines, as where the disk
// can't be written to.
func (d *Dir) Stray(id string, why error) *Attachment {
	j := &Journal{dir: d, id: id, path: filepath.Join(d.cfg.Root, id), log: d.cfg.Logger, stray: why}
	return j.Attach(true)
}

// Dropping reports whether the attachment's lines are thrown away, because the
// disk could not be written to for some seconds: else the container would block.
// Only whole frames are; they are counted and reported at once.
func (a *Attachment) Dropping() bool {
	a.j.mu.Lock()
	defer a.j.mu.Unlock()
	return a.drop.on
}

// patientLocked notes that writing failed, does what can be done about it, and
// reports whether to wait longer. After false the pipe is at a frame's start, or
// inside one that is not kept.
func (a *Attachment) patientLocked(err error) bool {
	j, d, now := a.j, &a.drop, time.Now()
	if d.trouble.IsZero() {
		d.trouble, d.wrote = now, 0
	}
	d.tried = now
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		j.dir.makeRoom()
	} else if act := j.active; act != nil && act.need == 0 && !act.behind && act.size > 0 && act.cut() == nil {
		j.closeActive() // another file may have better luck
		j.dir.wakeUp()
	}
	if !d.on && now.Sub(d.trouble) < j.dir.patience {
		return true
	}
	if !d.on {
		d.on = true
		j.log.Error("the log can't be written; the newest lines are dropped", "container", j.id, "err", err)
	}
	// What a process before has begun is the attachment's, as it is where the disk
	// can be written to.
	if act := j.active; j.owner == a || act != nil && (act.need != 0 || act.behind) {
		a.giveUpLocked("dropped")
	}
	d.reason = "dropped"
	return false
}

// wroteLocked notes that n bytes were written.
func (a *Attachment) wroteLocked(fd, n int) {
	d := &a.drop
	if d.trouble.IsZero() {
		return
	}
	if d.wrote += n; d.wrote < wellAfter && Waiting(fd) == nil {
		return
	}
	if d.on {
		a.j.log.Info("the log can be written again", "container", a.j.id)
	}
	d.on, d.trouble, d.goesOn = false, time.Time{}, false
}

// overdueLocked reports whether the attachment that is inside a frame has kept
// this one waiting for too long. Then its frame is given up.
func (a *Attachment) overdueLocked() bool {
	j, now := a.j, time.Now()
	if size := j.active.size; a.waits.IsZero() || a.waitSize != size || now.Sub(a.waits) > 2*j.dir.stallAfter {
		a.waits, a.waitSize = now, size
	}
	if now.Sub(a.waits) < j.dir.stallAfter {
		return false
	}
	a.waits = time.Time{}
	j.owner.giveUpLocked("torn")
	return true
}

// giveUpLocked removes the frame that the attachment has begun and not finished;
// its rest won't be kept either.
func (a *Attachment) giveUpLocked(reason string) {
	j, d := a.j, &a.drop
	act, seg := j.active, j.segments[len(j.segments)-1]
	torn := act.size - seg.size
	frames := int64(0)
	switch {
	case act.behind:
		d.lost = true
	case torn >= entry.HeaderLen:
		d.rest, frames = int(act.need-act.size), 1
	case torn > 0:
		d.head = make([]byte, torn)
		if _, err := act.file.ReadAt(d.head, seg.size); err != nil {
			d.head, d.lost = nil, true
		}
	}
	j.truncateLocked()
	d.goesOn = d.goesOn && d.reason == reason
	d.reason = reason
	j.dir.loss(d.next(j.lossLocked(reason, torn, frames)))
}

// next marks what goes on with the loss before.
func (d *dropping) next(l Loss) Loss {
	l.More = d.goesOn
	d.goesOn = true
	return l
}

// resyncLocked removes what is no frame from the segment's end. Frames behind it
// are found again by how the Engine's begin.
func (a *Attachment) resyncLocked() (again int) {
	j := a.j
	act, seg := j.active, j.segments[len(j.segments)-1]
	tail := make([]byte, act.size-seg.size)
	_, err := act.file.ReadAt(tail, seg.size)
	j.truncateLocked()
	rubbish, found := len(tail), false
	if err == nil {
		n := 0
		n, found = entry.Sync(tail[1:])
		rubbish = n + 1
	}
	if a.drop.lost = !found; found {
		a.spill = append(tail[rubbish:], a.spill...)
		again = len(tail) - rubbish
	}
	j.dir.loss(j.lossLocked("corrupt", int64(rubbish), 0))
	return again
}

// dropLocked takes bytes that are not to be kept out of the pipe.
func (a *Attachment) dropLocked(fd int) (int, error) {
	j, d := a.j, &a.drop
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	b := a.spill
	if len(b) == 0 {
		n, err := peek(fd, *buf, j.dir.cfg.DropRoom)
		if err != nil {
			return 0, err
		}
		b = (*buf)[:n]
	}
	n, frames, rubbish := d.pass(b)
	var l Loss
	if rubbish > 0 {
		l = j.lossLocked("corrupt", int64(rubbish), 0)
	} else {
		l = d.next(j.lossLocked(d.reason, int64(n), frames))
	}
	if len(a.spill) > 0 {
		a.spill = append(a.spill[:0], a.spill[n:]...)
		j.dir.loss(l)
	} else {
		m, err := j.dir.drop(fd, (*buf)[:n], l)
		if err != nil || m != n { // nobody else reads it
			d.lost = true
			return max(m, 0), err
		}
	}
	if !d.on && !d.inside() {
		d.goesOn = false
	}
	return n, nil
}

// drop takes the len(b) bytes that l is out of the pipe fd, whose content b may
// be given, and reports l; of both as much as there is.
func (d *Dir) drop(fd int, b []byte, l Loss) (n int, err error) {
	if d.cfg.Drop != nil {
		n, err = d.cfg.Drop(fd, l)
	} else if n, err = unix.Read(fd, b); n > 0 && d.cfg.OnLoss != nil {
		d.cfg.OnLoss(l.first(n))
	}
	if n > 0 {
		d.count(l.first(n))
	}
	return n, err
}

// spyglass is a pipe into which peek duplicates what it looks at.
var spyglass struct {
	mu   sync.Mutex
	once sync.Once
	pipe [2]int
	room int // its size
	err  error
}

// peek reads from the pipe fd without taking anything out of it, so that a kill
// never comes between what was taken and what was known of it. It sees no more
// than goes through a pipe of that size at once; zero is any.
func peek(fd int, b []byte, room int) (int, error) {
	s := &spyglass
	s.once.Do(func() {
		if s.err = unix.Pipe2(s.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); s.err == nil {
			s.room, s.err = unix.FcntlInt(uintptr(s.pipe[0]), unix.F_GETPIPE_SZ, 0)
		}
	})
	if s.err != nil {
		return 0, s.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if room > 0 && room < s.room {
		var err error
		if s.room, err = unix.FcntlInt(uintptr(s.pipe[0]), unix.F_SETPIPE_SZ, room); err != nil {
			return 0, err
		}
	}
	n, err := peekThrough(s.pipe, fd, b)
	if err != nil {
		return 0, pipeError(err)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// peekThrough reads what is in the pipe fd, at most len(b) bytes, without taking
// it: it duplicates it into another pipe, which is empty before and, but for an
// error, after it. 0 bytes mean that fd is empty and nobody can write to it.
func peekThrough(pipe [2]int, fd int, b []byte) (int, error) {
	n, err := unix.Tee(fd, pipe[1], len(b), unix.SPLICE_F_NONBLOCK)
	if err != nil {
		return 0, err
	}
	for got := 0; got < int(n); {
		m, err := unix.Read(pipe[0], b[got:n])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, err
		}
		got += m
	}
	return int(n), nil
}
