package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/enginetest"
	"logscan/internal/enginetest/trap"
)

// trappedPlugin returns the plugin with program launch before its own: some of its
// system calls wait for a trap whose socket is called trap and lies beside the
// FIFOs.
func trappedPlugin(t *testing.T, calls string) string {
	t.Helper()
	dir := enginetest.VariantPlugin(t, enginetest.BuildPlugin(t), "trapped")
	if out, err := exec.Command("cp", trap.Launcher(t), filepath.Join(dir, "rootfs/launch")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	enginetest.SetConfig(t, dir, "entrypoint", []string{"/launch", "/run/docker/logging/trap", calls, "--", "/logscan", "serve"})
	return dir
}

// TestFailingDisk has the disk refuse commits to the database and what is written to
// logs with EIO, some of it though done, while a container writes as fast as it can:
// for less time than lines are made to wait for a disk, and for more.
func TestFailingDisk(t *testing.T) {
	t.Parallel()
	const commit, write, segment = "fdatasync .db-wal", "pwrite64 .db-wal", "write .seg"
	e := enginetest.Start(t, enginetest.Options{})
	e.CreatePlugin(trappedPlugin(t, "splice,pwrite64,fdatasync"), unbounded...)
	if err := os.MkdirAll(e.PluginData(), 0o700); err != nil {
		t.Fatal(err)
	}
	beside, err := os.Open(e.PluginData()) // its path is too long for a socket's
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	var mu sync.Mutex // guards both
	ill, refused := map[string]bool{}, map[string]int{}
	trap.Listen(t, fmt.Sprintf("/proc/self/fd/%d/trap", beside.Fd()), func(c *trap.Call) trap.Answer {
		what := c.Name + " " + filepath.Ext(c.Target())
		if strings.HasSuffix(what, ".seg") {
			what = segment // by either call
		}
		mu.Lock()
		refuse := ill[what]
		if refuse {
			refused[what]++
		}
		mu.Unlock()
		switch {
		case !refuse:
			return trap.Continue
		case c.Name == "fdatasync" || what == segment && c.Name != "splice": // what was written stays, and who wrote it can't know
			c.Do()
		case c.Name == "splice":
			c.DoKeeping()
		}
		return trap.Fail(unix.EIO)
	})
	refuse := func(what ...string) {
		mu.Lock()
		defer mu.Unlock()
		clear(ill)
		for _, w := range what {
			ill[w] = true
		}
	}
	e.EnablePlugin()
	defer e.DisablePlugin() // before nobody answers its calls

	client, c := engineClient(e), control(t, e)
	addRule(t, c, "mark", `^(?P<n>\d+) MARK`)
	dir := t.TempDir()
	name := e.Run([]string{"-v", dir + ":/tally", "--log-driver", enginetest.Plugin, "--log-opt", "max-size=1m", "--log-opt", "max-file=10000"},
		"loggen", "-n", "0", "-len", strconv.Itoa(lineLen-1), "-mark", strconv.Itoa(markEvery), "-buf", "4096", "-tally", "/tally/n")
	dropped := func() int64 {
		t.Helper()
		st, err := c.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.Journal.ByReason["dropped"].Entries
	}
	writesOn := func() {
		t.Helper()
		n := tally(dir).lines
		e.Eventually(time.Minute, "the container writing on", func() bool { return tally(dir).lines > n+100*markEvery })
	}
	for _, what := range []string{commit, write, segment} {
		writesOn()
		refuse(what)
		time.Sleep(3 * time.Second)
		refuse()
	}
	writesOn()
	if n := dropped(); n != 0 {
		t.Errorf("%d lines dropped of a disk that was never ill for longer than 3 s", n)
	}
	refuse(commit, segment)
	e.Eventually(time.Minute, "lines being dropped", func() bool { return dropped() > 0 })
	writesOn()
	refuse()
	writesOn()
	e.Docker("kill", "-s", "TERM", name)
	e.Wait(name)

	caughtUp(t, e, c)
	o := outcome{written: tally(dir).lines, blocked: tally(dir).longest}
	marks := o.count(t, client, name)
	o.countHits(t, c, marks)
	if o.doubled+o.cut+o.hitsLost+o.hitsDoubled != 0 || o.blocked > 30*time.Second {
		t.Errorf("%+v", o)
	}
	// Events sum up a minute, unless the worker ends before.
	worker := e.PluginPID()
	kill(t, worker, syscall.SIGTERM)
	e.Eventually(time.Minute, "another worker", func() bool { pid := e.PluginPID(); return pid != 0 && pid != worker })
	c = control(t, e)
	told := 0
	for _, ev := range allEvents(t, c, api.EventQuery{Source: "system"}) {
		frames, _ := ev.Metadata["frames"].(float64)
		told += int(frames)
	}
	if told != o.lost {
		t.Errorf("%d lines are missing in docker logs, and %d told as lost", o.lost, told)
	}
	again := outcome{written: tally(dir).lines, blocked: o.blocked}
	if again.count(t, client, name); again.lost != o.lost || again.cut != 0 || again.doubled != 0 {
		t.Errorf("after a restart %+v, before %+v", again, o)
	}
	inDatabase(t, e, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'", 1)
	mu.Lock()
	defer mu.Unlock()
	for _, what := range []string{commit, write, segment} {
		if refused[what] == 0 {
			t.Errorf("no %s was refused", what)
		}
	}
	t.Logf("%d lines written, %d told as lost, blocked at most %s; refused: %v", o.written, told, o.blocked, refused)
	if strings.Contains(string(e.Log()), "set aside") {
		t.Error("something was set aside")
	}
}
