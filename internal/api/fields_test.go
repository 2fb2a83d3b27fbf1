package api

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/trigger"
)

// Each field of a rule or a trigger is in the API: described, in what is read and in
// what is sent, and nothing else is.
func TestFieldsAreInTheAPI(t *testing.T) {
	b := newBench(t)
	_, out := b.raw("GET", "/openapi.json", "", "")
	var doc description
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	checkDescription[rule.Rule](t, doc, "Rule", rulesPath)
	checkDescription[trigger.Trigger](t, doc, "Trigger", triggersPath)
}

// description is OpenAPI's of the API.
type description struct {
	Paths map[string]map[string]struct {
		RequestBody struct {
			Content map[string]struct{ Schema schema }
		}
	}
	Components struct{ Schemas map[string]schema }
}

type schema struct {
	Properties map[string]struct {
		Type        any
		Description string
		ReadOnly    bool
	}
	Required []string
}

func checkDescription[T fields.Defined[T]](t *testing.T, doc description, name, path string) {
	t.Helper()
	table := fields.Of[T]()
	read := doc.Components.Schemas[name]
	create := doc.Paths[path]["post"].RequestBody.Content["application/json"].Schema
	change := doc.Paths[path+"/{id}"]["patch"].RequestBody.Content["application/json"].Schema
	own := []string{"id", "created_at", "updated_at", "managed_by", "key", "declared_at"}
	for what, s := range map[string]schema{"read": read, "made": create, "changed": change} {
		if len(s.Properties) != len(table.All)+len(own) {
			t.Errorf("a %s that is %s has %d fields", table.What, what, len(s.Properties))
		}
		for _, f := range table.All {
			p, ok := s.Properties[f.Name]
			if !ok || p.ReadOnly || p.Type == nil || !strings.HasPrefix(p.Description, f.Description()) {
				t.Errorf("a %s that is %s: %s is %+v", table.What, what, f.Name, p)
			}
			if required := what == "read" || what == "made" && f.Default == nil; slices.Contains(s.Required, f.Name) != required {
				t.Errorf("a %s that is %s: whether %s is required should be %v", table.What, what, f.Name, required)
			}
		}
		for _, name := range own {
			if !s.Properties[name].ReadOnly {
				t.Errorf("a %s that is %s: %s is not read-only", table.What, what, name)
			}
		}
	}
}

