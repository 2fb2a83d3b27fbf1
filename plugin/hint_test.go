package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"logscan/internal/api"
)

func TestHintText(t *testing.T) {
	for want, h := range map[string]api.Hint{
		"Matches 39 % of the lines of the last hour (12,345 of 32,000 lines).":                                {Lines: 32000, Matched: 12345},
		"Matches less than 0.1 % of the lines of the last hour (1 of 32,000 lines).":                          {Lines: 32000, Matched: 1},
		"Matches 0.1 % of the lines of the last hour (1 of 999 lines).":                                       {Lines: 999, Matched: 1},
		"Matches more than 99 % of the lines of the last hour (998 of 999 lines).":                            {Lines: 999, Matched: 998},
		"Matches 100 % of the lines of the last hour (1,000,000 of 1,000,000 lines).":                         {Lines: 1_000_000, Matched: 1_000_000},
		"Matches 5.0 % of a sample of the newest lines of the last hour (5,000 of 100,000 lines).":            {Lines: 100_000, Matched: 5000, Sample: true},
		"Matches none of the lines of the last hour (12 lines).":                                              {Lines: 12},
		"Matches none of the lines of the last hour (12 lines). To check 3 of them would take too much work.": {Lines: 12, GivenUp: 3},
		"The containers that it is for wrote no line in the last hour.":                                       {},
		"There was no time to try it on the lines of the last hour.":                                          {Sample: true},
	} {
		if got := hintText(h); got != want {
			t.Errorf("%+v gives\n%s", h, got)
		}
	}
}

// People see how to begin where there is no rule, and scripts don't.
func TestFirstHint(t *testing.T) {
	p := newTestPlugin(t)
	list := func(people bool) string {
		var hint strings.Builder
		if code := p.runWith(&cli{in: strings.NewReader(""), out: io.Discard, err: &hint, errTTY: people}, "rule", "ls"); code != 0 {
			t.Errorf("it ends with %d", code)
		}
		return hint.String()
	}
	if said := list(true); !strings.Contains(said, "docker logscan pack add common") || !strings.Contains(said, "docker logscan pack suggest") {
		t.Errorf("to people, it says %q", said)
	}
	if said := list(false); said != "" {
		t.Errorf("to a script, it says %q", said)
	}
	if _, code := p.run("", "rule", "add", "r", "x"); code != 0 {
		t.Fatal("the rule is refused")
	}
	if said := list(true); said != "" {
		t.Errorf("where there is a rule, it says %q", said)
	}
}

// People see the hint, and scripts don't.
func TestHintIsForPeople(t *testing.T) {
	p := newTestPlugin(t)
	for _, people := range []bool{true, false} {
		var out, hint strings.Builder
		if code := p.runWith(&cli{in: strings.NewReader(""), out: &out, err: &hint, errTTY: people}, "rule", "add", "r", "x"); code != 0 || !slices.Contains([]string{"1\n", "2\n"}, out.String()) {
			t.Errorf("%d: %s%s", code, &out, &hint)
		}
		if said := strings.HasPrefix(hint.String(), "Matches "); said != people {
			t.Errorf("to people: %v, it says %q", people, &hint)
		}
	}
}
