package query

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/entry"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/redact"
	"logscan/internal/rule"
	"logscan/internal/shape"
)

// errorLog is a container's log whose lines are written at times of their own.
type errorLog struct {
	*log
	at   time.Time
	step time.Duration // from line to line
}

func newErrorLog(t testing.TB, d *journal.Dir, n int, workload string, scan bool) *errorLog {
	t.Helper()
	c := journal.Container{ID: fmt.Sprintf("%064x", n), Name: fmt.Sprint("c", n), Image: "box", Workload: workload, Scan: scan, Options: journal.DefaultOptions}
	return &errorLog{log: newLog(t, d, c, nil), at: time.Now().Add(-time.Hour), step: time.Second}
}

// write writes lines, a step apart.
func (l *errorLog) write(lines ...string) {
	l.t.Helper()
	for _, line := range lines {
		l.at = l.at.Add(l.step)
		l.put(entry.Entry{Source: "stderr", TimeNano: l.at.UnixNano(), Line: []byte(line)})
	}
}

func patternRule(id int64, pattern string) rule.Rule {
	r := rule.New()
	r.ID, r.Name, r.Pattern = id, fmt.Sprint("rule ", id), pattern
	return r
}

// What looks like an error and no rule matches is told by shape and workload, the most
// frequent first.
func TestUncovered(t *testing.T) {
	d := newDir(t, journal.Config{})
	shop, db, off := newErrorLog(t, d, 1, "shop", true), newErrorLog(t, d, 2, "db", true), newErrorLog(t, d, 3, "off", false)
	old := newErrorLog(t, d, 4, "shop", true)
	old.at = time.Now().Add(-48 * time.Hour)
	old.write("ERROR too old")
	for n := range 3 {
		shop.write(fmt.Sprintf("ERROR: could not write to file /data/%d: No space left on device", n), "all is well", fmt.Sprint("level=info msg=\"0 failed\" n=", n))
	}
	shop.write("worker 7 failed password=hunter2 for 9", "panic: known trouble")
	shop.step = time.Millisecond
	shop.write("java.lang.IllegalStateException: cart 17 is gone", "\tat shop.Cart.add(Cart.java:17)", "\tat shop.Main.main(Main.java:3)",
		"java.lang.IllegalStateException: covered by its frame", "\tat shop.Known.go(Known.java:1)")
	db.write("ERROR: could not write to file /data/9: No space left on device", `{"level":"error","msg":"deadlock","took":17}`)
	off.write("ERROR not looked at")
	rules := []rule.Rule{patternRule(1, "^panic: known"), patternRule(2, `Known\.java`), patternRule(3, "(")}
	ratio := patternRule(4, "never")
	ratio.Kind, ratio.Of, ratio.Over = rule.KindRatio, ".", "50%"
	elsewhere := patternRule(5, "worker")
	elsewhere.WorkloadID = "db"
	disabled := patternRule(6, "deadlock")
	disabled.Enabled, disabled.State = false, rule.Off
	rules = append(rules, ratio, elsewhere, disabled)
	redactor, err := redact.New("")
	if err != nil {
		t.Fatal(err)
	}
	q := UncoveredQuery{Since: time.Now().Add(-24 * time.Hour), Redact: redactor}
	got, err := FindUncovered(t.Context(), d, nil, rules, q)
	if err != nil {
		t.Fatal(err)
	}
	say := func(s UncoveredShape) string {
		return fmt.Sprintf("%d %s %s: %s", s.Lines, s.Workload, s.Container, s.Sample)
	}
	want := []string{
		"3 shop c1: ERROR: could not write to file /data/2: No space left on device",
		"1 shop c1: java.lang.IllegalStateException: cart 17 is gone",
		"1 shop c1: worker 7 failed password=[redacted] for 9",
		`1 db c2: {"level":"error","msg":"deadlock","took":17}`,
		"1 db c2: ERROR: could not write to file /data/9: No space left on device",
	}
	if len(got.Shapes) != len(want) {
		t.Errorf("%d shapes", len(got.Shapes))
	}
	for i, s := range got.Shapes {
		if i >= len(want) || say(s) != want[i] {
			t.Errorf("%d: %s", i, say(s))
		}
		if s.Pattern == "" || !regexp.MustCompile(s.Pattern).MatchString(s.Sample) {
			t.Errorf("pattern %q of %q", s.Pattern, s.Sample)
		}
	}
	if s := got.Shapes[0]; s.Last.Sub(s.First) != 6*time.Second || s.Shape != shape.Of([]byte(s.Sample)) {
		t.Errorf("%+v", s)
	}
	if got.Errors != 9 || got.Missed != 7 || got.Lines != 18 || got.More != 0 || got.Unread != 0 || got.Until.IsZero() {
		t.Errorf("%d errors, %d missed, %d lines: %+v", got.Errors, got.Missed, got.Lines, got)
	}
	q.Limit, q.Workload = 1, "db"
	if got, err = FindUncovered(t.Context(), d, nil, rules, q); err != nil || len(got.Shapes) != 1 || got.More != 1 || got.Shapes[0].Workload != "db" {
		t.Errorf("%+v, %v", got, err)
	}
	// The pattern of each makes a rule that covers it.
	q = UncoveredQuery{Since: q.Since, Redact: redactor}
	got, _ = FindUncovered(t.Context(), d, nil, rules, q)
	for i, s := range got.Shapes {
		rules = append(rules, patternRule(int64(100+i), s.Pattern))
	}
	if got, err = FindUncovered(t.Context(), d, nil, rules, q); err != nil || got.Missed != 0 || got.Errors != 9 {
		t.Errorf("%+v, %v", got, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FindUncovered(ended, d, nil, rules, q); !errors.Is(err, context.Canceled) {
		t.Errorf("a query that nobody waits for: %v", err)
	}
}

// Each error is told once, or covered by a rule, whatever the lines and the rules are.
func TestUncoveredAgrees(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	words := strings.Fields("disk memory cart order user session cache queue")
	for range 20 {
		d := newDir(t, journal.Config{})
		var rules []rule.Rule
		var re []*regexp.Regexp
		for n := range rnd.IntN(4) {
			expr := words[rnd.IntN(len(words))] + []string{"", " full", `.*\d`}[rnd.IntN(3)]
			rules, re = append(rules, patternRule(int64(n+1), expr)), append(re, regexp.MustCompile(expr))
		}
		want := map[string]int64{}
		missed, errs := int64(0), int64(0)
		for n := range 2 {
			l := newErrorLog(t, d, n+1, fmt.Sprint("w", n%2), true)
			for range 60 {
				line := fmt.Sprintf("%s %s %s %d", []string{"ERROR", "INFO", "WARN", "it failed:"}[rnd.IntN(4)], words[rnd.IntN(len(words))], []string{"full", "gone"}[rnd.IntN(2)], rnd.IntN(100))
				l.write(line)
				if !strings.HasPrefix(line, "ERROR") && !strings.HasPrefix(line, "it") {
					continue
				}
				errs++
				if !slices.ContainsFunc(re, func(re *regexp.Regexp) bool { return re.MatchString(line) }) {
					missed++
					want[fmt.Sprint("w", n%2, " ", shape.Of([]byte(line)))]++
				}
			}
		}
		got, err := FindUncovered(t.Context(), d, nil, rules, UncoveredQuery{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Errors != errs || got.Missed != missed || len(got.Shapes) != len(want) {
			t.Fatalf("%d errors, %d missed, %d shapes; want %d, %d, %d", got.Errors, got.Missed, len(got.Shapes), errs, missed, len(want))
		}
		for _, s := range got.Shapes {
			if k := fmt.Sprint(s.Workload, " ", s.Shape); want[k] != s.Lines {
				t.Errorf("%s: %d lines, want %d", s.Sample, s.Lines, want[k])
			}
		}
	}
}

// What there is no room for is counted.
func TestUncoveredShapesAreBounded(t *testing.T) {
	u := uncovering{shapes: map[shapeKey]*UncoveredShape{}, info: journal.Info{Container: journal.Container{Workload: "w"}}}
	for n := range maxShapes {
		u.shapes[shapeKey{"w", shape.Shape{Sum: uint64(n)}}] = &UncoveredShape{}
	}
	u.looks = rule.ErrorLike().Begin()
	defer u.looks.End()
	u.matching = mustCompile(t, nil).For("").Begin()
	defer u.matching.End()
	l := linesOf("ERROR one more")
	u.take(&l)
	if u.out.Others != 1 || u.out.Missed != 1 || len(u.shapes) != maxShapes {
		t.Errorf("%+v", u.out)
	}
}

// Patterns that are made of lines match them, whatever the lines are.
func FuzzPatternOf(f *testing.F) {
	for _, line := range []string{
		"ERROR: could not write to /data/17: (disk) full [2]", `{"level":"error","msg":"a\"b","err":"x|y"}`, "level=error msg=\"timed out\" after=12ms", "<num> was <path>", "\x1b[31mfailed\x1b[0m", "Error 日本語 17", "", "....",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		expr := patternOf(line)
		if expr == "" {
			return
		}
		re, err := regexp.Compile(expr)
		if err != nil {
			t.Fatalf("%q: %v", expr, err)
		}
		if !re.MatchString(line) {
			t.Fatalf("%q doesn't match %q", expr, line)
		}
		if len(expr) > rule.MaxPattern {
			t.Fatalf("%d bytes", len(expr))
		}
	})
}

func mustCompile(t *testing.T, rules []rule.Rule) *rule.Snapshot {
	t.Helper()
	s, bad := rule.Compile(rules)
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return s
}

func linesOf(texts ...string) (r lines.Record) {
	for _, text := range texts {
		r.Lines = append(r.Lines, lines.Line{Stream: "stderr", Text: []byte(text)})
	}
	return r
}
