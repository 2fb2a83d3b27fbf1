package integration

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestRatioOfNginx has the share of nginx's requests that fail cross a bound, and come
// back below it. The plugin is killed while it is above.
func TestRatioOfNginx(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	c := control(t, e)
	image := programsImage(t, e)
	makeRule(t, c, "5xx", `" 5\d\d \d+ "`, api.RuleFields{
		"kind": "ratio", "of": `" \d{3} \d+ "`, "over": "10%", "at_least": 20, "window_seconds": 10, "severity": "error", "workload_id": "nginx"})
	e.Docker("run", "-d", "--name", "nginx", "--network", "none", "--log-driver", enginetest.Plugin, image,
		"sh", "-c", "cat >/tmp/nginx.conf <<'END'\n"+nginxConfig+"END\nexec nginx -c /tmp/nginx.conf")
	ask := func(path string) { e.Docker("exec", "nginx", "sh", "-c", "echo "+path+" >/tmp/ask") }
	ask("fine")
	e.Docker("exec", "-d", "nginx", "sh", "-c", `while :; do wget -qO- http://127.0.0.1/$(cat /tmp/ask); sleep 0.05; done`)
	all := func() []api.Incident {
		t.Helper()
		all, err := c.Incidents(context.Background(), api.IncidentQuery{State: "all", Rule: "5xx"})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	requests := func() int {
		out, _ := e.Logs("nginx")
		return strings.Count(string(out), " HTTP/1.1\"")
	}
	e.Eventually(time.Minute, "requests", func() bool { return requests() > 60 })
	if all := all(); len(all) != 0 {
		t.Fatalf("%+v", all)
	}
	ask("busy")
	e.Eventually(time.Minute, "the share being above", func() bool { return len(all()) == 1 })
	said := regexp.MustCompile(`^\d\d(\.\d)? % of \d+ lines in 10 s match \(\d+\), over 10 %; the last: 127\.0\.0\.1 .* "GET /busy HTTP/1\.1" 503 `)
	if i := all()[0]; i.State != "open" || i.Kind != "ratio" || i.Severity != "error" || !said.MatchString(i.FirstText) {
		t.Errorf("%+v", i)
	}
	e.KillPlugin()
	c = control(t, e)
	ask("fine")
	e.Eventually(time.Minute, "the share being below", func() bool { return all()[0].State == "resolved" })
	if i := all(); len(i) != 1 || i[0].Hits != 1 || !strings.HasPrefix(i[0].EndedWhy, "10 % of lines or less match for 10 s: 0 % of ") {
		t.Errorf("%+v", i)
	}
}

// TestSpikeOfAProgram has a program write some errors a day, and then many. The rule comes
// after those days, which the program's log knows; the plugin is killed in the middle of
// the spike. What the days are is by dockerd's clock, which each entry has its time from.
func TestSpikeOfAProgram(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	c := control(t, e)
	lines := 0
	write := func(n int) {
		t.Helper()
		e.Docker("exec", "app", "sh", "-c", fmt.Sprintf("for i in $(seq %d); do echo ERROR upstream timed out; done >/tmp/in", n))
		lines += n
		e.Eventually(time.Minute, "its lines", func() bool {
			out, _ := e.Logs("app")
			return strings.Count(string(out), "ERROR") == lines
		})
	}
	for day, n := range []int{3, 4, 5, 6} {
		setClock(t, int8(24*(day-4)), e.DockerdPID())
		if day == 0 {
			e.Docker("run", "-d", "--name", "app", "--network", "none", "--log-driver", enginetest.Plugin, enginetest.Image,
				"sh", "-c", "mkfifo /tmp/in; while :; do cat /tmp/in; done")
		}
		write(n)
	}
	setClock(t, 0, e.DockerdPID())
	caughtUp(t, e, c)
	makeRule(t, c, "errors", "ERROR", api.RuleFields{"kind": "spike", "factor": "2", "at_least": 8, "window_seconds": 24 * 3600, "workload_id": "app"})
	all := func() []api.Incident {
		t.Helper()
		all, err := c.Incidents(context.Background(), api.IncidentQuery{State: "all", Rule: "errors"})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	write(9)
	if all := all(); len(all) != 0 {
		t.Fatalf("%+v", all)
	}
	e.KillPlugin()
	c = control(t, e)
	for len(all()) == 0 && lines < 200 {
		write(1)
		caughtUp(t, e, c)
	}
	// Where it takes a while until what was added up is looked at, there are some more.
	said := regexp.MustCompile(`^1[1-9] matches in 1 d, usually [456](\.5)? \(median of [34] days at this time\): ERROR upstream timed out$`)
	if i := all(); len(i) != 1 || i[0].State != "open" || i[0].Kind != "spike" || !said.MatchString(i[0].FirstText) {
		t.Errorf("%+v", i)
	}
}
