package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"logscan/internal/enginetest"
)

// TestAStoppedContainersLogsOutliveRestarts reads the same log after every way
// in which plugin and Engine can go and come back.
func TestAStoppedContainersLogsOutliveRestarts(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	client := engineClient(e)
	c := e.Run([]string{"--log-driver", enginetest.Plugin, "--log-opt", "max-size=50k", "--log-opt", "max-file=20"}, "loggen", "-n", "2000", "-len", "100", "-stderr", "3")
	e.Wait(c)
	want := readLogs(t, client, c, logOptions{timestamps: true})
	if len(want) != 2000 {
		t.Fatalf("%d lines of 2000", len(want))
	}
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"the plugin was killed", e.KillPlugin},
		{"the plugin was disabled and enabled", func() { e.DisablePlugin(); e.EnablePlugin() }},
		{"dockerd was restarted", e.Restart},
		{"dockerd was killed", func() { e.Kill(); e.Resume() }},
	} {
		step.do()
		client.CloseIdleConnections()
		if d := diff(readLogs(t, client, c, logOptions{timestamps: true}), want); d != "" {
			t.Errorf("after %s: %s", step.name, d)
		}
	}
	// It may run again, and goes on where it was.
	e.Docker("start", c)
	e.Wait(c)
	again := readLogs(t, client, c, logOptions{timestamps: true})
	if len(again) != 4000 || diff(again[:2000], want) != "" {
		t.Errorf("after another run: %d lines", len(again))
	}
}

// TestContainersThatOutliveDockerd shows live-restore: dockerd goes, the
// containers and their lines stay. Under any driver a dockerd that ends takes
// with it what it has read of a container's output and not yet handed on; all
// that it has handed on is there.
func TestContainersThatOutliveDockerd(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{LiveRestore: true})
	e.InstallPlugin()
	client := engineClient(e)
	c := e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "0", "-rate", "500")
	var away [][2]time.Time // when dockerd was ended, and was back
	for i, step := range []struct {
		name string
		end  func()
	}{
		{"restart", e.Stop},
		{"kill", e.Kill},
	} {
		away = append(away, [2]time.Time{time.Now()})
		step.end()
		e.Resume()
		away[i][1] = time.Now()
		client.CloseIdleConnections()
		before := len(readLogs(t, client, c, logOptions{}))
		e.Eventually(30*time.Second, fmt.Sprintf("lines after the %s", step.name), func() bool {
			return len(readLogs(t, client, c, logOptions{})) > before
		})
	}
	e.Docker("kill", "-s", "TERM", c)
	e.Wait(c)
	lines := readLogs(t, client, c, logOptions{timestamps: true})
	next := 0
	for i, k := range lines[:len(lines)-1] {
		var n int
		if _, err := fmt.Sscanf(string(k.text), "%010d ", &n); err != nil || n < next {
			t.Fatalf("line %d is %.40q", next, k.text)
		}
		missing := n - next
		if missing > 0 {
			gone := slices.IndexFunc(away, func(a [2]time.Time) bool {
				return (i == 0 || lines[i-1].time.Before(a[1])) && k.time.After(a[0])
			})
			if gone < 0 {
				t.Fatalf("%d lines before %.40q are missing, and dockerd was there", missing, k.text)
			}
			away = slices.Delete(away, gone, gone+1)
			t.Logf("%d lines were in dockerd's memory at its end", missing)
		}
		next = n + 1
	}
	if last := string(lines[len(lines)-1].text); last != fmt.Sprintf("end %d\n", next) {
		t.Errorf("after line %d comes %q", next-1, last)
	}
}

// TestContainersComeBackWithTheEngine shows that a container with a restart
// policy, which the Engine starts at its own start, finds the plugin there, and
// that its log goes on.
func TestContainersComeBackWithTheEngine(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	client := engineClient(e)
	const lines = 500
	c := e.Run([]string{"--log-driver", enginetest.Plugin, "--restart", "always"}, "loggen", "-n", fmt.Sprint(lines), "-stderr", "7", "-hold", "10m")
	for runs, again := range []func(){func() {}, e.Restart, func() { e.Kill(); e.Resume() }} {
		again()
		client.CloseIdleConnections()
		var logs []chunk
		e.Eventually(time.Minute, fmt.Sprintf("all lines of run %d", runs+1), func() bool {
			logs = readLogs(t, client, c, logOptions{})
			return len(logs) >= (runs+1)*lines
		})
		seen := make(map[string]int)
		for _, k := range logs {
			seen[string(k.text[:10])]++
		}
		if len(logs) != (runs+1)*lines || len(seen) != lines {
			t.Errorf("%d lines, %d different ones, after %d runs of %d", len(logs), len(seen), runs+1, lines)
		}
	}
}
