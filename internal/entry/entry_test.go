package entry

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/plugins/logdriver"
)

func entries() []Entry {
	return []Entry{
		{Source: "stdout", TimeNano: 1, Line: []byte("hello")},
		{Source: "stderr", TimeNano: 1<<62 + 5, Line: []byte{0xff, 0, '\r'}},
		{Source: "stdout", TimeNano: -5},
		{Source: "stdout", TimeNano: 7, Line: bytes.Repeat([]byte("x"), 16384), Partial: true, HasMeta: true, ID: "abc", Ordinal: 1},
		{Source: "stdout", TimeNano: 7, Partial: true, HasMeta: true, ID: "abc", Ordinal: 2, Last: true},
		{Source: "other", TimeNano: 7, Line: []byte("no newline"), Partial: true, HasMeta: true, ID: "def", Ordinal: -1},
	}
}

// theirs is the same entry as the Engine's own type.
func theirs(e Entry) *logdriver.LogEntry {
	p := &logdriver.LogEntry{Source: e.Source, TimeNano: e.TimeNano, Line: e.Line, Partial: e.Partial}
	if e.HasMeta {
		p.PartialLogMetadata = &logdriver.PartialLogEntryMetadata{Last: e.Last, Id: e.ID, Ordinal: e.Ordinal}
	}
	return p
}

// The Engine's generated code is the oracle for both directions.
func TestAgreesWithTheEngine(t *testing.T) {
	for _, e := range entries() {
		want, err := theirs(e).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		frame := Append(nil, &e)
		if !bytes.Equal(frame[HeaderLen:], want) || int(binary.BigEndian.Uint32(frame)) != len(want) {
			t.Errorf("Append(%+v) = %x, the Engine writes %x", e, frame, want)
		}
		var got Entry
		if err := Decode(want, &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Line) == 0 {
			got.Line = nil
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("Decode = %+v, want %+v", got, e)
		}
		if ts, err := Time(want); err != nil || ts != e.TimeNano {
			t.Errorf("Time = %d, %v", ts, err)
		}
	}
}

func TestAppendServed(t *testing.T) {
	for _, e := range entries() {
		served, err := AppendServed([]byte("before"), Append(nil, &e))
		if err != nil {
			t.Fatal(err)
		}
		served = served[len("before"):]
		var got logdriver.LogEntry
		if err := got.Unmarshal(served[HeaderLen:]); err != nil {
			t.Fatal(err)
		}
		want := string(e.Line)
		if !e.Continues() {
			want += "\n"
		}
		if string(got.Line) != want || got.Source != e.Source || got.TimeNano != e.TimeNano || got.Partial != e.Partial || got.PartialLogMetadata != nil {
			t.Errorf("served %+v for %+v", got, e)
		}
	}
}

func TestSkip(t *testing.T) {
	var b []byte
	var ends []int
	for _, e := range entries() {
		b = Append(b, &e)
		ends = append(ends, len(b))
	}
	whole := len(b)
	for i, end := range ends {
		if n, frames, err := Skip(b, int64(i+1)); n != end || frames != int64(i+1) || err != nil {
			t.Errorf("%d frames of %d bytes, %v; want %d of %d", frames, n, err, i+1, end)
		}
	}
	for _, row := range []struct {
		b    []byte
		n    int
		want error
	}{
		{b, whole, nil},
		{nil, 0, nil},
		{b[:whole-1], ends[len(ends)-2], ErrShort},
		{b[:2], 0, ErrShort},
		{append(b[:whole:whole], 0, 0, 0, 0, 1), whole, ErrFrame},
	} {
		if n, _, err := Skip(row.b, 1<<62); n != row.n || err != row.want {
			t.Errorf("of %d bytes %d, %v; want %d, %v", len(row.b), n, err, row.n, row.want)
		}
	}
}

