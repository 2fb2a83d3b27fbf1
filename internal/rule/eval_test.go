package rule

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func set(t testing.TB, bucket Bucket, rules ...Rule) *Set {
	t.Helper()
	s, bad := Compile(rules, WithBucket(bucket))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return s.For("")
}

func text(s string) Line { return Line{Stream: "stdout", Text: []byte(s)} }

func TestMatching(t *testing.T) {
	with := func(change func(*Rule)) Rule {
		r := valid()
		change(&r)
		return r
	}
	for _, tt := range []struct {
		name     string
		rule     Rule
		line     Line
		hit      bool
		text     string
		captures map[string]string
	}{
		{"plain", valid(), text("a xylophone"), true, "a xylophone", nil},
		{"no match", valid(), text("nothing"), false, "", nil},
		{"its stream", with(func(r *Rule) { r.Streams = "stdout" }), text("x"), true, "x", nil},
		{"another stream", with(func(r *Rule) { r.Streams = "stderr" }), text("x"), false, "", nil},
		{"terminal", with(func(r *Rule) { r.Pattern = `x$` }), text("x\r"), true, "x", nil},
		{"terminal, twice", with(func(r *Rule) { r.Pattern = `^x$` }), text("x\r\r"), true, "x", nil},
		{"carriage return inside", with(func(r *Rule) { r.Pattern = `^x$` }), text("y\rx"), false, "", nil},
		{"empty line", with(func(r *Rule) { r.Pattern = `^$` }), text(""), true, "", nil},
		{"named", with(func(r *Rule) { r.Pattern = `(?P<user>\w+) failed (?<n>\d+)` }), text("bob failed 3"), true, "bob failed 3", map[string]string{"user": "bob", "n": "3"}},
		{"numbered", with(func(r *Rule) { r.Pattern = `(\w+) (?P<verb>failed) (\d+)` }), text("bob failed 3"), true, "bob failed 3", map[string]string{"$1": "bob", "verb": "failed", "$3": "3"}},
		{"group without part", with(func(r *Rule) { r.Pattern = `(a)|(b)` }), text("b"), true, "b", map[string]string{"$2": "b"}},
		{"same name twice", with(func(r *Rule) { r.Pattern = `(?P<n>a)|(?P<n>b)` }), text("a"), true, "a", map[string]string{"n": "a"}},
		{"group of nothing", with(func(r *Rule) { r.Pattern = `x(y*)` }), text("x"), true, "x", map[string]string{"$1": ""}},
		{"invalid UTF-8", with(func(r *Rule) { r.Pattern = `x(.*)y` }), text("x\xff\xfe\xfdy"), true, "x\uFFFDy", map[string]string{"$1": "\uFFFD"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var st State
			hits := set(t, Bucket{}, tt.rule).Eval(&st, tt.line, nil)
			if tt.hit != (len(hits) == 1) {
				t.Fatalf("%d hits", len(hits))
			}
			if tt.hit && (hits[0].Text != tt.text || !maps.Equal(hits[0].Captures, tt.captures) || hits[0].Rule.ID != 1 || hits[0].Stream != tt.line.Stream) {
				t.Errorf("%+v", hits[0])
			}
		})
	}
}

func TestManyCaptures(t *testing.T) {
	r := valid()
	r.Pattern = strings.Repeat("(x)", 100)
	var st State
	hits := set(t, Bucket{}, r).Eval(&st, text(strings.Repeat("x", 100)), nil)
	if len(hits) != 1 || len(hits[0].Captures) != maxCaptures {
		t.Fatalf("%v", hits)
	}
}

func TestClip(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"longest", strings.Repeat("a", 500), strings.Repeat("a", 500)},
		{"one too long", strings.Repeat("a", 501), strings.Repeat("a", 497) + "…"},
		{"on a rune's boundary", strings.Repeat("a", 496) + "éé" + "aaaa", strings.Repeat("a", 496) + "…"},
		{"rune that just fits", strings.Repeat("a", 495) + "éé" + "aaaa", strings.Repeat("a", 495) + "é…"},
		{"long runes", strings.Repeat("東", 167), strings.Repeat("東", 165) + "…"},
		{"invalid bytes become longer", strings.Repeat("a\xff", 125), strings.Repeat("a\uFFFD", 125)},
		{"invalid bytes become too long", strings.Repeat("a\xff", 126), strings.Repeat("a\uFFFD", 124) + "a…"},
		{"a run of invalid bytes becomes shorter", strings.Repeat("\xff", 100_000) + "b", "\uFFFDb"},
		{"a real U+FFFD", "\uFFFD\uFFFD\xff", "\uFFFD\uFFFD\uFFFD"},
	} {
		if got := Clip([]byte(tt.in)); got != tt.want {
			t.Errorf("%s: %d bytes %q", tt.name, len(got), got)
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add([]byte(strings.Repeat("é\xff", 300)))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := Clip(b)
		if len(got) > MaxText || !utf8.ValidString(got) {
			t.Errorf("%d bytes: %q", len(got), got)
		}
		if utf8.Valid(b) && len(b) <= MaxText && got != string(b) {
			t.Error("changed without need")
		}
	})
}

