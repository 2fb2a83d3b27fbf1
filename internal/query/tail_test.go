package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/echo"
	"logscan/internal/journal"
	"logscan/internal/rule"
)

// tailDir is a directory of journals with a Tailer.
func tailDir(t testing.TB, rules ...rule.Rule) (*journal.Dir, *Tailer) {
	t.Helper()
	watch := &Watch{}
	dir := newDir(t, journal.Config{OnAppend: watch.Notify, OnAttach: watch.Notify, OnDetach: watch.Notify})
	snapshot, bad := rule.Compile(rules)
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	return dir, NewTailer(TailConfig{Journals: dir, Searcher: New(dir, nil, nil), Watch: watch, Rules: func() LiveRules { return LiveRules{Snapshot: snapshot} }})
}

// tailed is what a tail that runs has given so far.
type tailed struct {
	t      testing.TB
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed

	gate chan struct{} // a line is taken when it can be received from; nil: at once

	mu      sync.Mutex // guards the rest
	lines   []TailLine
	skipped TailSkipped
	next    string
}

// tail runs one until the test ends, or it is ended.
func (s *Tailer) tail(t testing.TB, r TailRequest) *tailed {
	t.Helper()
	return s.slowly(t, r, nil)
}

// slowly runs one that takes a line where gate can be received from.
func (s *Tailer) slowly(t testing.TB, r TailRequest, gate chan struct{}) *tailed {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := &tailed{t: t, cancel: cancel, done: make(chan struct{}), gate: gate}
	go func() {
		defer close(out.done)
		out.err = s.Tail(ctx, r, TailOutput{
			Line: func(l *TailLine) error {
				if gate != nil {
					select {
					case <-gate:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				out.mu.Lock()
				defer out.mu.Unlock()
				out.lines = append(out.lines, *l)
				return nil
			},
			Skipped: func(s TailSkipped) error {
				out.mu.Lock()
				defer out.mu.Unlock()
				out.skipped.add(s)
				return nil
			},
			Next: func(next string) error {
				out.mu.Lock()
				defer out.mu.Unlock()
				out.next = next
				return nil
			},
			Wait: func() error { return nil },
		})
	}()
	t.Cleanup(func() { cancel(); <-out.done })
	return out
}

// end ends the tail.
func (o *tailed) end() error {
	o.cancel()
	<-o.done
	return o.err
}

// begun waits until the tail follows.
func (o *tailed) begun() *tailed {
	o.t.Helper()
	until(o.t, "the tail follows", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.next != ""
	})
	return o
}

func (o *tailed) got() []TailLine {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.lines)
}

// of shows what was given of a container, in the order of the log: a line that others end
// comes with these.
func of(all []TailLine, id string) (out []string) {
	all = slices.DeleteFunc(slices.Clone(all), func(l TailLine) bool { return l.Container.ID != id })
	slices.SortFunc(all, func(a, b TailLine) int { return cmp.Compare(a.to, b.to) })
	for i := range all {
		out = append(out, showLine(&all[i].Line))
	}
	return out
}

// all shows what a container wrote, in the order in which its lines end.
func (l *log) all() (out []string) {
	var ended []*written
	for _, w := range l.lines {
		if w.finished {
			ended = append(ended, w)
		}
	}
	slices.SortFunc(ended, func(a, b *written) int { return cmp.Compare(a.to(), b.to()) })
	for _, w := range ended {
		out = append(out, fmt.Sprintf("%s %d %q", w.stream, w.nano, strings.TrimRight(w.text(0), "\r")))
	}
	return out
}

// texts are of lines, with their container, marks and count.
func texts(all []TailLine) (out []string) {
	for i := range all {
		l := &all[i]
		text := l.Container.Name + " " + string(l.Text)
		for _, m := range l.Marks {
			text += fmt.Sprintf(" [%s %s]", m.Severity, m.Rule)
		}
		if l.Count > 1 {
			text += fmt.Sprintf(" ×%d", l.Count)
		}
		out = append(out, text)
	}
	return out
}

