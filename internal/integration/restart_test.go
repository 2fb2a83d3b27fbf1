package integration

import (
	"fmt"
	"strings"
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
// containers and their lines stay.
func TestContainersThatOutliveDockerd(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{LiveRestore: true})
	e.InstallPlugin()
	client := engineClient(e)
	c := e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "0", "-rate", "500")
	for i, step := range []struct {
		name string
		do   func()
	}{
		{"restart", e.Restart},
		{"kill", func() { e.Kill(); e.Resume() }},
	} {
		step.do()
		client.CloseIdleConnections()
		before := len(readLogs(t, client, c, logOptions{}))
		e.Eventually(30*time.Second, fmt.Sprintf("lines after the %s (%d)", step.name, i), func() bool {
			return len(readLogs(t, client, c, logOptions{})) > before
		})
	}
	e.Docker("kill", "-s", "TERM", c)
	e.Wait(c)
	lines := readLogs(t, client, c, logOptions{})
	for i, k := range lines[:len(lines)-1] {
		if !strings.HasPrefix(string(k.text), fmt.Sprintf("%010d ", i)) {
			t.Fatalf("line %d is %.40q", i, k.text)
		}
	}
	if last := string(lines[len(lines)-1].text); last != fmt.Sprintf("end %d\n", len(lines)-1) {
		t.Errorf("%d lines, the last is %q", len(lines), last)
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
