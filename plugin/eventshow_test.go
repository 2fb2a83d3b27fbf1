package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
)

// Lines are told by where they are: those that the event is about are marked.
func TestEventRows(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 6e6, time.Local)
	d := api.EventDetails{
		Event: api.Event{ID: 7, Source: "logscan", Severity: "error", Message: "panic: x", Incident: 3, Metadata: map[string]any{
			"container_name": "web", "rule_name": "panic", "record": "panic: x\n\tat y", "captures": map[string]any{"$1": "x"}, "stream": "stderr",
		}},
		Context: []api.ContextLine{
			{Time: at, Stream: "stdout", Text: "GET /", Cut: true}, {Time: at, Stream: "stderr", Text: "panic: x", Own: true}, {Time: at, Stream: "stdout", Text: "GET /2"},
			{Time: at, Stream: "stderr", Text: "\tat y", Own: true}, {Time: at, Stream: "stdout", Text: "GET /3"},
		},
	}
	tail := func(n int) (out []string) {
		rows := eventRows(d)
		for _, r := range rows[len(rows)-n:] {
			out = append(out, r[0]+": "+r[1])
		}
		return out
	}
	want := []string{
		"Incident: 3", `captures: {"$1":"x"}`, "stream: stderr", "Message: panic: x",
		"Before: 15:04:05.006 stdout  GET /…", "Line: 15:04:05.006 stderr  panic: x", "Between: 15:04:05.006 stdout  GET /2", "Line: 15:04:05.006 stderr  \tat y", "After: 15:04:05.006 stdout  GET /3",
	}
	if got := tail(len(want)); !slices.Equal(got, want) {
		t.Errorf("%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	d.Context = nil
	if got := fmt.Sprint(tail(3)); got != "[Message: panic: x Record: panic: x Record: \tat y]" {
		t.Error(got)
	}
}
