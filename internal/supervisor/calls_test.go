package supervisor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Where a worker ends, each time that a call comes so far, as long as a file of
// that name is in its directory.
const (
	dieAccepted = "die-accepted" // nothing was read
	dieHalf     = "die-half"     // a part of it was
	dieRead     = "die-read"     // all of it
	dieDone     = "die-done"     // it was carried out
	dieAnswered = "die-answered" // and answered
	dieStream   = "die-stream"   // a part of a long answer was sent
)

// filesEnv is how many files a worker may have open.
const filesEnv = "SUPERVISOR_TEST_FILES"

// die ends the process, once for each byte in the named file.
func die(dir, at string) {
	file := filepath.Join(dir, at)
	info, err := os.Stat(file)
	if err != nil || info.Size() == 0 || os.Truncate(file, info.Size()-1) != nil {
		return
	}
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// answerCalls serves HTTP on l as the log driver does. A call is noted in the
// directory when it is carried out, and its answer is the digest of what was
// said.
func answerCalls(l net.Listener, dir string) {
	notes, err := os.OpenFile(filepath.Join(dir, "notes"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	note := func(line string) {
		if _, err := notes.WriteString(line + "\n"); err != nil {
			panic(err)
		}
	}
	if most, err := strconv.ParseUint(os.Getenv(filesEnv), 10, 64); err == nil {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			panic(err)
		}
	}
	http.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for n := range 3 {
			fmt.Fprintf(w, "%d\n", n)
			http.NewResponseController(w).Flush()
			die(dir, dieStream)
		}
	})
	http.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) { // until the caller leaves
		io.Copy(io.Discard, r.Body)
		note("waits")
		<-r.Context().Done()
		note("left")
	})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		digest := sha256.New()
		if n, err := io.Copy(digest, io.LimitReader(r.Body, 10)); err == nil && n == 10 {
			die(dir, dieHalf)
		}
		if _, err := io.Copy(digest, r.Body); err != nil {
			return
		}
		die(dir, dieRead)
		sum := hex.EncodeToString(digest.Sum(nil))
		note(sum)
		die(dir, dieDone)
		io.WriteString(w, sum)
	})
	srv := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	srv.SetKeepAlivesEnabled(false)
	panic(srv.Serve(dyingListener{l, dir}))
}

type dyingListener struct {
	net.Listener
	dir string
}

func (l dyingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	die(l.dir, dieAccepted)
	return dyingConn{c.(*handedConn), l.dir}, nil
}

type dyingConn struct {
	*handedConn
	dir string
}

// Write ends the process between the answer and what is said of it.
func (c dyingConn) Write(b []byte) (int, error) {
	if info, err := os.Stat(filepath.Join(c.dir, dieAnswered)); err == nil && info.Size() > 0 {
		c.handedConn.UnixConn.Write(b)
		die(c.dir, dieAnswered)
	}
	return c.handedConn.Write(b)
}

func (p *plugin) notes() []string {
	b, _ := os.ReadFile(filepath.Join(p.dir, "notes"))
	return strings.Fields(string(b))
}

func (p *plugin) dial() net.Conn {
	p.t.Helper()
	c, err := net.Dial("unix", filepath.Join(p.dir, "calls.sock"))
	if err != nil {
		p.t.Fatalf("the socket has gone: %v", err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

// dies has n workers end at a place.
func (p *plugin) dies(at string, n int) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, at), make([]byte, n), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// client makes each call on a connection of its own, and none twice.
func (p *plugin) client() *http.Client { return callerTo(filepath.Join(p.dir, "calls.sock")) }

func callerTo(socket string) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
}

// say says something and checks that the answer is to that.
func say(client *http.Client, said []byte) error {
	resp, err := client.Post("http://plugin/", "text/plain", bytes.NewReader(said))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if sum := sha256.Sum256(said); err == nil && string(b) != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("%s: %.100q to %d bytes", resp.Status, b, len(said))
	}
	return err
}

// A call whose worker ends is carried out by the next one, whenever that is: the
// caller notices nothing.
func TestACallOutlivesItsWorkers(t *testing.T) {
	for _, at := range []string{dieAccepted, dieHalf, dieRead, dieDone, dieAnswered} {
		for _, size := range []int{100, 3 << 20} { // the second doesn't fit into a socket
			t.Run(fmt.Sprint(at, " ", size), func(t *testing.T) {
				t.Parallel()
				p := start(t)
				files := p.files()
				const deaths = 3
				p.dies(at, deaths)
				said := make([]byte, size)
				rand.NewChaCha8([32]byte{byte(size)}).Read(said)
				if err := say(p.client(), said); err != nil {
					t.Fatal(err)
				}
				carried := 1
				if at == dieDone || at == dieAnswered {
					carried += deaths
				}
				p.eventually("the workers' ends", func() bool {
					a, err := p.ask("a", "who")
					return err == nil && a.Status.Restarts == deaths
				})
				p.eventually("the call being carried out", func() bool { return len(p.notes()) == carried })
				p.closes(files)
			})
		}
	}
}