// TestTailAgrees has tails follow logs of containers that start before and later, while
// their segments are rotated and compressed: each line that is written comes once, in the
// log's order, and those of all containers come by time.
func TestTailAgrees(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			dir, tailer := tailDir(t)
			maintain(t, dir)
			var logs []*log
			start := func() {
				logs = append(logs, newLog(t, dir, journal.Container{
					ID: strings.Repeat(fmt.Sprint(len(logs)), 64), Name: fmt.Sprint("c", len(logs)), Workload: []string{"shop", "blog"}[len(logs)%2],
					Options: journal.Options{MaxSize: 40 << 10, MaxFile: 1000, Compress: true},
				}, random))
			}
			write := func(n int) {
				for range n {
					l := logs[random.IntN(len(logs))]
					time.Sleep(time.Until(time.Unix(0, l.nano)))
					l.nano = time.Now().UnixNano()
					l.some(1 + random.IntN(6))
				}
			}
			start()
			start()
			write(50 * int(seed))
			before := map[string]int{}
			for _, l := range logs {
				time.Sleep(time.Until(time.Unix(0, l.nano)))
				before[l.j.Container().ID] = len(l.all())
			}
			whole := tailer.tail(t, TailRequest{Last: All, Follow: true}).begun()
			now := tailer.tail(t, TailRequest{Follow: true}).begun()
			some := tailer.tail(t, TailRequest{Last: All, Pattern: "timeout", Stream: "stderr", Workload: "shop", Follow: true}).begun()
			write(100)
			start()
			write(200)
			start()
			write(100)
			for _, l := range []*log{logs[0], logs[2]} {
				j, err := dir.Acquire(l.j.Container().ID) // one that nobody has open knows nothing of its attachments' ends
				if err != nil {
					t.Fatal(err)
				}
				defer j.Release()
				l.stop()
			}
			until(t, "all lines have come", func() bool {
				all := whole.got()
				for _, l := range logs {
					if len(of(all, l.j.Container().ID)) < len(l.all()) {
						return false
					}
				}
				return true
			})
			check := func(o *tailed, wanted func(l *log, all []string) []string) {
				t.Helper()
				until(t, "what is wanted has come", func() bool {
					n := 0
					for _, l := range logs {
						n += len(wanted(l, l.all()))
					}
					return len(o.got()) >= n
				})
				if err := o.end(); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				all := o.got()
				for _, l := range logs {
					if got, want := of(all, l.j.Container().ID), wanted(l, l.all()); !slices.Equal(got, want) {
						differ(t, Request{}, got, want)
					}
				}
				if !slices.IsSortedFunc(all, func(a, b TailLine) int { return cmp.Compare(a.key, b.key) }) {
					t.Error("lines of several containers don't come by time")
				}
				if o.skipped != (TailSkipped{}) {
					t.Errorf("skipped %+v", o.skipped)
				}
			}
			check(whole, func(_ *log, all []string) []string { return all })
			check(now, func(l *log, all []string) []string { return all[before[l.j.Container().ID]:] })
			check(some, func(l *log, all []string) []string {
				if l.j.Container().Workload != "shop" {
					return nil
				}
				return slices.DeleteFunc(all, func(text string) bool {
					return !strings.HasPrefix(text, "stderr ") || !strings.Contains(text, "timeout")
				})
			})
		})
	}
}

// The last lines are those of all containers together, and a tail that doesn't follow
// ends with them.
func TestTailLast(t *testing.T) {
	dir, tailer := tailDir(t)
	var logs []*log
	for i := range 3 {
		logs = append(logs, newLog(t, dir, journal.Container{ID: strings.Repeat(fmt.Sprint(i), 64), Name: fmt.Sprint("c", i)}, newRandom()))
	}
	for n := range 30 {
		logs[n%2].nano = int64(1e18 + n)
		logs[n%2].put(entryOf(logs[n%2].nano, fmt.Sprint("line ", n)))
	}
	for _, tt := range []struct {
		r    TailRequest
		want []string
	}{
		{TailRequest{Last: 3}, []string{"c1 line 27", "c0 line 28", "c1 line 29"}},
		{TailRequest{Last: 0}, nil},
		{TailRequest{Last: 2, Containers: []string{"c0"}}, []string{"c0 line 26", "c0 line 28"}},
		{TailRequest{Last: 1, Pattern: "5$"}, []string{"c1 line 25"}},
		{TailRequest{Last: 9, Pattern: "nothing like it"}, nil},
		{TailRequest{Last: All, Since: time.Unix(0, 1e18+28)}, []string{"c0 line 28", "c1 line 29"}},
		{TailRequest{Last: 1, Since: time.Unix(0, 1e18+28)}, []string{"c1 line 29"}},
		{TailRequest{Last: 3, Fold: true}, []string{"c1 line 27", "c0 line 28", "c1 line 29 ×2"}},
	} {
		o := tailer.tail(t, tt.r)
		<-o.done
		if got := texts(o.got()); o.err != nil || !slices.Equal(got, tt.want) || o.skipped != (TailSkipped{}) {
			t.Errorf("%+v: %q %+v %v; want %q", tt.r, got, o.skipped, o.err, tt.want)
		}
	}
	o := tailer.tail(t, TailRequest{Last: All})
	if <-o.done; len(o.got()) != 30 {
		t.Errorf("all lines are %d", len(o.got()))
	}
}

