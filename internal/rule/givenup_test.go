package rule

import (
	"maps"
	"strings"
	"testing"
)

// A line that takes too much work costs only the rules that would take it, and
// each of them counts it.
func TestGivenUpIsCounted(t *testing.T) {
	cheap, dear, other := valid(), valid(), valid()
	cheap.Pattern = "bcd"
	dear.ID, dear.Pattern = 2, `(a?){1000}.*bcd`
	other.ID, other.Pattern, other.Streams = 3, dear.Pattern, "stderr"
	s := set(t, Bucket{}, cheap, dear, other)
	var st State
	line := Line{Stream: "stdout", TimeNano: second, Text: []byte(strings.Repeat("a", 20_000) + "bcd")}
	for range 2 {
		if hits := s.Eval(&st, line, nil); len(hits) != 1 || hits[0].Rule.ID != 1 {
			t.Errorf("hits %+v", hits)
		}
	}
	short := Line{Stream: "stdout", TimeNano: second, Text: line.Text[19_000:]}
	if hits := s.Eval(&st, short, nil); len(hits) != 2 {
		t.Errorf("hits %+v on a short line", hits)
	}
	if got, want := st.TakeCounts(), map[int64]Counts{1: {Hits: 3}, 2: {Hits: 1, GivenUp: 2}}; !maps.Equal(got, want) {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

// Groups that take too much work are left out of a hit, and that is counted.
func TestCapturesAreBounded(t *testing.T) {
	r := valid()
	r.Pattern = `(?P<who>\w+) did (?P<what>x{900}|[a-z]+) at (?P<when>.*)end`
	s := set(t, Bucket{}, r)
	var st State
	text := "it did this at noon, the end"
	hits := s.Eval(&st, Line{TimeNano: second, Text: []byte(text)}, nil)
	if len(hits) != 1 || hits[0].Captures["what"] != "this" || st.TakeCounts()[1].GivenUp != 0 {
		t.Errorf("%+v", hits)
	}
	text = strings.Repeat("x ", 200_000) + text
	hits = s.Eval(&st, Line{TimeNano: second, Text: []byte(text)}, nil)
	if len(hits) != 1 || hits[0].Captures != nil || st.TakeCounts()[1].GivenUp != 1 {
		t.Errorf("%+v", hits)
	}
	// What has a bounded length is found in a line of any length.
	r.Pattern = `(?P<who>\w{1,20}) did (?P<what>[a-z ]{0,500}) at`
	s = set(t, Bucket{}, r)
	hits = s.Eval(&st, Line{TimeNano: second, Text: []byte(text)}, nil)
	if len(hits) != 1 || hits[0].Captures["who"] != "it" || hits[0].Captures["what"] != "this" || st.TakeCounts()[1].GivenUp != 0 {
		t.Errorf("%+v", hits)
	}
}

// A match that package regexp doesn't see is a hit without groups, and counted.
func TestUnconfirmedMatch(t *testing.T) {
	r := valid()
	r.Pattern = `(\d+) errors`
	s := set(t, Bucket{}, r)
	m := s.Begin()
	defer m.End()
	var st State
	line := Line{TimeNano: second, Text: []byte("no errors")}
	if m.Match(&st, line) {
		t.Fatal("matches")
	}
	m.found = s.compiled()
	hits := m.Admit(&st, line, nil)
	if len(hits) != 1 || hits[0].Captures != nil || st.TakeCounts()[1] != (Counts{Hits: 1, Unconfirmed: 1}) {
		t.Errorf("%+v", hits)
	}
}
