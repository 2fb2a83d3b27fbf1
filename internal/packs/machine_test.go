package packs

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is for how long a program may take to do what a test waits for.
const patience = time.Minute

// The users that programs run as, of the etc/passwd that programs.sh writes.
const (
	wwwData  = 33
	postgres = 70
)

// machine is a root filesystem with Debian's programs. They run in it as processes of the
// test, with the network of this machine, of which they use ports of the loopback that are
// free.
type machine struct {
	testing.TB
	root string
}

// newMachine unpacks what internal/scripts/programs.sh makes under a name.
func newMachine(t testing.TB, name string) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("the programs run as users of their own, in a root of their own: run this test as root")
	}
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	module := strings.TrimSpace(string(out))
	build := filepath.Join(module, "build")
	script := exec.Command(filepath.Join(module, "internal/scripts/programs.sh"), name)
	script.Env = append(os.Environ(), "BUILD="+build)
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("programs.sh: %v: %s", err, out)
	}
	m := &machine{t, t.TempDir()}
	if out, err := exec.Command("tar", "-C", m.root, "-xf", filepath.Join(build, name+".tar")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for dir := m.root; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		m.must(os.Chmod(dir, 0o755))
	}
	m.must(os.MkdirAll(m.path("/dev"), 0o755))
	for name, number := range map[string]int{"null": 1<<8 + 3, "urandom": 1<<8 + 9} {
		m.must(syscall.Mknod(m.path("/dev/"+name), syscall.S_IFCHR|0o666, number))
		m.must(os.Chmod(m.path("/dev/"+name), 0o666))
	}
	return m
}

func (m *machine) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// path is where a file of the machine is.
func (m *machine) path(name string) string { return filepath.Join(m.root, name) }

// file writes a file that everybody may read.
func (m *machine) file(name, text string) {
	m.Helper()
	m.must(os.WriteFile(m.path(name), []byte(text), 0o644))
	m.must(os.Chmod(m.path(name), 0o644))
}

// dir makes a directory that belongs to a user.
func (m *machine) dir(name string, uid int) {
	m.Helper()
	m.must(os.MkdirAll(m.path(name), 0o755))
	m.must(os.Chown(m.path(name), uid, uid))
	m.must(os.Chmod(m.path(name), 0o700))
}

// disk mounts a small disk for a user.
func (m *machine) disk(name, size string, uid int) {
	m.Helper()
	m.dir(name, uid)
	options := fmt.Sprintf("size=%s,mode=700,uid=%d,gid=%d", size, uid, uid)
	m.must(syscall.Mount("tmpfs", m.path(name), "tmpfs", 0, options))
	m.Cleanup(func() { m.must(syscall.Unmount(m.path(name), syscall.MNT_DETACH)) })
}

// port is one of the loopback that nothing listens on.
func (m *machine) port() int {
	m.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	m.must(err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// command is a program of the machine, run by a user.
func (m *machine) command(uid uint32, args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Err = nil // it is looked for in the root
	cmd.Dir = "/tmp"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "HOME=/tmp", "TZ=UTC", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: m.root, Credential: &syscall.Credential{Uid: uid, Gid: uid}, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run runs a program and returns what it writes, whether it fails or not.
func (m *machine) run(uid uint32, args ...string) string {
	out, err := m.command(uid, args...).CombinedOutput()
	if err != nil {
		return string(out) + err.Error() + "\n"
	}
	return string(out)
}

// hold starts commands that go on until they are let go.
func (m *machine) hold(times int, command func() *exec.Cmd) (letGo func()) {
	m.Helper()
	var all []*exec.Cmd
	for range times {
		cmd := command()
		m.must(cmd.Start())
		all = append(all, cmd)
	}
	return func() {
		for _, cmd := range all {
			_ = cmd.Process.Kill() // it may have ended by itself
			_ = cmd.Wait()
		}
	}
}

// program is one that runs, and what it has written.
type program struct {
	*machine
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu    sync.Mutex
	lines []string
}

// start starts a program, whose lines are kept until it ends.
func (m *machine) start(uid uint32, args ...string) *program {
	m.Helper()
	p := &program{machine: m, name: args[0], cmd: m.command(uid, args...), done: make(chan struct{})}
	r, w, err := os.Pipe()
	m.must(err)
	p.cmd.Stdout, p.cmd.Stderr = w, w
	m.must(p.cmd.Start())
	w.Close()
	go func() {
		defer close(p.done)
		defer r.Close()
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			p.mu.Lock()
			p.lines = append(p.lines, lines.Text())
			p.mu.Unlock()
		}
		_ = p.cmd.Wait() // how it ends is what its lines tell
	}()
	m.Cleanup(func() { p.end(syscall.SIGKILL) })
	return p
}

// written is what it has written until now.
func (p *program) written() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines)
}