// Lines have the marks of the rules that they match by themselves: whatever way the rules
// have records made in, and but for those that they are hidden from.
func TestTailMarks(t *testing.T) {
	made := func(id int64, name, pattern string, set func(*rule.Rule)) rule.Rule {
		r := rule.New()
		r.ID, r.Name, r.Pattern, r.Severity = id, name, pattern, "warning"
		if set != nil {
			set(&r)
		}
		return r
	}
	dir, tailer := tailDir(t,
		made(1, "oom", "memory", func(r *rule.Rule) { r.Severity = "error" }),
		made(2, "start", "of", func(r *rule.Rule) { r.RecordStart = "^[0-9]" }),
		made(3, "steps", "", func(r *rule.Rule) {
			r.Kind, r.Steps, r.WithinSeconds = rule.KindSequence, []string{"begin (?P<id>[0-9]+)", "end (?P<id>[0-9]+)"}, 60
		}),
		made(4, "shop", "out", func(r *rule.Rule) { r.WorkloadID = "shop" }),
		made(5, "shadow", "disk", func(r *rule.Rule) { r.State = rule.Shadow }),
		made(6, "stderr", "out", func(r *rule.Rule) { r.Streams = "stderr" }),
	)
	rules := tailer.Rules
	tailer.Rules = func() LiveRules {
		live := rules()
		live.Echo = func(text []byte, _ int64) (out echo.Rules) {
			if strings.Contains(string(text), "echo") {
				out = out.With(1)
			}
			return out
		}
		return live
	}
	var logs []*log
	for i := range 3 {
		logs = append(logs, newLog(t, dir, journal.Container{ID: strings.Repeat(fmt.Sprint(i), 64), Name: fmt.Sprint("c", i), Workload: []string{"shop", "blog", "off"}[i], Scan: i < 2}, newRandom()))
	}
	follow := tailer.tail(t, TailRequest{Follow: true}).begun()
	nano := time.Now().UnixNano()
	for n, text := range []string{"out of memory", "begin 1", "echo of memory", "no disk", "nothing"} {
		for i, l := range logs {
			l.put(entryOf(nano+int64(3*n+i), text))
		}
	}
	want := []string{
		"c0 out of memory [error oom] [warning start] [warning shop]", "c1 out of memory [error oom] [warning start]", "c2 out of memory",
		"c0 begin 1 [warning steps]", "c1 begin 1 [warning steps]", "c2 begin 1",
		"c0 echo of memory [warning start]", "c1 echo of memory [warning start]", "c2 echo of memory",
		"c0 no disk [warning shadow]", "c1 no disk [warning shadow]", "c2 no disk",
		"c0 nothing", "c1 nothing", "c2 nothing",
	}
	until(t, "all lines have come", func() bool { return len(follow.got()) == len(want) })
	if got := texts(follow.got()); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	past := tailer.tail(t, TailRequest{Last: All})
	if <-past.done; past.err != nil || !slices.Equal(texts(past.got()), want) {
		t.Errorf("%q %v", texts(past.got()), past.err)
	}
	if m := past.got()[9].Marks[0]; !m.Shadow || m.RuleID != 5 {
		t.Errorf("%+v", m)
	}
}

