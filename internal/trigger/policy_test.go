package trigger

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/incident"
)

const pager = "pagerduty://0123456789abcdef0123456789abcdef@events.pagerduty.com"

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) // a Monday

func policy(t *testing.T, change func(*Trigger)) *Policy {
	t.Helper()
	trig := Fields.New()
	trig.ID, trig.Name, trig.ActionURL = 7, "ops", "https://hooks.example.com/x"
	change(&trig)
	var message *regexp.Regexp
	if trig.MessageRegex != "" {
		message = regexp.MustCompile(trig.MessageRegex)
	}
	return must[*Policy](t)(newPolicy(trig, message))
}

func trouble(severity event.Severity) *incident.Incident {
	i, _ := incident.New(incident.Hit{
		Key: incident.Key{RuleID: 3, Workload: "shop/web", Shape: "fp1:1"}, At: noon, Rule: "oom", Severity: severity,
		Container: "web-1", Text: "Out of memory", Settings: incident.Defaults,
	}, nil)
	i.ID = 42
	return &i
}

func TestWants(t *testing.T) {
	opened := incident.Notice{Kind: incident.NoticeOpened}
	for name, c := range map[string]struct {
		change   func(*Trigger)
		incident func(*incident.Incident)
		kind     incident.Kind
		want     string // "" for wanted
	}{
		"all":                           {func(*Trigger) {}, nil, "", ""},
		"rules":                         {func(t *Trigger) { t.Rules = []string{"x", "o*m"} }, nil, "", ""},
		"other rules":                   {func(t *Trigger) { t.Rules = []string{"x"} }, nil, "", "rules"},
		"workloads":                     {func(t *Trigger) { t.Workloads = []string{"shop/*"} }, nil, "", ""},
		"other workloads":               {func(t *Trigger) { t.Workloads = []string{"shop"} }, nil, "", "workloads"},
		"severe enough":                 {func(t *Trigger) { t.MinSeverity = "error" }, nil, "", ""},
		"not severe enough":             {func(t *Trigger) { t.MinSeverity = "critical" }, nil, "", "min_severity"},
		"severities":                    {func(t *Trigger) { t.Severities = []event.Severity{"info"} }, nil, "", "severities"},
		"hits only":                     {func(t *Trigger) { t.Sources = []event.Source{"logscan"} }, nil, "", ""},
		"system only":                   {func(t *Trigger) { t.Sources = []event.Source{"system"} }, nil, "", "sources"},
		"resolved":                      {func(*Trigger) {}, nil, incident.NoticeResolved, "notices"},
		"resolved, awaited":             {func(*Trigger) {}, func(i *incident.Incident) { i.Settings.TellResolved = true }, incident.NoticeResolved, ""},
		"resolved, asked":               {func(t *Trigger) { t.Notices = []string{"resolved"} }, nil, incident.NoticeResolved, ""},
		"acknowledged":                  {func(*Trigger) {}, nil, incident.NoticeAcknowledged, "notices"},
		"acknowledged, asked":           {func(t *Trigger) { t.Notices = []string{"acknowledged"} }, nil, incident.NoticeAcknowledged, ""},
		"acknowledged, kept":            {func(t *Trigger) { t.ActionURL = pager }, nil, incident.NoticeAcknowledged, ""},
		"acknowledged, kept, not asked": {func(t *Trigger) { t.ActionURL, t.Notices = pager, []string{"opened", "resolved"} }, nil, incident.NoticeAcknowledged, "notices"},
		"acknowledged, not kept":        {func(t *Trigger) { t.ActionURL = "alertmanager+http://10.0.0.1:9093" }, nil, incident.NoticeAcknowledged, "notices"},
		"opened, not asked":             {func(t *Trigger) { t.Notices = []string{"resolved"} }, nil, "", "notices"},
		"other texts":                   {func(t *Trigger) { t.MessageRegex = "disk" }, nil, "", "message_regex"},
		"about itself":                  {func(*Trigger) {}, func(i *incident.Incident) { i.About = 7 }, "", "own_failure"},
		"about another":                 {func(*Trigger) {}, func(i *incident.Incident) { i.About = 8 }, "", ""},
	} {
		i, n := trouble("error"), opened
		if c.incident != nil {
			c.incident(i)
		}
		if c.kind != "" {
			n.Kind = c.kind
		}
		p := policy(t, c.change)
		if got := p.UnwantedBy(i, n); got != c.want || p.Wants(i, n) != (got == "") {
			t.Errorf("%s: unwanted by %q, not %q", name, got, c.want)
		}
	}
}

