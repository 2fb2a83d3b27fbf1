package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dirEnv makes this test binary what the plugin's is: a supervisor, and the
// worker that it starts.
const dirEnv = "SUPERVISOR_TEST_DIR"

func TestMain(m *testing.M) {
	dir := os.Getenv(dirEnv)
	switch {
	case dir == "":
		os.Exit(m.Run())
	case IsWorker():
		work(dir)
	default:
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		kept, err := os.Create(filepath.Join(dir, "kept"))
		if err != nil {
			panic(err)
		}
		err = Run(ctx, Config{SocketDir: dir, Calls: "calls.sock", Sockets: []string{"a.sock", "b.sock"}, Files: []*os.File{kept}, Writable: []string{dir}, Hung: hungAfter(), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
	}
}

// hungEnv is Config.Hung.
const hungEnv = "SUPERVISOR_TEST_HUNG"

func hungAfter() time.Duration {
	d, _ := time.ParseDuration(os.Getenv(hungEnv))
	return d
}

// answer is what a worker says of itself.
type answer struct {
	Socket   string
	PID      int
	Status   Status
	Dumpable int
	Kept     string // in the file, before this worker
}

// work answers each connection with one line, after it was asked with one:
// "who", or how to end instead.
func work(dir string) {
	in, err := Inherit(2)
	if err != nil {
		panic(err)
	}
	files, status := in.Files, in.Status
	if IsWorker() {
		panic("what a worker starts would take itself for one")
	}
	var kept []byte
	for _, f := range files { // one, where there is a supervisor
		if kept, err = io.ReadAll(io.NewSectionReader(f, 0, 1<<20)); err != nil {
			panic(err)
		}
		fmt.Fprint(f, os.Getpid(), " ")
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		os.WriteFile(filepath.Join(dir, "stopped"), nil, 0o600)
		os.Exit(0)
	}()
	go answerCalls(in.Calls, dir)
	go func() { // until it is told to hang
		in.Alive()
		os.WriteFile(filepath.Join(dir, fmt.Sprint("alive-", os.Getpid())), nil, 0o600)
		for {
			if _, err := os.Stat(filepath.Join(dir, "hang")); err != nil {
				in.Alive()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	for i, l := range in.Sockets {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					panic(err)
				}
				question, _ := bufio.NewReader(c).ReadString('\n')
				switch strings.TrimSpace(question) {
				case "panic":
					panic("told to")
				case "exit":
					os.Exit(0)
				case "change": // each answer is a path and what became of it
					tryChanges(c, dir)
					c.Close()
					continue
				}
				dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
				json.NewEncoder(c).Encode(answer{[]string{"a", "b"}[i], os.Getpid(), status, dumpable, string(kept)})
				c.Close()
			}
		}()
	}
	select {}
}

// tryChanges changes files beside dir and in it, in every way, and says how that
// went.
func tryChanges(w io.Writer, dir string) {
	for _, place := range []string{filepath.Dir(dir), dir} {
		there, fresh := filepath.Join(place, "there"), filepath.Join(place, "fresh")
		for _, try := range []struct {
			what string
			do   func() error
		}{
			{"write", func() error { return os.WriteFile(there, []byte("changed"), 0o600) }},
			{"truncate", func() error { return os.Truncate(there, 3) }},
			{"create", func() error { return os.WriteFile(fresh, nil, 0o600) }},
			{"mkdir", func() error { return os.Mkdir(fresh+".d", 0o700) }},
			{"symlink", func() error { return os.Symlink("x", fresh+".l") }},
			{"rename", func() error { return os.Rename(there, there+".old") }},
			{"remove", func() error { return os.Remove(there + ".old") }},
			{"remove the binary", func() error { return os.Remove(filepath.Join(place, "binary")) }},
		} {
			fmt.Fprintf(w, "%s\t%s\t%v\n", place, try.what, try.do())
		}
		b, err := os.ReadFile(filepath.Join(place, "readable"))
		fmt.Fprintf(w, "%s\tread\t%s %v\n", place, b, err)
	}
}

// plugin is a running supervisor.
type plugin struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
}

func start(t *testing.T) *plugin {
	t.Helper()
	p := &plugin{t: t, dir: t.TempDir(), cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), dirEnv+"="+p.dir)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	p.eventually("the sockets", func() bool {
		c, err := net.Dial("unix", filepath.Join(p.dir, "b.sock"))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return p
}

func (p *plugin) eventually(what string, ok func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("never: %s", what)
		}
	}
}

// ask sends one question; an error says that the worker went without answering.
func (p *plugin) ask(socket, question string) (a answer, err error) {
	p.t.Helper()
	c, err := net.Dial("unix", filepath.Join(p.dir, socket+".sock"))
	if err != nil {
		p.t.Fatalf("the socket has gone: %v", err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, question+"\n"); err != nil {
		return a, err
	}
	err = json.NewDecoder(c).Decode(&a)
	return a, err
}

func (p *plugin) who(socket string) answer {
	p.t.Helper()
	a, err := p.ask(socket, "who")
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// A worker can do no more than it needs, and the next one neither.
func TestCapabilities(t *testing.T) {
	p := start(t)
	for range 2 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.who("a").PID))
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range []string{"CapPrm", "CapEff", "CapBnd"} {
			_, after, _ := strings.Cut(string(status), set+":\t")
			hex, _, _ := strings.Cut(after, "\n")
			caps, err := strconv.ParseUint(hex, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			if want := uint64(1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_NET_BIND_SERVICE); caps != want {
				t.Errorf("%s is %#x, want %#x", set, caps, want)
			}
		}
		p.ask("a", "exit")
	}
}

