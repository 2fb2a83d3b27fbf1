package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

func TestTriggers(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	tr := must[Trigger](t)(b.CreateTrigger(ctx, TriggerCreate{Name: "ops", ActionURL: "https://hooks.example.com/x", TriggerFields: TriggerFields{
		"severities": " error, warn,error", "action_secret": "s3cr3t-value",
	}}))
	if tr.Severities.String() != "error,warn" || !tr.Enabled || tr.ActionSecret != trigger.Placeholder {
		t.Errorf("%+v", tr)
	}
	secret := func() string {
		t.Helper()
		stored, err := b.store.Trigger(ctx, tr.ID)
		if err != nil {
			t.Fatal(err)
		}
		return stored.ActionSecret
	}
	if s := secret(); s != "s3cr3t-value" {
		t.Fatalf("stored %q", s)
	}
	// Echoing what was read leaves the secret.
	whole, _ := json.Marshal(tr)
	if resp, body := b.raw("PATCH", idPath(triggersPath, tr.ID), "application/json", string(whole)); resp.StatusCode != 200 {
		t.Fatalf("echo: %d %s", resp.StatusCode, body)
	}
	if s := secret(); s != "s3cr3t-value" {
		t.Errorf("after echo %q", s)
	}
	tr = must[Trigger](t)(b.UpdateTrigger(ctx, tr.ID, TriggerFields{"enabled": false}))
	if tr.Enabled || secret() != "s3cr3t-value" || tr.Severities.String() != "error,warn" {
		t.Errorf("%+v", tr)
	}
	tr = must[Trigger](t)(b.UpdateTrigger(ctx, tr.ID, TriggerFields{"action_secret": "other-s3cr3t"}))
	if secret() != "other-s3cr3t" || tr.ActionSecret != trigger.Placeholder {
		t.Errorf("%+v", tr)
	}
	tr = must[Trigger](t)(b.UpdateTrigger(ctx, tr.ID, TriggerFields{"action_secret": ""}))
	if secret() != "" || tr.ActionSecret != "" {
		t.Errorf("cleared: %+v", tr)
	}
	if l := must[[]Trigger](t)(b.Triggers(ctx)); len(l) != 1 {
		t.Errorf("%d triggers", len(l))
	}
	if err := b.DeleteTrigger(ctx, tr.ID); err != nil {
		t.Fatal(err)
	}
	_, err := b.Trigger(ctx, tr.ID)
	wantProblem(t, err, 404, "no such trigger")
}

// A placeholder in a new trigger is no secret to sign with.
func TestPlaceholderIsNoSecret(t *testing.T) {
	b := newBench(t)
	tr := must[Trigger](t)(b.CreateTrigger(t.Context(), TriggerCreate{Name: "ops", ActionURL: "https://h/", TriggerFields: TriggerFields{"action_secret": trigger.Placeholder}}))
	if stored, err := b.store.Trigger(t.Context(), tr.ID); err != nil || stored.ActionSecret != "" {
		t.Errorf("stored %q, %v", stored.ActionSecret, err)
	}
}

// A URL is a secret but for its scheme and host: it is kept, and shown to
// nobody; what is shown, sent back, leaves it as it is.
func TestURLsAreSecret(t *testing.T) {
	b := newBench(t)
	for url, shown := range map[string]string{
		"https://bob:hunter2@hooks.example.com/x":                                     "https://hooks.example.com/********",
		"https://hooks.slack.com/services/T000/B000/XXXXSECRET":                       "https://hooks.slack.com/********",
		"https://ntfy.example.com:8443/topic?auth=SECRETTOKEN#x":                      "https://ntfy.example.com:8443/********",
		"https://SECRETTOKEN@h.example.com":                                           "https://h.example.com/********",
		"mailto:ops@example.com?server=smtp.example.com:587&from=logscan@example.com": "mailto://smtp.example.com:587/********",
		"http://[2001:db8::1]:80/":                                                    "http://[2001:db8::1]:80/********",
	} {
		tr := must[Trigger](t)(b.CreateTrigger(t.Context(), TriggerCreate{Name: "ops", ActionURL: url}))
		list := must[[]Trigger](t)(b.Triggers(t.Context()))
		for _, got := range []string{tr.ActionURL, must[Trigger](t)(b.Trigger(t.Context(), tr.ID)).ActionURL, list[len(list)-1].ActionURL,
			must[Trigger](t)(b.UpdateTrigger(t.Context(), tr.ID, TriggerFields{"action_url": shown, "name": "ops2"})).ActionURL} {
			if got != shown {
				t.Errorf("%s is shown as %s", url, got)
			}
		}
		if stored, err := b.store.Trigger(t.Context(), tr.ID); err != nil || stored.ActionURL != url || stored.Name != "ops2" {
			t.Errorf("stored %+v, %v", stored, err)
		}
		_, err := b.UpdateTrigger(t.Context(), tr.ID, TriggerFields{"action_url": "https://other.example.com/" + trigger.Placeholder})
		wantProblem(t, err, 422, "action_url", "whole URL")
		if stored, err := b.store.Trigger(t.Context(), tr.ID); err != nil || stored.ActionURL != url {
			t.Errorf("stored %+v, %v", stored, err)
		}
	}
	_, err := b.CreateTrigger(t.Context(), TriggerCreate{Name: "ops", ActionURL: "https://h.example.com/" + trigger.Placeholder})
	wantProblem(t, err, 422, "action_url", "whole URL")
}