// An answer that is sent in parts ends with its worker, and isn't begun again.
func TestALongAnswerEndsWithItsWorker(t *testing.T) {
	p := start(t)
	files := p.files()
	p.dies(dieStream, 1)
	resp, err := p.client().Post("http://plugin/stream", "text/plain", strings.NewReader("said"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); string(b) != "0\n" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", b, err)
	}
	if err := say(p.client(), []byte("said")); err != nil {
		t.Error(err)
	}
	p.closes(files)
}

// A worker hears that a caller has left, also of a call that it got from another.
func TestACallerThatLeavesIsNoticed(t *testing.T) {
	p := start(t)
	files := p.files()
	c := p.dial()
	io.WriteString(c, "POST /wait HTTP/1.1\r\nHost: plugin\r\nContent-Length: 4\r\n\r\nsaid")
	const deaths = 2
	for n := range deaths + 1 {
		p.eventually("the call being carried out", func() bool { return len(p.notes()) == n+1 })
		if n < deaths {
			syscall.Kill(p.who("a").PID, syscall.SIGKILL)
		}
	}
	c.Close()
	p.eventually("its end", func() bool { return strings.Join(p.notes(), " ") == "waits waits waits left" })
	p.closes(files)
}

// A thousand callers that say nothing, or half of a call, hinder nobody, neither
// before nor after their worker ends, and leave nothing open.
func TestManySilentCallers(t *testing.T) {
	p := start(t)
	files := p.files()
	said := "POST / HTTP/1.1\r\nHost: plugin\r\nContent-Length: 50\r\n\r\nand so on"
	const callers = 1000
	var conns []net.Conn
	for n := range callers {
		c := p.dial()
		io.WriteString(c, said[:n%len(said)])
		conns = append(conns, c)
	}
	for n := range 3 {
		if err := say(p.client(), []byte("said")); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			syscall.Kill(p.who("a").PID, syscall.SIGKILL)
		}
	}
	if n := p.files(); n < files+2*callers {
		t.Errorf("%d files are open, and were %d before", n, files)
	}
	for _, c := range conns[:callers/2] {
		c.Close()
	}
	for _, c := range conns[callers/2:] { // they are answered that this is no call
		c.(*net.UnixConn).CloseWrite()
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	p.closes(files)
	if err := say(p.client(), []byte("said")); err != nil {
		t.Fatal(err)
	}
}

// files returns how many files the supervisor has open while a worker runs.
func (p *plugin) files() int {
	p.t.Helper()
	p.who("a")
	return openFiles(p.t, p.cmd.Process.Pid)
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// closes waits until the supervisor has no more files open than n.
func (p *plugin) closes(n int) {
	p.t.Helper()
	p.eventually(fmt.Sprint("no more than ", n, " files open"), func() bool { return p.files() <= n })
}

// hands is a supervisor's part in calls, in this process, with workers that are
// started and killed as a test likes.
type hands struct {
	*plugin
	calls   *calls
	sockets []*os.File
	crash   bool // workers end of themselves
}

func startHands(t *testing.T, set func(*calls)) *hands {
	t.Helper()
	h := &hands{plugin: &plugin{t: t, dir: t.TempDir()}, calls: newCalls(slog.New(slog.DiscardHandler))}
	set(h.calls)
	for _, name := range []string{"calls.sock", "a.sock", "b.sock"} {
		l, err := Listen(h.dir, name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		h.sockets = append(h.sockets, f)
	}
	go h.calls.accept(h.sockets[0])
	return h
}

// worker starts a worker. It can be killed, or waited for until it ends.
func (h *hands) worker() (kill, wait func()) {
	h.t.Helper()
	ours, theirs, err := pair()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), dirEnv+"="+h.dir, statusEnv+"={}")
	cmd.Stderr = os.Stderr
	signs, err := newSigns()
	if err != nil {
		h.t.Fatal(err)
	}
	defer signs.Close()
	cmd.ExtraFiles = append([]*os.File{theirs, signs}, h.sockets[1:]...)
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	theirs.Close()
	ended := make(chan struct{})
	go func() {
		h.calls.serve(ours)
		cmd.Wait()
		h.calls.ended(h.crash)
		close(ended)
	}()
	wait = func() { <-ended }
	kill = func() {
		cmd.Process.Kill()
		wait()
	}
	h.t.Cleanup(kill)
	return kill, wait
}