func TestNext(t *testing.T) {
	var stream []byte
	for _, e := range entries() {
		stream = Append(stream, &e)
	}
	first := len(Append(nil, &entries()[0]))
	for cut := range first {
		if _, _, err := Next(stream[:cut]); err != ErrShort {
			t.Fatalf("%d of %d bytes: %v", cut, first, err)
		}
	}
	n := 0
	for rest := stream; len(rest) > 0; n++ {
		var err error
		if _, rest, err = Next(rest); err != nil {
			t.Fatal(err)
		}
	}
	if n != len(entries()) {
		t.Errorf("%d frames, want %d", n, len(entries()))
	}
	if _, _, err := Next([]byte{0, 0x10, 0, 1, 0}); err != ErrFrame {
		t.Errorf("length %d: %v", MaxBody+1, err)
	}
	if _, _, err := Next(make([]byte, 100)); err != ErrFrame {
		t.Errorf("length 0: %v", err)
	}
	if _, _, err := Next([]byte{0xff, 0xff, 0xff, 0xff}); err != ErrFrame {
		t.Errorf("length 2^32-1: %v", err)
	}
}

func TestJoiner(t *testing.T) {
	j := Joiner{Max: 10}
	var got []string
	add := func(line string, partial, last bool, id string) {
		e := Entry{TimeNano: int64(len(got) + 1), Line: []byte(line), Partial: partial, Last: last, ID: id}
		if j.Interrupts(&e) {
			l, _ := j.Flush()
			got = append(got, string(l.Text)+"~")
		}
		if l, ok := j.Add(&e); ok {
			s := string(l.Text)
			if l.Truncated {
				s += "!"
			}
			got = append(got, s)
		}
	}
	add("plain", false, false, "")
	add("one ", true, false, "a")
	add("two", true, false, "a")
	add("", true, true, "a")
	add("cut off", true, false, "b")
	add("other", true, false, "c")
	add("", true, true, "c")
	add("cut off", true, false, "d")
	add("plain", false, false, "")
	add("0123456", true, false, "e")
	add("789abc", true, false, "e")
	add("def", true, true, "e")
	add("0123456789a", false, false, "")
	add("tail", true, false, "f")
	if l, ok := j.Flush(); ok {
		got = append(got, string(l.Text)+"~")
	}
	want := "plain|one two|cut off~|other|cut off~|plain|0123456789!|0123456789!|tail~"
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if j.Pending() {
		t.Error("still pending")
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range entries() {
		f.Add(Append(nil, &e)[HeaderLen:])
	}
	for _, n := range []int{0, 1, 125, 126, 127, 128, 129, 16383, 16384} {
		f.Add(Append(nil, &Entry{Source: "stdout", TimeNano: 1780000000123456789, Line: bytes.Repeat([]byte("x"), n)})[HeaderLen:])
	}
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, body []byte) {
		var e Entry
		err := Decode(body, &e)
		var p logdriver.LogEntry
		if perr := p.Unmarshal(body); perr == nil && err == nil {
			// What both accept, both read alike.
			if e.Source != p.Source || e.TimeNano != p.TimeNano || !bytes.Equal(e.Line, p.Line) || e.Partial != p.Partial {
				t.Fatalf("read %+v, the Engine reads %+v", e, p)
			}
		}
		frame := append([]byte{0, 0, 0, 0}, body...)
		binary.BigEndian.PutUint32(frame, uint32(len(body)))
		served, serr := AppendServed(nil, frame)
		if err == nil && serr != nil {
			t.Fatalf("decoded but not served: %v", serr)
		}
		if _, _, ferr := Next(frame); ferr == nil {
			two := append(append(bytes.Clone(frame), frame...), "\x00\x00"...)
			for max := range int64(4) {
				all, rest, n := AppendAllServed([]byte("before"), two, max)
				if want := "before" + strings.Repeat(string(served), int(n)); string(all) != want || n != min(max, 2) || !bytes.Equal(rest, two[int(n)*len(frame):]) {
					t.Fatalf("%d of %x are served together as %x", n, frame, all)
				}
			}
		}
		Next(body)
		Time(body)
	})
}