// outcome is what a line at a time led to.
type outcome struct {
	at  int64 // seconds
	hit bool
	n   int64 // suppressed
	by  int64 // since, in seconds
}

func check(t *testing.T, s *Set, steps []outcome) *State {
	t.Helper()
	var st State
	for i, step := range steps {
		hits := s.Eval(&st, Line{Stream: "stdout", TimeNano: step.at * second, Text: []byte("x")}, nil)
		if step.hit != (len(hits) == 1) {
			t.Fatalf("line %d at %d s: %d hits", i, step.at, len(hits))
		}
		if step.hit && (hits[0].Suppressed != step.n || hits[0].SuppressedSince != step.by*second) {
			t.Fatalf("line %d at %d s: suppressed %d since %d", i, step.at, hits[0].Suppressed, hits[0].SuppressedSince)
		}
	}
	return &st
}

func TestCooldown(t *testing.T) {
	r := valid()
	r.CooldownSeconds = 300
	s := set(t, Bucket{}, r)
	no := func(at int64) outcome { return outcome{at: at} }
	for name, steps := range map[string][]outcome{
		"over at its end":         {{1000, true, 0, 0}, no(1000), no(1299), {1300, true, 2, 1000}, no(1301), {1600, true, 1, 1301}, {1900, true, 0, 0}},
		"jitter":                  {{1000, true, 0, 0}, no(999), no(1001), no(998), {1300, true, 3, 999}},
		"clock back a little":     {{1000, true, 0, 0}, no(1100), no(800), no(1299), {1300, true, 3, 1100}},
		"clock back a lot":        {{1000000, true, 0, 0}, no(1000001), {500, true, 1, 1000001}, no(501), {800, true, 1, 501}},
		"clock forward and back":  {{1000, true, 0, 0}, {9_000_000_000, true, 0, 0}, {1001, true, 0, 0}, no(1002)},
		"no time at all":          {{0, true, 0, 0}, no(0), no(299), {300, true, 2, 0}},
		"before 1970":             {{-100, true, 0, 0}, no(199), {200, true, 1, 199}},
		"farther than can be had": {{math.MinInt64 / second, true, 0, 0}, {math.MaxInt64 / second, true, 0, 0}, {math.MinInt64 / second, true, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) { check(t, s, steps) })
	}
}

func TestBucket(t *testing.T) {
	r := valid()
	s := set(t, Bucket{Burst: 3, Refill: 2 * time.Second}, r)
	yes := func(at int64) outcome { return outcome{at: at, hit: true} }
	no := func(at int64) outcome { return outcome{at: at} }
	for name, steps := range map[string][]outcome{
		"burst, then one per refill": {yes(100), yes(100), yes(100), no(100), no(101), {102, true, 2, 100}, no(103), {104, true, 1, 103}},
		"full again, not fuller":     {yes(100), yes(100), yes(100), no(100), {1000, true, 1, 100}, yes(1000), yes(1000), no(1000)},
		"jitter":                     {yes(100), yes(99), yes(100), no(99), no(101), no(98), {102, true, 3, 99}},
		"clock back a lot":           {yes(1000), yes(1000), yes(1000), no(10), {12, true, 1, 10}, no(12), {14, true, 1, 12}},
		"clock forward and back":     {yes(100), yes(9_000_000_000), yes(100), yes(100), no(100)},
	} {
		t.Run(name, func(t *testing.T) { check(t, s, steps) })
	}
	t.Run("default", func(t *testing.T) {
		snapshot, _ := Compile([]Rule{r})
		var steps []outcome
		for range 30 {
			steps = append(steps, yes(5))
		}
		check(t, snapshot.For(""), append(steps, no(5), no(6), outcome{7, true, 2, 5}))
	})
	t.Run("no bound", func(t *testing.T) {
		var steps []outcome
		for range 1000 {
			steps = append(steps, yes(5))
		}
		check(t, set(t, Bucket{}, r), steps)
	})
	t.Run("absurd bounds", func(t *testing.T) {
		check(t, set(t, Bucket{Burst: math.MaxInt, Refill: math.MaxInt64}, r), []outcome{yes(5), no(5), no(6)})
		check(t, set(t, Bucket{Burst: -5, Refill: 1}, r), []outcome{yes(5), no(5), {6, true, 1, 5}})
	})
	t.Run("smaller bucket", func(t *testing.T) {
		st := check(t, set(t, Bucket{Burst: 1000, Refill: time.Hour}, r), []outcome{yes(1), yes(1), yes(1), yes(1)})
		if hits := s.Eval(st, Line{TimeNano: second, Text: []byte("x")}, nil); len(hits) != 0 {
			t.Error("spent more than there is")
		}
		if hits := s.Eval(st, Line{TimeNano: 3 * second, Text: []byte("x")}, nil); len(hits) != 1 {
			t.Error("no refill")
		}
	})
}

