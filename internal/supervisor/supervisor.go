// Package supervisor keeps the plugin alive, whatever its worker does.
//
// The Engine gives up on a plugin whose process ends within 500 ms of its
// start, and then nothing drains the containers' FIFOs. So the process that the
// Engine starts does nothing that could fail: it owns the listening sockets,
// starts this program again as its worker, which inherits them, and starts
// another whenever one ends. Connections wait in the sockets' backlog meanwhile.
// The worker is told how its predecessors ended (Status), and gets files that are
// to outlive it, such as memory.
//
// The Engine gives up on a call as well whose connection ends without an answer:
// it repeats it, but without its content. So the worker doesn't accept its calls
// itself. The supervisor does, hands each connection on, and keeps it open until
// the answer has begun; what the worker reads from it meanwhile goes to a file
// that outlives it. If it ends before, the next one gets the call, with all that
// was said (calls.go is the supervisor's part of that, handed.go the worker's).
// So a call may be carried out more than once, but it is answered once.
//
// A worker that hangs is worse than one that ends: it is killed when it gives no
// sign of life any more (watch.go).
//
// The Engine gives each plugin a process-id namespace: when the supervisor
// dies, the kernel ends the worker before the Engine learns of it. Outside such
// a namespace the worker gets SIGKILL when its supervisor ends.
//
// The worker, which is what reads anything from outside, has no capabilities but
// those named in confine.go, can write to nothing but the directories that it is
// given, where the kernel knows how (Landlock, Linux 6.2), and leaves no core
// dump.
package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"
)

const (
	// shortLife is what a worker has to outlive for its end not to count as
	// one more in a row.
	shortLife = 30 * time.Second
	// pauseMin and pauseMax bound the pause before a worker that follows several
	// short-lived ones. It stays short: a container's pipe is soon full.
	pauseMin = 10 * time.Millisecond
	pauseMax = 500 * time.Millisecond
)

// Config is a supervisor's.
type Config struct {
	SocketDir string
	Calls     string        // name in SocketDir of the socket whose connections are handed to the worker
	Sockets   []string      // names of those that it accepts at itself, in the order in which it gets them
	Files     []*os.File    // what else it gets, each worker the same; Run closes them
	Writable  []string      // directories that the worker may change things in
	Hung      time.Duration // a worker without a sign of life for so long is killed; default 30 s
	Logger    *slog.Logger
}

// Run keeps a worker running until ctx ends. Then it has the worker stop
// (SIGTERM), waits for its end and returns. An error says that there is no
// socket to listen on.
func Run(ctx context.Context, cfg Config) error {
	// The kernel ties the worker's life to the thread that started it.
	runtime.LockOSThread()
	confine(cfg.Logger)
	relax(cfg.Logger)
	if err := noCore(); err != nil {
		cfg.Logger.Warn("not prevented", "err", err)
	}
	syscall.Umask(0o077) // sockets and files are root's alone from their first instant
	var files []*os.File
	for _, name := range append([]string{cfg.Calls}, cfg.Sockets...) {
		l, err := Listen(cfg.SocketDir, name)
		if err != nil {
			return err
		}
		defer l.Close()
		f, err := l.File()
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	for _, f := range cfg.Files {
		defer f.Close()
	}
	if err := readOnlyBut(cfg.Writable); err != nil {
		cfg.Logger.Warn("the worker can write to more than it needs", "err", err)
	}
	// Nothing here needs memory from now on.
	debug.SetGCPercent(10)
	debug.FreeOSMemory()

	w := &worker{log: cfg.Logger, calls: newCalls(cfg.Logger), files: slices.Concat(files[1:], cfg.Files), hung: cmp.Or(cfg.Hung, hungDefault)}
	go func() {
		defer files[0].Close()
		if err := w.calls.accept(files[0]); ctx.Err() == nil {
			cfg.Logger.Error("calls are not accepted any more", "err", err)
		}
	}()
	defer context.AfterFunc(ctx, w.stop)()
	for ctx.Err() == nil {
		if st := w.status; st.InARow > 1 {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause(st.InARow)):
			}
		}
		start := time.Now()
		why, err := w.run()
		if err != nil {
			why = err.Error()
		}
		if ctx.Err() != nil {
			return nil
		}
		w.status.ended(start, time.Since(start), why)
		cfg.Logger.Error("the worker has ended; starting another", "why", why, "after", time.Since(start).Round(time.Millisecond), "restarts", w.status.Restarts, "in_a_row", w.status.InARow)
	}
	return nil
}

// pause is how long to wait before the worker that follows n short-lived ones.
func pause(n int) time.Duration {
	if n <= 1 {
		return 0
	}
	return min(pauseMin<<min(n-2, 16), pauseMax)
}

// Listen makes a unix socket that only root can connect to, replacing one left
// by a process that was killed.
func Listen(dir, name string) (*net.UnixListener, error) {
	path := filepath.Join(dir, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove stale socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
