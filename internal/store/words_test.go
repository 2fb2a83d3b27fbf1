package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
)

func lastWords(id string, run int64, texts ...string) LastWords {
	w := LastWords{Container: id, Run: run}
	for n, text := range texts {
		w.Lines = append(w.Lines, event.ContextLine{Time: time.Unix(run, int64(n)).UTC(), Stream: "stderr", Text: text})
	}
	return w
}

func (s *Store) runsWithWords(t *testing.T, id string) (runs []int64) {
	t.Helper()
	all, err := s.LastWords(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		runs = append(runs, w.Run)
	}
	return runs
}

func TestLastWords(t *testing.T) {
	s := openTest(t)
	ctx := context.Background()
	var all []LastWords
	for run := int64(1); run <= 40; run++ {
		w := lastWords("a", run, fmt.Sprint("line of ", run), "end")
		if run%2 == 1 {
			w.Lines = nil
		}
		all = append(all, w)
	}
	all = append(all, lastWords("a", 41), lastWords("b", 7, "x"))
	for range 2 { // again, after a kill
		if err := s.PutLastWords(ctx, all); err != nil {
			t.Fatal(err)
		}
	}
	runs := s.runsWithWords(t, "a")
	if len(runs) != runsWithWords || runs[0] != 40 || runs[runsWithWords-1] != 40-2*(runsWithWords-1) {
		t.Errorf("runs %v", runs)
	}
	heard, err := s.RunsHeard(ctx)
	if err != nil || len(heard) != 2 || heard["a"] != 41 || heard["b"] != 7 {
		t.Errorf("heard %v, %v", heard, err)
	}
	got, err := s.LastWords(ctx, "b")
	if err != nil || len(got) != 1 || len(got[0].Lines) != 1 || got[0].Lines[0] != all[41].Lines[0] {
		t.Errorf("%v, %v", got, err)
	}
	if err := s.DeleteCursor(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if a, b := s.runsWithWords(t, "a"), s.runsWithWords(t, "b"); len(a) != 0 || len(b) != 1 {
		t.Errorf("behind a's end: %v and %v", a, b)
	}
}

// Where all take too much room, those of the oldest runs go, whose they are, and it stays
// known that they were looked at.
func TestLastWordsAreBounded(t *testing.T) {
	s := openTest(t)
	ctx := context.Background()
	size := int64(len(packContext(lastWords("a", 1, strings.Repeat("x", 100)).Lines)))
	for run := int64(1); run <= 10; run++ {
		if err := s.PutLastWords(ctx, []LastWords{lastWords(string(rune('a'+run%2)), run, strings.Repeat("x", 100))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.pruneWords(ctx, 3*size); err != nil {
		t.Fatal(err)
	}
	a, b := s.runsWithWords(t, "a"), s.runsWithWords(t, "b")
	if fmt.Sprint(a, b) != "[10 8] [9]" {
		t.Errorf("kept are %v and %v", a, b)
	}
	if heard, err := s.RunsHeard(ctx); err != nil || heard["a"] != 10 || heard["b"] != 9 {
		t.Errorf("heard %v, %v", heard, err)
	}
}
