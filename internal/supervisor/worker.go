package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// worker is the process that works.
type worker struct {
	log    *slog.Logger
	calls  *calls
	files  []*os.File // what it inherits besides its standard files and its end of the calls
	status Status
	hung   time.Duration // without a sign of life, after which it is killed
	hangs  int           // workers in a row that were

	mu       sync.Mutex // held while it is started, reaped or signalled
	pid      int        // 0: none
	stopping bool
	killed   string // why it was
	oomKills int64  // on this host, when it was started
}

// run starts a worker and waits until it has ended. As the first process of its
// namespace it also reaps whatever else ends.
func (w *worker) run() (why string, err error) {
	ours, theirs, err := pair()
	if err != nil {
		return "", fmt.Errorf("start: %w", err)
	}
	signs, err := newSigns()
	if err == nil {
		defer signs.Close()
		err = w.start(theirs, signs)
	}
	theirs.Close()
	if err != nil {
		ours.Close()
		return "", fmt.Errorf("start: %w", err)
	}
	var beside sync.WaitGroup
	ofItself := false
	defer func() {
		beside.Wait()
		w.calls.ended(ofItself)
	}()
	beside.Go(func() { w.calls.serve(ours) }) // it ends with the worker
	ended := make(chan struct{})
	defer close(ended)
	beside.Go(func() { w.watch(signs, ended) })
	for {
		// Only waits: reaping under the lock keeps a signal from reaching
		// another process that got the same id.
		if err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil && err != unix.EINTR {
			return "", fmt.Errorf("wait: %w", err)
		}
		if why, own, ended := w.reap(); ended {
			ofItself = own
			return why, nil
		}
	}
}

// pair makes the two ends over which calls are handed to a worker.
func pair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	theirs = os.NewFile(uintptr(fds[1]), "calls")
	f := os.NewFile(uintptr(fds[0]), "calls")
	defer f.Close()
	conn, err := net.FileConn(f) // a duplicate
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// start starts one. Its files are in the order that inherit.go tells.
func (w *worker) start(calls, signs *os.File) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopping {
		return context.Canceled
	}
	w.status.Files = len(w.files)
	status, err := json.Marshal(w.status)
	if err != nil {
		return err
	}
	// Not by its name: an upgrade may have put another program there.
	p, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{
		Env:   append(os.Environ(), statusEnv+"="+string(status)),
		Files: append([]*os.File{os.Stdin, os.Stdout, os.Stderr, callsFile: calls, signsFile: signs}, w.files...),
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return err
	}
	w.pid, w.killed, w.oomKills = p.Pid, "", oomKills()
	return p.Release()
}

// reap reaps what has ended. Of the worker it tells why, and whether it ended of
// itself: not because it was told to or somebody killed it.
func (w *worker) reap() (why string, ofItself, ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil || pid <= 0:
			return why, ofItself, ended
		case pid == w.pid:
			w.pid, ended = 0, true
			switch {
			case w.killed != "":
				why, ofItself = w.killed, true
			case ws.Signaled():
				why = "signal: " + ws.Signal().String()
				ofItself = ws.Signal() != syscall.SIGTERM && (ws.Signal() != syscall.SIGKILL || oomKills() > w.oomKills)
			default:
				why, ofItself = fmt.Sprintf("exit status %d", ws.ExitStatus()), ws.ExitStatus() != 0
			}
		}
	}
}

// oomKills returns how many processes the kernel has killed on this host for
// their memory: it does so by the same signal as anybody. 0: it doesn't say.
func oomKills() (n int64) {
	b, _ := os.ReadFile("/proc/vmstat")
	_, after, _ := strings.Cut(string(b), "\noom_kill ")
	fmt.Sscan(after, &n)
	return n
}

func (w *worker) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopping = true
	if w.pid != 0 {
		syscall.Kill(w.pid, syscall.SIGTERM)
	}
}
