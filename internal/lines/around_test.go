package lines

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/entry"
	"logscan/internal/journal"
)

// around shows lines, by what they are.
func (a *Around) String() string {
	var b strings.Builder
	for _, part := range [][]Line{a.Before, a.At, a.After} {
		for _, l := range part {
			fmt.Fprintf(&b, "%s:%s ", l.Stream[3:], l.Text)
		}
		b.WriteString("| ")
	}
	if a.Whole {
		b.WriteString("whole")
	}
	return b.String()
}

// find returns the place of the line that has a text.
func find(t *testing.T, j *journal.Journal, text string) Place {
	t.Helper()
	first, _ := j.Bounds()
	s := New(j, Position{Next: first}, Config{})
	defer s.Close()
	for {
		l, err := s.Next()
		if err != nil {
			t.Fatal(text, err)
		}
		if string(l.Text) == text {
			return Place{Stream: l.Stream, From: l.From, To: l.To, TimeNano: l.TimeNano}
		}
	}
}

func TestAround(t *testing.T) {
	l := newLog(t, journal.DefaultOptions)
	want := Surroundings{Before: 2, After: 2, Within: 10 * time.Second, Bytes: 1 << 10, Max: 100}
	l.put(whole("stdout", "1"), whole("stderr", "2"), whole("stdout", "3"), whole("stdout", "hit"))
	p := find(t, l.j, "hit")
	see := func(what string) {
		t.Helper()
		got, err := ReadAround(l.j, p, want)
		if err != nil || got.String() != what {
			t.Errorf("%s, %v, not %s", got.String(), err, what)
		}
	}
	see("err:2 out:3 | out:hit | | ")
	l.put(whole("stderr", "4"), chunk("stdout", "a", "5", false))
	see("err:2 out:3 | out:hit | err:4 | ")
	want.Last = true
	see("err:2 out:3 | out:hit | err:4 out:5 | whole")
	want.Last = false
	l.put(whole("stderr", "6"))
	see("err:2 out:3 | out:hit | err:4 err:6 | whole")
	want.Before, want.After = 0, 0
	see("| out:hit | | whole")
	want.Before, want.After, want.Bytes = 2, 2, 3
	see("out:3 | out:hit | err:4 | whole")
}

// What comes long after isn't there, however long it is waited.
func TestAroundEndsByTime(t *testing.T) {
	l := newLog(t, journal.DefaultOptions)
	l.put(whole("stdout", "hit"), whole("stdout", "soon"))
	p := find(t, l.j, "hit")
	late := whole("stdout", "late")
	late.TimeNano = p.TimeNano + int64(10*time.Second) + 1
	l.put(late)
	got, err := ReadAround(l.j, p, Surroundings{Before: 5, After: 5, Within: 10 * time.Second, Bytes: 1 << 10, Max: 100})
	if err != nil || got.String() != "| out:hit | out:soon | whole" {
		t.Errorf("%s, %v", got.String(), err)
	}
}

// It is the same as what a reading of everything gives, wherever a record lies, also where
// segments are compressed and a long line goes on across what is read.
func TestAroundIsAsIfAllWasRead(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	l := newLog(t, journal.Options{MaxSize: 1 << 20, MaxFile: 20, Compress: true})
	for n := 0; n < 3000; n++ {
		source := []string{"stdout", "stderr"}[rng.IntN(2)]
		text := fmt.Sprint(n, strings.Repeat("x", rng.IntN(1000)))
		if rng.IntN(20) == 0 {
			id, parts := fmt.Sprint(n), 1+rng.IntN(12)
			for k := range parts {
				e := chunk(source, id, strings.Repeat("y", 16<<10), k == parts-1)
				e.Ordinal = int32(k + 1)
				l.put(e)
			}
			continue
		}
		l.put(whole(source, text))
	}
	var all []Line
	s := New(l.j, Position{}, Config{Max: 100})
	defer s.Close()
	for {
		line, err := s.Next()
		if err != nil {
			break
		}
		all = insert(all, &line)
	}
	shown := func(lines []Line) (out []string) {
		for _, l := range lines {
			out = append(out, fmt.Sprintf("%d-%d %s %.20s", l.From, l.To, l.Stream, l.Text))
		}
		return out
	}
	for range 300 {
		n := 20 + rng.IntN(len(all)-60)
		hit := all[n]
		want := Surroundings{Before: rng.IntN(20), After: rng.IntN(20), Within: time.Hour, Bytes: 1 << 20, Max: 100}
		got, err := ReadAround(l.j, Place{hit.Stream, hit.From, hit.To, hit.TimeNano}, want)
		if err != nil || !got.Whole {
			t.Fatal(err, got.Whole)
		}
		if got, want := shown(got.Before), shown(all[n-want.Before:n]); !slices.Equal(got, want) {
			t.Fatalf("before %d: %q\nnot %q", n, got, want)
		}
		at := shown(got.At)
		if !slices.Contains(at, shown(all[n : n+1])[0]) {
			t.Fatalf("at %d: %q", n, at)
		}
		if len(got.After) != want.After || slices.ContainsFunc(got.After, func(l Line) bool { return l.From < hit.To }) {
			t.Fatalf("after %d: %q", n, shown(got.After))
		}
	}
}

func TestSeekOffsetIsAFrame(t *testing.T) {
	l := newLog(t, journal.Options{MaxSize: 64 << 10, MaxFile: 5, Compress: true})
	frames := map[int64]bool{}
	for n := range 20_000 {
		_, end := l.j.Bounds()
		frames[end] = true
		l.put(entry.Entry{Source: "stdout", Line: fmt.Appendf(nil, "line %d", n)})
	}
	first, end := l.j.Bounds()
	for off := first - 10; off < end; off += 777 {
		got := l.j.SeekOffset(off)
		if !frames[got] || got > max(off, first) || got < first {
			t.Fatalf("%d: %d", off, got)
		}
	}
	if got := l.j.SeekOffset(end + 5); got != end {
		t.Errorf("behind the end %d: %d", end, got)
	}
}
