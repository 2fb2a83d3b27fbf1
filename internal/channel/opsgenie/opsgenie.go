// Package opsgenie makes, acknowledges and closes an alert for each incident
// (https://docs.opsgenie.com/docs/alert-api).
package opsgenie

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strings"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

const (
	maxMessage = 130 // in characters, as all here
	maxText    = 15000
	maxKey     = 512
	maxTag     = 50
)

// Kind is Opsgenie's.
var Kind = channel.Kind{
	Scheme: "opsgenie", Plain: true, Title: "Opsgenie", Example: "opsgenie://API-KEY@api.opsgenie.com", Single: true, Acknowledges: true,
	Secret: "the API key, where the URL lacks it",
	New: func(c channel.Config) (channel.Channel, error) {
		if !strings.Contains(c.URL.Host, ".") || strings.Trim(c.URL.Path, "/") != "" {
			return nil, errors.New("must be opsgenie://API-KEY@api.opsgenie.com, or …@api.eu.opsgenie.com in the EU, with the key before the @")
		}
		key, err := channel.OneSecret(c.URL.User.Username(), c.Secret, "lacks the API key; Opsgenie shows it at the team's Integrations, API")
		if err != nil {
			return nil, err
		}
		return &opsgenie{c.Client, channel.Base(c.URL).JoinPath("v2/alerts"), map[string]string{"Authorization": "GenieKey " + key}}, nil
	},
}

type opsgenie struct {
	client  *egress.Client
	alerts  *url.URL
	headers map[string]string
}

type alert struct {
	Message     string            `json:"message"`
	Alias       string            `json:"alias"`
	Description string            `json:"description"`
	Tags        []string          `json:"tags"`
	Details     map[string]string `json:"details"`
	Entity      string            `json:"entity,omitempty"`
	Source      string            `json:"source"`
	Priority    string            `json:"priority"`
}

// said is what is said of an alert that there is.
type said struct {
	Source string `json:"source"`
	Note   string `json:"note"`
}

// verbs are what is done to an alert that there is, by the kind of the notice.
var verbs = map[string]string{channel.Acknowledged: "acknowledge", channel.Resolved: "close"}

var priorities = map[string]string{"info": "P5", "warn": "P3", "error": "P2", "critical": "P1"}

// Send implements channel.Channel.
func (o *opsgenie) Send(ctx context.Context, m channel.Message) channel.Verdict {
	n := m.Worst()
	text := m.Text(channel.Style{Limit: maxText, Size: channel.UTF16, Escape: inert})
	to, alias := *o.alerts, m.Key(maxKey)
	var body any
	if verb := verbs[n.Kind]; verb != "" {
		to = *to.JoinPath(alias, verb)
		to.RawQuery = "identifierType=alias"
		body = said{"logscan", text}
	} else {
		short := func(s string) string { return channel.Fit(s, 200, inert) }
		a := alert{
			Message: channel.Fit(m.Heading(), maxMessage, inert), Alias: alias, Description: text, Tags: []string{"logscan"},
			Details: map[string]string{}, Entity: short(n.Workload), Source: "logscan", Priority: cmp.Or(priorities[n.Severity], "P3"),
		}
		for _, tag := range []string{n.Severity, n.Rule} {
			if tag = channel.Fit(strings.ReplaceAll(tag, ",", " "), maxTag, inert); tag != "" {
				a.Tags = append(a.Tags, tag)
			}
		}
		for name, value := range map[string]string{"rule": n.Rule, "workload": n.Workload, "container": n.Container, "host": n.Host, "image": n.Image} {
			if value != "" {
				a.Details[name] = short(value)
			}
		}
		body = a
	}
	a, err := channel.PostJSON(ctx, o.client, to.String(), o.headers, body)
	return channel.Judge(a, err, nil).Expect(channel.Fields(a)["requestId"] != nil, "Opsgenie")
}

// inert is a text in which no HTML is found, which Opsgenie shows as such.
func inert(text string) string { return strings.ReplaceAll(text, "<", "<\u200b") }
