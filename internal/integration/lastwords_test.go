package integration

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestLastWords has a container crash again and again, and write so much in each run
// that only the last one's lines are kept, while the plugin's worker is killed: each run's
// last words are there.
func TestLastWords(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	c := control(t, e)
	dir := t.TempDir()
	const crashes = 4
	name := e.Run([]string{"--log-driver", enginetest.Plugin, "--log-opt", "max-size=64k", "--log-opt", "max-file=1", "--restart", fmt.Sprint("on-failure:", crashes-1), "-v", dir + ":/sync"}, "sh", "-c", `
		echo >>/sync/runs; n=$(wc -l </sync/runs)
		yes "run $n goes on" | head -n 5000
		echo "run $n: cannot open /etc/app.conf with password=hunter2" >&2
		exit 1`)
	id := e.ContainerID(name)
	var d api.ContainerDetails
	e.Eventually(2*time.Minute, "the second run", func() bool {
		var err error
		d, err = c.Container(context.Background(), id)
		return err == nil && len(d.Runs) >= 2
	})
	if err := syscall.Kill(e.WorkerOf(e.SupervisorPID()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e.Eventually(4*time.Minute, "all last words", func() bool {
		var err error
		if d, err = c.Container(context.Background(), id); err != nil || len(d.Runs) != crashes {
			return false
		}
		for _, r := range d.Runs {
			if len(r.LastWords) == 0 {
				return false
			}
		}
		return true
	})
	for n, r := range d.Runs {
		said := map[string]bool{}
		for _, l := range r.LastWords {
			said[l.Text] = true
		}
		run := crashes - n
		if len(r.LastWords) != 50 || !said[fmt.Sprintf("run %d: cannot open /etc/app.conf with password=[redacted]", run)] || !said[fmt.Sprintf("run %d goes on", run)] || len(said) != 2 {
			t.Errorf("run %d said %d lines: %v", run, len(r.LastWords), said)
		}
	}
	e.Eventually(time.Minute, "end of the lines of the runs before", func() bool {
		logs, _ := e.Logs(name)
		return len(logs) <= 128<<10
	})
	e.Docker("rm", name)
}
