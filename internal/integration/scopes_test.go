package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// makeRule makes a rule without a cooldown, with whatever else f says.
func makeRule(t testing.TB, c *api.Client, name, pattern string, f api.RuleFields) api.Rule {
	t.Helper()
	f = maps.Clone(f)
	if f == nil {
		f = api.RuleFields{}
	}
	if _, given := f["cooldown_seconds"]; !given {
		f["cooldown_seconds"] = 0
	}
	r, err := c.CreateRule(context.Background(), api.RuleCreate{Name: name, Pattern: pattern, RuleFields: f})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// meta returns a text of an event's metadata.
func meta(e api.Event, key string) string {
	s, _ := e.Metadata[key].(string)
	return s
}

// fruit is what every container of TestScopes writes, a word a line.
var fruit = []string{"apple", "pear", "plum", "fig", "grape"}

// scopes runs containers, all of which write the same lines, to their end and
// returns the hits as workload → "rule of line, …".
func scopes(t *testing.T, e *enginetest.Engine, c *api.Client, names []string) map[string]string {
	t.Helper()
	var after int64
	if page, err := c.Events(context.Background(), api.EventQuery{Limit: 1}); err != nil {
		t.Fatal(err)
	} else if len(page.Items) > 0 {
		after = page.Items[0].ID
	}
	e.Docker(append([]string{"start"}, names...)...)
	e.Docker(append([]string{"wait"}, names...)...)
	caughtUp(t, e, c)
	found := map[string][]string{}
	for _, ev := range allEvents(t, c, api.EventQuery{Source: "logscan"}) {
		if ev.ID <= after {
			continue
		}
		workload := meta(ev, "workload_id")
		if slices.Contains(names, workload) && workload == meta(ev, "container_name") {
			workload = "(name)"
		}
		found[workload] = append(found[workload], meta(ev, "rule_name")+" of "+ev.Message)
	}
	out := map[string]string{}
	for w, hits := range found {
		slices.Sort(hits)
		out[w] = strings.Join(hits, ", ")
	}
	return out
}

// TestScopes shows which rules are in effect for which containers: those of
// their workload, which is the first that a container has of log-opt, label,
// Swarm service, compose service and name.
func TestScopes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(unbounded...)
	c := control(t, e)

	label := func(kv string) []string { return []string{"--label", kv} }
	name := []string(nil)
	compose := slices.Concat(name, label("com.docker.compose.project=shop"), label("com.docker.compose.service=web"))
	service := slices.Concat(compose, label("com.docker.swarm.service.name=by-service"))
	labelled := slices.Concat(service, label("logscan.workload=by-label"))
	opt := slices.Concat(labelled, []string{"--log-opt", "workload=by-opt"})
	half := label("com.docker.compose.project=shop") // no service: not a compose workload
	var containers []string
	for i, flags := range [][]string{name, compose, service, labelled, opt, half, opt} {
		containers = append(containers, fmt.Sprintf("container-%d", i))
		args := slices.Concat([]string{"create", "--network", "none", "--log-driver", enginetest.Plugin, "--name", containers[i]}, flags,
			[]string{enginetest.Image, "sh", "-c", "for w in " + strings.Join(fruit, " ") + "; do echo $w; done"})
		e.Docker(args...)
	}

	apple := makeRule(t, c, "apple", "apple", api.RuleFields{})
	pear := makeRule(t, c, "pear", "pear", api.RuleFields{})
	fig := makeRule(t, c, "fig", "fig", api.RuleFields{"enabled": false})
	in := func(workload string, overrides int64) api.RuleFields {
		return api.RuleFields{"workload_id": workload, "overrides_id": overrides}
	}
	override := makeRule(t, c, "pear for labels", "plum", in("by-label", pear.ID))
	removed := in("by-service", pear.ID)
	removed["enabled"] = false
	makeRule(t, c, "no pear for services", "pear", removed)
	makeRule(t, c, "fig for compose", "fig", in("shop/web", fig.ID))
	own := makeRule(t, c, "own", "grape", in("by-opt", 0))

	check := func(when string, want map[string]string) {
		t.Helper()
		if got := scopes(t, e, c, containers); !maps.Equal(got, want) {
			t.Errorf("%s:\ngot  %v\nwant %v", when, got, want)
		}
	}
	check("as made", map[string]string{
		"(name)":     "apple of apple, apple of apple, pear of pear, pear of pear", // two containers
		"shop/web":   "apple of apple, fig for compose of fig, pear of pear",
		"by-service": "apple of apple",
		"by-label":   "apple of apple, pear for labels of plum",
		"by-opt":     "apple of apple, apple of apple, own of grape, own of grape, pear of pear, pear of pear",
	})

	// A disabled global is off, and what overrides it stays; another enabled.
	disabled, enabled := api.RuleFields{"enabled": false}, api.RuleFields{"enabled": true}
	for id, f := range map[int64]api.RuleFields{apple.ID: disabled, pear.ID: disabled, fig.ID: enabled} {
		if _, err := c.UpdateRule(ctx, id, f); err != nil {
			t.Fatal(err)
		}
	}
	check("after disabling two and enabling one", map[string]string{
		"(name)":     "fig of fig, fig of fig",
		"shop/web":   "fig for compose of fig",
		"by-service": "fig of fig",
		"by-label":   "fig of fig, pear for labels of plum",
		"by-opt":     "fig of fig, fig of fig, own of grape, own of grape",
	})

	// What can't be an override is refused, and says why.
	for what, f := range map[string]struct {
		fields api.RuleFields
		says   string
	}{
		"an override of an override":         {in("by-label", override.ID), "is an override itself"},
		"an override of a workload's rule":   {in("by-label", own.ID), "not global but a workload's own"},
		"an override of another workload's":  {in("by-opt", own.ID), "not global but a workload's own"},
		"an override of a rule that is none": {in("by-label", 4711), "there is no rule 4711"},
		"an override for all workloads":      {in("", apple.ID), "is required where a rule overrides another"},
		"a second override":                  {in("by-label", pear.ID), "in this workload already"},
	} {
		_, err := c.CreateRule(ctx, api.RuleCreate{Name: "bad", Pattern: "x", RuleFields: f.fields})
		var p *api.Problem
		if !errors.As(err, &p) || p.Status != http.StatusUnprocessableEntity || !strings.Contains(fmt.Sprint(p, p.Errors), f.says) {
			t.Errorf("%s: %v", what, err)
		}
	}

	// With a global rule go its overrides.
	if err := c.DeleteRule(ctx, pear.ID); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteRule(ctx, fig.ID); err != nil {
		t.Fatal(err)
	}
	rules, err := c.Rules(ctx)
	if err != nil || len(rules) != 2 || rules[0].ID != apple.ID || rules[1].ID != own.ID {
		t.Errorf("rules left: %v, %v", rules, err)
	}
	check("after deleting two globals", map[string]string{"by-opt": "own of grape, own of grape"})

	// Image, name and labels narrow a rule further.
	narrow := api.RuleFields{"images": "b?x:latest,other", "names": "container-1,container-5,container-0", "labels": "com.docker.compose.project=sh*"}
	makeRule(t, c, "narrow", "plum", narrow)
	check("with a rule for some containers", map[string]string{"by-opt": "own of grape, own of grape", "shop/web": "narrow of plum", "(name)": "narrow of plum"})
}

