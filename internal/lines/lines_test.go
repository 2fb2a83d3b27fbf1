package lines

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/entry"
	"logscan/internal/journal"
)

// show is a line in short: the fourth letter of its stream and its text.
func show(l Line) string {
	s := l.Stream[3:4] + ":" + string(l.Text)
	if l.Cut {
		s += "…"
	}
	return s
}

// rest returns the lines up to the log's end.
func rest(t testing.TB, s *Source) []string {
	t.Helper()
	var out []string
	for {
		l, err := s.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, show(l))
	}
}

func TestLines(t *testing.T) {
	const o, e = "stdout", "stderr" // shown as o and e, other streams too
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
			l := newLog(t, journal.DefaultOptions)
			l.put(tt.entries...)
			s := New(l.j, Position{}, Config{Max: 8})
			defer s.Close()
			if got := strings.Join(rest(t, s), " "); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// What ends a line that isn't whole: the end of its attachment, End, and time.
func TestUnfinishedLines(t *testing.T) {
	l := newLog(t, journal.DefaultOptions)
	s := New(l.j, Position{}, Config{Max: 8})
	defer s.Close()
	expect := func(what string, unfinished bool, want ...string) {
		t.Helper()
		if got := rest(t, s); !slices.Equal(got, want) || s.Unfinished() != unfinished {
			t.Errorf("%s: %q, unfinished %v", what, got, s.Unfinished())
		}
	}
	l.put(chunk("stdout", "1", "a", false))
	expect("begun", true)
	l.end()
	expect("attachment ended", false, "o:a")
	l.attach()
	l.put(chunk("stdout", "1", "b", false), chunk("stderr", "2", "c", false))
	expect("the same id in the next one", true)
	l.end()
	l.attach()
	l.put(whole("stdout", "d"))
	expect("ended and begun again", false, "o:b", "e:c", "o:d")

	l.put(chunk("stdout", "1", "$ ", false))
	expect("a prompt", true)
	s.End()
	expect("as it is", false, "o:$ ")
	l.put(chunk("stdout", "1", "ls", true))
	expect("its rest", false, "o:ls")

	begun := l.nano
	at := func(after time.Duration, e entry.Entry) entry.Entry {
		e.TimeNano = begun + int64(after)
		return e
	}
	l.put(at(0, chunk("stdout", "1", "a", false)), at(9*time.Second, whole("stderr", "x")))
	expect("soon", true, "e:x")
	l.put(at(0, chunk("stdout", "1", "b", false)), at(18*time.Second, whole("stderr", "x")))
	expect("it has grown", true, "e:x")
	l.put(at(20*time.Second, chunk("stderr", "2", "y", false)), at(0, chunk("stdout", "1", "c", true)))
	expect("the gap is over", true, "o:ab", "o:c")
	l.put(at(-time.Hour, whole("stdout", "x")), at(20*time.Second, chunk("stderr", "2", "z", true)))
	expect("a clock set back", false, "o:x", "e:yz")
}

// A line that reaches over too much of the journal is ended.
func TestSpan(t *testing.T) {
	var a assembler
	a.init(Config{Max: 8}, Position{})
	b, w := chunk("stderr", "2", "b", false), whole("stdout", "w")
	a.add(20, 25, &b)
	if a.interrupts(20+a.span, &w) {
		t.Error("ended too early")
	}
	if !a.interrupts(21+a.span, &w) || show(*a.end(1)) != "e:b" || a.oldest != never {
		t.Error("not ended")
	}
}

// Wherever reading is interrupted and begins again, from an encoded position or
// in the middle of a block, the lines are the same as without, and each says
// where it lies.
func TestInterruptions(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		l := newLog(t, journal.Options{MaxSize: 64 << 10, MaxFile: 1000, Compress: true})
		ids, begun := map[string]int{}, map[string]bool{}
		for i := range 200 {
			source := streams[rng.IntN(2)]
			text := fmt.Sprintf("%1000d.", i)[990-rng.IntN(990):]
			l.nano += rng.Int64N(int64(time.Second))
			switch {
			case begun[source] && rng.IntN(8) > 0 || rng.IntN(2) == 0:
				last := rng.IntN(4) == 0
				if !begun[source] {
					ids[source]++
				}
				begun[source] = !last
				l.put(chunk(source, fmt.Sprint(source, ids[source]), text, last))
			default: // perhaps without the end of the line before
				begun[source] = false
				l.put(whole(source, text))
			}
		}
		cfg := Config{Max: 1500, Gap: 3 * time.Second}
		full := func(l Line) string { return fmt.Sprint(show(l), " ", l.From, "–", l.To, " ", l.TimeNano) }
		var want []string
		src := New(l.j, Position{}, cfg)
		for {
			line, err := src.Next()
			if err != nil {
				break
			}
			want = append(want, full(line))
			if line.From >= line.To {
				t.Fatalf("line %q lies from %d to %d", show(line), line.From, line.To)
			}
		}
		src.Close()
		if len(want) < 50 {
			t.Fatalf("%d lines", len(want))
		}

		var got []string
		src = New(l.j, Position{}, cfg)
	reading:
		for {
			err := src.Fill()
			for {
				if rng.IntN(6) == 0 {
					src.Release()
					if rng.IntN(2) == 0 && !src.Replaying() {
						p := src.Position()
						b, _ := p.MarshalBinary()
						src.Close()
						var q Position
						if err := q.UnmarshalBinary(b); err != nil {
							t.Fatal(err)
						}
						src = New(l.j, q, cfg)
					}
					break
				}
				line, more := src.Step()
				if line != nil {
					got = append(got, full(*line))
				}
				if !more {
					if err == io.EOF {
						break reading
					}
					break
				}
			}
		}
		src.Close()
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d:\n%v\n%v", seed, got, want)
		}
	}
}

