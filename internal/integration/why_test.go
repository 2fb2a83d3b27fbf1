package integration

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestWhy asks of lines of a real container what became of them: from a pattern that
// doesn't match to a receiver that refuses; and of rules why they made no hit.
func TestWhy(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	installCommand(t, e)
	e.InstallPlugin("LOGSCAN_ALLOW_TARGETS=127.0.0.1")
	c := control(t, e)
	well := newSink(t, answer(200))
	ill := newSink(t, func(_ http.ResponseWriter, n int) int { return map[bool]int{true: 503, false: 410}[n == 0] })
	trigger := func(name, url string, f api.TriggerFields) {
		t.Helper()
		if _, err := c.CreateTrigger(ctx, api.TriggerCreate{Name: name, ActionURL: url, TriggerFields: f}); err != nil {
			t.Fatal(err)
		}
	}
	makeRule(t, c, "errors", "^error", api.RuleFields{"cooldown_seconds": 300, "where": []string{"code != 503"}})
	makeRule(t, c, "many", "timed out", api.RuleFields{"kind": "count", "at_least": 3, "within_seconds": 600})
	makeRule(t, c, "other", "^Other", nil)
	trigger("well", well.URL, api.TriggerFields{"group_interval_seconds": 0})
	trigger("ill", ill.URL, api.TriggerFields{"group_interval_seconds": 0})
	trigger("choosy", well.URL, api.TriggerFields{"min_severity": "critical"})
	if _, err := c.CreateSilence(ctx, api.SilenceCreate{Matchers: []string{"container=quiet"}, Ends: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	write := func(name, script string) {
		e.Docker("run", "--name", name, "--log-driver", enginetest.Plugin, enginetest.Image, "sh", "-c", script)
	}
	write("web", "echo error took 18 ms; sleep 0.1; echo error took 17 ms; sleep 0.1; echo error code=503; echo timed out; echo bye")
	write("quiet", "echo error in another way")
	caughtUp(t, e, c)
	e.Eventually(time.Minute, "both receivers having answered", func() bool {
		all, err := c.Deliveries(ctx, api.DeliveryQuery{})
		if err != nil {
			t.Fatal(err)
		}
		states := map[string]int{}
		for _, d := range all {
			states[d.State]++
		}
		return states["delivered"] >= 1 && states["dead"] == 1 && states["pending"] == 0
	})

	says := func(want string, args ...string) {
		t.Helper()
		out := e.Docker(append([]string{"logscan"}, args...)...)
		lines := strings.Split(want, "\n")
		for i, line := range lines {
			lines[i] = strings.ReplaceAll(regexp.QuoteMeta(line), "…", `.+`)
		}
		if !regexp.MustCompile(`^` + strings.Join(lines, "\n") + `$`).MatchString(strings.TrimRight(out, "\n")) {
			t.Errorf("%v:\n%s\nwant\n%s", args, out, want)
		}
	}
	says(`web … stdout | error took 18 ms

Rule errors: a hit, event 1.
  It is part of incident 1, which counts 2 since … and is open.
  … opened
    Told well: msg_… is delivered with status 200
    Told ill: msg_… is dead…, after 2 attempts
    Not told choosy: left out by --min-severity

and 2 rules whose pattern doesn't match (--all shows them)`, "why", "--container", "web", "--line", "1")
	says(`web … stdout | error took 17 ms

Rule errors: held back by its cooldown until …, since the hit of …, event 1.
  It counts in incident 1, which counts 2 since … and is open.
  It was worth no notice of its own. Around then, the incident was worth:
  … opened
    Told well: msg_… is delivered with status 200
    Told ill: msg_… is dead…, after 2 attempts
    Not told choosy: left out by --min-severity

and 2 rules whose pattern doesn't match (--all shows them)`, "why", "--container", "web", "--line", "2")
	says(`web … stdout | error code=503

Rule errors: no match: it doesn't fulfil code != 503: code is 503.

Rule many: no match: it doesn't match the pattern timed out.

Rule other: no match: it doesn't match the pattern ^Other.`, "why", "--container", "web", "--line", "-3", "--all")
	says(`web … stdout | timed out

Rule many: a match, 1 of the 3 that make a hit, since ….
  So say the lines that are kept, evaluated again by the rules as they are now.

and 2 rules whose pattern doesn't match (--all shows them)`, "why", "--container", "web", "--line", "4")
	quiet := hits(t, c, "errors")[1] // web's second is held back
	says(`quiet … stdout | error in another way

Rule errors: a hit, event `+fmt.Sprint(quiet.ID)+`.
  It is part of incident …, which counts 1 since … and is open.
  … opened
    Silenced by 1: container=quiet
    Not told choosy: left out by --min-severity

and 2 rules whose pattern doesn't match (--all shows them)`, "why", "--event", fmt.Sprint(quiet.ID))

	says(`Rule many, on 6 lines of 2 containers since …:
It made no event.
1 line fulfils its conditions.
A hit takes 3 within 10m; the most was 1, at ….`, "rule", "why", "many")
	says(`Rule other, on 6 lines of 2 containers since …:
It made no event.
No line fulfils its conditions.
1 line has "Other", in capitals or small letters, but no match. The last: error in another way`, "rule", "why", "other")

	// What is stored tells the same after the plugin was killed.
	before := e.Docker("logscan", "why", "--container", "web", "--line", "2", "--format", "json")
	e.KillPlugin()
	c = control(t, e)
	caughtUp(t, e, c)
	if after := e.Docker("logscan", "why", "--container", "web", "--line", "2", "--format", "json"); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}