// TestHotReload changes rules while a container writes: no line is evaluated
// under two versions of a rule, none under neither.
func TestHotReload(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(unbounded...)
	c := control(t, e)
	const number = `^(?P<n>\d+) `
	turn := makeRule(t, c, "even", number, api.RuleFields{})
	name := e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "0", "-rate", "1000", "-len", "20")
	newest := func(rule string) int64 {
		page, err := c.Events(ctx, api.EventQuery{Rule: rule, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Items) == 0 {
			return 0
		}
		return page.Items[0].ID
	}
	const switches = 40
	var during api.Rule
	for i := range switches {
		// Only once there are hits under the present name, so that each counts.
		was := []string{"even", "odd"}[i%2]
		before := newest("")
		e.Eventually(time.Minute, "hits of "+was, func() bool { return newest(was) > before })
		if i == 10 {
			during = makeRule(t, c, "during", number, api.RuleFields{})
		}
		if i == 30 {
			if err := c.DeleteRule(ctx, during.ID); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.UpdateRule(ctx, turn.ID, api.RuleFields{"name": []string{"odd", "even"}[i%2]}); err != nil {
			t.Fatal(err)
		}
	}
	e.Docker("kill", "-s", "TERM", name)
	e.Wait(name)
	caughtUp(t, e, c)
	stdout, _ := e.Logs(name, "-n", "1")
	var lines int
	if _, err := fmt.Sscanf(string(stdout), "end %d", &lines); err != nil {
		t.Fatalf("%q: %v", stdout, err)
	}
	next, changes, last := 0, 0, "even"
	first, until := -1, -1 // lines that the other rule was there for
	for _, ev := range allEvents(t, c, api.EventQuery{Source: "logscan"}) {
		captures, _ := ev.Metadata["captures"].(map[string]any)
		var n int
		fmt.Sscanf(fmt.Sprint(captures["n"]), "%d", &n)
		rule := meta(ev, "rule_name")
		if rule == "during" {
			if first < 0 {
				first, until = n, n
			}
			if n != until {
				t.Fatalf("rule during misses or doubles line %d: it hit %d", until, n)
			}
			until++
			continue
		}
		if n != next {
			t.Fatalf("line %d was missed or doubled: %s hit %d", next, rule, n)
		}
		next++
		if rule != last {
			changes, last = changes+1, rule
		}
	}
	t.Logf("%d lines, %d changes, rule during from %d to %d", lines, changes, first, until)
	if next != lines || changes < switches-1 || changes > switches {
		t.Errorf("%d hits of %d lines, %d changes of %d", next, lines, changes, switches)
	}
	if first <= 0 || until <= first || until >= lines {
		t.Errorf("rule during hit lines %d to %d of %d", first, until, lines)
	}
}
