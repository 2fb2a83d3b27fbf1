package api

import (
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/store"
)

func TestContainerDetails(t *testing.T) {
	b := newBench(t)
	id := strings.Repeat("ab", 32)
	at := time.Unix(1000, 5).UTC()
	if err := b.store.PutLastWords(t.Context(), []store.LastWords{
		{Container: id, Run: 7, Lines: []event.ContextLine{{Time: at, Stream: "stderr", Text: "fatal: \x1b[31mno", Cut: true}}},
		{Container: id, Run: 8},
		{Container: strings.Repeat("cd", 32), Run: 9, Lines: []event.ContextLine{{Time: at, Text: "of another"}}},
	}); err != nil {
		t.Fatal(err)
	}
	d, err := b.Container(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "web" || d.Bytes != 4200 || len(d.Runs) != 3 {
		t.Fatalf("%+v", d)
	}
	if l := d.Labels; l == nil || l.Counts || l.Newest != "web-2" || len(l.Problems) != 1 || l.Problems[0].Key != "logscan.rule.oom.patern" {
		t.Errorf("labels are %+v", l)
	}
	if on := d.Runs[0]; !on.Ended.IsZero() || on.LastWords != nil {
		t.Errorf("the run that goes on: %+v", on)
	}
	if quiet := d.Runs[1]; quiet.Ended.IsZero() || quiet.LastWords != nil {
		t.Errorf("the quiet one: %+v", quiet)
	}
	want := ContextLine{Time: at, Stream: "stderr", Text: "fatal: \x1b[31mno", Cut: true}
	if first := d.Runs[2]; len(first.LastWords) != 1 || first.LastWords[0] != want || first.Ended.Sub(first.Started) != time.Second {
		t.Errorf("the first: %+v", first)
	}
	for _, unknown := range []string{"web", id[:12], "..", "%2e%2e%2fx", strings.Repeat("c", 64)} {
		if _, err := b.Container(t.Context(), unknown); !IsNotFound(err) {
			t.Errorf("%q: %v", unknown, err)
		}
	}
	_, err = b.Container(t.Context(), strings.Repeat("c", 65))
	wantProblem(t, err, 422, "length")
}
