package integration

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestRuns judges the runs of jobs: of containers that `docker run --rm` makes, and of one
// that is started again; fine ones and others, while the plugin is there, across its kill
// and while it is disabled; one that hangs, and one that crashes again and again.
func TestRuns(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin("LOGSCAN_ALLOW_TARGETS=127.0.0.1")
	c := control(t, e)
	importBusybox(t, e)
	p := newPhone(t)
	url := strings.Replace(p.URL, "http://", "ntfy+http://", 1) + "/ops"
	if _, err := c.CreateTrigger(ctx, api.TriggerCreate{Name: "phone", ActionURL: url, TriggerFields: api.TriggerFields{"group_interval_seconds": 0, "kinds": "run"}}); err != nil {
		t.Fatal(err)
	}
	job := func(name string, f api.RuleFields) {
		f["kind"], f["workload_id"] = "run", name
		makeRule(t, c, name, "", f)
	}
	job("nightly", api.RuleFields{"must": []string{"backup done"}, "must_not": []string{"ERROR"}, "min_lines": 3, "severity": "critical"})
	job("again", api.RuleFields{"must": []string{"backup done"}, "min_lines": 3})
	job("hangs", api.RuleFields{"max_duration_seconds": 5})
	job("loops", api.RuleFields{"restarts": 4, "within_seconds": 60})
	of := func(rule string) []api.Incident {
		t.Helper()
		all, err := c.Incidents(ctx, api.IncidentQuery{State: "all", Rule: rule})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	says := func(rule string, want ...string) {
		t.Helper()
		var got []string
		e.Eventually(2*time.Minute, rule+" saying "+strings.Join(want, ", "), func() bool {
			got = nil
			for _, h := range hits(t, c, rule) {
				_, what, _ := strings.Cut(h.Message, " ended: ")
				got = append(got, what)
			}
			return len(got) >= len(want)
		})
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("%s: %q", rule, got)
		}
	}
	state := func(rule string) string {
		if all := of(rule); len(all) > 0 {
			return all[0].State
		}
		return "none"
	}
	const fine, bad = "echo 1; echo 2; echo backup done", "echo 1; echo ERROR disk is full >&2; exit 1"
	const few, broken = "no line matched /backup done/; it had 2 lines, of at least 3", "no line matched /backup done/; 1 line matched /ERROR/, the last: ERROR disk is full; it had 2 lines, of at least 3"
	run := func(name, script string) {
		_, _ = e.TryDocker("run", "--rm", "--name", name, "--network", "none", "--log-driver", enginetest.Plugin, "busybox", "sh", "-c", script)
	}

	run("nightly", fine)
	run("nightly", bad)
	says("nightly", broken)
	h := hits(t, c, "nightly")[0]
	if m := h.Metadata; m["workload_id"] != "nightly" || m["container_name"] != "nightly" || m["matches"] != 1.0 || m["line"] != "ERROR disk is full" || m["since"] == nil || m["until"] == nil || h.Severity != "critical" {
		t.Errorf("%+v", h)
	}
	run("nightly", fine)
	e.Eventually(time.Minute, "its end by the next run, that is fine", func() bool { return state("nightly") == "resolved" })
	if i := of("nightly")[0]; !strings.HasPrefix(i.EndedWhy, "a run of ") || !strings.HasSuffix(i.EndedWhy, " was fine") || i.Hits != 1 {
		t.Errorf("%+v", i)
	}

	// The plugin is killed in the middle of a run, which goes on and ends.
	e.Docker("run", "-d", "--name", "again", "--network", "none", "--log-driver", enginetest.Plugin, "busybox",
		"sh", "-c", "echo 1; while ! [ -e /tmp/go ]; do sleep 0.1; done; rm /tmp/go; echo 2; [ -e /tmp/bad ] || echo backup done")
	caughtUp(t, e, c)
	e.KillPlugin()
	c = control(t, e)
	e.Docker("exec", "again", "touch", "/tmp/bad", "/tmp/go")
	e.Wait("again")
	says("again", few)
	e.Docker("logs", "again") // no run
	// Disabled in the middle of one, that ends before it is back; and one that is whole.
	e.Docker("start", "again")
	caughtUp(t, e, c)
	pid := e.Docker("inspect", "-f", "{{.State.Pid}}", "again")
	e.DisablePlugin()
	e.Docker("exec", "again", "touch", "/tmp/go")
	// dockerd calls the plugin for 15 s, then lets go of the pipe, whose lines may be lost.
	e.Eventually(10*time.Second, "the end of the container's process", func() bool {
		_, err := os.Stat("/proc/" + pid)
		return errors.Is(err, fs.ErrNotExist)
	})
	e.EnablePlugin()
	e.Wait("again")
	c = control(t, e)
	says("again", few, few)
	e.Docker("logs", "again")
	e.Docker("start", "again")
	e.Docker("exec", "again", "sh", "-c", "rm /tmp/bad; touch /tmp/go")
	e.Wait("again")
	e.Eventually(time.Minute, "its end by the run that is fine", func() bool { return state("again") == "resolved" })
	says("again", few, few)
	// Killed again and again while runs come and go.
	for n := range 6 {
		run("nightly", []string{bad, fine}[n%2])
		e.KillPlugin()
		c = control(t, e)
	}
	says("nightly", broken, broken, broken, broken)
	e.Eventually(time.Minute, "the end of all of them", func() bool { return state("nightly") == "resolved" })

	// One that hangs is told of while it does.
	e.Docker("run", "-d", "--name", "hangs", "--network", "none", "--log-driver", enginetest.Plugin, "busybox", "sleep", "1000")
	e.Eventually(2*time.Minute, "it being too long", func() bool { return state("hangs") == "open" })
	if i := of("hangs")[0]; i.FirstText != "a run takes longer than 5 s" || i.Container != "hangs" {
		t.Errorf("%+v", i)
	}
	e.Docker("kill", "hangs")
	e.Eventually(time.Minute, "its end being more of that", func() bool { return of("hangs")[0].Matches == 2 })
	if i := of("hangs")[0]; !strings.HasSuffix(i.LastText, " ended: it took longer than 5 s") || i.Hits != 1 || i.State != "open" {
		t.Errorf("%+v", i)
	}
	e.Docker("run", "--rm", "--network", "none", "--log-driver", enginetest.Plugin, "--log-opt", "workload=hangs", "busybox", "true")
	e.Eventually(time.Minute, "the end by one that is quick", func() bool { return state("hangs") == "resolved" })

	// A crash loop.
	e.Docker("run", "-d", "--name", "loops", "--restart", "always", "--network", "none", "--log-driver", enginetest.Plugin, "busybox", "sh", "-c", "echo crashed; exit 1")
	e.Eventually(2*time.Minute, "the crash loop", func() bool { return state("loops") == "open" })
	if i := of("loops")[0]; !strings.HasPrefix(i.FirstText, "4 starts in ") || i.Hits != 1 {
		t.Errorf("%+v", i)
	}
	e.Docker("rm", "-f", "loops")
	e.Eventually(3*time.Minute, "the end of the loop", func() bool { return state("loops") == "resolved" })
	if i := of("loops")[0]; i.EndedWhy != "there was no start for 1 min" {
		t.Errorf("%+v", i)
	}
	e.Eventually(time.Minute, "all told", func() bool { return strings.Count(strings.Join(p.said(), "\n"), "[RESOLVED]") >= 7 })
}