// says waits until so many of its lines have a text.
func (p *program) says(text string, times int) {
	p.Helper()
	until := time.Now().Add(patience)
	for {
		n := 0
		for _, line := range p.written() {
			if strings.Contains(line, text) {
				n++
			}
		}
		if n >= times {
			return
		}
		if time.Now().After(until) {
			p.Fatalf("%s has said %q %d times, not %d:\n%s", p.name, text, n, times, strings.Join(p.written(), "\n"))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// end has it end by a signal, and waits for that.
func (p *program) end(how syscall.Signal) []string {
	p.Helper()
	_ = p.cmd.Process.Signal(how) // it may have ended by itself
	return p.ended()
}

// ended waits until it has ended, and returns what it has written.
func (p *program) ended() []string {
	p.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		p.Fatalf("%s doesn't end:\n%s", p.name, strings.Join(p.written(), "\n"))
	}
	return p.written()
}

// children are the processes that it has started, by their names.
func (p *program) children(name string) (pids []int) {
	p.Helper()
	pid := p.cmd.Process.Pid
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	p.must(err)
	for _, field := range strings.Fields(string(list)) {
		title, _ := os.ReadFile("/proc/" + field + "/cmdline")
		var child int
		if _, err := fmt.Sscan(field, &child); err == nil && strings.Contains(string(title), name) {
			pids = append(pids, child)
		}
	}
	return pids
}

// eventually waits until a condition holds.
func (p *program) eventually(what string, holds func() bool) {
	p.Helper()
	for until := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			p.Fatalf("%s: there is no %s:\n%s", p.name, what, strings.Join(p.written(), "\n"))
		}
	}
}

// counted is what the rules of all packs make of a log: how many lines match, and how many
// hits they are, by rule. Rules that add lines up are given some time behind the last one.
func counted(t testing.TB, log []string) (matches, hits map[string]int64) {
	t.Helper()
	matches, hits = map[string]int64{}, map[string]int64{}
	given := lines(strings.Join(log, "\n"))
	for _, p := range All() {
		rules, trials := trials(t, p)
		for k, r := range rules {
			if got := trials[k].Run(given, 600); got.Matches+got.Hits > 0 {
				matches[r.Key], hits[r.Key] = got.Matches, got.Hits
			}
		}
	}
	return matches, hits
}

// provoked asks that a log of troubles has hits of some rules of a pack, and none of the
// others of the pack; what rules of other packs say is logged.
func provoked(t testing.TB, pack string, log []string, rules ...string) {
	t.Helper()
	matches, hits := counted(t, log)
	t.Logf("%s: %d lines; matches %v, hits %v", pack, len(log), matches, hits)
	p, err := Get(pack)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range declared(t, p).Rules {
		switch wanted := slices.Contains(rules, strings.TrimPrefix(r.Key, pack+"-")); {
		case wanted && hits[r.Key] == 0:
			t.Errorf("%s: %d matches, and no hit, of\n%s", r.Key, matches[r.Key], strings.Join(log, "\n"))
		case !wanted && hits[r.Key] > 0:
			t.Errorf("%s: hits\n%s", r.Key, strings.Join(log, "\n"))
		}
	}
}

// quiet asks that no rule of any pack hits a log of ordinary work, and that at least so
// many lines were written.
func quiet(t testing.TB, log []string, atLeast int) {
	t.Helper()
	if len(log) < atLeast {
		t.Errorf("there are only %d lines:\n%s", len(log), strings.Join(log, "\n"))
	}
	matches, hits := counted(t, log)
	t.Logf("ordinary work: %d lines; matches %v, hits %v", len(log), matches, hits)
	for _, p := range All() {
		rules, trials := trials(t, p)
		for k, r := range rules {
			if hits[r.Key] == 0 {
				continue
			}
			for _, line := range log {
				if trials[k].Run(lines(line), 0).Matches > 0 {
					t.Errorf("%s hits ordinary work: %s", r.Key, line)
				}
			}
		}
	}
}