// A worker changes files in the directories that it is given and nowhere else,
// or, on an older kernel, wherever it could; it reads wherever it could.
func TestReadOnly(t *testing.T) {
	p := start(t)
	for _, place := range []string{filepath.Dir(p.dir), p.dir} {
		for _, name := range []string{"there", "binary", "readable"} {
			if err := os.WriteFile(filepath.Join(place, name), []byte("content"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	c, err := net.Dial("unix", filepath.Join(p.dir, "a.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "change\n")
	answers := 0
	for in := bufio.NewScanner(c); in.Scan(); answers++ {
		f := strings.Split(in.Text(), "\t")
		place, what, got := f[0], f[1], f[2]
		switch inside := place == p.dir || landlockVersion() < landlockNeeded; {
		case what == "read":
			if got != "content <nil>" {
				t.Errorf("%s can't be read: %s", place, got)
			}
		case inside && got != "<nil>":
			t.Errorf("inside: %s: %s", what, got)
		case !inside && what != "remove" && !strings.Contains(got, "permission denied") && !strings.Contains(got, "cross-device"):
			t.Errorf("outside: %s: %s", what, got)
		}
	}
	if answers != 18 {
		t.Errorf("%d answers", answers)
	}
}

// What a worker has in its memory goes into no core dump, neither into a file's
// nor into one that is piped to a program; the next one's neither.
func TestNoCore(t *testing.T) {
	p := start(t)
	for range 2 {
		a := p.who("a")
		if a.Dumpable != 0 {
			t.Errorf("a worker's core would be piped: %d", a.Dumpable)
		}
		for _, pid := range []int{a.PID, p.cmd.Process.Pid} {
			var limit unix.Rlimit
			if err := unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &limit); err != nil || limit.Cur != 0 || limit.Max != 0 {
				t.Errorf("process %d may leave a core: %+v, %v", pid, limit, err)
			}
		}
		p.ask("a", "exit")
	}
}

// Whoever connects while there is no worker is answered by the next one.
func TestCallsWaitForTheNextWorker(t *testing.T) {
	p := start(t)
	first := p.who("a")
	if b := p.who("b"); b.Socket != "b" || first.Socket != "a" || b.PID != first.PID {
		t.Errorf("sockets: %+v, %+v", first, b)
	}
	if first.PID == p.cmd.Process.Pid || first.Status.Restarts != 0 {
		t.Errorf("first worker: %+v", first)
	}
	for i, end := range []struct{ how, why string }{
		{"panic", "exit status 2"},
		{"exit", "exit status 0"},
		{"kill", "signal: killed"},
	} {
		if end.how != "kill" {
			if a, err := p.ask("a", end.how); err == nil {
				t.Errorf("%s: answered %+v", end.how, a)
			}
		} else if err := syscall.Kill(p.who("a").PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		var a answer
		p.eventually("an answer", func() (ok bool) {
			var err error
			a, err = p.ask("b", "who")
			return err == nil && a.Status.Restarts == i+1
		})
		if last := a.Status.Last(); a.Status.InARow != i+1 || last.Why != end.why || last.At.IsZero() || last.After <= 0 {
			t.Errorf("after %s: %+v", end.how, a.Status)
		}
	}
}

// What a worker puts into the files that it inherits is there for the next one.
func TestFilesOutliveAWorker(t *testing.T) {
	p := start(t)
	want := ""
	for range 3 {
		a := p.who("a")
		if a.Kept != want {
			t.Errorf("%q, not %q", a.Kept, want)
		}
		want += fmt.Sprint(a.PID, " ")
		p.ask("a", "exit")
	}
}

// Crashes in a row change nothing for whoever calls.
func TestACrashLoopEndsNothing(t *testing.T) {
	p := start(t)
	const crashes = 20
	for range crashes {
		if _, err := p.ask("a", "panic"); err == nil {
			t.Fatal("a worker survived")
		}
	}
	a := p.who("a")
	if a.Status.Restarts != crashes || a.Status.InARow != crashes || len(a.Status.Exits) != exitsMax {
		t.Errorf("%+v", a.Status)
	}
}

func TestATermEndsBoth(t *testing.T) {
	p := start(t)
	worker := p.who("a").PID
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("supervisor: %v", err)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "stopped")); err != nil {
		t.Errorf("the worker was not asked to stop: %v", err)
	}
	if err := syscall.Kill(worker, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the worker is still there: %v", err)
	}
}

// Between two workers there may be a pause; a stop needn't wait for it.
func TestATermWhileNoWorkerRuns(t *testing.T) {
	p := start(t)
	for range 8 {
		p.ask("a", "panic")
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("supervisor: %v", err)
	}
}

func TestAKilledSupervisorTakesItsWorkerAlong(t *testing.T) {
	p := start(t)
	worker := p.who("a").PID
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.eventually("the worker's end", func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(worker) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ") // reaped by whoever is first here
	})
	again := start(t) // a new one takes over where another left its sockets
	again.who("b")
}

func TestPauses(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 0, 1: 0, 2: pauseMin, 3: 2 * pauseMin, 8: pauseMax, 1 << 30: pauseMax} {
		if got := pause(n); got != want {
			t.Errorf("after %d: %s instead of %s", n, got, want)
		}
	}
}

func TestALongLifeEndsTheRow(t *testing.T) {
	var st Status
	for range 3 {
		st.ended(time.Now(), time.Second, "crash")
	}
	st.ended(time.Now(), time.Hour, "crash")
	if st.Restarts != 4 || st.InARow != 1 {
		t.Errorf("%+v", st)
	}
}

func TestStaleSocketsAreReplaced(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "x.sock")})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	again, err := Listen(dir, "x.sock")
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if _, err := Listen(filepath.Join(dir, "missing"), "x.sock"); err == nil {
		t.Error("listens nowhere")
	}
}
