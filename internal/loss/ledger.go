// Package loss sums up what could not be kept until an event tells of it, in
// memory that the supervisor holds: what a worker that is killed had not told,
// the next one tells. A file would be no place for it: lines are lost where the
// disk is full.
//
// What it promises, whenever the process is killed:
//   - What was added is told once. Take and Told stand before and after the
//     commit of the events; what was killed between them is found as a batch, of
//     which the event log says whether it was told.
//   - What Drop takes out of a pipe counts if, and only if, it has gone from it.
//   - What Expect was told of, and not what became of it, is asked for at the next
//     start.
//   - It is bounded: containers beyond a thousand are summed up together.
//
// What was not told when a process stops, it leaves in a file to the next one
// (Save). What it doesn't: outlive a supervisor that is killed.
package loss

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Key is what is summed up: one container's losses for one reason.
type Key struct {
	Container string // empty: of several
	Reason    string
}

// Sum is how much was lost.
type Sum struct{ Times, Bytes, Frames int64 }

// Ledger holds the sums. All methods are safe concurrently, and none blocks.
type Ledger struct {
	mu    sync.Mutex // guards all below, the table included
	t     *table     // nil once closed
	mem   []byte     // where it is, if not in this process's own memory
	slots map[Key]int
	free  []int // slots; the last few of them are for no container
	drain pipe
	room  int // the drain's size
	buf   []byte
	path  string   // of the file for what isn't told in the end; empty: none
	file  *os.File // nil until it is open
}

// pipe is where what is taken out of a FIFO goes; it is empty but for Drop. There
// is none where nothing is to outlive the process.
type pipe struct{ r, w *os.File }