// What a cooldown holds back takes no token, and rules share the bucket.
func TestCooldownAndBucket(t *testing.T) {
	a, b := valid(), valid()
	a.CooldownSeconds = 100
	b.ID, b.Pattern = 2, "xy"
	s := set(t, Bucket{Burst: 2, Refill: 10 * time.Second}, a, b)
	var st State
	hits := 0
	for _, l := range []struct {
		at   int64
		line string
	}{{1, "x"}, {1, "x"}, {1, "x"}, {1, "xy"}, {1, "xy"}, {200, "xy"}} {
		hits += len(s.Eval(&st, Line{TimeNano: l.at * second, Text: []byte(l.line)}, nil))
	}
	if hits != 4 {
		t.Errorf("%d hits", hits)
	}
	want := map[int64]Counts{1: {Hits: 2, Cooldown: 4}, 2: {Hits: 2, Bucket: 1}}
	if got := st.TakeCounts(); !maps.Equal(got, want) {
		t.Errorf("counts %v, want %v", got, want)
	}
	if got := st.TakeCounts(); got != nil {
		t.Errorf("taken twice: %v", got)
	}
}

// A new snapshot keeps what is known of rules that still exist, enabled or not.
func TestStateOverSnapshots(t *testing.T) {
	a, b := valid(), valid()
	a.CooldownSeconds, b.CooldownSeconds, b.ID = 3600, 3600, 2
	line := Line{TimeNano: 5 * second, Text: []byte("x")}
	var st State
	if n := len(set(t, Bucket{}, a, b).Eval(&st, line, nil)); n != 2 {
		t.Fatal(n)
	}
	a.Enabled = false
	line.TimeNano++
	if n := len(set(t, Bucket{}, a).Eval(&st, line, nil)); n != 0 {
		t.Fatal(n)
	}
	if _, ok := st.rules[2]; ok || len(st.rules) != 1 {
		t.Error("a deleted rule is remembered, or a disabled one forgotten")
	}
	a.Enabled = true
	if n := len(set(t, Bucket{}, a).Eval(&st, line, nil)); n != 0 {
		t.Error("the cooldown was forgotten while the rule was disabled")
	}
}

