package private

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// mainCalled is set once by Main, before any Engine is started.
var mainCalled bool

// Main makes this program able to be the keeper of its Engines. In the keeper
// it does not return.
func Main() {
	mainCalled = true
	dir := os.Getenv(keeperEnv)
	if dir == "" {
		return
	}
	// Children get a signal when the *thread* that started them ends: the
	// main thread lives as long as the keeper.
	runtime.LockOSThread()
	os.Unsetenv(keeperEnv)
	c := child{dir: dir, out: os.NewFile(3, "reports"), mine: make(map[int]bool)}
	os.Exit(c.run())
}

// child is the keeper itself.
type child struct {
	dir string
	out *os.File

	// spawn keeps a process from being reaped before it is known.
	spawn sync.Mutex
	mine  map[int]bool // processes that were asked for and have not ended
}

func (c *child) run() int {
	syscall.CloseOnExec(3)
	// The parent's end is read from the pipe; an interrupt is not ours to obey,
	// and a report that nobody reads must not end the sweep.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		c.report(report{Error: fmt.Sprintf("becoming subreaper: %v", err)})
		return 1
	}
	go func() {
		for range children {
			c.reap()
		}
	}()

	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var req request
		if err := json.Unmarshal(in.Bytes(), &req); err != nil {
			c.report(report{Error: err.Error()})
			continue
		}
		if err := c.start(req); err != nil {
			c.report(report{Error: err.Error()})
		}
	}
	left := sweep(c.dir)
	rep := report{Swept: true}
	if len(left) > 0 {
		rep.Error = "left behind: " + strings.Join(left, "; ")
		fmt.Fprintln(os.Stderr, rep.Error)
	}
	c.report(rep)
	if rep.Error != "" {
		return 1
	}
	return 0
}

func (c *child) start(req request) error {
	log, err := os.OpenFile(req.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	path, err := exec.LookPath(req.Argv[0])
	if err != nil {
		return err
	}
	c.spawn.Lock()
	defer c.spawn.Unlock()
	p, err := os.StartProcess(path, req.Argv, &os.ProcAttr{
		Dir:   c.dir,
		Env:   append(req.Env, os.Environ()...), // of two with one name, the first counts
		Files: []*os.File{null, log, log},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return err
	}
	c.mine[p.Pid] = true
	c.report(report{Started: p.Pid})
	return p.Release()
}

// reap collects every descendant that has ended. Nobody else here waits for
// children.
func (c *child) reap() {
	c.spawn.Lock()
	defer c.spawn.Unlock()
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if c.mine[pid] {
			delete(c.mine, pid)
			status := fmt.Sprintf("exit status %d", ws.ExitStatus())
			if ws.Signaled() {
				status = "signal: " + ws.Signal().String()
			}
			c.report(report{Exited: pid, Status: status})
		}
	}
}

// report tells the parent. Whether it still listens doesn't matter.
func (c *child) report(r report) {
	line, err := json.Marshal(r)
	if err == nil {
		c.out.Write(append(line, '\n'))
	}
}
