package scan

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/entry"
	"logscan/internal/event"
	"logscan/internal/rule"
)

var pythonTrace = []string{
	"Traceback (most recent call last):", `  File "/app/shop.py", line 5, in find`, "    return items[n]", "KeyError: 42",
}

// both is a rule of lines and one of records.
func both(t testing.TB, pattern, whole string) *rule.Snapshot {
	return compile(t, rule.Rule{Pattern: pattern}, rule.Rule{Pattern: whole, Record: true})
}

func record(e event.Event) string { s, _ := e.Metadata[event.Record].(string); return s }

// The event of a line in a trace has the trace, whichever of its lines it is, and comes
// once the trace is over: with the line behind it, the end of the container, or a second
// of quiet.
func TestRecords(t *testing.T) {
	whole := strings.Join(pythonTrace, "\n")
	for _, tt := range []struct {
		name string
		end  func(g *rig, w *writer)
	}{
		{"the next line", func(g *rig, w *writer) { w.put(entry.Entry{Source: "stderr", Line: []byte("GET / 200")}) }},
		{"the other stream", func(g *rig, w *writer) {
			w.nano += int64(time.Second)
			w.lines("GET / 200")
		}},
		{"the container's end", func(g *rig, w *writer) { w.a.Detach(); w.a = w.j.Attach(false) }},
		{"quiet", func(*rig, *writer) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			if tt.name != "quiet" {
				g.cfg.RecordAfter = time.Hour
			}
			g.start(both(t, `KeyError|File`, `(?s)Traceback.*KeyError: (?P<key>\d+)`))
			w := g.container(0)
			defer w.end()
			w.lines("GET / 200")
			var last entry.Entry
			for n, text := range pythonTrace {
				last = entry.Entry{Source: "stderr", Line: []byte(text)}
				if n == 2 { // stdout is no part of it
					w.lines("KeyError on stdout")
				}
				w.put(last)
			}
			g.wait(1) // of stdout, at once
			tt.end(g, w)
			events := g.wait(3)
			if e := events[0]; e.Message != "KeyError on stdout" || record(e) != "" {
				t.Errorf("%+v", e)
			}
			if e := events[1]; e.Message != strings.TrimSpace(pythonTrace[1]) && e.Message != pythonTrace[1] || record(e) != whole || e.Metadata["rule_id"] != 1.0 {
				t.Errorf("%+v", e)
			}
			if e := events[2]; e.Message != pythonTrace[0] || record(e) != whole || e.Metadata["captures"].(map[string]any)["key"] != "42" || e.Metadata["rule_id"] != 2.0 {
				t.Errorf("%+v", e)
			}
			g.caughtUp()
			if st := g.s.Stats(); st.Cooldown != 1 {
				t.Errorf("%d further lines of the record", st.Cooldown)
			}
		})
	}
}

// A part of a trace may be a long line, which the Engine hands over in chunks.
func TestRecordWithALongLine(t *testing.T) {
	g := newRig(t)
	g.start(both(t, `boom`, `nothing`))
	w := g.container(0)
	defer w.end()
	long := strings.Repeat("x", 20_000)
	w.lines("panic: boom", "")
	w.put(chunk("stdout", "1", "\t"+long[:16_000], false), chunk("stdout", "1", long[16_000:], true))
	w.lines("GET / 200")
	e := g.wait(1)[0]
	text := record(e)
	if len(text) > rule.MaxRecordText || !strings.HasPrefix(text, "panic: boom\n\n\txxx") || !strings.HasSuffix(text, " bytes more are left out") {
		t.Errorf("%d bytes: %.40q … %q", len(text), text, text[len(text)-40:])
	}
}