func TestDecide(t *testing.T) {
	minutes := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	for name, c := range map[string]struct {
		change   func(*Trigger)
		severity event.Severity
		g        Group
		full     time.Time
		want     string
	}{
		"first":                 {nil, "error", Group{}, time.Time{}, "now"},
		"soon after":            {nil, "error", Group{Told: minutes(-2), Worst: "error"}, time.Time{}, "workload shop/web at 12:03: grouped"},
		"soon after, worse":     {nil, "critical", Group{Told: minutes(-2), Worst: "error"}, time.Time{}, "now"},
		"long after":            {nil, "error", Group{Told: minutes(-5), Worst: "error"}, time.Time{}, "now"},
		"others wait":           {nil, "error", Group{Told: minutes(-2), Worst: "error", Due: minutes(3)}, time.Time{}, "workload shop/web at 12:03: grouped"},
		"told in the future":    {nil, "error", Group{Told: minutes(60), Worst: "error"}, time.Time{}, "now"},
		"waits for company":     {func(t *Trigger) { t.GroupWaitSeconds = 60 }, "error", Group{}, time.Time{}, "workload shop/web at 12:01: grouped"},
		"by rule":               {func(t *Trigger) { t.GroupBy = "rule" }, "error", Group{Told: minutes(-1), Worst: "error"}, time.Time{}, "rule oom at 12:04: grouped"},
		"over the budget":       {nil, "critical", Group{}, minutes(20), "* at 12:20: over the trigger's budget of messages"},
		"in hours":              {func(t *Trigger) { t.Active = "Mon-Fri 08:00-18:00" }, "error", Group{}, time.Time{}, "now"},
		"out of hours":          {func(t *Trigger) { t.Active = "Mon-Fri 13:00-18:00" }, "error", Group{}, time.Time{}, "* at 13:00: outside of the trigger's hours"},
		"out of hours, but bad": {func(t *Trigger) { t.Active = "Mon-Fri 13:00-18:00" }, "critical", Group{}, time.Time{}, "now"},
		"unless acknowledged":   {func(t *Trigger) { t.UnacknowledgedForSeconds = 900 }, "error", Group{}, time.Time{}, "unacknowledged workload shop/web at 12:15: unless it is acknowledged"},
		"one each":              {func(t *Trigger) { t.ActionURL = pager }, "error", Group{Told: minutes(-1), Worst: "error"}, time.Time{}, "now"},
	} {
		change := c.change
		if change == nil {
			change = func(*Trigger) {}
		}
		h := policy(t, change).Decide(trouble(c.severity), incident.Notice{Kind: incident.NoticeOpened}, c.g, Group{}, c.full, noon)
		got := "now"
		if !h.Until.IsZero() {
			got = fmt.Sprintf("%s at %s: %s", h.Group, h.Until.Format("15:04"), h.Why)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// A message has the latest of each incident, the worst first, and counts what is too
// much for it.
func TestMessageOfMany(t *testing.T) {
	var told []Told
	for n := range 60 {
		i := trouble([]event.Severity{"info", "error"}[n%2])
		i.ID = int64(n)
		told = append(told, Told{Incident: i, Notice: incident.Notice{Kind: incident.NoticeOpened}, HeldSince: noon})
	}
	told = append(told,
		Told{Incident: told[0].Incident, Notice: incident.Notice{Kind: incident.NoticeEscalated, Reason: "more"}},
		Told{Incident: told[1].Incident, Notice: incident.Notice{Kind: incident.NoticeResolved}})
	p := policy(t, func(t *Trigger) { t.Title = "{{len .Notices}} things" })
	m := p.Message("here", told, noon)
	if len(m.Notices) != 50 || m.Notices[0].Severity != "error" || m.Notices[0].Kind != "resolved" || m.Notices[0].Key != "here-1" || m.Held.Notices != 10 || m.Held.Hits != 10 || m.Title != "50 things" {
		t.Errorf("%d notices, the first %+v, held %+v, title %q", len(m.Notices), m.Notices[0], m.Held, m.Title)
	}
	if n := m.Notices[30]; n.Kind != "opened" || n.Incident != 0 {
		t.Errorf("%+v", n)
	}
}

// Messages about one incident alone keep their order where a service keeps a state of
// it, and only there.
func TestThreads(t *testing.T) {
	for url, want := range map[string]int64{
		pager: 42, "opsgenie://key@api.opsgenie.com": 42, "alertmanager+http://10.0.0.1:9093": 42,
		"slack://slack.com/C0123456789": 42, "slack://hooks.slack.com/services/T000/B000/TOKEN": 0, "https://hooks.example.com/x": 0,
	} {
		p := policy(t, func(t *Trigger) {
			t.ActionURL = url
			if want != 0 && url[:5] == "slack" {
				t.ActionSecret = "xoxb-1"
			}
		})
		told := []Told{{Incident: trouble("error"), Notice: incident.Notice{Kind: incident.NoticeOpened}}}
		if got := p.Thread(p.Message("i", told, noon)); got != want {
			t.Errorf("%s: %d, not %d", url, got, want)
		}
	}
}

// Who waits for somebody hears at any hour that somebody knows, or that it is over, but
// not before that it began.
func TestCalms(t *testing.T) {
	night := func(t *Trigger) { t.ActionURL, t.Active = pager, "Mon-Fri 13:00-18:00" }
	for kind, want := range map[incident.Kind]bool{incident.NoticeOpened: false, incident.NoticeRepeated: false, incident.NoticeAcknowledged: true, incident.NoticeResolved: true} {
		h := policy(t, night).Decide(trouble("error"), incident.Notice{Kind: kind}, Group{}, Group{}, time.Time{}, noon)
		if h.Until.IsZero() != want {
			t.Errorf("%s: %+v", kind, h)
		}
		h = policy(t, night).Decide(trouble("error"), incident.Notice{Kind: kind}, Group{}, Group{Due: noon.Add(time.Hour)}, time.Time{}, noon)
		if !h.Until.Equal(noon.Add(time.Hour)) {
			t.Errorf("%s, after what waits: %+v", kind, h)
		}
		if got := policy(t, func(t *Trigger) { t.ActionURL = "alertmanager+http://10.0.0.1:9093" }).Calms(incident.Notice{Kind: kind}); got != (kind == incident.NoticeResolved) {
			t.Errorf("%s, where an acknowledgement isn't kept: %v", kind, got)
		}
		if policy(t, func(*Trigger) {}).Calms(incident.Notice{Kind: kind}) {
			t.Errorf("%s calms a webhook", kind)
		}
	}
}

// That somebody knows takes the place of what was held before it, as long as it is so.
func TestHeldAcknowledgement(t *testing.T) {
	i := trouble("error")
	told := func(kinds ...incident.Kind) (out []Told) {
		for _, k := range kinds {
			out = append(out, Told{Incident: i, Notice: incident.Notice{Kind: k}})
		}
		return out
	}
	p := policy(t, func(*Trigger) {})
	for _, c := range []struct {
		state incident.State
		held  []Told
		want  incident.Kind
	}{
		{incident.Acknowledged, told(incident.NoticeOpened, incident.NoticeAcknowledged), incident.NoticeAcknowledged},
		{incident.Acknowledged, told(incident.NoticeOpened, incident.NoticeEscalated, incident.NoticeAcknowledged), incident.NoticeAcknowledged},
		{incident.Open, told(incident.NoticeOpened, incident.NoticeAcknowledged), incident.NoticeOpened},
		{incident.Open, told(incident.NoticeOpened, incident.NoticeAcknowledged, incident.NoticeEscalated), incident.NoticeOpened},
		{incident.Resolved, told(incident.NoticeOpened, incident.NoticeAcknowledged, incident.NoticeResolved), incident.NoticeResolved},
	} {
		i.State = c.state
		if got := Latest(p.Still(c.held)); len(got) != 1 || got[0].Notice.Kind != c.want {
			t.Errorf("%s, %d held: %+v", c.state, len(c.held), got)
		}
	}
}
