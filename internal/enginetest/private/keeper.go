package private

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// keeperEnv tells the calling program that it is a keeper, and for which
// directory.
const keeperEnv = "LOGSCAN_ENGINE_KEEPER"

// sweepTime bounds how long a keeper may take to clean up.
const sweepTime = 60 * time.Second

// request is what the parent writes to its keeper, one JSON object a line.
type request struct {
	Argv []string `json:"argv"`
	Env  []string `json:"env"`
	Log  string   `json:"log"` // file that standard output and error go to
}

// report is what the keeper writes back: an answer to a request, the end of a
// process that was asked for, or, last of all, the outcome of the sweep.
type report struct {
	Started int    `json:"started,omitempty"`
	Exited  int    `json:"exited,omitempty"`
	Status  string `json:"status,omitempty"`
	Error   string `json:"error,omitempty"`
	Swept   bool   `json:"swept,omitempty"`
}

// keeper is the parent's side.
type keeper struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers chan report
	done    chan struct{} // closed when the keeper's reports have ended

	mu     sync.Mutex // guards what follows
	exits  map[int]chan struct{}
	status map[int]string
	swept  *report

	ask sync.Mutex // one request at a time
}

// startKeeper starts a keeper for dir, which it removes in the end.
func startKeeper(dir string) (*keeper, error) {
	if !mainCalled {
		return nil, errors.New("private.Main has not been called: call it first in main or TestMain")
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// What it says goes to a file: were it to hold our own standard error open,
	// `go test` would wait for it.
	log, err := os.Create(filepath.Join(dir, "keeper.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	k := &keeper{
		answers: make(chan report),
		done:    make(chan struct{}),
		exits:   make(map[int]chan struct{}),
		status:  make(map[int]string),
	}
	k.cmd = exec.Command(self)
	k.cmd.Env = append(os.Environ(), keeperEnv+"="+dir)
	k.cmd.Dir = "/"
	k.cmd.Stdout, k.cmd.Stderr = log, log
	k.cmd.ExtraFiles = []*os.File{w}
	// Its own session: an interrupt typed at the terminal is for the parent,
	// whose end the keeper then sees.
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if k.stdin, err = k.cmd.StdinPipe(); err != nil {
		r.Close()
		return nil, err
	}
	if err := k.cmd.Start(); err != nil {
		r.Close()
		return nil, err
	}
	go k.read(r)
	return k, nil
}

func (k *keeper) read(r io.ReadCloser) {
	defer close(k.done)
	defer r.Close()
	in := bufio.NewScanner(r)
	for in.Scan() {
		var rep report
		if json.Unmarshal(in.Bytes(), &rep) != nil {
			continue
		}
		switch {
		case rep.Swept:
			k.mu.Lock()
			k.swept = &rep
			k.mu.Unlock()
		case rep.Exited != 0:
			k.mu.Lock()
			k.status[rep.Exited] = rep.Status
			close(k.exit(rep.Exited))
			k.mu.Unlock()
		default:
			if rep.Started != 0 {
				k.mu.Lock()
				k.exits[rep.Started] = make(chan struct{}) // the number may have been another's before
				k.mu.Unlock()
			}
			k.answers <- rep
		}
	}
}

// exit returns the channel that is closed when pid ends. Caller holds k.mu.
func (k *keeper) exit(pid int) chan struct{} {
	c := k.exits[pid]
	if c == nil {
		c = make(chan struct{})
		k.exits[pid] = c
	}
	return c
}

// start runs a program under the keeper.
func (k *keeper) start(req request) (*Process, error) {
	k.ask.Lock()
	defer k.ask.Unlock()
	line, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	if _, err := k.stdin.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("asking the keeper: %w", err)
	}
	select {
	case rep := <-k.answers:
		if rep.Error != "" {
			return nil, errors.New(rep.Error)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		return &Process{PID: rep.Started, k: k, exited: k.exit(rep.Started)}, nil
	case <-k.done:
		return nil, errors.New("the keeper has ended")
	}
}

// close has the keeper sweep and waits for the outcome.
func (k *keeper) close() error {
	k.stdin.Close()
	timer := time.AfterFunc(sweepTime+10*time.Second, func() { k.cmd.Process.Kill() })
	defer timer.Stop()
	<-k.done
	err := k.cmd.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.swept == nil:
		return fmt.Errorf("the keeper ended without sweeping: %w", err)
	case k.swept.Error != "":
		return errors.New(k.swept.Error)
	}
	return nil
}

// Process is a program that runs under the keeper.
type Process struct {
	PID    int
	k      *keeper
	exited chan struct{}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.exited }

// Status says how the process ended.
func (p *Process) Status() string {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	return p.k.status[p.PID]
}

// Signal sends a signal, unless the process has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	select {
	case <-p.exited:
		return os.ErrProcessDone
	default:
		return syscall.Kill(p.PID, sig)
	}
}

// Stop sends a signal and waits; past the deadline it kills and says so.
func (p *Process) Stop(sig syscall.Signal, deadline time.Duration) error {
	if err := p.Signal(sig); err != nil {
		if errors.Is(err, os.ErrProcessDone) {
			return nil
		}
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(deadline):
	}
	p.Signal(syscall.SIGKILL)
	<-p.exited
	return fmt.Errorf("process %d did not end within %s of %s and was killed", p.PID, deadline, sig)
}
