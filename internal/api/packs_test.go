package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"logscan/internal/fields"
	"logscan/internal/packs"
	"logscan/internal/query"
	"logscan/internal/rule"
	"logscan/internal/store"
	"logscan/internal/suggestion"
)

// packNamed is a pack among all.
func (b *bench) packNamed(name string) Pack {
	b.t.Helper()
	for _, p := range must[[]Pack](b.t)(b.Packs(b.t.Context())) {
		if p.Name == name {
			return p
		}
	}
	b.t.Fatalf("there is no pack %s", name)
	return Pack{}
}

func list(names ...string) *fields.List[string] {
	l := fields.List[string](names)
	return &l
}

// A pack's rules are stored with their bounds, kept where it is added again, and removed
// with it.
func TestPacks(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	must[Trigger](t)(b.CreateTrigger(ctx, TriggerCreate{Name: "ops", ActionURL: "https://hooks.example.com/x"}))
	before := b.reloads.Load()
	if p := b.packNamed("gitea"); p.Added || p.Outdated || p.Scope != nil || p.Rules == 0 || p.YAML != "" || len(p.Images) == 0 || len(p.Sources) == 0 || p.Description == "" {
		t.Errorf("not added: %+v", p)
	}
	shop := "shop/git"
	plan := must[ConfigPlan](t)(b.AddPack(ctx, "gitea", PackAdd{Workload: &shop, Images: list("gitea/*"), Triggers: list("ops"), DryRun: true}))
	if n := len(must[[]Rule](t)(b.Rules(ctx))); plan.Applied || len(plan.Changes) != b.packNamed("gitea").Rules || n != 0 || b.reloads.Load() != before {
		t.Errorf("dry: %+v, %d rules", plan, n)
	}
	must[ConfigPlan](t)(b.AddPack(ctx, "gitea", PackAdd{Workload: &shop, Images: list("gitea/*"), Triggers: list("ops")}))
	p := must[Pack](t)(b.Pack(ctx, "gitea"))
	if !p.Added || p.Outdated || p.Scope == nil || p.Scope.Workload != shop || p.Scope.Images.String() != "gitea/*" || p.Scope.Triggers.String() != "ops" || !strings.Contains(p.YAML, "pack: gitea") {
		t.Errorf("added: %+v", p)
	}
	rules := must[[]Rule](t)(b.Rules(ctx))
	for _, r := range rules {
		if r.ManagedBy != "pack:gitea" || r.WorkloadID != shop || r.Images.String() != "gitea/*" || r.Triggers.String() != "ops" || !strings.HasPrefix(r.DeclaredAt, "gitea.yaml:") {
			t.Errorf("%+v", r)
		}
	}
	if len(rules) != p.Rules || b.reloads.Load() != before+1 {
		t.Errorf("%d rules, reloaded %d times", len(rules), b.reloads.Load()-before)
	}

	// It is the pack's.
	for what, err := range map[string]error{"removed": b.DeleteRule(ctx, rules[0].ID), "a trigger that is named, removed": b.DeleteTrigger(ctx, 1)} {
		if refused, ok := err.(*Problem); !ok || refused.Status != http.StatusConflict {
			t.Errorf("%s: %v", what, err)
		}
	}

	// Rules of another version of the pack are replaced, in their bounds and as they go on.
	stale := stored(t, b.store)
	stale.Rules[0].CooldownSeconds += 60
	gone := stale.Rules[1]
	if err := b.store.Apply(ctx, store.Apply{Revision: stale.Revision, Source: "pack:gitea", Digest: "older", Edits: []store.Edit{{Rule: &stale.Rules[0]}, {Remove: true, Rule: &gone}}}); err != nil {
		t.Fatal(err)
	}
	if p := b.packNamed("gitea"); !p.Added || !p.Outdated {
		t.Errorf("of another version: %+v", p)
	}
	plan = must[ConfigPlan](t)(b.AddPack(ctx, "gitea", PackAdd{}))
	if len(plan.Changes) != 2 || plan.Changes[0].Action == plan.Changes[1].Action {
		t.Errorf("brought up to date: %+v", plan)
	}
	now := must[[]Rule](t)(b.Rules(ctx))
	if p := b.packNamed("gitea"); p.Outdated || p.Scope.Workload != shop || len(now) != p.Rules || now[0].ID != rules[0].ID || now[0].CooldownSeconds != rules[0].CooldownSeconds {
		t.Errorf("up to date: %+v, %+v", p, now)
	}
	if plan := must[ConfigPlan](t)(b.AddPack(ctx, "gitea", PackAdd{})); len(plan.Changes) != 0 {
		t.Errorf("added again: %+v", plan)
	}

	// A bound is taken away by an empty one.
	all := ""
	must[ConfigPlan](t)(b.AddPack(ctx, "gitea", PackAdd{Workload: &all, Images: list()}))
	if p := b.packNamed("gitea"); p.Scope.Workload != "" || len(p.Scope.Images) != 0 || p.Scope.Triggers.String() != "ops" {
		t.Errorf("bounds taken away: %+v", p.Scope)
	}
	must[Rule](t)(b.CreateRule(ctx, RuleCreate{Name: "mine", Pattern: "x"}))
	plan = must[ConfigPlan](t)(b.RemovePack(ctx, "gitea"))
	if left := must[[]Rule](t)(b.Rules(ctx)); len(plan.Changes) != p.Rules || len(left) != 1 || left[0].Name != "mine" || b.packNamed("gitea").Added {
		t.Errorf("removed: %+v, left %+v", plan, left)
	}
}

