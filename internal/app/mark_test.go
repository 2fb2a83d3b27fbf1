package app

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"logscan/internal/echo"
	"logscan/internal/event"
	"logscan/internal/rule"
)

// receivers are what containers write of what they are sent.
var receivers = map[string]func(message string, body []byte) string{
	"the whole payload":               func(_ string, body []byte) string { return string(body) },
	"the payload's beginning":         func(_ string, body []byte) string { return string(body[:min(len(body), 200)]) },
	"the payload in JSON":             func(_ string, body []byte) string { return quoted(string(body)) },
	"the message":                     func(message string, _ []byte) string { return message },
	"the message in words of its own": func(message string, _ []byte) string { return "level=error got " + quoted(message) + " delivered ok" },
	"a part of the message":           func(message string, _ []byte) string { return "level=error got " + message[:min(len(message), 100)] },
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// Whatever receivers in watched containers log of what they are sent, alone or
// together, under rules of which several match it or what stands around it, and
// without any cooldown: what comes of a hit has an end.
func TestRingsEnd(t *testing.T) {
	rules := []rule.Rule{
		{ID: 1, Pattern: "boom"},
		{ID: 2, Pattern: `"in"`},
		{ID: 3, Pattern: "(?i)error"},
		{ID: 4, Pattern: "delivered ok$"},
		{ID: 5, Pattern: `^\{"mark"`},
		{ID: 6, Pattern: "fire", WorkloadID: "app"},
		{ID: 7, Pattern: "boom|ok", WorkloadID: "receiver"},
		{ID: 70, Pattern: "rule_name"},
	}
	for i := range rules {
		r := &rules[i]
		r.Name, r.Severity, r.Streams, r.Enabled = fmt.Sprint("error ", r.ID), "error", "all", true
	}
	snapshot, bad := rule.Compile(rules, rule.WithBucket(rule.Bucket{}))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	m := marker{echo.NewKey(), func() *rule.Snapshot { return snapshot }}
	all := []string{}
	for name := range receivers {
		all = append(all, name)
	}
	for _, text := range []string{`boom "in" the hall`, strings.Repeat("long ", 150) + "boom"} {
		for _, names := range append([][]string{all}, split(all)...) {
			states := map[string]*rule.State{"app": {}}
			for _, name := range names {
				states[name] = &rule.State{}
			}
			now := int64(1e18)
			var hits []rule.Hit
			eval := func(container, workload, line string) {
				now += int64(time.Millisecond)
				l := rule.Line{Stream: "stdout", TimeNano: now, Text: []byte(line)}
				matching := snapshot.For(workload).Begin()
				defer matching.End()
				if matching.Match(states[container], l) {
					matching.Except(m.key.Verify(l.Text, now).Has)
					hits = matching.Admit(states[container], l, hits)
				}
			}
			eval("app", "app", text)
			n := 0
			for ; len(hits) > 0 && n < 100_000; n++ {
				h := hits[0]
				hits = hits[1:]
				e := event.Event{
					Source: event.Logscan, Severity: h.Rule.Severity, Message: h.Text,
					Metadata: map[string]any{"rule_id": float64(h.Rule.ID), "rule_name": h.Rule.Name}, CreatedAt: time.Unix(0, now),
				}
				body := func(mark string) (string, []byte) {
					message := e.Message
					if h.Streak > 32 && mark != "" {
						message = "[" + mark + "] " + message
					}
					b, err := json.Marshal(struct {
						Mark     string         `json:"mark,omitempty"`
						Severity string         `json:"severity"`
						Message  string         `json:"message"`
						Metadata map[string]any `json:"metadata"`
					}{mark, string(e.Severity), message, e.Metadata})
					if err != nil {
						t.Fatal(err)
					}
					return message, b
				}
				_, plain := body("")
				message, sent := body(m.mark(e, plain))
				for _, name := range names {
					eval(name, "receiver", receivers[name](message, sent))
				}
			}
			if len(hits) > 0 {
				t.Errorf("%q: no end with receivers that log %s", text[:10], names)
			}
			t.Log(n, "hits with receivers that log", names)
		}
	}
}

func split(names []string) (out [][]string) {
	for _, name := range names {
		out = append(out, []string{name})
	}
	return out
}

// A mark hides a line from the rules that match what was sent, and no others.
func TestMarkIsOfItsRules(t *testing.T) {
	snapshot, bad := rule.Compile([]rule.Rule{
		{ID: 1, Name: "a", Pattern: "memory", Severity: "warn", Streams: "all", Enabled: true},
		{ID: 2, Name: "b", Pattern: "Out", Severity: "warn", Streams: "stderr", Enabled: true},
		{ID: 3, Name: "c", Pattern: "compromised", Severity: "warn", Streams: "all", Enabled: true},
		{ID: 4, Name: "d", Pattern: `"severity":"warn"`, Severity: "warn", Streams: "all", Enabled: true},
		{ID: 5, Name: "e", Pattern: "Out", Severity: "warn", Streams: "all", WorkloadID: "w", Enabled: true},
		{ID: 6, Name: "f", Pattern: "Out", Severity: "warn", Streams: "all"},
	})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	m := marker{echo.NewKey(), func() *rule.Snapshot { return snapshot }}
	at := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	for _, tt := range []struct {
		name string
		e    event.Event
		want []int64
	}{
		{"a hit", event.Event{Source: event.Logscan, Message: "Out of memory", Metadata: map[string]any{"rule_id": 1.0}}, []int64{1, 2, 4, 5}},
		{"a hit whose rule has changed", event.Event{Source: event.Logscan, Message: "nothing", Metadata: map[string]any{"rule_id": 9.0}}, []int64{4, 9}},
		{"about logscan itself", event.Event{Source: event.System, Message: "a log is compromised"}, []int64{3, 4}},
		{"an echo's hit", event.Event{Source: event.Logscan, Message: "nothing " + m.key.Sign(at, echo.Rules(0).With(3)), Metadata: map[string]any{"rule_id": 4.0}}, []int64{3, 4}},
	} {
		tt.e.CreatedAt = at
		want := echo.Rules(0)
		for _, id := range tt.want {
			want = want.With(id)
		}
		if got := m.key.Verify([]byte(m.mark(tt.e, []byte(`{"severity":"warn"}`))), at.UnixNano()); got != want {
			t.Errorf("%s: %b, want %b", tt.name, got, want)
		}
	}
}
