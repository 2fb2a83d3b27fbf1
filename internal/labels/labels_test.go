package labels

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"logscan/internal/rule"
)

func read(own map[string]string) Declared { return Read(own, 0, "shop/web", Known{}) }

func TestRules(t *testing.T) {
	d := read(map[string]string{
		"logscan.enable":                    "true",
		"logscan.workload":                  "shop/web",
		"logscan.rule.oom.pattern":          "Out of memory",
		"logscan.rule.oom.severity":         "critical",
		"logscan.rule.oom.cooldown_seconds": "5m",
		"logscan.rule.slow.where.2":         "took > 1s",
		"logscan.rule.slow.where.10":        "path = /a,b",
		"logscan.rule.slow.ignore":          "x{1,3}",
		"logscan.rule.slow.images.0":        "a/*",
		"logscan.rule.slow.images.1":        "b/*",
		"logscan.rule.slow.names":           "web-1, web-2",
		"logscan.rule.slow.record":          "true",
		"logscan.rule.slow.before":          "3",
	})
	if len(d.Problems) > 0 {
		t.Fatal(d.Problems)
	}
	if len(d.Rules) != 2 || d.Rules[0].Name != "oom" || d.Rules[1].Name != "slow" {
		t.Fatalf("%+v", d.Rules)
	}
	oom, slow := d.Rules[0].Rule, d.Rules[1].Rule
	want := rule.New()
	want.Name, want.WorkloadID, want.Pattern, want.Severity = "oom", "shop/web", "Out of memory", "critical"
	if a, b := definition(t, oom), definition(t, want); a != b {
		t.Errorf("oom is\n%s, want\n%s", a, b)
	}
	want = rule.New()
	want.Name, want.WorkloadID, want.Record, want.Before = "slow", "shop/web", true, 3
	want.Where, want.Ignore = []string{"took > 1s", "path = /a,b"}, []string{"x{1,3}"}
	want.Images, want.Names = []string{"a/*", "b/*"}, []string{"web-1", "web-2"}
	if a, b := definition(t, slow), definition(t, want); a != b {
		t.Errorf("slow is\n%s, want\n%s", a, b)
	}
}

