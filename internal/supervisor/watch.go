package supervisor

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// hungDefault is Config.Hung's.
	hungDefault = 30 * time.Second
	// checks is how many of the supervisor's looks in a row have to find no sign
	// of life. It counts looks, not time: where the machine sleeps, or neither
	// process gets to run, none passes.
	checks = 30
	// patienceMax is how many times a worker gets twice the time of the one
	// before, which was killed: what it takes that long for, such as a log that
	// takes minutes to open, is done in the end.
	patienceMax = 4
)

// newSigns makes what a worker gives its signs of life with: an eventfd, which
// counts them.
func newSigns() (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return os.NewFile(uintptr(fd), "signs of life"), nil
}

// watch kills the worker if it hangs, until it has ended.
func (w *worker) watch(signs *os.File, ended <-chan struct{}) {
	tick := time.NewTicker(w.hung / checks)
	defer tick.Stop()
	life := life{most: checks << min(w.hangs, patienceMax)}
	for {
		select {
		case <-ended:
			if life.begun && life.missed < life.most {
				w.hangs = 0
			}
			return
		case <-tick.C:
		}
		var count [8]byte
		n, _ := unix.Read(int(signs.Fd()), count[:])
		if life.hangs(n > 0, w.stopped) {
			w.hangs++
			w.kill(fmt.Sprintf("hung: no sign of life for %s", w.hung*time.Duration(life.most/checks)))
			<-ended
			return
		}
	}
}

// life is what the supervisor knows of a worker's.
type life struct {
	most   int  // looks without a sign
	begun  bool // there was a sign; before it, a start may take long
	missed int  // looks since the last one
}

// hangs takes one look: whether there was a sign since the last look, and, where
// there wasn't, whether the worker is stopped, which is somebody's wish. It
// reports whether the worker hangs.
func (l *life) hangs(sign bool, stopped func() bool) bool {
	switch {
	case sign:
		l.begun, l.missed = true, 0
	case l.begun && !stopped():
		l.missed++
	}
	return l.missed >= l.most
}

// stopped reports whether the worker was stopped by a signal or a debugger.
func (w *worker) stopped() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pid == 0 {
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.pid))
	if err != nil {
		return false
	}
	state := bytes.TrimLeft(b[bytes.LastIndexByte(b, ')')+1:], " ") // behind the name, which may be anything
	return len(state) > 0 && (state[0] == 'T' || state[0] == 't')
}

// kill ends the worker.
func (w *worker) kill(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pid != 0 {
		w.killed = why
		unix.Kill(w.pid, unix.SIGKILL)
	}
}
