package app

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/event"
	"logscan/internal/journal"
)

// What a new rule would have told is taken into the event log, once, also across a
// restart, and nobody is told of it.
func TestHistory(t *testing.T) {
	p := newPlugin(t, nil)
	journals, err := journal.OpenDir(journal.Config{Root: filepath.Join(p.cfg.DataDir, "journal")})
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprintf("%064x", 1)
	writeLog(t, journals, id, true, "Out of memory 1", "all is well", "Out of memory 2")
	journals.Close()
	p.start()
	p.ready()
	ctx := t.Context()
	if _, err := p.CreateTrigger(ctx, api.TriggerCreate{Name: "ops", ActionURL: "https://hooks.example.com/x"}); err != nil {
		t.Fatal(err)
	}
	r, err := p.AddRule(ctx, api.RuleCreate{Name: "oom", Pattern: `Out of memory (?P<n>\d)`, RuleFields: api.RuleFields{"cooldown_seconds": 0}}, false, time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	history := func() (out []api.Event) {
		page, err := p.Events(ctx, api.EventQuery{RuleID: r.ID})
		if err != nil {
			t.Fatal(err)
		}
		return page.Items
	}
	p.eventually("the history", func() bool { return len(history()) > 0 })
	check := func() {
		t.Helper()
		all := history()
		if len(all) != 2 || all[0].Message != "Out of memory 1" || all[0].Metadata[event.History] != true || all[0].Incident != 0 {
			t.Fatalf("%+v", all)
		}
		if d, err := p.Deliveries(ctx, api.DeliveryQuery{}); err != nil || len(d) != 0 {
			t.Errorf("%+v, %v", d, err)
		}
	}
	check()
	p.stop()
	p.start()
	p.ready()
	check()
	for want, f := range map[string]api.RuleFields{"switched on": {"state": "off"}, "before now": nil} {
		since := time.Now().Add(-time.Hour)
		if f == nil {
			since = time.Now().Add(time.Hour)
		}
		if _, err := p.AddRule(ctx, api.RuleCreate{Name: want, Pattern: "x", RuleFields: f}, false, since); err == nil {
			t.Errorf("no complaint about %s", want)
		}
	}
}