// Encoding and decoding the state at any point changes nothing that follows.
func TestStateRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var rules []Rule
	for i := range 20 {
		r := valid()
		r.ID, r.Pattern = int64(i*i+1), string(rune('a'+i))
		r.CooldownSeconds = int64(rng.IntN(4)) * 10
		rules = append(rules, r)
	}
	s := set(t, Bucket{Burst: 5, Refill: time.Second}, rules...)
	var whole, cut State
	now := int64(1e18)
	for range 5000 {
		now += rng.Int64N(2*second) - second/4
		if rng.IntN(200) == 0 {
			now += (rng.Int64N(400) - 200) * second
		}
		line := make([]byte, rng.IntN(4))
		for i := range line {
			line[i] = byte('a' + rng.IntN(20))
		}
		l := Line{Stream: "stdout", TimeNano: now, Text: line}
		if a, b := s.Eval(&whole, l, nil), s.Eval(&cut, l, nil); !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v\n%+v", a, b)
		}
		if rng.IntN(3) == 0 {
			b, _ := cut.MarshalBinary()
			if again, _ := whole.MarshalBinary(); string(b) != string(again) {
				t.Fatal("equal states, different bytes")
			}
			cut = State{}
			if err := cut.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func FuzzState(f *testing.F) {
	r := valid()
	r.CooldownSeconds = 60
	s := set(f, DefaultBucket, r)
	var st State
	f.Add([]byte{}, int64(0))
	for i := range int64(3) {
		s.Eval(&st, Line{TimeNano: i * second, Text: []byte("x")}, nil)
		b, _ := st.MarshalBinary()
		f.Add(b, i)
	}
	f.Add([]byte{1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 127}, int64(5))
	f.Fuzz(func(t *testing.T, b []byte, at int64) {
		var st State
		if st.UnmarshalBinary(b) != nil {
			if !reflect.DeepEqual(st, State{}) {
				t.Error("changed by what was refused")
			}
			return
		}
		for range 3 {
			s.Eval(&st, Line{TimeNano: at, Text: []byte("x")}, nil)
		}
		enc, _ := st.MarshalBinary()
		var again State
		if err := again.UnmarshalBinary(enc); err != nil {
			t.Fatalf("own encoding refused: %v", err)
		}
	})
}

// A rule's hits in a row are counted, whatever was held back between them, until
// StreakGap has passed without one; a clock that is set back ends nothing.
func TestStreak(t *testing.T) {
	a, b := valid(), valid()
	a.CooldownSeconds, b.CooldownSeconds, b.ID, b.Pattern = 0, 60, 2, "y"
	s := set(t, Bucket{}, a, b)
	var st State
	now := int64(1e18)
	for i, step := range []struct {
		after time.Duration
		text  string
		want  string // streaks by rule
	}{
		{0, "x", "1:1"},
		{time.Second, "x", "1:2"},
		{time.Second, "xy", "1:3 2:1"},
		{time.Second, "y", ""},
		{time.Minute, "xy", "1:4 2:2"},
		{StreakGap - 1, "x", "1:5"},
		{StreakGap, "x", "1:1"},
		{time.Second, "x", "1:2"},
		{-time.Hour, "xy", "1:3 2:3"},
		{time.Second, "x", "1:4"},
	} {
		now += int64(step.after)
		var got []string
		for _, h := range s.Eval(&st, Line{TimeNano: now, Text: []byte(step.text)}, nil) {
			got = append(got, fmt.Sprintf("%d:%d", h.Rule.ID, h.Streak))
		}
		if strings.Join(got, " ") != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
}

// A state in version 1 says what it said; SetStreak adds what it did not.
func TestStateOfVersion1(t *testing.T) {
	b, err := hex.DecodeString("0180ec9387ba018081ceacf5acdbe01b02040380bbd097f5acdbe01b0280c4ca98f5acdbe01b05020580dde5a8f5acdbe01b")
	if err != nil {
		t.Fatal(err)
	}
	var st State
	if err := st.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	const base = 1e18
	want := map[int64]*memory{
		4: {fired: true, at: base + 35e6, streak: 1, shapes: map[uint64]held{allShapes: {fired: true, at: base + 35e6, suppressed: 2, since: base + 36e6}}},
		9: {shapes: map[uint64]held{allShapes: {suppressed: 5, since: base + 53e6}}},
	}
	if !reflect.DeepEqual(st.rules, want) || st.debt != 49_944e6 || st.at != base+57e6 {
		t.Errorf("%+v", st)
	}
	st.SetStreak(9, 15, base+52e6)
	st.SetStreak(3, 34, base+34e6)
	b, _ = st.MarshalBinary()
	var again State
	if err := again.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(st, again) || again.rules[9].streak != 15 || again.rules[9].shapes[allShapes].suppressed != 5 || again.rules[3].streak != 34 {
		t.Errorf("%+v, %v", again, err)
	}
	for name, b := range map[string][]byte{
		"version 4":                    {4, 0, 0, 0},
		"version 0":                    {0, 0, 0, 0},
		"an entry that says nothing":   {3, 0, 0, 1, 1, 0, 0},
		"shapes out of order":          {3, 0, 0, 1, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, flagFired, 0, 0, 0, 0, 0, 0, 0, 0, 1, flagFired, 0},
		"a shape that says nothing":    {3, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0},
		"a shape that is not whole":    {3, 0, 0, 1, 1, 0, 1, 0, 0, 0},
		"suppressed in an entry":       {3, 0, 0, 1, 1, flagSuppressed, 1, 0, 0},
		"a streak in version 1":        {1, 0, 0, 1, 1, flagFired | flagStreak, 0, 2},
		"a streak of what never fired": {2, 0, 0, 1, 1, flagStreak, 2},
		"a streak of one":              {2, 0, 0, 1, 1, flagFired | flagStreak, 0, 1},
		"more than there is":           {2, 0, 0, 2, 1, flagFired, 0},
		"a count beyond all bounds":    {2, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	} {
		if err := new(State).UnmarshalBinary(b); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
