// Package alertmanager keeps an alert in a Prometheus Alertmanager for each incident,
// by its API v2
// (https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml).
package alertmanager

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"strings"
	"time"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

const (
	maxText  = 20_000 // bytes, of an annotation
	maxLabel = 200
	// again is how often an open incident's alert is sent again: Alertmanager keeps
	// alerts in memory only, so that for so long it lacks them after its restart.
	// Prometheus does so each minute, but to a program beside it.
	again = 5 * time.Minute
	// lasts is how long an alert lasts that isn't sent again: longer than we, or the
	// way to it, should ever be away, and shorter than people look for what has long
	// been over.
	lasts = time.Hour
)

// Kind is Alertmanager's.
var Kind = channel.Kind{
	Scheme: "alertmanager", Plain: true, Title: "Alertmanager", Example: "alertmanager://alerts.example.com", Single: true, Resend: again,
	Secret: "the password of the user in the URL, or a bearer token where there is none",
	New: func(c channel.Config) (channel.Channel, error) {
		if c.URL.RawQuery != "" || strings.HasSuffix(strings.TrimSuffix(c.URL.Path, "/"), "/api/v2/alerts") {
			return nil, errors.New("must be Alertmanager's own address, without /api/v2/alerts: alertmanager://alerts.example.com, or alertmanager+http://10.0.0.5:9093 without TLS")
		}
		a := &alertmanager{client: c.Client, url: channel.Base(c.URL).JoinPath(c.URL.Path, "api/v2/alerts").String()}
		if c.URL.User == nil {
			if c.Secret != "" {
				token, err := channel.OneSecret("", c.Secret, "")
				if err != nil {
					return nil, err
				}
				a.authorization = "Bearer " + token
			}
			return a, nil
		}
		inURL, _ := c.URL.User.Password()
		password, err := channel.OneSecret(inURL, c.Secret, "lacks the password of the user in the URL")
		if err != nil {
			return nil, err
		}
		a.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(c.URL.User.Username()+":"+password))
		return a, nil
	},
}

type alertmanager struct {
	client             *egress.Client
	url, authorization string
}

type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
	Generator   string            `json:"generatorURL,omitempty"`
}

// Send implements channel.Channel. What it sends at once is all good or all bad: of
// several alerts, Alertmanager keeps the good ones where it answers that one is bad.
func (c *alertmanager) Send(ctx context.Context, m channel.Message) channel.Verdict {
	n := m.Worst()
	a := alert{
		// An alert is known by its labels: they are what stays the same until its
		// end. The container doesn't, where an incident has several.
		Labels: labels(map[string]string{
			"alertname": cmp.Or(channel.Line(n.Rule, maxLabel), "logscan"), "severity": n.Severity, "workload": n.Workload, "host": n.Host, "incident": m.Key(maxLabel),
		}),
		Annotations: labels(map[string]string{"summary": m.Heading(), "container": n.Container, "image": n.Image}),
		StartsAt:    n.First.UTC(),
	}
	a.Annotations["description"] = m.Text(channel.Style{Limit: maxText})
	if strings.HasPrefix(m.URL, "http") {
		a.Generator = m.URL
	}
	if n.First.IsZero() {
		a.StartsAt = m.At.UTC()
	}
	at := m.At
	if m.Again.After(at) {
		at = m.Again
	}
	if n.Kind == channel.Resolved {
		a = a.until(n.Last)
	} else {
		a = a.until(at.Add(lasts))
	}
	alerts := []alert{a}
	if n.Was != "" && m.Again.IsZero() { // by its labels that is another alert, which would go on for long
		was := a.until(m.At)
		was.Labels = maps.Clone(a.Labels)
		was.Labels["severity"] = channel.Line(n.Was, maxLabel)
		alerts = append(alerts, was)
	}
	headers := map[string]string{}
	if c.authorization != "" {
		headers["Authorization"] = c.authorization
	}
	answer, err := channel.PostJSON(ctx, c.client, c.url, headers, alerts)
	return channel.Judge(answer, err, nil)
}

// until is an alert with an end. One at its start is none.
func (a alert) until(end time.Time) alert {
	if a.EndsAt = end.UTC(); !a.EndsAt.After(a.StartsAt) {
		a.EndsAt = a.StartsAt.Add(time.Millisecond)
	}
	return a
}

// labels are a set of labels or annotations without the empty ones, whose values
// are lines.
func labels(all map[string]string) map[string]string {
	for name, value := range all {
		if all[name] = channel.Line(value, maxLabel); all[name] == "" {
			delete(all, name)
		}
	}
	return all
}
