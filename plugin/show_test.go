package main

import (
	"slices"
	"testing"
	"time"

	"logscan/internal/api"
)

func TestHeldText(t *testing.T) {
	for want, held := range map[string]map[string]int64{
		"0":                                nil,
		"3 (3 grouped)":                    {"grouped": 3},
		"5 (2 grouped, 3 over the budget)": {"over the budget": 3, "grouped": 2},
	} {
		if got := heldText(api.RuleStats{Held: held}); got != want {
			t.Errorf("%v gives %s, want %s", held, got, want)
		}
	}
}

// Of runs, the latest is shown that has last words.
func TestContainerRows(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 6e6, time.Local)
	words := func(texts ...string) (lines []api.ContextLine) {
		for _, text := range texts {
			lines = append(lines, api.ContextLine{Time: at, Stream: "stderr", Text: text})
		}
		return lines
	}
	d := api.ContainerDetails{Container: api.Container{ID: "ab"}, Runs: []api.ContainerRun{
		{Started: at},
		{Started: at.Add(-time.Minute), Ended: at.Add(-time.Second), LastWords: words("fatal: x", "bye")},
		{Started: at.Add(-time.Hour), Ended: at.Add(-time.Hour), LastWords: words("older")},
	}}
	rows := containerRows(d)
	var got []string
	for _, r := range rows[10:] {
		got = append(got, r[0]+": "+r[1])
	}
	want := []string{"Runs: 3", "Last words: of the run that ended " + when(at.Add(-time.Second)) + ", after 59s", "Line: 15:04:05.006 stderr  fatal: x", "Line: 15:04:05.006 stderr  bye"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nnot\n%q", got, want)
	}
	d.Runs = nil
	if rows := containerRows(d); len(rows) != 11 {
		t.Errorf("without runs: %q", rows)
	}
}
