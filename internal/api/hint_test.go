package api

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"logscan/internal/rule"
)

// What a rule would have matched is said to those who ask, and nobody waits for others
// to find it out.
func TestHint(t *testing.T) {
	b := newBench(t)
	tried := 0
	b.share = func(_ context.Context, r rule.Rule) (Hint, error) {
		if tried++; r.Pattern == "bad" {
			return Hint{}, errors.New("no")
		}
		return Hint{Lines: 32000, Matched: int64(r.ID), Sample: true}, nil
	}
	b.close()
	b.listen()
	ask := func(method, path, body string) string {
		t.Helper()
		resp, out := b.raw(method, rulesPath+path, "application/json", body)
		if resp.StatusCode/100 != 2 {
			t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, out)
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal([]byte(out), &got); err != nil || string(got["pattern"]) == "" {
			t.Errorf("%s, %v", out, err)
		}
		return string(got["hint"])
	}
	want := `{"since":"0001-01-01T00:00:00Z","lines":32000,"matched":1,"sample":true}`
	if got := ask("POST", "?hint=true", `{"name":"n","pattern":"x"}`); got != want {
		t.Errorf("made: %s", got)
	}
	if got := ask("PATCH", "/1?hint=true", `{"severity":"error"}`); got != want {
		t.Errorf("changed: %s", got)
	}
	for method, path := range map[string]string{"POST": "", "PATCH": "/1?hint=false"} {
		if got := ask(method, path, `{"name":"n","pattern":"x"}`); got != "" || tried != 2 {
			t.Errorf("%s, not asked for: %s", method, got)
		}
	}
	if got := ask("PATCH", "/1?hint=true", `{"pattern":"bad"}`); got != "" || !strings.Contains(b.log.String(), "no hint about a rule") {
		t.Errorf("not known: %s\n%s", got, &b.log)
	}
	saved := must[SavedRule](t)(b.AddRule(t.Context(), RuleCreate{Name: "n", Pattern: "x"}, true, time.Time{}))
	if saved.ID != 3 || saved.Hint == nil || saved.Hint.Matched != 3 {
		t.Errorf("%+v", saved)
	}
}
