package trigger

import (
	"testing"

	"logscan/internal/event"
	"logscan/internal/incident"
)

// A trigger's filters mean the same whether it is told of each event or of incidents.
func TestFilters(t *testing.T) {
	labels := map[string]string{"com.example.team": "db", "com.docker.compose.project": "shop", "empty": ""}
	e := event.Event{
		Source: event.Logscan, Severity: event.Error, Message: "disk full", Labels: labels,
		Metadata: map[string]any{"rule_name": "pg-disk", "workload_id": "shop/db"},
	}
	i := &incident.Incident{ID: 1, Key: incident.Key{RuleID: 1, Workload: "shop/db"}, Rule: "pg-disk", Severity: event.Error, LastText: "disk full", Labels: labels}
	system := event.Event{Source: event.System, Severity: event.Error, Message: "disk full", Metadata: map[string]any{"about": "database"}}
	ofSystem := &incident.Incident{ID: 2, Rule: "logscan", Severity: event.Error, LastText: "disk full"}

	for name, c := range map[string]struct {
		change       func(*Trigger)
		want         string // the field that refuses a hit
		wantOfSystem string
	}{
		"none":                {func(*Trigger) {}, "", ""},
		"severities":          {func(x *Trigger) { x.Severities = []event.Severity{"warn"} }, "severities", "severities"},
		"min severity":        {func(x *Trigger) { x.MinSeverity = "error" }, "", ""},
		"greater severity":    {func(x *Trigger) { x.MinSeverity = "critical" }, "min_severity", "min_severity"},
		"sources":             {func(x *Trigger) { x.Sources = []event.Source{"logscan"} }, "", "sources"},
		"rules":               {func(x *Trigger) { x.Rules = []string{"x", "pg-*"} }, "", "rules"},
		"rules of logscan":    {func(x *Trigger) { x.Rules = []string{"logscan"} }, "rules", ""},
		"workloads":           {func(x *Trigger) { x.Workloads = []string{"shop/*"} }, "", "workloads"},
		"other workloads":     {func(x *Trigger) { x.Workloads = []string{"shop"} }, "workloads", "workloads"},
		"kinds":               {func(x *Trigger) { x.Kinds = []string{"line", "count"} }, "", "kinds"},
		"other kinds":         {func(x *Trigger) { x.Kinds = []string{"count", "absent"} }, "kinds", "kinds"},
		"label":               {func(x *Trigger) { x.Labels = []string{"com.example.team"} }, "", "labels"},
		"label and value":     {func(x *Trigger) { x.Labels = []string{"com.example.team=db"} }, "", "labels"},
		"globs":               {func(x *Trigger) { x.Labels = []string{"com.example.*=d?"} }, "", "labels"},
		"several labels":      {func(x *Trigger) { x.Labels = []string{"com.example.team=db", "*.project=shop"} }, "", "labels"},
		"one of them differs": {func(x *Trigger) { x.Labels = []string{"com.example.team=db", "*.project=blog"} }, "labels", "labels"},
		"empty value":         {func(x *Trigger) { x.Labels = []string{"empty="} }, "", "labels"},
		"not empty":           {func(x *Trigger) { x.Labels = []string{"com.example.team="} }, "labels", "labels"},
		"no such label":       {func(x *Trigger) { x.Labels = []string{"team"} }, "labels", "labels"},
		"message":             {func(x *Trigger) { x.MessageRegex = "disk" }, "", ""},
		"another message":     {func(x *Trigger) { x.MessageRegex = "memory" }, "message_regex", "message_regex"},
	} {
		each, ofIncidents := Fields.New(), Fields.New()
		each.ID, each.Name, each.ActionURL, each.Enabled, each.Mode = 7, "each", "https://hooks.example.com/x", true, ModeEvents
		ofIncidents.ID, ofIncidents.Name, ofIncidents.ActionURL, ofIncidents.Enabled = 8, "incidents", "https://hooks.example.com/x", true
		c.change(&each)
		c.change(&ofIncidents)
		r := NewRouter()
		if bad := r.Set([]Trigger{each, ofIncidents}); len(bad) > 0 {
			t.Fatalf("%s: %v", name, bad)
		}
		for _, s := range []struct {
			e    event.Event
			i    *incident.Incident
			want string
		}{{e, i, c.want}, {system, ofSystem, c.wantOfSystem}} {
			if got := r.Policies()[0].UnwantedBy(s.i, incident.Notice{Kind: incident.NoticeOpened}); got != s.want {
				t.Errorf("%s: %q refuses incident %d, want %q", name, got, s.i.ID, s.want)
			}
			shadow, inShadow := *s.i, event.Event{Source: event.Logscan, Metadata: map[string]any{event.Shadow: true}}
			shadow.Shadow = true
			if got := r.Policies()[0].UnwantedBy(&shadow, incident.Notice{Kind: incident.NoticeOpened}); got != InShadow || len(r.Match(inShadow)) > 0 {
				t.Errorf("%s: %q refuses what is in shadow", name, got)
			}
			if got := len(r.Match(s.e)) == 1; got != (s.want == "") {
				t.Errorf("%s: an event of source %s passes: %v", name, s.e.Source, got)
			}
		}
	}
}

// What a rule finds that names triggers is told to these alone, as far as they are for it.
func TestRulesTriggers(t *testing.T) {
	named := event.Event{Source: event.Logscan, Severity: event.Error, Metadata: map[string]any{"rule_name": "r", event.Triggers: "phone,mail"}}
	i := &incident.Incident{ID: 1, Key: incident.Key{RuleID: 1}, Rule: "r", Severity: event.Error, Settings: incident.Settings{Triggers: "phone,mail"}}
	for name, want := range map[string]string{"phone": "", "mail": "", "chat": NotNamed, "phone,mail": NotNamed} {
		each, ofIncidents := Fields.New(), Fields.New()
		each.ID, each.Name, each.ActionURL, each.Mode = 7, name, "https://hooks.example.com/x", ModeEvents
		ofIncidents.ID, ofIncidents.Name, ofIncidents.ActionURL = 8, name, "https://hooks.example.com/x"
		r := NewRouter()
		if bad := r.Set([]Trigger{each, ofIncidents}); len(bad) > 0 {
			t.Fatal(bad)
		}
		if got := r.Policies()[0].UnwantedBy(i, incident.Notice{Kind: incident.NoticeOpened}); got != want {
			t.Errorf("%s: %q refuses the incident", name, got)
		}
		if got := len(r.Match(named)) == 1; got != (want == "") {
			t.Errorf("%s: the event passes: %v", name, got)
		}
	}
	severe := Fields.New()
	severe.ID, severe.Name, severe.ActionURL, severe.MinSeverity = 9, "phone", "https://hooks.example.com/x", event.Critical
	r := NewRouter()
	r.Set([]Trigger{severe})
	if got := r.Policies()[0].UnwantedBy(i, incident.Notice{Kind: incident.NoticeOpened}); got != "min_severity" {
		t.Errorf("its own filter: %q", got)
	}
}
