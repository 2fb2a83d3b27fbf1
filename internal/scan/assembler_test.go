package scan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/entry"
)

type assembled struct {
	a   *assembler
	out []string
}

func newAssembled(maxLine int) *assembled {
	x := &assembled{}
	x.a = newAssembler(maxLine, func(source string, l entry.Line) {
		s := source[3:4] + ":" + string(l.Text)
		if l.Truncated {
			s += "…"
		}
		x.out = append(x.out, s)
	})
	return x
}

func whole(source, text string) entry.Entry { return entry.Entry{Source: source, Line: []byte(text)} }

func TestAssembler(t *testing.T) {
	const o, e = "stdout", "stderr" // shown by their fourth letters, o and e
	for _, tt := range []struct {
		name    string
		entries []entry.Entry
		want    string
	}{
		{"whole lines", []entry.Entry{whole(o, "a"), whole(e, "b"), whole(o, "")}, "o:a e:b o:"},
		{"chunks", []entry.Entry{chunk(o, "1", "a", false), chunk(o, "1", "b", false), chunk(o, "1", "c", true)}, "o:abc"},
		{"empty last chunk", []entry.Entry{chunk(o, "1", "a", false), chunk(o, "1", "", true)}, "o:a"},
		{"both streams", []entry.Entry{chunk(o, "1", "a", false), chunk(e, "2", "x", false), chunk(o, "1", "b", true), whole(o, "c"), chunk(e, "2", "y", true)}, "o:ab o:c e:xy"},
		{"same id on both streams", []entry.Entry{chunk(o, "1", "a", false), chunk(e, "1", "x", false), chunk(o, "1", "b", true), chunk(e, "1", "y", true)}, "o:ab e:xy"},
		{"new id", []entry.Entry{chunk(o, "1", "a", false), chunk(o, "2", "b", true)}, "o:a o:b"},
		{"interrupted by a whole line", []entry.Entry{chunk(o, "1", "a", false), whole(o, "b")}, "o:a o:b"},
		{"unfinished at the end", []entry.Entry{chunk(o, "1", "a", false), chunk(e, "2", "b", false)}, ""},
		{"as long as may be", []entry.Entry{chunk(o, "1", "12345", false), chunk(o, "1", "678", true)}, "o:12345678"},
		{"as long as may be, then an empty chunk", []entry.Entry{chunk(o, "1", "12345678", false), chunk(o, "1", "", true)}, "o:12345678"},
		{"whole line too long", []entry.Entry{whole(o, "123456789"), whole(o, "b")}, "o:12345678… o:b"},
		{"too long, at its last chunk", []entry.Entry{chunk(o, "1", "12345", false), chunk(o, "1", "6789", true), whole(o, "b")}, "o:12345678… o:b"},
		{"too long, told at once", []entry.Entry{chunk(o, "1", "123456789", false)}, "o:12345678…"},
		{"the rest of a long line", []entry.Entry{chunk(o, "1", "123456789", false), chunk(o, "1", "rest", false), chunk(e, "2", "x", true), chunk(o, "1", "rest", true), whole(o, "b")}, "o:12345678… e:x o:b"},
		{"the rest never comes", []entry.Entry{chunk(o, "1", "123456789", false), chunk(o, "2", "b", true)}, "o:12345678… o:b"},
		{"a whole line instead of the rest", []entry.Entry{chunk(o, "1", "123456789", false), whole(o, "b")}, "o:12345678… o:b"},
		{"unknown stream", []entry.Entry{whole("stdlog", "a"), chunk("stdlog", "1", "a", false), chunk("stdlog", "1", "b", true)}, "e:a e:ab"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newAssembled(8)
			for i := range tt.entries {
				x.a.add(int64(i), &tt.entries[i])
			}
			if got := strings.Join(x.out, " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAssemblerFlushes(t *testing.T) {
	x := newAssembled(8)
	x.a.now = time.Unix(100, 0)
	a, b, w := chunk("stdout", "1", "a", false), chunk("stderr", "2", "b", false), whole("stdout", "w")
	x.a.add(10, &a)
	x.a.now = time.Unix(105, 0)
	x.a.add(20, &b)
	if x.a.flushBefore(10) || !x.a.pending() {
		t.Error("flushed what begins at the end of another attachment")
	}
	x.a.now = time.Unix(110, 0)
	if !x.a.flushIdle(10*time.Second) || x.a.flushIdle(10*time.Second) || !slices.Equal(x.out, []string{"o:a"}) {
		t.Error(x.out)
	}
	x.a.add(20+x.a.span, &w)
	if x.a.add(21+x.a.span, &w); !slices.Equal(x.out, []string{"o:a", "o:w", "e:b", "o:w"}) {
		t.Error("not flushed when it reaches too far:", x.out)
	}
	if x.a.pending() {
		t.Error("still pending")
	}
}

// Wherever the cursor is taken and scanning begins again, the lines are the
// same as without.
func TestAssemblerRestarts(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var entries []entry.Entry
		ids := map[string]int{}
		open := map[string]bool{}
		for i := range 200 {
			source := sources[rng.IntN(2)]
			text := fmt.Sprintf("%d.", i)[:1+rng.IntN(2)]
			switch {
			case open[source] && rng.IntN(8) > 0 || rng.IntN(2) == 0:
				last := rng.IntN(4) == 0
				if !open[source] {
					ids[source]++
				}
				open[source] = !last
				entries = append(entries, chunk(source, fmt.Sprint(source, ids[source]), text, last))
			default: // perhaps without the end of the line before
				open[source] = false
				entries = append(entries, whole(source, text))
			}
		}
		want := newAssembled(8)
		for i := range entries {
			want.a.add(int64(i), &entries[i])
		}
		got := newAssembled(8)
		for i := range entries {
			if rng.IntN(6) == 0 { // a restart: other memory, from the encoded cursor
				p, err := decodePosition(got.a.position(int64(i)).encode())
				if err != nil {
					t.Fatal(err)
				}
				again := newAssembled(8)
				again.a.restore(p)
				for k := p.start(); k < p.Next; k++ {
					again.a.replay(k, &entries[k])
				}
				if len(again.out) > 0 {
					t.Fatal("replaying gave lines")
				}
				if q := again.a.position(int64(i)); q.start() != p.start() || len(q.Streams) != len(p.Streams) {
					t.Fatalf("%+v became %+v", p, q)
				}
				again.out = got.out
				got = again
			}
			got.a.add(int64(i), &entries[i])
		}
		if !slices.Equal(got.out, want.out) {
			t.Fatalf("seed %d:\n%v\n%v", seed, got.out, want.out)
		}
	}
}

func FuzzPosition(f *testing.F) {
	f.Add([]byte(`{"next":10,"streams":[{"source":"stdout","start":3},{"source":"stderr","skipping":true,"id":"x"}]}`), "1")
	f.Add([]byte(`{"next":-1}`), "")
	f.Add([]byte(`{"next":1,"streams":[{"source":"x"}]}`), "")
	f.Add([]byte(`{"next":1,"streams":[{"source":"other","start":2}]}`), "")
	f.Fuzz(func(t *testing.T, b []byte, id string) {
		p, err := decodePosition(b)
		if err != nil {
			return
		}
		if again, err := decodePosition(p.encode()); err != nil || again.start() != p.start() {
			t.Fatalf("%+v: %v", p, err)
		}
		if p.start() < 0 || p.start() > p.Next {
			t.Fatalf("%+v", p)
		}
		x := newAssembled(8)
		x.a.restore(p)
		e := chunk("stdout", id, "text", false)
		x.a.replay(p.start(), &e)
		if len(x.out) > 0 {
			t.Error("replaying gave lines")
		}
		x.a.add(p.Next, &e)
	})
}
