package lines

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// A record has its bounds, and a line that alone is longer is one by itself.
func TestRecordBounds(t *testing.T) {
	frame := "\tat shop.Cart.find(Cart.java:14)"
	var sizes []int
	add := func(r *Records, text string) {
		r.Add(&Line{Stream: "stderr", TimeNano: 1e18, Text: []byte(text)}, nil, func(r *Record) { sizes = append(sizes, len(r.Lines)) })
	}
	var r Records
	for range 2*MaxRecordLines + 1 {
		add(&r, frame)
	}
	if want := []int{MaxRecordLines, MaxRecordLines}; !slices.Equal(sizes, want) {
		t.Errorf("%v", sizes)
	}
	sizes, r = nil, Records{}
	long := frame + strings.Repeat("x", MaxRecord/3)
	for range 6 {
		add(&r, long)
	}
	if want := []int{2, 2}; !slices.Equal(sizes, want) {
		t.Errorf("%v of long lines", sizes)
	}
	sizes = nil
	add(&r, frame+strings.Repeat("x", 3*MaxRecord))
	add(&r, frame)
	if want := []int{2, 1}; !slices.Equal(sizes, want) || r.streams[1].lines != 1 {
		t.Errorf("%v with one that is too long", sizes)
	}
}

// Time ends a record, by the next line of its stream, or of another one; so do quiet, and
// the end of the attachment.
func TestRecordTimes(t *testing.T) {
	const gap = int64(RecordGap)
	var r Records
	var got []string
	give := func(r *Record) {
		got = append(got, fmt.Sprint(r.Lines[0].Stream, len(r.Lines), " ", r.From, "–", r.To))
	}
	off := int64(0)
	add := func(stream string, nano int64, text string) {
		r.Add(&Line{Stream: stream, TimeNano: nano, Text: []byte(text), From: off, To: off + 10}, nil, give)
		off += 10
	}
	expect := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q", what, got)
		}
		got = nil
	}
	add("stderr", 0, "panic: x")
	add("stderr", gap-1, "\tat")
	expect("in time")
	add("stderr", 2*gap-1, "\tat")
	expect("too late", "stderr2 0–20", "stderr1 20–30")
	add("stderr", 2*gap, "panic: x")
	add("stdout", 2*gap, "GET / 200")
	add("stderr", 2*gap+1, "\tat")
	add("stdout", 3*gap, "GET / 200")
	expect("beside the other stream", "stdout1 40–50", "stdout1 60–70")
	add("stdout", 3*gap+1, "GET / 200")
	expect("the other stream tells the time", "stderr2 30–60", "stdout1 70–80")
	add("stderr", 4*gap, "panic: x")
	add("stderr", -4*gap, "\tat")
	expect("a clock set back", "stderr1 80–90", "stderr1 90–100")
	add("stderr", 5*gap, "java.io.IOException: x")
	if r.Wait() != soon {
		t.Errorf("a line that may be alone waits for %s", r.Wait())
	}
	if from, nano, ok := r.First(); from != 100 || nano != 5*gap || !ok {
		t.Error(from, nano, ok)
	}
	r.Quiet(soon-1, give)
	expect("not quiet for long")
	r.Quiet(soon, give)
	expect("quiet", "stderr1 100–110")
	add("stderr", 5*gap, "panic: x")
	add("stdout", 5*gap, "panic: y")
	r.End(120, give)
	expect("an end between", "stderr1 110–120")
	r.Quiet(RecordGap-1, give)
	expect("a panic waits longer")
	r.Quiet(RecordGap, give)
	expect("and ends", "stdout1 120–130")
	if _, _, ok := r.First(); ok || r.Wait() != 0 {
		t.Error("something is left")
	}
}

// A pattern says which lines begin a record; all others go on.
func TestRecordsByPattern(t *testing.T) {
	var r Records
	var got []string
	give := func(r *Record) {
		var b []string
		for _, l := range r.Lines {
			b = append(b, string(l.Text))
		}
		got = append(got, strings.Join(b, "+"))
	}
	for n, text := range strings.Fields("x >a b c >d >e f") {
		r.Add(&Line{Stream: "stdout", TimeNano: int64(n), Text: []byte(text)}, func(text []byte) bool { return text[0] == '>' }, give)
	}
	r.Quiet(RecordGap, give)
	if want := []string{"x", ">a+b+c", ">d", ">e+f"}; !slices.Equal(got, want) {
		t.Error(got)
	}
}

// randomLines are lines of both streams: of examples, often cut or mixed up, and others.
func randomLines(rng *rand.Rand, n int) (out []Line) {
	var parts [][]string
	for _, e := range examples {
		parts = append(parts, strings.Split(e.text, "\n"))
	}
	var rest [2][]string
	nano := int64(1e18)
	for i := range n {
		k := rng.IntN(2)
		if len(rest[k]) == 0 || rng.IntN(20) == 0 {
			rest[k] = parts[rng.IntN(len(parts))]
			if rng.IntN(3) == 0 {
				rest[k] = []string{"GET / 200", "", "  - milk", "\tat", "}", "panic: x\r", strings.Repeat("y", rng.IntN(2*MaxRecord)), "\xff\x00"}[rng.IntN(8):][:1]
			}
		}
		text := rest[k][0]
		rest[k] = rest[k][1:]
		switch rng.IntN(30) {
		case 0:
			nano += int64(rng.IntN(int(2 * RecordGap)))
		case 1:
			nano -= int64(rng.IntN(int(2 * RecordGap)))
		default:
			nano += int64(rng.IntN(int(time.Millisecond)))
		}
		out = append(out, Line{Stream: streams[k], TimeNano: nano, Text: []byte(text), From: int64(10 * i), To: int64(10*i + 10)})
	}
	return out
}

