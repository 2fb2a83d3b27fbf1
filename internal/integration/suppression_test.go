package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestSuppressionLosesNothing has a cooldown and the limit of hits per container
// hold back most of what two containers write, while the plugin is killed: each
// event tells exactly how many matches there were since the one before.
func TestSuppressionLosesNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin("LOGSCAN_BUCKET_BURST=5", "LOGSCAN_BUCKET_REFILL=500ms")
	c := control(t, e)
	const number = `^(?P<n>\d+) `
	makeRule(t, c, "cooldown", number, api.RuleFields{"workload_id": "a", "cooldown_seconds": 1})
	makeRule(t, c, "bucket", number, api.RuleFields{"workload_id": "b"})
	rules := map[string]string{} // by container
	for workload, rule := range map[string]string{"a": "cooldown", "b": "bucket"} {
		rules[e.Run([]string{"--log-driver", enginetest.Plugin, "--log-opt", "workload=" + workload}, "loggen", "-n", "0", "-rate", "300", "-len", "20")] = rule
	}
	for range 4 {
		for _, rule := range rules {
			n := len(hits(t, c, rule))
			e.Eventually(time.Minute, "more hits of "+rule, func() bool { return len(hits(t, c, rule)) > n })
		}
		e.KillPlugin()
		c = control(t, e)
	}
	for name := range rules {
		e.Docker("kill", "-s", "TERM", name)
		e.Wait(name)
	}
	caughtUp(t, e, c)
	for name, rule := range rules {
		var lines int
		stdout, _ := e.Logs(name, "-n", "1")
		if _, err := fmt.Sscanf(string(stdout), "end %d", &lines); err != nil {
			t.Fatalf("%q: %v", stdout, err)
		}
		events := hits(t, c, rule)
		last, lastTime := -1, time.Time{}
		for i, ev := range events {
			n, at := lineOf(t, ev)
			if ev.Severity != "warn" || meta(ev, "container_name") != name {
				t.Errorf("event %+v", ev)
			}
			since := checkSuppressed(t, ev, last)
			if !since.IsZero() && (since.Before(lastTime) || since.After(at)) {
				t.Errorf("%s: event %d at %v, the one before at %v, suppressed since %v", rule, i, at, lastTime, since)
			}
			if rule == "cooldown" && at.Sub(lastTime) < time.Second {
				t.Errorf("hits at %v and %v are closer than the cooldown", lastTime, at)
			}
			if rule == "bucket" && i < 5 && n != i {
				t.Errorf("line %d is the %dth hit of a full bucket", n, i)
			}
			last, lastTime = n, at
		}
		t.Logf("%s: %d lines, %d events", rule, lines, len(events))
		if len(events) < 5 || last >= lines {
			t.Errorf("%s: %d events, the last of line %d of %d", rule, len(events), last, lines)
		}
	}

	// What is counted adds up.
	before, err := c.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, workload := range []string{"a", "b", "none"} {
		e.Wait(e.Run([]string{"--log-driver", enginetest.Plugin, "--log-opt", "workload=" + workload}, "loggen", "-n", "100", "-len", "20"))
	}
	caughtUp(t, e, c)
	after, err := c.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found, held, lines := after.Scan.Hits-before.Scan.Hits, after.Scan.Suppressed-before.Scan.Suppressed, after.Scan.Lines-before.Scan.Lines
	if lines != 300 || found+held != 200 || found < 6 {
		t.Errorf("%d lines, %d hits, %d suppressed", lines, found, held)
	}
}

// lineOf returns the number and the time of the line that a hit is of.
func lineOf(t testing.TB, ev api.Event) (n int, at time.Time) {
	t.Helper()
	captures, _ := ev.Metadata["captures"].(map[string]any)
	if _, err := fmt.Sscanf(fmt.Sprint(captures["n"]), "%d", &n); err != nil {
		t.Fatalf("event %+v: %v", ev, err)
	}
	at, err := time.Parse(time.RFC3339Nano, meta(ev, "line_time"))
	if err != nil {
		t.Fatal(err)
	}
	return n, at
}

// checkSuppressed shows that a hit of a rule that each line matches says how many
// lines there were since that of the hit before, which is line last. It returns
// since when.
func checkSuppressed(t testing.TB, ev api.Event, last int) (since time.Time) {
	t.Helper()
	n, _ := lineOf(t, ev)
	suppressed, _ := ev.Metadata["suppressed"].(float64)
	since, err := time.Parse(time.RFC3339Nano, meta(ev, "suppressed_since"))
	if int(suppressed) != n-last-1 || (err == nil) != (suppressed > 0) {
		t.Errorf("an event is of line %d, the one before of line %d, and %v were suppressed since %v: %v", n, last, suppressed, since, err)
	}
	return since
}
