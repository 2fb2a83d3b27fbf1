package integration

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestDrill drills triggers and rules with real containers and receivers: whoever is
// told, or isn't, the drill says so, and leaves nothing behind.
func TestDrill(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	installCommand(t, e)
	e.InstallPlugin("LOGSCAN_ALLOW_TARGETS=127.0.0.1")
	c := control(t, e)
	well, ill := newSink(t, answer(200)), newSink(t, answer(500))
	add := func(name, url string, f api.TriggerFields) {
		t.Helper()
		if _, err := c.CreateTrigger(ctx, api.TriggerCreate{Name: name, ActionURL: url, TriggerFields: f}); err != nil {
			t.Fatal(err)
		}
	}
	drill := func(args ...string) (string, bool) {
		out, err := e.Command(t.Context(), append([]string{"logscan", "drill"}, args...)...).CombinedOutput()
		return string(out), err == nil
	}
	// says checks what a drill prints; each space stands for any white space.
	says := func(ok bool, want string, args ...string) {
		t.Helper()
		out, told := drill(append([]string{"--image", enginetest.Image}, args...)...)
		if told != ok || !regexp.MustCompile(`^(?s)`+strings.ReplaceAll(want, " ", `\s+`)+`\n$`).MatchString(out) {
			t.Errorf("drill %v: %v\n%swant\n%s", args, told, out, want)
		}
	}
	// nothing checks what is left of drills.
	rules := 0
	nothing := func() {
		t.Helper()
		left, err := c.Rules(ctx)
		if err != nil || len(left) != rules {
			t.Errorf("the rules are %+v, %v", left, err)
		}
		open, err := c.Incidents(ctx, api.IncidentQuery{})
		if err != nil || len(open) != 0 {
			t.Errorf("open are %+v, %v", open, err)
		}
		e.Eventually(time.Minute, "no container being left", func() bool { return e.Docker("ps", "-aq", "--filter", "name=logscan-drill") == "" })
	}

	add("ops", well.URL, nil)
	says(true, `STEP AFTER TRIGGER WHAT
line 0.0 ms - logscan drill \w{16}: this is a test; nothing is wrong \(container logscan-drill-\w+, workload logscan-drill-\w+\)
hit [0-9.]+ ms - event 1 of rule logscan-drill-\w+
incident [0-9.]+ ms - 1 opened
queued [0-9.]+ ms ops msg_\w+
answered [0-9.]+ ms ops delivered with status 200
told in [0-9.]+ ms`, "ops")
	nothing()
	if got := well.all(); len(got) != 1 || !strings.Contains(got[0].body, "this is a test; nothing is wrong") {
		t.Errorf("the receiver got %+v", got)
	}
	if i, err := c.Incident(ctx, 1); err != nil || i.State != "resolved" || i.By != "drill" {
		t.Errorf("%+v, %v", i, err)
	}

	// The times are those that were stored: each step comes after the one before.
	out, _ := drill("--image", enginetest.Image, "ops", "--format", "json")
	var steps []string
	last := -1.0
	for line := range strings.Lines(out) {
		var s struct {
			Step  string
			After float64 `json:"after_ms"`
		}
		if err := json.Unmarshal([]byte(line), &s); err != nil || s.After < last {
			t.Errorf("%s after %g ms: %v", line, last, err)
		}
		steps, last = append(steps, s.Step), s.After
	}
	if got := strings.Join(steps, " "); got != "line hit incident queued answered told" {
		t.Errorf("the steps are %s", got)
	}

	// A service that keeps a state of its own hears of the end, too.
	state := newSink(t, answer(200))
	add("prom", strings.Replace(state.URL, "http://", "alertmanager+http://", 1), nil)
	says(true, `STEP .* told in [0-9.]+ ms`, "prom")
	e.Eventually(time.Minute, "the alert's end", func() bool { return len(state.all()) == 2 })

	add("ill", ill.URL, nil)
	says(false, `STEP .* answered [0-9.]+ ms ill pending: the receiver answered 500; tried again at \S+
Error: nobody was told: the drill stopped at the answer: trigger ill: .*
Try: docker logscan trigger test ill .*`, "ill")
	nothing()
	now := time.Now().UTC()
	add("day", well.URL, api.TriggerFields{"active": now.Add(2*time.Hour).Format("15:00") + "-" + now.Add(3*time.Hour).Format("15:00")})
	says(false, `STEP .* held - day until \S+ \S+, outside of the trigger's hours
Error: nobody was told: .* trigger day holds it until .*`, "day")
	add("off", well.URL, api.TriggerFields{"enabled": false})
	says(false, `Error: trigger off is switched off: it tells nobody
Try: docker logscan trigger enable off`, "off")

	e.Docker("logscan", "trigger", "disable", "ill") // else the drill waits for it
	// A rule's line goes to all triggers, on the rule's stream.
	makeRule(t, c, "panic", `^panic: (?P<what>\w+)`, api.RuleFields{"streams": "stderr", "severity": "critical"})
	rules = 1
	says(true, `STEP .* line 0.0 ms - panic: x \(logscan drill .*
incident [0-9.]+ ms - \d+ opened
.*answered [0-9.]+ ms ops delivered .*told in [0-9.]+ ms`, "--rule", "panic")
	nothing()
	e.Docker("logscan", "rule", "disable", "panic")
	says(false, `Error: rule panic is switched off: it finds nothing
Try: docker logscan rule enable panic`, "--rule", "panic")

	e.Docker("logscan", "silence", "add", "rule=logscan-drill-*", "--for", "1h")
	says(false, `STEP .* silenced - ops held back by silence 1
Error: nobody was told: .* silence 1 holds it back from trigger ops
Try: docker logscan silence rm 1`, "ops")
	nothing()
	e.Docker("logscan", "silence", "rm", "1")

	// Without an image there is no drill, and nothing is downloaded.
	says(false, `Error: there is no image nosuch on the Engine
Try: docker pull nosuch`, "ops", "--image", "nosuch")
	if out, told := drill("ops"); told || !strings.Contains(out, "none of the images busybox") {
		t.Errorf("without an image: %v %s", told, out)
	}

	// One that is interrupted while the receiver thinks tidies up all the same.
	asked, think := make(chan struct{}), make(chan struct{})
	defer close(think)
	slow := newSink(t, func(http.ResponseWriter, int) int { close(asked); <-think; return 200 })
	add("slow", slow.URL, nil)
	cmd := e.Command(t.Context(), "logscan", "drill", "--image", enginetest.Image, "slow")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	e.Eventually(time.Minute, "the container having ended", func() bool { return e.Docker("ps", "-aq", "--filter", "name=logscan-drill") == "" })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a drill that was interrupted says that somebody was told")
	}
	e.Eventually(time.Minute, "its rule being removed", func() bool {
		left, err := c.Rules(ctx)
		return err == nil && len(left) == rules
	})
	nothing()
}