// Workers are killed at any instant, while calls of all sizes come from all
// sides, in pieces. Each call is answered, and with what belongs to it.
func TestKilledWorkersLoseNoCall(t *testing.T) {
	const kills = 150
	h := startHands(t, func(c *calls) {})
	var answered atomic.Int64
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for n := range 8 {
		callers.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(n)))
			client := h.client()
			for {
				select {
				case <-stop:
					return
				default:
				}
				said := bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(1<<rnd.IntN(18)+1))
				if err := say(client, said); err != nil {
					t.Error(err)
					return
				}
				answered.Add(1)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(2, 2))
	for n := range kills {
		before, more := answered.Load(), time.Duration(rnd.IntN(20_000))*time.Microsecond
		kill, _ := h.worker()
		for n%4 > 0 && answered.Load() == before && !t.Failed() { // the others don't get so far
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(more)
		kill()
	}
	close(stop)
	h.worker()
	callers.Wait()
	t.Logf("%d calls answered by %d workers", answered.Load(), kills+1)
}

// A call that ends each worker that has it is given up in the end.
func TestADeadlyCallIsGivenUp(t *testing.T) {
	for crash, most := range map[bool]int{true: endedMax, false: hadMax} {
		t.Run(fmt.Sprint("of itself ", crash), func(t *testing.T) {
			h := startHands(t, func(*calls) {})
			h.crash = crash
			h.dies(dieRead, most+1)
			given := make(chan error, 1)
			go func() { given <- say(h.client(), []byte("deadly")) }()
			for range most {
				_, wait := h.worker()
				wait()
			}
			if err := <-given; err == nil {
				t.Error("it was answered")
			}
			h.dies(dieRead, 0)
			h.crash = false
			h.worker()
			if err := say(h.client(), []byte("harmless")); err != nil {
				t.Error(err)
			}
		})
	}
}

// Workers that end of themselves are told from those that are killed or told to
// end.
func TestWhoseEnd(t *testing.T) {
	for _, row := range []struct {
		script, why string
		oom         int64
		ofItself    bool
	}{
		{"exit 0", "exit status 0", 0, false},
		{"exit 3", "exit status 3", 0, true},
		{"kill -KILL $$", "signal: killed", 0, false},
		{"kill -KILL $$", "signal: killed", 1, true},
		{"kill -TERM $$", "signal: terminated", 0, false},
		{"kill -SEGV $$", "signal: segmentation fault", 0, true},
	} {
		p, err := os.StartProcess("/bin/sh", []string{"sh", "-c", row.script}, &os.ProcAttr{})
		if err != nil {
			t.Fatal(err)
		}
		w := &worker{pid: p.Pid, oomKills: oomKills() - row.oom}
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, p.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
		if why, ofItself, ended := w.reap(); why != row.why || ofItself != row.ofItself || !ended {
			t.Errorf("%s: %q, of itself %v, ended %v", row.script, why, ofItself, ended)
		}
	}
	if n := oomKills(); n < 0 {
		t.Errorf("%d processes killed for memory", n)
	}
}

// Where there is no room for more calls, in the supervisor or in its worker, they
// wait for it.
func TestCallsWaitForRoom(t *testing.T) {
	const callers, room = 50, 10
	for _, where := range []string{"supervisor", "worker"} {
		t.Run(where, func(t *testing.T) {
			h := startHands(t, func(c *calls) {
				if where == "supervisor" {
					c.most = room
				}
			})
			if where == "worker" {
				t.Setenv(filesEnv, "40")
			}
			h.worker()
			var conns []net.Conn
			for range callers {
				c := h.dial()
				io.WriteString(c, "POST /wait HTTP/1.1\r\nHost: plugin\r\nContent-Length: 4\r\n\r\nsaid")
				conns = append(conns, c)
			}
			h.eventually("as many calls as there is room for", func() bool { return len(h.notes()) >= room })
			h.calls.mu.Lock()
			held := len(h.calls.held)
			h.calls.mu.Unlock()
			if where == "supervisor" && held != room {
				t.Errorf("%d calls are held", held)
			}
			if n := len(h.notes()); n == callers {
				t.Errorf("there was room for all")
			}
			for _, c := range conns {
				c.Close()
			}
			h.eventually("the others", func() bool { return strings.Count(strings.Join(h.notes(), " "), "left") == callers })
			if err := say(h.client(), []byte("said")); err != nil {
				t.Error(err)
			}
		})
	}
}