// The form of a rule on the wire is what clients know.
func TestRuleOnTheWire(t *testing.T) {
	b := newBench(t)
	_, body := b.raw("POST", rulesPath, "application/json", `{"name":"n","pattern":"x"}`)
	stored := must[rule.Rule](t)(b.store.Rule(t.Context(), 1))
	at, _ := json.Marshal(stored.CreatedAt)
	want := `{"id":1,"name":"n","description":"","pattern":"x","all":[],"ignore":[],"where":[],"record":false,"record_start":"","severity":"warn","streams":"all","cooldown_seconds":300,"cooldown_by":"shape","state":"on","enabled":true,"workload_id":"","overrides_id":0,"images":"","names":"","labels":"","kind":"line","by":"","per":"container","at_least":0,"within_seconds":0,"distinct":"","for_seconds":0,"grace_seconds":60,"arm":"first","when_stopped":"pause","active":"","forget_seconds":2592000,"at_most":10,"steps":[],"hit":"missing","slower_than_seconds":0,"until":[],"on_stop":"wait","field":"","must":[],"must_not":[],"min_lines":0,"max_duration_seconds":0,"restarts":0,"of":"","over":"","window_seconds":300,"factor":"3","clear":[],"resolve_after_seconds":900,"repeat_seconds":3600,"tell_resolved":false,"before":10,"after":10,"siblings_seconds":0,"triggers":"","managed_by":"api","created_at":` + string(at) + `,"updated_at":` + string(at) + `}`
	if got := strings.TrimSpace(body); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A client that knows no states goes on: what it sends has the meaning that it had, and
// a rule that is in shadow stays there, whether it is sent back or switched on.
func TestClientsThatKnowNoStates(t *testing.T) {
	b := newBench(t)
	send := func(method, path, body string) (code int, got struct {
		State   string
		Enabled bool
		Detail  string
	}) {
		t.Helper()
		resp, out := b.raw(method, path, "application/json", body)
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, got
	}
	for _, c := range []struct {
		method, path, body, state string
	}{
		{"POST", "", `{"name":"n","pattern":"x","enabled":false}`, "off"},
		{"PATCH", "/1", `{"enabled":true}`, "on"},
		{"PATCH", "/1", `{"state":"shadow"}`, "shadow"},
		{"PATCH", "/1", `{"enabled":true,"severity":"error"}`, "shadow"},
		{"PATCH", "/1", `{"state":"shadow","enabled":true}`, "shadow"},
		{"PATCH", "/1", `{"enabled":false}`, "off"},
		{"PATCH", "/1", `{"state":null}`, "on"},
	} {
		if code, got := send(c.method, rulesPath+c.path, c.body); code/100 != 2 || got.State != c.state || got.Enabled != (c.state != "off") {
			t.Errorf("%s gives %d %+v", c.body, code, got)
		}
	}
	if code, got := send("PATCH", rulesPath+"/1", `{"state":"off","enabled":true}`); code != 422 || !strings.Contains(got.Detail, `enabled: says something else than the state, "off"`) {
		t.Errorf("a clash gives %d %+v", code, got)
	}
	if code, got := send("PATCH", rulesPath+"/1", `{"state":"dark"}`); code != 422 || !strings.Contains(got.Detail, "must be on, off or shadow") {
		t.Errorf("no state gives %d %+v", code, got)
	}
}

// The form of a trigger on the wire is what clients know: lists are texts, and secrets
// are not shown.
func TestTriggerOnTheWire(t *testing.T) {
	b := newBench(t)
	_, body := b.raw("POST", triggersPath, "application/json", `{"name":"n","action_url":"https://h.example.com/secret","severities":"error, critical","action_secret":"s3cr3t"}`)
	stored := must[trigger.Trigger](t)(b.store.Trigger(t.Context(), 1))
	at, _ := json.Marshal(stored.CreatedAt)
	want := `{"id":1,"name":"n","enabled":true,"mode":"incidents","severities":"error,critical","min_severity":"","sources":"","rules":"","workloads":"","labels":"","kinds":"","message_regex":"",` +
		`"notices":"","unacknowledged_for_seconds":0,"group_by":"workload","group_wait_seconds":0,"group_interval_seconds":300,"context_wait_seconds":2,"at_most":"","active":"","digest":"","title":"","body":"",` +
		`"action_url":"https://h.example.com/********","action_secret":"********","managed_by":"api","created_at":` + string(at) + `,"updated_at":` + string(at) + `}`
	if got := strings.TrimSpace(body); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for name, bad := range map[string]string{"rules": "a\nb", "min_severity": "loud", "notices": "opened,closed", "at_most": "5", "active": "Someday", "digest": "daily", "group_by": "image", "mode": "all"} {
		_, err := b.UpdateTrigger(t.Context(), 1, TriggerFields{name: bad})
		wantProblem(t, err, 422, name)
	}
}

// A rule of before, with what isn't taken any more, goes on and can be changed.
func TestOldTextsStay(t *testing.T) {
	b := newBench(t)
	old := rule.New()
	old.Name, old.Pattern, old.Description, old.WorkloadID = "n", "x", "\x1b[2J", strings.Repeat("w", 300)
	r, err := b.store.CreateRule(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := b.store.CreateTrigger(t.Context(), trigger.Trigger{Name: "a\x1b[2J", Mode: trigger.ModeEvents, ActionURL: "https://h.example.com/"})
	if err != nil {
		t.Fatal(err)
	}
	must[Rule](t)(b.UpdateRule(t.Context(), r.ID, RuleFields{"enabled": false}))
	must[Trigger](t)(b.UpdateTrigger(t.Context(), tr.ID, TriggerFields{"enabled": false}))
	for _, bad := range []string{"\x1b]0;pwned\x07", "two\nlines", "\u202egnp.exe", "\u009b1m"} {
		_, err := b.UpdateRule(t.Context(), r.ID, RuleFields{"description": bad})
		wantProblem(t, err, 422, "description", "printed")
		_, err = b.CreateRule(t.Context(), RuleCreate{Name: "n", Pattern: "x", RuleFields: RuleFields{"description": bad}})
		wantProblem(t, err, 422, "description", "printed")
		_, err = b.UpdateTrigger(t.Context(), tr.ID, TriggerFields{"name": bad})
		wantProblem(t, err, 422, "name", "printed")
		_, err = b.CreateTrigger(t.Context(), TriggerCreate{Name: bad, ActionURL: "https://h.example.com/"})
		wantProblem(t, err, 422, "name", "printed")
	}
	// One bound for workloads, wherever they are named.
	long := strings.Repeat("w", rule.MaxWorkload+1)
	_, err = b.CreateRule(t.Context(), RuleCreate{Name: "n", Pattern: "x", RuleFields: RuleFields{"workload_id": long}})
	wantProblem(t, err, 422, "workload_id", "most is 128")
	_, err = b.Events(t.Context(), EventQuery{Workload: long})
	wantProblem(t, err, 422, "workload", "most is 128")
	_, err = b.EffectiveRules(t.Context(), long)
	wantProblem(t, err, 422, "128")
	must[Rule](t)(b.CreateRule(t.Context(), RuleCreate{Name: "n", Pattern: "x", RuleFields: RuleFields{"workload_id": long[1:]}}))
	must[EventPage](t)(b.Events(t.Context(), EventQuery{Workload: long[1:]}))
	must[EffectiveRules](t)(b.EffectiveRules(t.Context(), long[1:]))
}
