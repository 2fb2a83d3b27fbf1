package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

func TestKillingTheWorkerLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(unbounded...)
	f := startFlow(t, e, "-duty", "60ms", "-idle", "40ms")
	supervisor := e.SupervisorPID()
	for range 30 {
		e.KillWorker()
	}
	if pid := e.SupervisorPID(); pid != supervisor {
		t.Errorf("the supervisor was process %d and is %d", supervisor, pid)
	}
	f.check(t)
}

// TestACrashLoopHurtsNobody kills a hundred workers in a row within half a
// second of their start, the age at which the Engine would give up on a plugin,
// while containers start, log, are read and stop.
func TestACrashLoopHurtsNobody(t *testing.T) {
	t.Parallel()
	const crashes = 100
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(unbounded...)
	f := startFlow(t, e, "-duty", "5ms", "-idle", "95ms")
	supervisor, id := e.SupervisorPID(), e.PluginID()

	done := make(chan error, 1)
	go func() {
		pid := 0
		for n := range crashes {
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				if next := e.WorkerOf(supervisor); next != 0 && next != pid {
					pid = next
					break
				}
				if time.Now().After(deadline) {
					done <- fmt.Errorf("no worker after %d crashes", n)
					return
				}
			}
			// Every age from none to half a second.
			time.Sleep(time.Duration(n) * 480 * time.Millisecond / crashes)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				done <- fmt.Errorf("crash %d: %w", n, err)
				return
			}
		}
		done <- nil
	}()
	started := 0
	for looping := true; looping; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			looping = false
		default:
		}
		started++
		c := fmt.Sprintf("short-%d", started)
		dir := t.TempDir()
		e.Docker("run", "-d", "--name", c, "--network", "none", "-v", dir+":/tally", "--log-driver", enginetest.Plugin,
			enginetest.Image, "loggen", "-n", "500", "-hold", "30s", "-tally", "/tally/n")
		// SIGTERM ends a program that has not yet asked for the signal, so loggen
		// is stopped once it has written, not before. What it wrote may well be
		// on its way then.
		e.Eventually(time.Minute, "a short container's lines being written", func() bool { return tally(dir).lines == 500 })
		e.Docker("stop", c)
		out := e.Docker("logs", c)
		if n := strings.Count(out+"\n", "\n"); n != 500 || !strings.HasPrefix(out, "0000000000 ") {
			t.Fatalf("%d lines of container %d, from %.20q", n, started, out)
		}
		e.Docker("rm", c)
	}
	t.Logf("%d containers started and stopped meanwhile", started)
	if pid := e.SupervisorPID(); pid != supervisor {
		t.Errorf("the supervisor was process %d and is %d", supervisor, pid)
	}
	if enabled := e.Docker("plugin", "inspect", "-f", "{{.Enabled}}", id); enabled != "true" {
		t.Error("the Engine has disabled the plugin")
	}
	control(t, e)
	f.check(t)
	st, err := f.control.Stats(context.Background())
	if err != nil || st.Worker.Restarts < crashes || st.Worker.LastExit != "signal: killed" {
		t.Errorf("stats: %+v, %v", st.Worker, err)
	}
	if ev := systemEvent(t, f.control, "ended unexpectedly"); ev == nil {
		t.Error("no event tells of the crashes")
	}
}