// Who takes less than is written gets what is newer, and is told how many lines were passed
// over; what waits is bounded, and no log is held for it.
func TestTailSlowReader(t *testing.T) {
	dir, tailer := tailDir(t)
	tailer.maxHeld, tailer.maxLag, tailer.slowAfter = 100<<10, 1<<20, time.Millisecond
	l := newLog(t, dir, journal.Container{ID: strings.Repeat("a", 64), Name: "web"}, newRandom())
	gate := make(chan struct{})
	slow := tailer.slowly(t, TailRequest{Follow: true}, gate).begun()
	n := 0
	line := func() {
		l.put(entryOf(time.Now().UnixNano(), fmt.Sprintf("%08d %s", n, strings.Repeat("x", 500))))
		n++
	}
	line()
	gate <- struct{}{} // it follows
	for l.at < l.j.State().First+8<<20 {
		line()
	}
	close(gate)
	last := fmt.Sprintf("%08d", n-1)
	until(t, "the last line has come", func() bool {
		all := slow.got()
		return strings.HasPrefix(string(all[len(all)-1].Text), last)
	})
	all := slow.got()
	if got := int64(len(all)) + slow.skipped.Lines; got != int64(n) || slow.skipped.Lines == 0 || slow.skipped.Removed != 0 {
		t.Errorf("%d lines came, and %+v was passed over, of %d", len(all), slow.skipped, n)
	}
	gaps := 0
	for i := 1; i < len(all); i++ {
		if a, b := string(all[i-1].Text[:8]), string(all[i].Text[:8]); a >= b {
			t.Fatalf("%s comes behind %s", b, a)
		} else if fmt.Sprintf("%08d", mustNumber(t, a)+1) != b {
			gaps++
		}
	}
	if gaps == 0 {
		t.Error("nothing is missing, though something was passed over")
	}
}

func mustNumber(t testing.TB, text string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(strings.TrimLeft(text, "0")+" ", &n); err != nil && strings.Trim(text, "0") != "" {
		t.Fatal(err)
	}
	return n
}

// What retention takes away before it was a tail's turn is told, and no removal waits for a
// tail.
func TestTailRemoved(t *testing.T) {
	dir, tailer := tailDir(t)
	maintain(t, dir)
	tailer.maxHeld = 10 << 10
	l := newLog(t, dir, journal.Container{ID: strings.Repeat("a", 64), Name: "web", Options: journal.Options{MaxSize: 100 << 10, MaxFile: 2}}, newRandom())
	other := newLog(t, dir, journal.Container{ID: strings.Repeat("b", 64), Name: "db"}, newRandom())
	gate := make(chan struct{})
	slow := tailer.slowly(t, TailRequest{Follow: true}, gate).begun()
	other.put(entryOf(time.Now().UnixNano(), "ready"))
	other.stop()
	l.put(entryOf(time.Now().UnixNano(), "first"))
	gate <- struct{}{}
	for range 5000 {
		l.put(entryOf(time.Now().UnixNano(), strings.Repeat("x", 200)))
	}
	until(t, "the log of a container that isn't there is removed", func() bool { return dir.Remove(strings.Repeat("b", 64)) })
	until(t, "the oldest lines are removed", func() bool { return len(l.j.Segments()) <= 2 })
	l.put(entryOf(time.Now().UnixNano(), "last"))
	close(gate)
	until(t, "the last line has come", func() bool {
		all := slow.got()
		return string(all[len(all)-1].Text) == "last"
	})
	if err := slow.end(); !errors.Is(err, context.Canceled) || slow.skipped.Removed == 0 || slow.skipped.Lines != 0 {
		t.Errorf("%+v %v", slow.skipped, err)
	}
}

