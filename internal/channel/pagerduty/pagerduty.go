// Package pagerduty sends each incident as an alert by the Events API v2
// (https://developer.pagerduty.com/docs/send-alert-event).
package pagerduty

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

const (
	maxText = 20_000 // bytes; an event has 512 KB at most
	maxKey  = 255
)

// Kind is PagerDuty's.
var Kind = channel.Kind{
	Scheme: "pagerduty", Plain: true, Title: "PagerDuty", Example: "pagerduty://ROUTING-KEY@events.pagerduty.com", Single: true, Acknowledges: true,
	Secret: "the integration key (routing key), where the URL lacks it",
	New: func(c channel.Config) (channel.Channel, error) {
		if keyForm.MatchString(c.URL.Hostname()) || strings.Trim(c.URL.Path, "/") != "" {
			return nil, errors.New("must be pagerduty://ROUTING-KEY@events.pagerduty.com, or …@events.eu.pagerduty.com in the EU, with the key before the @")
		}
		key, err := channel.OneSecret(c.URL.User.Username(), c.Secret, "lacks the routing key; PagerDuty shows it as Integration Key at the service's Integrations, Events API V2")
		if err != nil {
			return nil, err
		}
		if !keyForm.MatchString(key) {
			return nil, channel.SecretError("is no routing key, which has 32 letters and digits; PagerDuty shows it as Integration Key at the service's Integrations, Events API V2")
		}
		return &pagerduty{c.Client, channel.Base(c.URL).JoinPath("v2/enqueue").String(), key}, nil
	},
}

var keyForm = regexp.MustCompile(`^[0-9A-Za-z]{32}$`)

type pagerduty struct {
	client   *egress.Client
	url, key string
}

type event struct {
	Key       string   `json:"routing_key"`
	Action    string   `json:"event_action"`
	Dedup     string   `json:"dedup_key"`
	Payload   *payload `json:"payload,omitempty"` // of a trigger
	Links     []link   `json:"links,omitempty"`
	Client    string   `json:"client,omitempty"`
	ClientURL string   `json:"client_url,omitempty"`
}

type payload struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  string            `json:"severity"`
	Timestamp string            `json:"timestamp"`
	Component string            `json:"component,omitempty"`
	Group     string            `json:"group,omitempty"`
	Class     string            `json:"class,omitempty"`
	Details   map[string]string `json:"custom_details"`
}

type link struct {
	URL  string `json:"href"`
	Text string `json:"text"`
}

var severities = map[string]string{"info": "info", "warn": "warning", "error": "error", "critical": "critical"}

// Send implements channel.Channel.
func (p *pagerduty) Send(ctx context.Context, m channel.Message) channel.Verdict {
	n := m.Worst()
	e := event{Key: p.key, Dedup: m.Key(maxKey)}
	switch n.Kind {
	case channel.Acknowledged:
		e.Action = "acknowledge"
	case channel.Resolved:
		e.Action = "resolve"
	default:
		links, rest := m.Buttons(20)
		e.Action, e.Client, e.ClientURL = "trigger", "logscan", m.URL
		for _, l := range links {
			e.Links = append(e.Links, link{l.URL, l.Label})
		}
		short := func(s string) string { return channel.Line(s, 200) }
		e.Payload = &payload{
			Summary: m.Heading(), Source: cmp.Or(short(n.Host), short(n.Container), short(n.Workload), "logscan"),
			Severity: cmp.Or(severities[n.Severity], "error"), Timestamp: m.At.UTC().Format(time.RFC3339),
			Component: short(n.Container), Group: short(n.Workload), Class: short(n.Rule),
			Details: map[string]string{"message": rest.Text(channel.Style{Limit: maxText})},
		}
	}
	a, err := channel.PostJSON(ctx, p.client, p.url, nil, e)
	return channel.Judge(a, err, nil).Expect(string(channel.Fields(a)["status"]) == `"success"`, "PagerDuty")
}
