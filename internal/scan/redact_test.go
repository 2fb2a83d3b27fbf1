package scan

import (
	"context"
	"strings"
	"testing"

	"logscan/internal/redact"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// Nothing that is stored of a hit has secrets, whatever its rule's kind is, and values
// keep matches apart by what they are.
func TestSecretsAreNotStored(t *testing.T) {
	g := newRig(t)
	redactor, err := redact.New("")
	if err != nil {
		t.Fatal(err)
	}
	g.cfg.Redact = redactor
	login := rule.New()
	login.ID, login.Name, login.Pattern, login.By = 1, "login", `password=(?P<secret>\S+)`, []string{"$secret"}
	count := rule.New()
	count.ID, count.Name, count.Kind, count.Pattern, count.AtLeast, count.WithinSeconds, count.By = 2, "count", rule.KindCount, `password=(?P<secret>\S+)`, 2, 60, []string{"$secret"}
	rules, bad := rule.Compile([]rule.Rule{login, count}, rule.WithRedactor(redactor))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	g.start(rules)
	w := g.container(1)
	for _, secret := range []string{"4111111111111111", "4111111111111111", "5500000000000004"} {
		w.lines("login password=" + secret)
	}
	events := g.wait(3)
	for _, e := range events {
		for _, v := range []any{e.Message, e.Metadata["by"], e.Metadata["captures"], e.Metadata["line"], e.Metadata["first_line"]} {
			if text, _ := v.(string); strings.Contains(text, "0000") || strings.Contains(text, "1111") {
				t.Errorf("%q in %+v", text, e)
			}
		}
		if captures, _ := e.Metadata["captures"].(map[string]any); e.Metadata["rule_name"] == "login" && captures["secret"] != redact.Mark {
			t.Errorf("%+v", e)
		}
	}
	var incidents int
	eventually(t, "incidents", func() bool {
		all, err := g.db.Incidents(context.Background(), store.IncidentFilter{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range all {
			if strings.Contains(i.FirstText+i.LastText+i.Readable, "1111") {
				t.Errorf("%+v", i)
			}
		}
		incidents = len(all)
		return incidents == 3
	})
}
