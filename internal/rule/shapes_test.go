package rule

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/shape"
)

// word makes a shape of its own of each number.
func word(n int) string {
	return strings.Map(func(r rune) rune { return 'k' + r - '0' }, fmt.Sprintf("%06d", n))
}

// A different error is never held back by another one's cooldown, unless the rule says
// so.
func TestCooldownByShape(t *testing.T) {
	for _, by := range []string{ByShape, ByRule} {
		r := valid()
		r.Pattern, r.CooldownSeconds, r.CooldownBy = "failed", 60, by
		s := set(t, Bucket{}, r)
		var st State
		var got []string
		for _, l := range []struct {
			at   int64
			text string
		}{
			{0, "read 1 failed"}, {1, "read 2 failed"}, {2, "write failed"}, {3, "write failed"}, {4, "read 3 failed"}, {60, "read 4 failed"}, {61, "write failed"}, {62, "write failed"}, {122, "write failed"},
		} {
			for _, h := range s.Eval(&st, Line{TimeNano: l.at * second, Text: []byte(l.text)}, nil) {
				got = append(got, fmt.Sprintf("%d:%d", l.at, h.Suppressed))
				if h.Shape != shape.Of([]byte(l.text)) || (h.Suppressed > 0) != (h.SuppressedSince > 0) {
					t.Errorf("%+v", h)
				}
			}
		}
		want := map[string]string{ByShape: "[0:0 2:0 60:2 62:2 122:0]", ByRule: "[0:0 60:4 122:2]"}[by]
		if fmt.Sprint(got) != want {
			t.Errorf("by %s: %v, want %s", by, got, want)
		}
	}
}

// Shapes beyond the bound share one, and all that is held back is told.
func TestTooManyShapes(t *testing.T) {
	r := valid()
	r.Pattern, r.CooldownSeconds, r.CooldownBy = "failed", 60, ByShape
	s := set(t, Bucket{}, r)
	var st State
	hits, suppressed, lines := 0, int64(0), 0
	eval := func(at int64, n int) {
		lines++
		for _, h := range s.Eval(&st, Line{TimeNano: at, Text: []byte("failed " + word(n))}, nil) {
			hits++
			suppressed += h.Suppressed
		}
	}
	for n := range 3 * MaxShapes {
		eval(int64(n), n)
	}
	if hits != MaxShapes+1 || len(st.rules[r.ID].shapes) > MaxShapes+1 {
		t.Errorf("%d hits, %d shapes", hits, len(st.rules[r.ID].shapes))
	}
	if b, _ := st.MarshalBinary(); len(b) > 24*(MaxShapes+2) {
		t.Errorf("%d bytes", len(b))
	}
	// Once the cooldown is over, those that say nothing make room, and what was held
	// back of the others is told by the next hit.
	later := int64(2 * time.Minute)
	eval(later, 7)
	eval(later+1, 5*MaxShapes)
	if int64(hits)+suppressed != int64(lines) {
		t.Errorf("%d hits and %d suppressed of %d lines", hits, suppressed, lines)
	}
	if n := len(st.rules[r.ID].shapes); n > 3 {
		t.Errorf("%d shapes are remembered", n)
	}
}

// Shapes that aren't seen again make room, and what was held back of them is told by
// the next hit.
func TestShapesThatDontComeAgain(t *testing.T) {
	r := valid()
	r.Pattern, r.CooldownSeconds, r.CooldownBy = "failed", 60, ByShape
	s := set(t, Bucket{}, r)
	var st State
	hits, suppressed := int64(0), int64(0)
	const each, shapes = 3, 3 * MaxShapes
	for n := range shapes {
		for i := range each {
			l := Line{TimeNano: int64(n)*int64(time.Minute) + int64(i), Text: []byte("failed " + word(n))}
			for _, h := range s.Eval(&st, l, nil) {
				hits++
				suppressed += h.Suppressed
			}
		}
		if n := len(st.rules[r.ID].shapes); n > 32 {
			t.Fatalf("%d shapes are remembered", n)
		}
	}
	if hits != shapes {
		t.Errorf("%d hits of %d shapes", hits, shapes)
	}
	for _, h := range st.rules[r.ID].shapes {
		suppressed += h.suppressed
	}
	if suppressed != shapes*(each-1) {
		t.Errorf("%d of %d were told or are known", suppressed, shapes*(each-1))
	}
}

// What is held back is told once, by rule and shape, whatever holds it back.
func TestSuppressed(t *testing.T) {
	r := valid()
	r.Pattern, r.CooldownSeconds, r.CooldownBy = "failed", 60, ByShape
	s := set(t, Bucket{Burst: 3, Refill: time.Hour}, r)
	var st State
	for n := range 10 { // three shapes become hits, the others find no token
		for i := range int64(3) {
			s.Eval(&st, Line{TimeNano: int64(n)*second + i, Text: []byte("failed " + word(n))}, nil)
		}
	}
	if from := st.SuppressedFrom(); from != 1 {
		t.Errorf("the first is of %d", from)
	}
	var got []string
	for _, h := range st.TakeSuppressed() {
		if h.Rule.ID != r.ID || h.Shape != shape.Of([]byte(h.Text)) || h.First > h.Last || h.First < 0 {
			t.Errorf("%+v", h)
		}
		got = append(got, fmt.Sprint(h.Text[len("failed "):], " ", h.Matches, " ", h.Bucket))
	}
	slices.Sort(got)
	var want []string
	for n := range 10 {
		if n < 3 {
			want = append(want, word(n)+" 2 false")
		} else {
			want = append(want, word(n)+" 3 true")
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if more := st.TakeSuppressed(); len(more) != 0 || st.SuppressedFrom() != 0 {
		t.Errorf("told twice: %+v", more)
	}

	// There is a bound to what is told apart, and none to what is counted.
	for n := range 3 * maxSuppressed {
		s.Eval(&st, Line{TimeNano: int64(n), Text: []byte("failed " + word(n))}, nil)
	}
	all := st.TakeSuppressed()
	matches, others := int64(0), 0
	for _, h := range all {
		matches += h.Matches
		if h.Shape == (shape.Shape{}) {
			others++
		}
	}
	if len(all) != maxSuppressed+1 || others != 1 || matches != 3*maxSuppressed {
		t.Errorf("%d shapes, %d of others, %d matches", len(all), others, matches)
	}
}

// A state that was kept in between decides as one that wasn't.
func TestShapesAreKept(t *testing.T) {
	r := valid()
	r.Pattern, r.CooldownSeconds, r.CooldownBy = "failed", 5, ByShape
	s := set(t, Bucket{Burst: 3, Refill: time.Second}, r)
	var whole, cut State
	for n := range 20_000 {
		l := Line{TimeNano: int64(n) * second / 20, Text: []byte("failed " + word(n*n%997%200))}
		a, b := s.Eval(&whole, l, nil), s.Eval(&cut, l, nil)
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("line %d: %+v and %+v", n, a, b)
		}
		if n%7 == 0 {
			enc, _ := cut.MarshalBinary()
			cut = State{}
			if err := cut.UnmarshalBinary(enc); err != nil {
				t.Fatal(err)
			}
		}
	}
}
