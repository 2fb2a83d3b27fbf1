package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestHistory tries a rule on what a container has written, and adds it with that as
// history while the container goes on and the plugin's worker is killed: each line is an
// event once, and nobody is told of those from before.
func TestHistory(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin("LOGSCAN_ALLOW_TARGETS=127.0.0.1", "LOGSCAN_BUCKET_BURST=1000")
	c := control(t, e)
	hook := newPhone(t)
	told := api.TriggerCreate{Name: "hook", ActionURL: hook.URL, TriggerFields: api.TriggerFields{"mode": "events", "sources": "logscan"}}
	if _, err := c.CreateTrigger(ctx, told); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	id := e.Run([]string{"--log-driver", enginetest.Plugin, "-v", dir + ":/sync"}, "sh", "-c", `
		n=0
		until [ -e /sync/end ]; do echo "line $n is here"; n=$((n+1)); sleep 0.1; done
		echo $n >/sync/lines`)
	e.Eventually(time.Minute, "lines", func() bool {
		stdout, _ := e.Logs(id)
		return strings.Contains(string(stdout), "line 30 ")
	})
	fields := api.RuleFields{"pattern": `line \d+ is`, "cooldown_seconds": 0}
	b, err := c.Backtest(ctx, api.BacktestRequest{Rule: fields, Since: time.Now().Add(-time.Hour)})
	if err != nil || b.Hits < 30 || b.Messages["hook"] != b.Hits || !b.Complete || len(b.Containers) != 1 || len(b.Samples[0].Before) != 3 {
		t.Fatalf("%+v, %v", b, err)
	}
	r, err := c.AddRule(ctx, api.RuleCreate{Name: "lines", Pattern: `line \d+ is`, RuleFields: api.RuleFields{"cooldown_seconds": 0}}, false, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	e.KillWorker()
	events := func() (all []api.Event) {
		for q := (api.EventQuery{RuleID: r.ID, Limit: 1000}); ; q.After = all[len(all)-1].ID {
			page, err := c.Events(ctx, q)
			if err != nil || len(page.Items) == 0 {
				return all
			}
			all = append(all, page.Items...)
		}
	}
	history := func(v api.Event) bool { return v.Metadata["history"] == true }
	e.Eventually(2*time.Minute, "history, and lines behind it", func() bool {
		of := map[bool]int{}
		for _, v := range events() {
			of[history(v)]++
		}
		return of[true] >= 1 && of[true]+of[false] >= 40 // where it begins is up to the worker that was killed
	})
	if err := os.WriteFile(filepath.Join(dir, "end"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	e.Wait(id)
	var lines int
	text, err := os.ReadFile(filepath.Join(dir, "lines"))
	if err == nil {
		_, err = fmt.Sscan(string(text), &lines)
	}
	if err != nil {
		t.Fatal(err)
	}
	e.Eventually(time.Minute, "all lines", func() bool { return len(events()) >= lines })
	seen, live := map[string]int{}, 0
	for _, v := range events() {
		if seen[v.Message]++; !history(v) {
			live++
		} else if v.Incident != 0 {
			t.Errorf("%+v", v)
		}
	}
	for text, n := range seen {
		if n != 1 {
			t.Errorf("%q is %d events", text, n)
		}
	}
	if len(seen) != lines {
		t.Errorf("%d of %d lines", len(seen), lines)
	}
	deliveries, err := c.Deliveries(ctx, api.DeliveryQuery{Limit: 1000})
	if err != nil || len(deliveries) != live {
		t.Errorf("%d deliveries of %d events that are no history, %v", len(deliveries), live, err)
	}
	b, err = c.Backtest(ctx, api.BacktestRequest{RuleID: r.ID, Against: r.ID, Since: time.Now().Add(-time.Hour)})
	if err != nil || b.Against.Added.Hits+b.Against.Gone.Hits != 0 || b.Hits != int64(lines) {
		t.Errorf("%+v, %v", b, err)
	}
}