// show is a record in full.
func showRecord(r *Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d–%d", r.From, r.To)
	for _, l := range r.Lines {
		fmt.Fprintf(&b, " [%s %d %d–%d %q]", l.Stream, l.TimeNano, l.From, l.To, l.Text)
	}
	return b.String()
}

// naively makes records of lines by the definition: which lines go on is asked of
// grouping, all else is done anew, and slowly.
func naively(all []Line) (out []string) {
	type one struct {
		lines []Line
		at    int // the line with which it was over
	}
	var records []one
	for _, stream := range streams {
		var g grouping
		var r []Line
		over := func(at int) {
			if len(r) > 0 {
				records = append(records, one{r, at})
			}
			r = nil
		}
		for n, l := range all {
			if l.Stream != stream {
				if g.isOpen() && distance(g.last, l.TimeNano) >= uint64(g.wait()) {
					g.close()
					over(n)
				}
				continue
			}
			if !g.next(l.Text, l.TimeNano, byForm) {
				over(n)
			}
			if r = append(r, l); !g.isOpen() {
				over(n)
			}
		}
		over(len(all))
	}
	slices.SortStableFunc(records, func(a, b one) int { return a.at - b.at })
	for _, r := range records {
		out = append(out, showRecord(&Record{r.lines, r.lines[0].From, r.lines[len(r.lines)-1].To}))
	}
	return out
}

// Records are the same wherever their state is stored and loaded again, each line is in
// one of them, and they keep their bounds.
func TestRecordsAreFoundAgain(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		all := randomLines(rng, 400)
		var got []string
		var r Records
		give := func(r *Record) {
			size := -1
			for _, l := range r.Lines {
				size += 1 + len(l.Text)
			}
			if len(r.Lines) > MaxRecordLines || len(r.Lines) > 1 && size > MaxRecord {
				t.Fatalf("a record of %d lines, %d bytes", len(r.Lines), size)
			}
			got = append(got, showRecord(r))
		}
		for _, l := range all {
			r.Add(&l, nil, give)
			if rng.IntN(5) == 0 {
				b, _ := r.AppendBinary(nil)
				if len(b) > len(streams)*(MaxRecord+32*MaxRecordLines) {
					t.Fatalf("a state of %d bytes", len(b))
				}
				r = Records{}
				if err := r.UnmarshalBinary(b); err != nil {
					t.Fatal(err)
				}
				if again, _ := r.AppendBinary(nil); !bytes.Equal(again, b) {
					t.Fatal("the state has changed")
				}
			}
		}
		r.End(never, give)
		want := naively(all)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d:\n%s\n\n%s", seed, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func FuzzRecords(f *testing.F) {
	var r Records
	r.Add(&Line{Stream: "stderr", TimeNano: 1e18, Text: []byte("panic: x"), From: 5, To: 9}, nil, nil)
	b, _ := r.AppendBinary(nil)
	f.Add(b, "\tat")
	f.Add([]byte{}, "")
	f.Add([]byte{0, 0, 0}, "{")
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		var r Records
		if r.UnmarshalBinary(b) != nil {
			if _, _, ok := r.First(); ok {
				t.Error("changed by what was refused")
			}
			return
		}
		enc, _ := r.AppendBinary(nil)
		var again Records
		if err := again.UnmarshalBinary(enc); err != nil {
			t.Fatal(err)
		}
		if twice, _ := again.AppendBinary(nil); !bytes.Equal(twice, enc) {
			t.Fatalf("%x became %x", enc, twice)
		}
		n := 0
		count := func(r *Record) { n += len(r.Lines) }
		for _, stream := range streams {
			again.Add(&Line{Stream: stream, TimeNano: 1e18, Text: []byte(text)}, nil, count)
		}
		again.End(never, count)
		for i := range r.streams {
			n -= len(r.streams[i].kept)
		}
		if n != len(streams) {
			t.Errorf("%d lines more came out than went in", n-len(streams))
		}
	})
}

// TestRecordsAreOverInTime has a record end a second behind its first line at the latest,
// and what belongs to none be by itself.
func TestRecordsAreOverInTime(t *testing.T) {
	lineAt := func(ms int64, text string) *Line {
		return &Line{Stream: "stdout", TimeNano: 1e18 + ms*1e6, From: ms, To: ms + 1, Text: []byte(text)}
	}
	var r Records
	var got []int
	give := func(of *Record) { got = append(got, len(of.Lines)) }
	starts := func(text []byte) bool { return text[0] == '>' }
	for ms, text := range []string{"a", "b", "> c", "d", "> e"} {
		r.Add(lineAt(int64(ms), text), starts, give)
	}
	if !slices.Equal(got, []int{1, 1, 2}) {
		t.Errorf("by a pattern: %v", got)
	}
	r, got = Records{}, nil
	r.Add(lineAt(0, "{"), nil, give)
	for ms := int64(400); ms < 3000; ms += 400 {
		r.Add(lineAt(ms, `  "a": 1,`), nil, give)
	}
	if len(got) == 0 || got[0] != 3 {
		t.Errorf("by its form: %v", got)
	}
	// A terminal's lines end otherwise.
	for _, text := range []string{"{", "panic: x", "Traceback (most recent call last):", "goroutine 1 [running]:"} {
		for _, end := range []string{"", "\r"} {
			var g grouping
			if g.single([]byte(text+end), 1e18) {
				t.Errorf("%q begins nothing", text+end)
			}
		}
	}
}