// Files makes what a supervisor is to hand to each worker, for Open.
func Files() ([]*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("losses", flags|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL { // before Linux 6.3
		fd, err = unix.MemfdCreate("losses", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("memory for losses: %w", err)
	}
	mem := os.NewFile(uintptr(fd), "losses")
	if err := mem.Truncate(int64(tableSize)); err != nil {
		mem.Close()
		return nil, fmt.Errorf("memory for losses: %w", err)
	}
	// A worker that made it shorter would take the next ones along.
	if _, err := unix.FcntlInt(mem.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		mem.Close()
		return nil, fmt.Errorf("memory for losses: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		mem.Close()
		return nil, fmt.Errorf("pipe for losses: %w", err)
	}
	return []*os.File{mem, r, w}, nil
}

// New holds sums that are gone with this process.
func New() *Ledger {
	l := &Ledger{t: new(table), slots: map[Key]int{}}
	l.recover(0)
	return l
}

// Open takes over what the processes before added and have not told. The files
// are its own from now on.
func Open(files []*os.File) (l *Ledger, err error) {
	defer func() {
		for i, f := range files {
			if i == 0 || err != nil { // the memory stays without it
				f.Close()
			}
		}
		if err != nil {
			l, err = nil, fmt.Errorf("losses: %w", err)
		}
	}()
	if len(files) != 3 {
		return nil, fmt.Errorf("%d files", len(files))
	}
	info, err := files[0].Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() != int64(tableSize) {
		return nil, fmt.Errorf("%d bytes instead of %d", info.Size(), tableSize)
	}
	moved, err := unix.IoctlGetInt(int(files[1].Fd()), unix.TIOCINQ)
	if err != nil {
		return nil, err
	}
	room, err := unix.FcntlInt(files[2].Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		return nil, err
	}
	l = &Ledger{slots: map[Key]int{}, drain: pipe{files[1], files[2]}, room: room}
	if l.mem, err = unix.Mmap(int(files[0].Fd()), 0, tableSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, err
	}
	l.t = (*table)(unsafe.Pointer(unsafe.SliceData(l.mem)))
	l.recover(int64(moved))
	return l, l.empty(moved)
}

// Close gives up the memory and the pipe. Nothing is added after it; no other
// method is called.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if l.file != nil {
		err = l.file.Close()
		l.file = nil
	}
	if l.t = nil; l.mem == nil {
		return err
	}
	mem := l.mem
	l.mem = nil
	return errors.Join(err, unix.Munmap(mem), l.drain.r.Close(), l.drain.w.Close())
}

// recover finishes what a kill interrupted. There are moved bytes in the drain.
func (l *Ledger) recover(moved int64) {
	clear(l.slots)
	l.free = nil
	for i := range l.t.slots {
		s := &l.t.slots[i]
		k, ok := s.key()
		n := s.now()
		if ok = ok && n.sane(); ok && l.t.batch.Load() == 0 {
			ok = n.telling == Sum{}
		}
		if !ok {
			s.free()
			continue
		}
		l.slots[k] = i
	}
	t := &l.t.taking
	if i := t.slot.Load() - 1; moved > 0 && i >= 0 && i < int64(len(l.t.slots)) {
		if s := &l.t.slots[i]; s.lengths.Load() != 0 && s.turn.Load() == t.turn {
			l.took(s, moved)
		}
	}
	t.slot.Store(0)
	for i := len(l.t.slots) - 1; i >= 0; i-- { // the first ones are used first
		if s := &l.t.slots[i]; s.lengths.Load() == 0 {
			l.free = append(l.free, i)
		} else {
			l.tidyLocked(i)
		}
	}
}

// slotLocked returns the slot of k, or where it is summed up instead.
func (l *Ledger) slotLocked(k Key) (i int, known bool) {
	k.Container = k.Container[:min(len(k.Container), containerMax)]
	k.Reason = k.Reason[:min(len(k.Reason), reasonMax)]
	if i, known = l.slots[k]; known {
		return i, true
	}
	n := len(l.free)
	if k.Container != "" && n <= severalMax {
		return l.slotLocked(Key{Reason: k.Reason})
	}
	if n == 0 { // more reasons than there are
		for _, i := range l.slots {
			return i, true
		}
	}
	i, l.free = l.free[n-1], l.free[:n-1]
	l.t.slots[i].use(k)
	l.slots[k] = i
	return i, false
}

// Add adds what was lost, and reports whether nothing of it waited to be told.
func (l *Ledger) Add(k Key, sum Sum) (fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t == nil {
		return false
	}
	i, _ := l.slotLocked(k)
	s := &l.t.slots[i]
	n := s.now()
	fresh = n.nothing()
	n.untold = n.untold.plus(sum)
	s.set(n)
	return fresh
}

// Expected is what may be lost: a part of a log that was to be removed.
type Expected struct {
	Key
	Sum
	From, To int64 // offsets
}

// Expect says what is about to be lost, until Happened. Of each key there is one
// at a time. Where there is no room for more containers, it is not noted.
func (l *Ledger) Expect(e Expected) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t == nil {
		return
	}
	i, _ := l.slotLocked(e.Key)
	s := &l.t.slots[i]
	if k, _ := s.key(); k == e.Key {
		n := s.now()
		n.expected, n.from, n.to = e.Sum, e.From, e.To
		s.set(n)
	}
}

// Happened says whether it was lost. It is added then, and reported whether
// nothing of its key waited to be told.
func (l *Ledger) Happened(e Expected, lost bool) (fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t == nil {
		return false
	}
	i, _ := l.slotLocked(e.Key)
	s := &l.t.slots[i]
	n := s.now()
	fresh = lost && n.nothing()
	if lost {
		n.untold = n.untold.plus(e.Sum)
	}
	if k, _ := s.key(); k == e.Key {
		n.expected, n.from, n.to = Sum{}, 0, 0
	}
	s.set(n)
	l.tidyLocked(i)
	return fresh
}

// OpenEnds returns what was about to be lost when a process was killed.
func (l *Ledger) OpenEnds() (out []Expected) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, i := range l.slots {
		if n := l.t.slots[i].now(); n.expected != (Sum{}) {
			out = append(out, Expected{k, n.expected, n.from, n.to})
		}
	}
	return out
}

// Room returns the size, in bytes, of the pipe through which Drop takes what is
// lost; 0 where there is none.
func (l *Ledger) Room() int {
	return l.room
}

