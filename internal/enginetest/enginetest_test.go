package enginetest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logscan/internal/enginetest"
	"logscan/internal/enginetest/private"
)

// abandonEnv makes this test binary start an Engine and wait to be killed.
const abandonEnv = "ENGINETEST_ABANDON"

func TestMain(m *testing.M) { enginetest.Main(m) }

// trace is where an Engine and its containers can be found in the machine.
type trace struct {
	Dir    string
	Keeper int
	IDs    []string // of containers and plugins
}

// remains lists what is left of an Engine, so that an empty answer means
// nothing is.
func (tr trace) remains() (left []string) {
	if _, err := os.Lstat(tr.Dir); !errors.Is(err, fs.ErrNotExist) {
		left = append(left, tr.Dir)
	}
	if mounts, err := private.MountsUnder(tr.Dir); err != nil || len(mounts) > 0 {
		left = append(left, fmt.Sprint(mounts, err))
	}
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		args, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		for _, mark := range append([]string{tr.Dir}, tr.IDs...) {
			// The test's own process was told of its directory, too.
			if strings.Contains(string(args), mark) && p != fmt.Sprintf("/proc/%d/cmdline", os.Getpid()) {
				left = append(left, strings.ReplaceAll(string(args), "\x00", " "))
			}
		}
	}
	for _, id := range tr.IDs {
		for _, pattern := range []string{
			"/run/docker/plugins/" + id,
			"/sys/fs/cgroup/*" + id + "*", "/sys/fs/cgroup/*/*" + id + "*", "/sys/fs/cgroup/*/*/*" + id + "*",
		} {
			found, _ := filepath.Glob(pattern)
			left = append(left, found...)
		}
	}
	return left
}

func traceOf(e *enginetest.Engine, names ...string) trace {
	tr := trace{Dir: e.Dir, Keeper: e.KeeperPID()}
	for _, n := range names {
		tr.IDs = append(tr.IDs, e.ContainerID(n))
	}
	return tr
}

func TestEngineEndsWithItsTestAndLeavesNothing(t *testing.T) {
	shims, _ := filepath.Glob("/run/containerd/s/*")
	var tr trace
	t.Run("busy", func(t *testing.T) {
		e := enginetest.Start(t, enginetest.Options{LiveRestore: true})
		e.Registry()
		writing := e.Run(nil, "loggen", "-n", "0", "-rate", "1000")
		deaf := e.Run(nil, "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
		done := e.Run(nil, "echo", "done")
		e.Wait(done)
		tr = traceOf(e, writing, deaf, done)
		if len(private.Descendants(tr.Keeper)) < 5 {
			t.Error("the Engine's processes are not below its keeper")
		}
		e.Kill() // leaves containers, mounts and network namespaces
	})
	if left := tr.remains(); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	if now, _ := filepath.Glob("/run/containerd/s/*"); len(now) > len(shims) {
		// Another package's Engine may have started meanwhile: only ours count.
		t.Logf("shim sockets: %d before, %d now", len(shims), len(now))
	}
}

func TestEngineEndsWhenTheTestProcessIsKilled(t *testing.T) {
	if os.Getenv(abandonEnv) != "" {
		e := enginetest.Start(t, enginetest.Options{})
		name := e.Run(nil, "loggen", "-n", "0", "-rate", "1000")
		fmt.Printf("trace %s %d %s\n", e.Dir, e.KeeperPID(), e.ContainerID(name))
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), abandonEnv+"=1", "GORACE=halt_on_error=0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var tr trace
	var id string
	for in := bufio.NewScanner(out); in.Scan(); {
		if n, _ := fmt.Sscanf(in.Text(), "trace %s %d %s", &tr.Dir, &tr.Keeper, &id); n == 3 {
			break
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if id == "" {
		t.Fatal("the other process could not start an Engine")
	}
	tr.IDs = []string{id}
	deadline := time.Now().Add(time.Minute)
	for left := tr.remains(); len(left) > 0; left = tr.remains() {
		if time.Now().After(deadline) {
			t.Fatalf("left behind:\n%s", strings.Join(left, "\n"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestEnginesSideBySide(t *testing.T) {
	for _, name := range []string{"one", "two"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := enginetest.Start(t, enginetest.Options{})
			c := e.Run(nil, "sh", "-c", "echo "+name+"; echo error >&2")
			if code := e.Wait(c); code != "0" {
				t.Errorf("exit code %s", code)
			}
			out, errOut := e.Logs(c)
			if string(out) != name+"\n" || string(errOut) != "error\n" {
				t.Errorf("logs: %q, %q", out, errOut)
			}
			if all := e.Docker("ps", "-aq"); strings.Contains(all, "\n") {
				t.Errorf("sees containers of another Engine: %s", all)
			}
		})
	}
}

func TestRestarts(t *testing.T) {
	e := enginetest.Start(t, enginetest.Options{LiveRestore: true, LogDriver: "local"})
	c := e.Run(nil, "loggen", "-n", "0", "-rate", "200")
	if driver := e.Docker("inspect", "-f", "{{.HostConfig.LogConfig.Type}}", c); driver != "local" {
		t.Errorf("driver %s", driver)
	}
	pid := e.DockerdPID()
	e.Restart()
	e.Kill()
	if _, err := e.TryDocker("ps"); err == nil {
		t.Error("a killed Engine answers")
	}
	e.Resume()
	if e.DockerdPID() == pid {
		t.Error("dockerd is the same process after its restart")
	}
	if up := e.Docker("inspect", "-f", "{{.State.Running}}", c); up != "true" {
		t.Error("the container did not outlive dockerd")
	}
	if _, err := e.TryDocker("run", "no-such-image"); err == nil {
		t.Error("an error got lost")
	}
}

func TestLoggen(t *testing.T) {
	e := enginetest.Start(t, enginetest.Options{})
	c := e.Run(nil, "loggen", "-n", "7", "-len", "20", "-mark", "3", "-stderr", "7")
	e.Wait(c)
	out, errOut := e.Logs(c)
	lines := strings.Split(string(out), "\n")
	if len(lines) != 7 || lines[3] != "0000000003 MARK leve" || len(lines[1]) != 20 || !strings.HasPrefix(string(errOut), "0000000006 MARK") {
		t.Errorf("loggen wrote %q and %q", out, errOut)
	}
	c = e.Run(nil, "loggen", "-n", "0", "-duty", "5ms", "-idle", "5ms")
	e.Eventually(time.Minute, "first lines", func() bool { out, _ := e.Logs(c, "-n", "1"); return len(out) > 0 })
	e.Docker("kill", "-s", "TERM", c)
	e.Wait(c)
	out, _ = e.Logs(c)
	lines = strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if last := lines[len(lines)-1]; last != fmt.Sprintf("end %d", len(lines)-1) {
		t.Errorf("%d lines, the last is %q", len(lines), last)
	}
}