// Whatever is asked, rightly or wrongly, no answer and no log line holds a
// secret.
func TestSecretsStayIn(t *testing.T) {
	b := newBench(t)
	const secret = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="
	const js = "application/json"
	send := func(method, path, body string) {
		t.Helper()
		resp, out := b.raw(method, path, js, body)
		if strings.Contains(out, secret) || strings.Contains(out, "hunter2") || strings.Contains(out, "p4th") || strings.Contains(out, "t0k3n") {
			t.Errorf("%s %s %s: status %d: the answer holds the secret: %s", method, path, body, resp.StatusCode, out)
		}
		for name, v := range resp.Header {
			if strings.Contains(strings.Join(v, " "), secret) {
				t.Errorf("header %s holds the secret", name)
			}
		}
	}
	const good = `"name":"t","action_url":"https://bob:hunter2@h.example.com/p4th?token=t0k3n","action_secret":"` + secret + `"`
	send("POST", triggersPath, `{`+good+`}`)
	for _, path := range []string{triggersPath, triggersPath + "/1", statsPath, deliveriesPath, eventsPath, "/openapi.json"} {
		send("GET", path, "")
	}
	send("PATCH", triggersPath+"/1", `{"enabled":false}`)
	send("PATCH", triggersPath+"/1", `{"action_secret":"`+secret+`"}`)
	for _, bad := range []string{
		`{` + good + `,"typo":1}`,
		`{` + good + `,"name":5}`,
		`{` + good + `,"severities":"` + secret + `"}`[:1],
		`{"action_secret":["` + secret + `"]}`,
		`{"action_secret":{"s":"` + secret + `"}}`,
		`{"action_secrt":"` + secret + `"}`,
		`{` + good + `,"action_url":"http://127.0.0.1/"}`,
		`{` + good + `,"message_regex":"("}`,
		`{` + good,
		`"` + secret + `"`,
		`["` + secret + `"]`,
	} {
		send("POST", triggersPath, bad)
		send("PATCH", triggersPath+"/1", bad)
	}
	if s := b.log.String(); strings.Contains(s, secret) || strings.Contains(s, "hunter2") || strings.Contains(s, "p4th") || strings.Contains(s, "t0k3n") {
		t.Errorf("the log holds the secret: %s", s)
	}
}