// TestNoCommandFailsWithAWorker kills workers every 100 ms or so, and in the
// middle of what they do for a call, while containers are started, read, started
// again and removed.
func TestNoCommandFailsWithAWorker(t *testing.T) {
	t.Parallel()
	const rounds, lines = 12, 100
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(unbounded...)
	control(t, e)
	stop := killAtCalls(t, e)
	name := func(n int) string { return fmt.Sprint("box-", n) }
	for n := range rounds {
		e.Docker("run", "-d", "--name", name(n), "--network", "none", "--log-driver", enginetest.Plugin, enginetest.Image, "loggen", "-n", fmt.Sprint(lines))
		for run := 1; run <= 2; run++ {
			if code := e.Wait(name(n)); code != "0" {
				t.Errorf("exit code %s", code)
			}
			if out := e.Docker("logs", name(n)); strings.Count(out+"\n", "\n") != run*lines {
				t.Errorf("%d lines of container %d after run %d", strings.Count(out+"\n", "\n"), n, run)
			}
			if run == 1 {
				e.Docker("start", name(n))
			}
		}
		e.Docker("rm", name(n))
	}
	timed, atCalls := stop()
	t.Logf("%d workers killed, and %d more while they had a StartLogging", timed, atCalls)
	if timed < rounds || atCalls < rounds/3 {
		t.Error("few kills")
	}
}

// killAtCalls kills workers now and then, and when they note one of the Engine's
// calls. The function it returns ends that and tells how many there were.
func killAtCalls(t *testing.T, e *enginetest.Engine) (stop func() (timed, atCalls int)) {
	t.Helper()
	notify, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"unanswered", "attachments"} {
		if _, err := unix.InotifyAddWatch(notify, filepath.Join(e.PluginData(), ".logscan", dir), unix.IN_CREATE|unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO); err != nil {
			t.Fatal(err)
		}
	}
	supervisor := e.SupervisorPID()
	kill := func(n *int) {
		if pid := e.WorkerOf(supervisor); pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			*n++
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	timed, atCalls := 0, 0
	wg.Go(func() {
		defer unix.Close(notify)
		rnd := rand.New(rand.NewPCG(1, 1))
		events := make([]byte, 64<<10)
		next := time.Now()
		for ctx.Err() == nil {
			wait := max(time.Until(next), 0)
			n, _ := unix.Poll([]unix.PollFd{{Fd: int32(notify), Events: unix.POLLIN}}, int(wait.Milliseconds())+1)
			switch {
			case n > 0:
				unix.Read(notify, events)
				if rnd.IntN(3) == 0 {
					kill(&atCalls)
				}
			case time.Until(next) <= 0:
				kill(&timed)
				next = time.Now().Add(time.Duration(20+rnd.IntN(160)) * time.Millisecond)
			}
		}
	})
	stop = func() (int, int) {
		cancel()
		wg.Wait()
		return timed, atCalls
	}
	t.Cleanup(func() { stop() })
	return stop
}