func stored(t *testing.T, st *store.Store) store.Objects {
	t.Helper()
	return must[store.Objects](t)(st.Objects(t.Context()))
}

func TestPacksRefuse(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	for what, in := range map[string]PackAdd{
		"there is no trigger": {Triggers: list("nobody")},
		"images":              {Images: list(strings.Repeat("x", rule.MaxGlobs+1))},
	} {
		_, err := b.AddPack(ctx, "redis", in)
		if refused, ok := err.(*Problem); !ok || refused.Status != http.StatusUnprocessableEntity || !strings.Contains(refused.Detail, what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, add := b.AddPack(ctx, "reddis", PackAdd{})
	_, show := b.Pack(ctx, "reddis")
	_, remove := b.RemovePack(ctx, "reddis")
	for _, err := range []error{add, show, remove} {
		if !IsNotFound(err) || !strings.Contains(err.Error(), "did you mean redis?") {
			t.Errorf("no such pack: %v", err)
		}
	}
	if n := len(stored(t, b.store).Rules); n != 0 {
		t.Errorf("there are %d rules", n)
	}

	// What somebody made stays theirs, and a pack for other workloads is no matter.
	redis := must[packs.Pack](t)(packs.Get("redis"))
	name := redis.Set().Rules[0].Value.Name
	must[Rule](t)(b.CreateRule(ctx, RuleCreate{Name: name, Pattern: "mine"}))
	_, err := b.AddPack(ctx, "redis", PackAdd{})
	if refused, ok := err.(*Problem); !ok || refused.Status != http.StatusConflict || !strings.Contains(refused.Detail, "rule 1, which somebody made, is called "+name) {
		t.Errorf("a rule of the same name: %v", err)
	}
	cache := "cache"
	must[ConfigPlan](t)(b.AddPack(ctx, "redis", PackAdd{Workload: &cache}))
	must[ConfigPlan](t)(b.RemovePack(ctx, "redis"))
	if left := stored(t, b.store).Rules; len(left) != 1 || left[0].Pattern != "mine" {
		t.Errorf("left: %+v", left)
	}
}

// Suggestions are asked for without what is added.
func TestPackSuggestions(t *testing.T) {
	b := newBench(t)
	must[ConfigPlan](t)(b.AddPack(t.Context(), "redis", PackAdd{}))
	s := &server{Config: Config{Store: b.store, Logger: slog.New(slog.DiscardHandler)}, queryTime: time.Minute}
	if _, err := s.suggestPacks(t.Context(), &suggestInput{}); err == nil || !strings.Contains(err.Error(), "read yet") {
		t.Errorf("logs that can't be read: %v", err)
	}
	at := time.Now().UTC()
	var asked suggestion.Query
	s.Suggest = func(_ context.Context, q suggestion.Query) (suggestion.List, error) {
		asked = q
		return suggestion.List{Until: at, Complete: true, Items: []suggestion.Item{
			{Pack: "nginx", Workload: "web", Container: "web-1", Image: "nginx", Shapes: 3, Incidents: 2, Rules: []suggestion.Found{
				{Rule: "r", Hits: 5, Incidents: 2, Last: query.BacktestSample{At: at, Container: "web-2", Message: "boom"}}}},
			{Pack: packs.Common},
		}}, nil
	}
	out := must[*output[PackSuggestions]](t)(s.suggestPacks(t.Context(), &suggestInput{})).Body
	if !asked.Added["redis"] || len(asked.Added) != 1 || time.Since(asked.Since).Round(time.Minute) != 7*24*time.Hour {
		t.Errorf("asked: %+v", asked)
	}
	if len(out.Items) != 2 || !out.Complete || !out.Until.Equal(at) || !out.Since.Equal(asked.Since) || out.Items[1].Rules == nil {
		t.Fatalf("%+v", out)
	}
	v := out.Items[0]
	if v.Pack != "nginx" || v.Workload != "web" || v.Container != "web-1" || v.Image != "nginx" || v.Shapes != 3 || v.Incidents != 2 ||
		len(v.Rules) != 1 || v.Rules[0] != (PackFound{Rule: "r", Hits: 5, Incidents: 2, At: at, Last: "boom", From: "web-2"}) {
		t.Errorf("%+v", v)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.suggestPacks(ctx, &suggestInput{}); err == nil || !strings.Contains(err.Error(), "client has gone") {
		t.Errorf("cancelled: %v", err)
	}
}