// Repeats are one line and another one that says how many there were: when the run ends, or
// after a while.
func TestTailFolds(t *testing.T) {
	dir, tailer := tailDir(t)
	tailer.foldFor = time.Millisecond
	l := newLog(t, dir, journal.Container{ID: strings.Repeat("a", 64), Name: "web"}, newRandom())
	other := newLog(t, dir, journal.Container{ID: strings.Repeat("b", 64), Name: "db"}, newRandom())
	folded := tailer.tail(t, TailRequest{Follow: true, Fold: true}).begun()
	write := func(l *log, text string) { l.put(entryOf(time.Now().UnixNano(), text)) }
	for n := range 4 {
		write(l, fmt.Sprintf("took %d ms", n))
		write(other, []string{"ready", "steady", "go", "gone"}[n])
	}
	until(t, "repeats are told", func() bool { return slices.Contains(texts(folded.got()), "web took 3 ms ×4") })
	write(l, "took 4 ms")
	until(t, "more repeats are told", func() bool { return slices.Contains(texts(folded.got()), "web took 4 ms ×5") })
	write(l, "done")
	until(t, "the next line has come", func() bool { return slices.Contains(texts(folded.got()), "web done") })
	want := map[string]bool{"web took 0 ms": true, "db ready": true, "db steady": true, "db go": true, "db gone": true, "web done": true}
	for _, text := range texts(folded.got()) {
		if !want[text] && !strings.Contains(text, "×") {
			t.Errorf("%q is not folded", text)
		}
		delete(want, text)
	}
	if len(want) > 0 {
		t.Errorf("%v don't come", want)
	}
}

// A line that doesn't end, and of which nothing more comes, is shown as far as it goes.
func TestTailUnfinished(t *testing.T) {
	dir, tailer := tailDir(t)
	tailer.flushAfter = time.Millisecond
	l := newLog(t, dir, journal.Container{ID: strings.Repeat("a", 64), Name: "web"}, newRandom())
	l.nano = time.Now().UnixNano()
	follow := tailer.tail(t, TailRequest{Follow: true}).begun()
	l.chunk("stdout", "what", false)
	until(t, "the line has come", func() bool { return len(follow.got()) == 1 })
	l.chunk("stdout", "ever", true)
	l.line("stdout", "next", 0)
	until(t, "the next one has come", func() bool { return slices.Contains(texts(follow.got()), "web next") })
	if got := texts(follow.got()); !slices.Equal(got, []string{"web what", "web ever", "web next"}) {
		t.Errorf("%q", got)
	}
}

// A tail goes on where another one was.
func TestTailGoesOn(t *testing.T) {
	dir, tailer := tailDir(t)
	l := newLog(t, dir, journal.Container{ID: strings.Repeat("a", 64), Name: "web"}, newRandom())
	from := ""
	for n := range 5 {
		write := func(what string) { l.put(entryOf(time.Now().UnixNano(), fmt.Sprint(what, n))) }
		write("missed ")
		o := tailer.tail(t, TailRequest{Follow: true, From: from}).begun()
		write("seen ")
		until(t, "the line has come, and where the tail is then", func() bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return len(o.lines) > 0 && string(o.lines[len(o.lines)-1].Text) == fmt.Sprint("seen ", n) && o.next == token(o.lines[len(o.lines)-1].place, true)
		})
		if got := texts(o.got()); n > 0 && !slices.Equal(got, []string{fmt.Sprint("web missed ", n), fmt.Sprint("web seen ", n)}) {
			t.Errorf("%q", got)
		}
		from = o.next
		if err := o.end(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// Many containers cost a tail a little memory each, and no goroutine or open file.
func TestTailMany(t *testing.T) {
	dir, tailer := tailDir(t)
	var logs []*log
	for n := range 300 {
		logs = append(logs, newLog(t, dir, journal.Container{ID: fmt.Sprintf("%064d", n), Name: fmt.Sprint("c", n)}, newRandom()))
	}
	goroutines := runtime.NumGoroutine()
	follow := tailer.tail(t, TailRequest{Follow: true}).begun()
	for round := range 10 {
		for _, l := range logs {
			l.put(entryOf(time.Now().UnixNano(), fmt.Sprint("line ", round)))
		}
	}
	until(t, "all lines have come", func() bool { return len(follow.got()) == 10*len(logs) })
	if n := runtime.NumGoroutine() - goroutines; n > 3 {
		t.Errorf("a tail of %d containers has %d goroutines", len(logs), n)
	}
	for _, l := range logs {
		if got := of(follow.got(), l.j.Container().ID); len(got) != 10 {
			t.Errorf("%d lines of %s", len(got), l.j.Container().Name)
		}
	}
}