func definition(t *testing.T, r rule.Rule) string {
	b, err := rule.Fields.MarshalDefinition(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestEveryField says each field of a rule that a label may, as its default.
func TestEveryField(t *testing.T) {
	own := map[string]string{}
	for _, f := range rule.Fields.All {
		if elsewhere[f.Name] != "" {
			continue
		}
		value := fmt.Sprint(f.Value(rule.New()))
		if strings.HasPrefix(value, "[") {
			value = ""
		}
		own["logscan.rule.all."+f.Name] = value
	}
	own["logscan.rule.all.pattern"] = "x"
	d := read(own)
	if len(d.Problems) > 0 || len(d.Rules) != 1 {
		t.Fatal(d.Problems)
	}
	want := rule.New()
	want.Name, want.WorkloadID, want.Pattern = "all", "shop/web", "x"
	if a, b := definition(t, d.Rules[0].Rule), definition(t, want); a != b {
		t.Errorf("is\n%s, want\n%s", a, b)
	}
}

func TestSilences(t *testing.T) {
	d := read(map[string]string{
		"logscan.silence.backup.cron":        "0 3 * * *",
		"logscan.silence.backup.for_seconds": "1h",
		"logscan.silence.backup.time_zone":   "Europe/Berlin",
		"logscan.silence.move.ends_at":       "2020-01-02T15:04:00Z",
		"logscan.silence.move.matchers.0":    "rule=oom",
		"logscan.silence.move.matchers.1":    "severity!=critical",
	})
	if len(d.Problems) > 0 || len(d.Silences) != 2 {
		t.Fatal(d)
	}
	backup, move := d.Silences[0].Silence, d.Silences[1].Silence
	if backup.Cron != "0 3 * * *" || backup.For != time.Hour || backup.Zone != "Europe/Berlin" || fmt.Sprint(backup.Matchers) != "[workload=shop/web]" {
		t.Errorf("%+v", backup)
	}
	if !move.Ends.Equal(time.Date(2020, 1, 2, 15, 4, 0, 0, time.UTC)) || fmt.Sprint(move.Matchers) != "[rule=oom severity!=critical workload=shop/web]" {
		t.Errorf("%+v", move)
	}
}

// TestWrong has a label that is wrong be told by its name with what would be right, and
// what is right beside it hold.
func TestWrong(t *testing.T) {
	for _, c := range []struct{ key, value, problem string }{
		{"logscan.rul.x.pattern", "x", `logscan.rul.x.pattern: there is none among enable, workload, packs, rule, silence: did you mean rule?`},
		{"logscan.rule", "x", `logscan.rule: is not logscan.rule.NAME.FIELD`},
		{"logscan.rule.x", "x", `logscan.rule.x: is not logscan.rule.NAME.FIELD`},
		{"logscan.", "x", `logscan.: there is none among`},
		{"logscan.enabled", "true", `logscan.enabled: there is none among enable, workload, packs, rule, silence: did you mean enable?`},
		{"logscan.enable", "yes", `logscan.enable: must be true or false, not "yes"`},
		{"logscan.enable.x", "true", `logscan.enable.x: there is none among enable, workload, packs, rule, silence: did you mean enable?`},
		{"logscan.workload", "\x1b[31m", `logscan.workload: must be a name of at most 128 printable characters`},
		{"logscan.rule.x.patern", "x", `logscan.rule.x.patern: a rule has no such field: did you mean pattern?`},
		{"logscan.rule.x.within", "5m", `logscan.rule.x.within: a rule has no such field: did you mean within_seconds?`},
		{"logscan.rule.0.pattern", "x", `logscan.rule.0.pattern: "0" is no name for a rule`},
		{"logscan.rule..pattern", "x", `logscan.rule..pattern: "" is no name for a rule`},
		{"logscan.rule.a.b.pattern", "x", `logscan.rule.a.b.pattern: is not logscan.rule.NAME.FIELD, nor has it a number behind that: a name has no dots`},
		{"logscan.rule.x.pattern", "a(", `logscan.rule.x.pattern: missing closing ) at position 3`},
		{"logscan.rule.x.pattern.0", "a", `logscan.rule.x.pattern: is one value: leave the number out`},
		{"logscan.rule.x.pattern.00", "a", `logscan.rule.x.pattern.00: is not logscan.rule.NAME.FIELD`},
		{"logscan.rule.x.record", "yes", `logscan.rule.x.record: must be true or false, not "yes"`},
		{"logscan.rule.x.cooldown_seconds", "5 apples", `logscan.rule.x.cooldown_seconds: "5 apples" is no time in whole seconds`},
		{"logscan.rule.x.before", "ten", `logscan.rule.x.before: must be a whole number, not "ten"`},
		{"logscan.rule.x.where", "status >>", `logscan.rule.x.where: `},
		{"logscan.rule.x.workload_id", "other", `logscan.rule.x.workload_id: a rule in a label is for the container's own workload`},
		{"logscan.rule.x.overrides_id", "1", `logscan.rule.x.overrides_id: a label can't take a rule away`},
		{"logscan.rule.x.name", "y", `logscan.rule.x.name: the name of the rule is in the label's`},
		{"logscan.rule.x.severity", "error", `logscan.rule.x.pattern: is required`},
		{"logscan.trigger.x.url", "https://u:p@h/", `logscan.trigger.x.url: labels can't add triggers`},
		{"logscan.rule.x.triggers", "phone", `logscan.rule.x.triggers: there is no trigger "phone": there are no triggers yet`},
		{"logscan.rule.x.triggers", "ntfy://ntfy.sh/topic", `logscan.rule.x.triggers: must be names of triggers: a label holds no URL`},
		{"logscan.packs", "nginx", `logscan.packs: there is no pack "nginx"`},
		{"logscan.silence.x.cron", "0 3 * *", `logscan.silence.x.cron: a silence by cron needs how long`},
		{"logscan.silence.x.comment", "y", `logscan.silence.x.cron: is required where there is no ends_at`},
		{"logscan.silence.x.crom", "y", `logscan.silence.x.crom: a silence has no such field: did you mean cron?`},
		{"logscan.silence.x.matchers", "workloat=a", `logscan.silence.x.matchers: there is no field "workloat"`},
		{"logscan.silence.x.ends_at", "tomorrow", `logscan.silence.x.ends_at: "tomorrow" is no time such as`},
		{"logscan.silence.x.cron.1", "0 3 * * *", `logscan.silence.x.cron: is one value`},
	} {
		d := read(map[string]string{c.key: c.value, "logscan.rule.good.pattern": "y"})
		if len(d.Problems) != 1 || !strings.HasPrefix(d.Problems[0].String(), c.problem) {
			t.Errorf("%s=%s: problems %q, want %q", c.key, c.value, d.Problems, c.problem)
		}
		if len(d.Rules) != 1 || d.Rules[0].Name != "good" || len(d.Silences) > 0 {
			t.Errorf("%s=%s: rules %+v, silences %+v; want the rule good alone", c.key, c.value, d.Rules, d.Silences)
		}
	}
	for want, own := range map[string]map[string]string{
		`logscan.rule.x.severity: must be info, warn, error or critical, not "eror"`: {"logscan.rule.x.pattern": "a", "logscan.rule.x.severity": "eror"},
		`logscan.silence.x.cron: "0 3 * *" is not a cron expression`:                 {"logscan.silence.x.cron": "0 3 * *", "logscan.silence.x.for_seconds": "1h"},
	} {
		if d := read(own); len(d.Problems) != 1 || !strings.HasPrefix(d.Problems[0].String(), want) {
			t.Errorf("%v: %q, want %q", own, d.Problems, want)
		}
	}
	d := read(map[string]string{"logscan.rule.x.ignore": "a", "logscan.rule.x.ignore.0": "b", "logscan.rule.x.pattern": "c"})
	if len(d.Rules) > 0 || fmt.Sprint(d.Problems) != "[logscan.rule.x.ignore: is there both with and without numbers: write logscan.rule.x.ignore.0, logscan.rule.x.ignore.1, or one text alone]" {
		t.Error(d)
	}
}

// TestTriggers has a rule name triggers that there are.
func TestTriggers(t *testing.T) {
	known := Known{Triggers: []string{"phone", "ops"}}
	own := map[string]string{"logscan.rule.x.pattern": "x", "logscan.rule.x.triggers": "phone,ops"}
	if d := Read(own, 0, "w", known); len(d.Problems) > 0 || d.Rules[0].Rule.Triggers.String() != "phone,ops" {
		t.Errorf("%+v", d)
	}
	own["logscan.rule.x.triggers"] = "phome"
	if d := Read(own, 0, "w", known); len(d.Rules) > 0 || fmt.Sprint(d.Problems) != `[logscan.rule.x.triggers: there is no trigger "phome": did you mean phone?]` {
		t.Errorf("%+v", d)
	}
}

// TestNoSecretInProblem has nothing be told of what a label holds that is none of ours.
func TestNoSecretInProblem(t *testing.T) {
	for _, key := range []string{"logscan.trigger.x.url", "logscan.rule.x.triggers", "logscan.token"} {
		for _, p := range read(map[string]string{key: "https://user:hunter2@example.com/"}).Problems {
			if strings.Contains(p.String(), "hunter2") {
				t.Errorf("%s: %s", key, p)
			}
		}
	}
}

func TestBounds(t *testing.T) {
	labels := map[string]string{"team": "a", "logscanx": "b", "logscan.rule.x.pattern": "label", "logscan.rule.x.severity": "error"}
	own, left := Own(labels, map[string]string{"max-size": "1m", "logscan.rule.x.pattern": "option"})
	if want := map[string]string{"logscan.rule.x.pattern": "option", "logscan.rule.x.severity": "error"}; !maps.Equal(own, want) || left != 0 {
		t.Errorf("own %v, left out %d, want %v", own, left, want)
	}
	if own, left := Own(map[string]string{"a": "b"}, nil); own != nil || left != 0 {
		t.Error(own, left)
	}
	if own, left := Own(map[string]string{"logscan.a": strings.Repeat("x", MaxBytes), "logscan.b": "", "logscan.workload": "w"}, nil); len(own) != 2 || own["logscan.workload"] != "w" || left != 1 {
		t.Error(len(own), left)
	}
	own = map[string]string{}
	for n := range 2 * MaxRules {
		own[fmt.Sprintf("logscan.rule.r%03d.pattern", n)] = "x"
	}
	d := Read(own, 3, "w", Known{})
	if len(d.Rules) != MaxRules || len(d.Problems) != maxProblems+1 {
		t.Fatal(len(d.Rules), len(d.Problems))
	}
	for n, want := range map[int]string{
		0:           "3 labels are left out",
		1:           "logscan.rule.r050: is left out: a workload's labels may have 50 rules",
		maxProblems: fmt.Sprintf("and %d more that are wrong", MaxRules+1-maxProblems),
	} {
		if got := d.Problems[n].String(); !strings.HasPrefix(got, want) {
			t.Errorf("problem %d is %q, want %q", n, got, want)
		}
	}
}

// FuzzRead reads labels that anybody may have written: whatever they are, what is said of
// them is bounded, printable and the same each time, and what comes of them is valid and
// for the workload alone.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"rule.x.pattern\x00Out of memory\x00rule.x.severity\x00error",
		"rule.x.where.0\x00status >= 500\x00rule.x.where.1\x00a = b",
		"silence.x.cron\x000 3 * * *\x00silence.x.for_seconds\x001h",
		"enable\x00no\x00workload\x00w\x00packs\x00a,b",
		"silence.x.cron\x000 \xf5 0 0 0\x00silence.x.for_seconds\x001", "rule.\xff.pattern\x00(\xff", "rule.x.pattern.99999999999999999999\x00a", "rule...\x00", "\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		labels := map[string]string{}
		parts := strings.Split(text, "\x00")
		for n := 0; n+1 < len(parts); n += 2 {
			labels[Prefix+parts[n]] = parts[n+1]
		}
		own, left := Own(labels, nil)
		d := Read(own, left, "w", Known{Triggers: []string{"phone"}})
		if again := Read(own, left, "w", Known{Triggers: []string{"phone"}}); fmt.Sprintf("%+v", again.Problems) != fmt.Sprintf("%+v", d.Problems) {
			t.Errorf("once %+v, then %+v", d.Problems, again.Problems)
		}
		if len(d.Rules) > MaxRules || len(d.Silences) > MaxSilences || len(d.Problems) > maxProblems+1 {
			t.Errorf("%d rules, %d silences, %d problems", len(d.Rules), len(d.Silences), len(d.Problems))
		}
		for _, p := range d.Problems {
			if s := p.String(); len(s) > 8192 || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("problem %q", s)
			}
		}
		for _, d := range d.Rules {
			if err := rule.Fields.Validate(d.Rule); err != nil || d.Rule.WorkloadID != "w" || d.Rule.OverridesID != 0 || d.Rule.Name != d.Name {
				t.Errorf("rule %+v: %v", d.Rule, err)
			}
			if _, err := json.Marshal(d.Members); err != nil {
				t.Error(err)
			}
		}
		for _, d := range d.Silences {
			if m := d.Silence.Matchers; len(m) == 0 || m[len(m)-1].String() != "workload=w" {
				t.Errorf("silence %+v", d.Silence)
			}
		}
		if !slices.IsSortedFunc(d.Rules, func(a, b Rule) int { return strings.Compare(a.Name, b.Name) }) {
			t.Error("rules are not by name")
		}
	})
}