// A container's own pattern tells where its records begin, and a rule's for that rule.
func TestRecordStart(t *testing.T) {
	g := newRig(t)
	g.cfg.RecordAfter = time.Hour
	w := g.container(0)
	defer w.end()
	c := w.j.Container()
	c.RecordStart = `^\d\d:\d\d `
	j, err := g.dir.Create(c)
	if err != nil {
		t.Fatal(err)
	}
	j.Release()
	g.start(compile(t, rule.Rule{Pattern: "lost", Record: true}, rule.Rule{Pattern: "lost", RecordStart: "^--"}))
	w.lines("12:00 begun", "12:01 item", "is", "-- lost", "12:02 done", "-- next")
	events := g.wait(2)
	got := map[float64]string{}
	for _, e := range events {
		got[e.Metadata["rule_id"].(float64)] = record(e)
	}
	if want := map[float64]string{1: "12:01 item\nis\n-- lost", 2: "-- lost\n12:02 done"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
}

// What is held of a record survives a restart, and is no part of what is behind a
// container's end; while it is held, the log is neither finished nor without a lag.
func TestRecordAcrossRestart(t *testing.T) {
	g := newRig(t)
	g.cfg.RecordAfter = time.Hour
	rules := both(t, `KeyError`, `nothing`)
	g.start(rules)
	w := g.container(0)
	defer w.end()
	w.lines(append([]string{"GET / 200"}, pythonTrace[:2]...)...)
	eventually(t, "held lines", func() bool { return g.s.Stats().Lines == 3 && len(g.s.Lag()) == 1 })
	if g.s.Finished(containerID(0)) || g.s.Watermark().After(time.Unix(0, w.nano)) {
		t.Error("done with what is held")
	}
	g.stop()
	g.start(rules)
	w.lines(pythonTrace[2:]...)
	eventually(t, "held lines", func() bool { return g.s.Stats().Lines == 2 })
	g.stop()
	g.start(rules)
	w.lines("GET / 200")
	if e := g.wait(1)[0]; record(e) != strings.Join(pythonTrace, "\n") {
		t.Errorf("%+v", e)
	}
	w.a.Detach() // the line may have a trace behind it, as the one before the trace
	w.a = w.j.Attach(false)
	g.caughtUp()
	eventually(t, "the end of all", func() bool { return g.s.Finished(containerID(0)) })
}

// A state that can't be read costs the lines that are held, and nothing else.
func FuzzRecordsState(f *testing.F) {
	set := both(f, "x", "y").For("")
	var r records
	r.init(func(rule.Record) {})
	r.use(set)
	f.Add(r.append(nil, []byte{4, 0, 0, 0, 0, 0}))
	f.Add([]byte{4, 0, 0, 0, 0, 0})
	f.Add([]byte{recordsVersion, 200, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r records
		r.init(func(rule.Record) {})
		state, err := r.load(b)
		if err != nil {
			if r.ways != nil {
				t.Error("changed by what was refused")
			}
			return
		}
		if len(b) == 0 || b[0] != recordsVersion {
			return
		}
		enc := r.append(nil, state)
		var again records
		if s, err := again.load(enc); err != nil || string(s) != string(state) || len(again.ways) != len(r.ways) {
			t.Errorf("%x became %x, %v", b, enc, err)
		}
	})
}

// killRecords are lines of both streams, whole traces and cut ones among them.
func killRecords(lines int) []byte {
	rng := rand.New(rand.NewPCG(8, 9))
	now := int64(1e18)
	var b []byte
	var rest [2][]string
	for n := range lines {
		k := rng.IntN(2)
		if len(rest[k]) == 0 || rng.IntN(15) == 0 {
			rest[k] = [][]string{
				{fmt.Sprintf("GET /%d 200", n)},
				{fmt.Sprintf("GET /%d 500", n)},
				{fmt.Sprintf("ERROR no. %d", n), fmt.Sprintf("shop.NoItemException: no. %d", n), "\tat shop.Cart.find(Cart.java:1)", "Caused by: java.io.IOException: ERROR", "\tat a.B.c(B.java:2)"},
				append(slices.Clone(pythonTrace[:3]), fmt.Sprintf("shop.ItemError: no. %d", n)),
				{"{", fmt.Sprintf(`  "level": "error", "n": %d`, n), "}"},
				{fmt.Sprintf("panic: no. %d", n), "", "goroutine 1 [running]:", "main.main()", "\t/app/shop.go:7 +0x4"},
				{"begin", " ERROR inside", "end"},
			}[rng.IntN(7)]
		}
		switch rng.IntN(300) {
		case 0:
			now += rng.Int64N(3e9)
		case 1:
			now -= rng.Int64N(3e9)
		default:
			now += rng.Int64N(3e6)
		}
		b = entry.Append(b, &entry.Entry{Source: streams[k], TimeNano: now, Line: []byte(rest[k][0])})
		rest[k] = rest[k][1:]
	}
	return b
}

// killRecordRules are about lines, and about records of each way.
func killRecordRules(t testing.TB) *rule.Snapshot {
	line := func(id int64, pattern string, change func(*rule.Rule)) rule.Rule {
		r := rule.New()
		r.ID, r.Name, r.Pattern, r.CooldownSeconds = id, fmt.Sprint("rule ", id), pattern, 1
		change(&r)
		return r
	}
	rules := []rule.Rule{
		line(1, `ERROR|Exception`, func(*rule.Rule) {}),
		line(2, ` 500$`, func(*rule.Rule) {}),
		line(3, `(?s)no\. (\d+).*\n.*(Caused|goroutine)`, func(r *rule.Rule) { r.Record = true }),
		line(4, ``, func(r *rule.Rule) { r.Record, r.Where = true, []string{"level >= error"} }),
		line(5, `ERROR inside`, func(r *rule.Rule) { r.RecordStart = "^begin" }),
		line(6, `(?s)inside.*end`, func(r *rule.Rule) { r.RecordStart, r.Record, r.Streams = "^begin", true, "stderr" }),
		line(7, `Error: no`, func(r *rule.Rule) {
			r.Kind, r.CooldownSeconds, r.AtLeast, r.WithinSeconds = rule.KindCount, 0, 3, 1
		}),
	}
	for _, r := range rules {
		if err := rule.Fields.Validate(r); err != nil {
			t.Fatal(r.ID, err)
		}
	}
	s, bad := rule.Compile(rules, rule.WithBucket(rule.Bucket{Burst: 50, Refill: time.Second / 20}))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return s
}