// systemEvent returns an event that logscan raised about itself.
func systemEvent(t *testing.T, c *api.Client, text string) *api.Event {
	t.Helper()
	page, err := c.Events(context.Background(), api.EventQuery{Source: "system", Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range page.Items {
		if strings.Contains(ev.Message, text) {
			return &ev
		}
	}
	return nil
}

// TestDamagedStateStopsNoContainer breaks what the plugin keeps while it is
// disabled, and shows that it carries lines and serves docker logs all the
// same, says what is wrong, and deletes nothing.
func TestDamagedStateStopsNoContainer(t *testing.T) {
	t.Parallel()
	garbage := []byte(strings.Repeat("this is no database, no segment and no record ", 100))
	write := func(t *testing.T, path string) {
		t.Helper()
		if err := os.WriteFile(path, garbage, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one := func(t *testing.T, pattern string) string {
		t.Helper()
		found, _ := filepath.Glob(pattern)
		if len(found) == 0 {
			t.Fatalf("nothing is called %s", pattern)
		}
		return found[0]
	}
	for _, damage := range []struct {
		name string
		do   func(t *testing.T, data, container string)
		// says is in dockerd's log afterwards, aside a file that holds what was damaged.
		says, aside string
		event       string // tells of it
		keepsLog    bool   // the running container's log has all of its lines
	}{
		{
			name: "database",
			do: func(t *testing.T, data, _ string) {
				os.Remove(filepath.Join(data, "logscan.db-wal"))
				os.Remove(filepath.Join(data, "logscan.db-shm"))
				write(t, filepath.Join(data, "logscan.db"))
			},
			says: "database was damaged", aside: "logscan.db.damaged-*", event: "database was damaged", keepsLog: true,
		},
		{
			name: "a directory in place of the database",
			do: func(t *testing.T, data, _ string) {
				path := filepath.Join(data, "logscan.db")
				if err := os.Rename(path, path+".kept"); err != nil {
					t.Fatal(err)
				}
				if err := os.Mkdir(path, 0o700); err != nil {
					t.Fatal(err)
				}
			},
			says: "database not open", aside: "logscan.db.kept", keepsLog: true,
		},
		{
			name: "segment",
			do: func(t *testing.T, data, container string) {
				write(t, one(t, filepath.Join(data, "journal", container, "*.seg")))
			},
			says: "journal",
		},
		{
			name: "compressed segment",
			do: func(t *testing.T, data, container string) {
				raw := one(t, filepath.Join(data, "journal", container, "*.seg"))
				write(t, raw+".zst")
				os.Remove(raw)
			},
			says: "segment can't be read; set aside", aside: "journal/*/*.seg.zst.*",
		},
		{
			name: "container.json",
			do: func(t *testing.T, data, container string) {
				write(t, filepath.Join(data, "journal", container, "container.json"))
			},
			says: "container.json can't be read", keepsLog: true,
		},
		{
			name: "attachment record",
			do: func(t *testing.T, data, _ string) {
				write(t, one(t, filepath.Join(data, "attachments", "*.json")))
			},
			says: "attachment record",
		},
		{
			name: "settings",
			do: func(t *testing.T, data, _ string) {
				if err := os.WriteFile(filepath.Join(data, "lock"), garbage, 0o600); err != nil {
					t.Fatal(err)
				}
			},
			says: "setting ignored", keepsLog: true,
		},
	} {
		t.Run(damage.name, func(t *testing.T) {
			t.Parallel()
			e := enginetest.Start(t, enginetest.Options{})
			e.InstallPlugin()
			client := engineClient(e)
			control(t, e)
			running := e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "0", "-rate", "200")
			e.Eventually(time.Minute, "lines", func() bool { return len(readLogs(t, client, running, logOptions{})) > 100 })
			data := filepath.Join(e.PluginData(), ".logscan")
			e.DisablePlugin()
			damage.do(t, data, e.ContainerID(running))
			if damage.name == "settings" {
				e.Docker("plugin", "set", enginetest.Plugin, "LOGSCAN_DISK_BUDGET=plenty", "LOGSCAN_LOG_LEVEL=loud", "LOGSCAN_EVENTS_MAX=-1")
			}
			e.EnablePlugin()

			// A new container is carried and read as ever.
			c := e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "1000")
			if code := e.Wait(c); code != "0" {
				t.Errorf("exit code %s", code)
			}
			if lines := readLogs(t, client, c, logOptions{}); len(lines) != 1000 {
				t.Errorf("%d lines of a new container", len(lines))
			}
			// The running one goes on, and ends.
			e.Docker("kill", "-s", "TERM", running)
			e.Wait(running)
			lines := readLogs(t, client, running, logOptions{})
			if damage.keepsLog {
				if len(lines) == 0 || string(lines[len(lines)-1].text) != fmt.Sprintf("end %d\n", len(lines)-1) {
					t.Errorf("%d lines of the container that ran on", len(lines))
				}
			}
			e.Docker("rm", running)
			if !strings.Contains(string(e.Log()), damage.says) {
				t.Errorf("dockerd's log doesn't say %q", damage.says)
			}
			if damage.aside != "" {
				one(t, filepath.Join(data, damage.aside))
			}
			if damage.event != "" && systemEvent(t, control(t, e), damage.event) == nil {
				t.Errorf("no event says %q", damage.event)
			}
			if pid := e.SupervisorPID(); e.WorkerOf(pid) == 0 {
				t.Error("the plugin's worker doesn't run")
			}
		})
	}
}