func FuzzPosition(f *testing.F) {
	for _, p := range []Position{
		{}, {Next: 10},
		{Next: 1 << 40, Clock: -5, Streams: []Unfinished{{Stream: "stdout", Start: 3, Grown: 1e18}, {Stream: "stderr", Skipping: true, ID: "x"}}},
	} {
		b, _ := p.MarshalBinary()
		f.Add(b, "x")
	}
	f.Add([]byte(`{"next":10,"streams":[{"source":"stdout","start":3},{"source":"stderr","skipping":true,"id":"x"}],"runs":{"1":{"n":2,"at":3}}}`), "1")
	f.Add([]byte(`{"streams":[{"source":"stderr","id":"0"},{"source":"stdout","start":0,"skipping":true}]}`), "1")
	f.Add([]byte(`{"next":-1}`), "")
	f.Add([]byte(`{"next":1,"streams":[{"source":"x"}]}`), "")
	f.Add([]byte(`{"next":1,"streams":[{"source":"other","start":2}]}`), "")
	f.Fuzz(func(t *testing.T, b []byte, id string) {
		var p Position
		if err := p.UnmarshalBinary(b); err != nil {
			if p.Next != 0 || p.Streams != nil {
				t.Error("changed by what was refused")
			}
			return
		}
		enc, _ := p.MarshalBinary()
		var again Position
		if err := again.UnmarshalBinary(enc); err != nil || fmt.Sprint(again) != fmt.Sprint(p) {
			t.Fatalf("%+v became %+v: %v", p, again, err)
		}
		if p.Start() < 0 || p.Start() > p.Next {
			t.Fatalf("%+v", p)
		}
		var a assembler
		a.init(Config{Max: 8}, p)
		e := chunk("stdout", id, "text", false)
		a.replay(p.Start(), p.Start()+1, &e)
		if a.due != 0 {
			t.Error("replaying gave lines")
		}
		a.add(p.Next, p.Next+1, &e)
	})
}