func TestDeliveries(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	tr := must[Trigger](t)(b.CreateTrigger(ctx, TriggerCreate{Name: "ops", ActionURL: "https://h/", TriggerFields: TriggerFields{"mode": "events"}}))
	_, err := b.store.Commit(ctx, store.Batch{Events: []event.Event{hit(1, "warn", "r"), hit(2, "warn", "r")}}, func(event.Event) []int64 { return []int64{tr.ID} })
	if err != nil {
		t.Fatal(err)
	}
	list := must[[]Delivery](t)(b.Deliveries(ctx, DeliveryQuery{}))
	if len(list) != 2 || list[0].EventID != 2 || list[0].TriggerID != tr.ID || list[0].State != string(trigger.Pending) {
		t.Fatalf("%+v", list)
	}
	d, err := b.store.Delivery(ctx, list[1].ID)
	if err != nil {
		t.Fatal(err)
	}
	d.State, d.LastStatus, d.LastError, d.NextAt = trigger.Dead, 404, "the receiver answered 404", time.Time{}
	if err := b.store.Record(ctx, []trigger.Delivery{d}); err != nil {
		t.Fatal(err)
	}
	dead := must[[]Delivery](t)(b.Deliveries(ctx, DeliveryQuery{State: string(trigger.Dead), Limit: 10}))
	if len(dead) != 1 || dead[0].ID != d.ID || dead[0].LastStatus != 404 || dead[0].Attempts != 1 || !dead[0].NextAt.IsZero() {
		t.Errorf("%+v", dead)
	}
	if st := must[Stats](t)(b.Stats(ctx)); st.Deliveries != (DeliveryStats{Pending: 1, Dead: 1}) {
		t.Errorf("%+v", st.Deliveries)
	}
	again := must[Delivery](t)(b.Redeliver(ctx, d.ID))
	if again.ID != d.ID || again.State != string(trigger.Pending) || again.Attempts != 0 {
		t.Errorf("%+v", again)
	}
	// All of a trigger at once.
	for _, one := range must[[]Delivery](t)(b.Deliveries(ctx, DeliveryQuery{})) {
		d, err := b.store.Delivery(ctx, one.ID)
		if err != nil {
			t.Fatal(err)
		}
		d.State = trigger.Dead
		if err := b.store.Record(ctx, []trigger.Delivery{d}); err != nil {
			t.Fatal(err)
		}
	}
	if n := must[int64](t)(b.RedeliverAll(ctx, d.TriggerID, "dead")); n != 2 {
		t.Errorf("%d are sent again", n)
	}
	if _, err := b.RedeliverAll(ctx, 4711, "dead"); !IsNotFound(err) {
		t.Errorf("of no trigger: %v", err)
	}
	// Page by page.
	newest := list[0].ID
	status, body := b.raw("GET", deliveriesPath+"?limit=1&before="+newest+"&trigger="+fmt.Sprint(d.TriggerID), "", "")
	if status.StatusCode != 200 || !strings.Contains(body, list[1].ID) || strings.Contains(body, newest) {
		t.Errorf("the page before %s: %s", newest, body)
	}
	_, err = b.Redeliver(ctx, "msg_nosuch/../x")
	wantProblem(t, err, 404, "no such delivery")
}

// What only the store can see, a rule that overrides wrongly, comes out as any
// other refusal.
func TestOverrideRefused(t *testing.T) {
	b := newBench(t)
	_, err := b.CreateRule(t.Context(), RuleCreate{Name: "r", Pattern: "x", RuleFields: RuleFields{"workload_id": "w", "overrides_id": 99}})
	wantProblem(t, err, 422, "overrides_id", "99")
	global := must[Rule](t)(b.CreateRule(t.Context(), RuleCreate{Name: "r", Pattern: "x"}))
	must[Rule](t)(b.CreateRule(t.Context(), RuleCreate{Name: "r", Pattern: "y", RuleFields: RuleFields{"workload_id": "w", "overrides_id": global.ID}}))
	if err := b.DeleteRule(t.Context(), global.ID); err != nil {
		t.Fatal(err)
	}
	if l := must[[]Rule](t)(b.Rules(t.Context())); len(l) != 0 {
		t.Errorf("the override is left: %+v", l)
	}
}

// More deliveries than a page holds are asked for page by page, those of one trigger alone
// where they are.
func TestDeliveriesPage(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	var ids []int64
	for _, name := range []string{"ops", "other"} {
		ids = append(ids, must[Trigger](t)(b.CreateTrigger(ctx, TriggerCreate{Name: name, ActionURL: "https://h/", TriggerFields: TriggerFields{"mode": "events"}})).ID)
	}
	const n = maxPage + 50
	var events []event.Event
	for i := range n {
		events = append(events, hit(i, "warn", "r"))
	}
	if _, err := b.store.Commit(ctx, store.Batch{Events: events}, func(event.Event) []int64 { return ids }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		query DeliveryQuery
		n     int
	}{
		{DeliveryQuery{Limit: 3 * n}, 2 * n}, {DeliveryQuery{Limit: n}, n}, {DeliveryQuery{Trigger: ids[1], Limit: 3 * n}, n}, {DeliveryQuery{Trigger: ids[0], Limit: 7, State: "pending"}, 7},
		{DeliveryQuery{State: "dead", Limit: 3 * n}, 0}, {DeliveryQuery{Limit: maxPage}, maxPage},
	} {
		seen := map[string]bool{}
		for _, d := range must[[]Delivery](t)(b.Deliveries(ctx, want.query)) {
			seen[d.ID] = true
			if want.query.Trigger != 0 && d.TriggerID != want.query.Trigger {
				t.Fatalf("%+v of trigger %d", want.query, d.TriggerID)
			}
		}
		if len(seen) != want.n {
			t.Errorf("%+v gives %d, not %d", want.query, len(seen), want.n)
		}
	}
}