// The quick way for plain lines gives what going by fields gives, whatever the
// body.
func FuzzPlain(f *testing.F) {
	for _, e := range entries() {
		f.Add(Append(nil, &e)[HeaderLen:])
	}
	for _, n := range []int{0, 1, 127, 128, 129, 16383, 16384} {
		f.Add(Append(nil, &Entry{Source: "stderr", TimeNano: 1780000000123456789, Line: bytes.Repeat([]byte("x"), n)})[HeaderLen:])
	}
	f.Add([]byte("\x0a\x06stdout\x10\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x1a\x80\x00"))
	f.Add([]byte("\x0a\x06stdout\x10\x81\x82\x83\x84\x85\x86\x87\x88\x89\x01\x1a\x01x"))
	f.Fuzz(func(t *testing.T, body []byte) {
		source, line, ok := plain(body)
		if !ok {
			return
		}
		var theirs logdriver.LogEntry
		if err := theirs.Unmarshal(body); err != nil {
			t.Fatalf("%x is no entry: %v", body, err)
		}
		if time := plainNano(body); source != theirs.Source || time != theirs.TimeNano || !bytes.Equal(line, theirs.Line) || theirs.Partial || theirs.PartialLogMetadata != nil {
			t.Fatalf("%x: %q %d %q, want %+v", body, source, time, line, theirs)
		}
		if got, err := Time(body); err != nil || got != theirs.TimeNano {
			t.Fatalf("%x: Time = %d, %v", body, got, err)
		}
		served, err := AppendServed(nil, append(make([]byte, HeaderLen), body...))
		var back Entry
		if err == nil {
			err = Decode(served[HeaderLen:], &back)
		}
		if n, lenErr := BodyLen(served); err != nil || lenErr != nil || n != len(served)-HeaderLen ||
			back.Source != source || back.TimeNano != theirs.TimeNano || string(back.Line) != string(line)+"\n" || back.Partial {
			t.Fatalf("%x is served as %x: %+v %v %v", body, served, back, err, lenErr)
		}
	})
}

// A block as a reader of the journal has it.
func BenchmarkAppendAllServed(b *testing.B) {
	var block, dst []byte
	lines := 0
	for ; len(block) < 256<<10; lines++ {
		block = Append(block, &Entry{Source: "stdout", TimeNano: 1 << 60, Line: bytes.Repeat([]byte("x"), 120)})
	}
	b.ReportAllocs()
	for b.Loop() {
		dst, _, _ = AppendAllServed(dst[:0], block, 1<<62)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/line")
}

func BenchmarkDecode(b *testing.B) {
	body := Append(nil, &Entry{Source: "stdout", TimeNano: 1 << 60, Line: bytes.Repeat([]byte("x"), 120)})[HeaderLen:]
	var e Entry
	b.ReportAllocs()
	for b.Loop() {
		Decode(body, &e)
	}
}

// What Sync finds is a frame's start, and what it passes over holds none that
// is followed by another.
func FuzzSync(f *testing.F) {
	two := Append(Append(nil, &Entry{Source: "stdout", TimeNano: 1, Line: []byte("a")}), &Entry{Source: "stderr", TimeNano: 2, Line: []byte("b")})
	f.Add([]byte("rubbish"), uint8(0))
	f.Add(two[:11], uint8(200))
	f.Fuzz(func(t *testing.T, rubbish []byte, cut uint8) {
		b := append(append([]byte{}, rubbish...), two...)
		n, found := Sync(b)
		if !found || n > len(rubbish) {
			t.Fatalf("%d, %v in %d bytes of rubbish", n, found, len(rubbish))
		}
		b = b[:max(0, len(b)-int(cut))]
		if n, found := Sync(b); n > len(b) || found && !starts(b[n:]) || !found && n != len(b) {
			t.Fatalf("%d, %v", n, found)
		}
	})
}