// Drop takes what is lost out of a non-blocking pipe: sum.Bytes bytes of fd, or as
// many as it returns, because there were no more or because of Room. It adds them,
// and sum's frames if it got all, and reports whether nothing of it waited to be
// told.
func (l *Ledger) Drop(fd int, k Key, sum Sum) (taken int, fresh bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t == nil {
		return 0, false, os.ErrClosed
	}
	i, _ := l.slotLocked(k)
	s, t := &l.t.slots[i], &l.t.taking
	fresh = s.now().nothing()
	t.turn, t.bytes, t.times, t.frames = s.turn.Load(), sum.Bytes, sum.Times, sum.Frames
	t.slot.Store(int64(i) + 1)
	taken, err = l.drainLocked(fd, int(sum.Bytes))
	if taken > 0 {
		l.took(s, int64(taken))
	}
	t.slot.Store(0)
	l.tidyLocked(i)
	if err != nil || l.mem == nil {
		return max(taken, 0), fresh, err
	}
	return taken, fresh, l.empty(taken)
}

// drainLocked moves n bytes of the pipe fd into the drain, within the kernel and
// at once: they are in the one or in the other.
func (l *Ledger) drainLocked(fd, n int) (int, error) {
	if l.mem == nil {
		return unix.Read(fd, l.buffer(n))
	}
	m, err := unix.Splice(fd, nil, int(l.drain.w.Fd()), nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	return int(m), err
}

// took adds what came into the drain; l.t.taking says what it is.
func (l *Ledger) took(s *slot, bytes int64) {
	t := &l.t.taking
	sum := Sum{t.times, bytes, 0}
	if bytes == t.bytes {
		sum.Frames = t.frames
	}
	n := s.now()
	n.untold = n.untold.plus(sum)
	s.set(n)
}

// empty throws away the n bytes in the drain.
func (l *Ledger) empty(n int) error {
	for n > 0 {
		m, err := l.drain.r.Read(l.buffer(n))
		if err != nil {
			return err
		}
		n -= m
	}
	return nil
}

// buffer returns room for n bytes, or for some of them.
func (l *Ledger) buffer(n int) []byte {
	if l.buf == nil {
		l.buf = make([]byte, 64<<10)
	}
	return l.buf[:min(n, len(l.buf))]
}

// Batch returns what is being told, as Take did; zero: nothing is.
func (l *Ledger) Batch() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.t.batch.Load()
}

// Waiting returns of which keys there is something to tell.
func (l *Ledger) Waiting() (keys []Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, i := range l.slots {
		if (l.t.slots[i].now().untold != Sum{}) {
			keys = append(keys, k)
		}
	}
	return keys
}

// Take returns what there is to tell of those keys, until Told or PutBack; there
// is no batch yet. The batch is the time in nanoseconds, and is to be found in
// the events.
func (l *Ledger) Take(now time.Time, keys []Key) (batch int64, told map[Key]Sum) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch, told = now.UnixNano(), map[Key]Sum{}
	l.t.batch.Store(batch)
	for _, k := range keys {
		i, ok := l.slots[k]
		if !ok {
			continue
		}
		s := &l.t.slots[i]
		n := s.now()
		told[k] = n.untold
		n.untold, n.telling = Sum{}, n.untold
		s.set(n)
	}
	return batch, told
}

// Told says that the batch's events are stored.
func (l *Ledger) Told() {
	l.endBatch(func(n sums) Sum { return n.untold })
}

// PutBack says that the batch's events are not stored, and never will be.
func (l *Ledger) PutBack() {
	l.endBatch(func(n sums) Sum { return n.untold.plus(n.telling) })
}

func (l *Ledger) endBatch(end func(sums) (untold Sum)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range l.slots {
		s := &l.t.slots[i]
		if n := s.now(); n.telling != (Sum{}) {
			untold := end(n)
			n.untold, n.telling = untold, Sum{}
			s.set(n)
			l.tidyLocked(i)
		}
	}
	l.t.batch.Store(0)
}

// tidyLocked frees a slot that holds nothing.
func (l *Ledger) tidyLocked(i int) {
	s := &l.t.slots[i]
	if k, ok := s.key(); ok && s.now() == (sums{}) {
		s.free()
		delete(l.slots, k)
		l.free = append(l.free, i)
	}
}
