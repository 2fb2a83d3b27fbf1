package correlate

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"logscan/internal/incident"
	"logscan/internal/rule"
)

// What a run has so far stands at its container's key, and goes with its end. What is open
// stands at its workload's: `docker run --rm` gives each run a container of its own.

// Run is the latest run of a container.
type Run struct {
	N       int64 `json:"n"`       // greater than that of any run before
	Started int64 `json:"started"` // in nanoseconds
	Over    bool  `json:"over,omitempty"`
}

// runState is what a rule of kind run knows of a run, at a container's key.
type runState struct {
	Started int64     `json:"s"`
	Since   int64     `json:"b,omitempty"` // of one that isn't whole: since when there is the rule
	Whole   bool      `json:"w,omitempty"` // all lines were seen
	Lines   int64     `json:"l,omitempty"` // MinLines of them at the most
	Met     uint32    `json:"m,omitempty"` // which of the rule's Must were, a bit each
	Against []against `json:"a,omitempty"` // by N
	Late    bool      `json:"g,omitempty"` // it was told that the run takes too long
	Wait    int64     `json:"d,omitempty"` // it may take so much longer
}

// against is the lines that one of a rule's MustNot is about.
type against struct {
	N      int    `json:"n"`
	Lines  int64  `json:"l"`
	Last   string `json:"t"`
	Stream string `json:"s"`
	At     int64  `json:"at"`
}

// runsState is what a rule of kind run knows of the runs of a workload, at its key. When
// the latest starts were is in state.times.
type runsState struct {
	Wrong bool `json:"w,omitempty"` // the latest run that was judged wasn't as it should be
	Loop  bool `json:"l,omitempty"` // there were too many starts
}

// Began has a container's next run begin, behind all of its lines so far. The rules are
// those that every line of the run is matched with. To say so again changes nothing.
func (e *Engine) Began(c Container, n, at int64, rules []*rule.Rule) {
	e.know(&c)
	cs := e.containers[c.ID]
	if cs.Run != nil && cs.Run.N >= n {
		return
	}
	if cs.Run != nil {
		e.Ended(c.ID, cs.Run.N, 0)
	}
	cs.Container, cs.Run = c, &Run{N: n, Started: at}
	e.dirty[containerKey(c.ID)] = true
	for _, rs := range e.runRules(cs) {
		whole := slices.ContainsFunc(rules, func(r *rule.Rule) bool { return rs.means(r) })
		before := at < rs.since.Since
		e.beginRun(rs, cs, whole && !before)
		if rs.rule.Restarts > 0 && !before {
			e.countStart(rs, cs, at)
		}
	}
}

// noteSince notes since when a rule asks for what it does: edits that ask for the same
// don't matter.
func (e *Engine) noteSince(rs *ruleState) {
	means := inShort(rs.meaning)
	if rs.since.Meaning == means {
		return
	}
	if v := e.since[rs.rule.ID]; v.Meaning == means {
		rs.since = v
		return
	}
	rs.since = storedSince{Meaning: means}
	if !rs.rule.UpdatedAt.IsZero() {
		rs.since.Since = rs.rule.UpdatedAt.UnixNano()
	}
	e.dirty[sinceKey(rs.rule.ID)] = true
}

// means reports whether a rule is the one that rs is about, with all that its state
// depends on.
func (rs *ruleState) means(r *rule.Rule) bool {
	return r == rs.rule || r.ID == rs.rule.ID && meaning(r) == rs.meaning
}

// runRules returns the rules of kind run that are in effect for a container, by id.
func (e *Engine) runRules(c *containerState) (out []*ruleState) {
	if e.snapshot == nil {
		return nil
	}
	rules, _ := e.snapshot.ForContainer(c.scope()).Runs()
	for _, r := range rules {
		out = append(out, e.rules[r.ID])
	}
	return out
}

func (e *Engine) beginRun(rs *ruleState, c *containerState, whole bool) {
	key := runKey(rs, c.ID)
	if s := rs.keys[key]; s != nil {
		e.forget(rs, s, c.Run.Started, "")
	}
	e.room(rs, c.Run.Started)
	s := &state{key: key, container: c.ID, seen: c.Run.Started, run: &runState{Started: c.Run.Started, Whole: whole}}
	if !whole {
		s.run.Since = rs.since.Since
	}
	rs.keys[key] = s
	e.plan(rs, s)
	e.dirty[key] = true
}

func runKey(rs *ruleState, container string) Key {
	return Key{Rule: rs.rule.ID, Scope: containerScope + container}
}

// joinRuns has rules that came while a container runs know of that run: they haven't seen
// how it began.
func (e *Engine) joinRuns(c *containerState) {
	if c.Run == nil || c.Run.Over {
		return
	}
	for _, rs := range e.runRules(c) {
		if rs.keys[runKey(rs, c.ID)] == nil {
			e.beginRun(rs, c, false)
		}
	}
}

// Lines adds so many lines to a container's run. The rules are those that they were
// matched with.
func (e *Engine) Lines(container string, n int64, rules []*rule.Rule) {
	for _, r := range rules {
		rs := e.rules[r.ID]
		if rs == nil || r.MinLines == 0 || !rs.means(r) {
			continue
		}
		s := rs.keys[runKey(rs, container)]
		if s == nil || s.run.Lines >= rs.rule.MinLines {
			continue
		}
		s.run.Lines = min(s.run.Lines+n, rs.rule.MinLines)
		e.dirty[s.key] = true
	}
}

// matchRun adds a line that fulfils a part of a rule to its container's run.
func (e *Engine) matchRun(rs *ruleState, c *Container, m *rule.Match) {
	s := rs.keys[runKey(rs, c.ID)]
	if s == nil {
		return // it isn't known to run
	}
	if m.Role == rule.Must {
		if bit := uint32(1) << m.N; s.run.Met&bit == 0 {
			s.run.Met |= bit
			e.dirty[s.key] = true
		}
		return
	}
	at := sort.Search(len(s.run.Against), func(i int) bool { return s.run.Against[i].N >= m.N })
	if at == len(s.run.Against) || s.run.Against[at].N != m.N {
		s.run.Against = slices.Insert(s.run.Against, at, against{N: m.N})
	}
	a := &s.run.Against[at]
	a.Lines++
	a.Last, a.Stream, a.At = m.Text, m.Stream, m.TimeNano
	e.dirty[s.key] = true
}

// Ended has a container's run be over, behind its last line, at a time in nanoseconds; 0
// where nothing is known about that. To say so again changes nothing.
func (e *Engine) Ended(id string, n, at int64) {
	cs := e.containers[id]
	if cs == nil || cs.Run == nil || cs.Run.N != n || cs.Run.Over {
		return
	}
	cs.Run.Over = true
	e.dirty[containerKey(id)] = true
	for _, rs := range e.sorted() {
		if s := rs.keys[runKey(rs, id)]; s != nil && s.run != nil {
			e.judge(rs, s, &cs.Container, at)
			e.forget(rs, s, at, "")
		}
	}
}

// judge says what is wrong with a run that is over.
func (e *Engine) judge(rs *ruleState, s *state, c *Container, at int64) {
	run, r := s.run, rs.rule
	if at < run.Since {
		return // all of it was before the rule
	}
	took := "a run"
	if at != 0 {
		took += " of " + incident.Span(time.Duration(max(at-run.Started, 0)))
		if r.MaxDurationSeconds > 0 && at > s.runDeadline(r) && !run.Late {
			e.late(rs, s, c)
		}
	}
	wrong := run.wrong(r)
	if len(wrong) == 0 {
		if run.Whole {
			e.fine(rs, c, at, took+" was fine")
		}
		return
	}
	h := run.hit(max(at, run.Started), took+" ended: "+strings.Join(wrong, "; "))
	h.Until = at
	ws := e.workloadOf(rs, c, h.TimeNano)
	if run.Late && ws.open {
		e.tellMore(rs, ws)
		ws.more = &More{Matches: 1, First: h.TimeNano, Last: h.TimeNano, Text: h.Text, Held: ws.held}
		e.tellMore(rs, ws)
	} else {
		e.hit(rs, ws, h)
	}
	e.wrong(rs, ws, h.TimeNano)
}

// wrong says what is wrong with a run at its end.
func (run *runState) wrong(r *rule.Rule) (out []string) {
	if run.Late {
		out = append(out, "it took longer than "+incident.Span(r.MaxDuration()))
	}
	if run.Whole {
		for n, text := range r.Must {
			if run.Met&(1<<n) == 0 {
				out = append(out, "no line matched "+brief(rule.Worded(text)))
			}
		}
	}
	out = append(out, run.badLines(r)...)
	if run.Whole && run.Lines < r.MinLines {
		out = append(out, fmt.Sprintf("it had %s, of at least %d", lines(run.Lines), r.MinLines))
	}
	return out
}

// badLines says which lines a run has that it must not have.
func (run *runState) badLines(r *rule.Rule) (out []string) {
	for _, a := range run.Against {
		if a.N < len(r.MustNot) {
			out = append(out, fmt.Sprintf("%s matched %s, the last: %s", lines(a.Lines), brief(rule.Worded(r.MustNot[a.N])), a.Last))
		}
	}
	return out
}

func lines(n int64) string {
	if n == 1 {
		return "1 line"
	}
	return fmt.Sprintf("%d lines", n)
}

// brief is the beginning of conditions that a sentence has.
func brief(text string) string {
	const most = 100
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}

// hit is the hit that a run is, at a time.
func (run *runState) hit(at int64, text string) Hit {
	h := Hit{TimeNano: at, Since: run.Started, Text: text}
	for _, a := range run.Against {
		if h.Matches += a.Lines; a.At >= h.LineTime {
			h.Line, h.Stream, h.LineTime = a.Last, a.Stream, a.At
		}
	}
	return h
}

// runDeadline is when a run has taken too long, as far as the rule was there by then.
func (s *state) runDeadline(r *rule.Rule) int64 {
	return max(s.run.Started+int64(r.MaxDuration())+s.run.Wait, s.run.Since)
}

// late gives the hit that a run takes too long.
func (e *Engine) late(rs *ruleState, s *state, c *Container) {
	s.run.Late = true
	e.dirty[s.key] = true
	wrong := append([]string{"a run takes longer than " + incident.Span(rs.rule.MaxDuration())}, s.run.badLines(rs.rule)...)
	h := s.run.hit(s.runDeadline(rs.rule), strings.Join(wrong, "; "))
	ws := e.workloadOf(rs, c, h.TimeNano)
	e.hit(rs, ws, h)
	e.wrong(rs, ws, h.TimeNano)
}

// workloadOf is what is known of the runs of a container's workload.
func (e *Engine) workloadOf(rs *ruleState, c *Container, at int64) *state {
	s := e.key(rs, Key{Rule: rs.rule.ID, Scope: workloadScope + c.Workload}, at)
	if s.runs == nil {
		s.runs = &runsState{}
	}
	s.container, s.was = c.ID, nil
	return s
}

// wrong notes that a run of a workload wasn't as it should be.
func (e *Engine) wrong(rs *ruleState, ws *state, at int64) {
	ws.open, ws.runs.Wrong, ws.seen = true, true, max(ws.seen, at)
	e.plan(rs, ws)
	e.dirty[ws.key] = true
}

// fine ends what is open of a workload of which a run was as it should be, unless it is
// started again and again, or another run goes on that takes too long.
func (e *Engine) fine(rs *ruleState, c *Container, at int64, why string) {
	ws := rs.keys[Key{Rule: rs.rule.ID, Scope: workloadScope + c.Workload}]
	if ws == nil || ws.runs == nil {
		return
	}
	if ws.runs.Loop {
		e.loopOver(rs, ws, at)
	}
	if e.anyLate(rs, c.Workload) {
		e.settleRuns(rs, ws, at)
		return
	}
	ws.runs.Wrong = false
	if ws.open && !ws.runs.Loop {
		ws.container, ws.was = c.ID, nil
		e.end(rs, ws, max(at, ws.seen), why)
	}
	e.settleRuns(rs, ws, at)
}

// anyLate reports whether any run of a workload goes on that takes too long.
func (e *Engine) anyLate(rs *ruleState, workload string) bool {
	for _, s := range rs.keys {
		if s.run != nil && s.run.Late && e.container(s).Workload == workload {
			return true
		}
	}
	return false
}

// settleRuns plans what is due of a workload, or forgets it.
func (e *Engine) settleRuns(rs *ruleState, ws *state, at int64) {
	if e.dirty[ws.key] = true; ws.idle() && ws.cleared == 0 {
		e.forget(rs, ws, at, "")
		return
	}
	e.plan(rs, ws)
}

// countStart adds a start to those of its workload. The one that makes Restarts of them
// within Within is a hit; those behind it only count, until there was none for one Within.
func (e *Engine) countStart(rs *ruleState, c *containerState, at int64) {
	r := rs.rule
	ws := e.workloadOf(rs, &c.Container, at)
	if ws.runs.Loop {
		e.loopOver(rs, ws, at)
	}
	if ws.cleared == 0 || at > ws.cleared {
		place := sort.Search(len(ws.times), func(i int) bool { return ws.times[i] > at })
		ws.times = slices.Insert(ws.times, place, at)
		switch from := ws.startsFrom(r, place); {
		case ws.runs.Loop:
			e.more(ws, &rule.Match{TimeNano: at, Text: "started again"})
		case from >= 0:
			n := int(r.Restarts)
			first, last := ws.times[from], ws.times[from+n-1]
			e.hit(rs, ws, Hit{TimeNano: at, Since: first, Matches: r.Restarts, Text: fmt.Sprintf("%d starts in %s", n, incident.Span(time.Duration(last-first)))})
			ws.open, ws.runs.Loop = true, true
		}
		ws.pruneStarts(r)
		ws.seen = max(ws.seen, at)
	}
	e.plan(rs, ws)
	e.dirty[ws.key] = true
}

// startsFrom is where Restarts starts within Within begin, of which one is at a place; -1
// where there are none.
func (s *state) startsFrom(r *rule.Rule, at int) int {
	n := int(r.Restarts)
	for from := max(0, at-n+1); from <= min(at, len(s.times)-n); from++ {
		if s.times[from+n-1]-s.times[from] <= int64(r.Within()) {
			return from
		}
	}
	return -1
}

// pruneStarts forgets the starts that can't be part of a hit any more.
func (s *state) pruneStarts(r *rule.Rule) {
	last := s.times[len(s.times)-1]
	since := last - int64(r.Within()) - slack
	if s.runs.Loop {
		since = last
	}
	n := sort.Search(len(s.times), func(i int) bool { return s.times[i] >= since })
	n = max(n, len(s.times)-2*rule.MaxRestarts)
	s.times = slices.Delete(s.times, 0, n)
}

// loopOver forgets the starts of a workload of which there was none for one Within up to a
// time, and ends what they began.
func (e *Engine) loopOver(rs *ruleState, ws *state, upTo int64) {
	if len(ws.times) == 0 {
		return
	}
	over := ws.times[len(ws.times)-1] + int64(rs.rule.Within())
	if over >= upTo {
		return
	}
	ws.times = nil
	if ws.runs.Loop {
		ws.runs.Loop = false
		if ws.open && !ws.runs.Wrong {
			e.end(rs, ws, over, "there was no start for "+incident.Span(rs.rule.Within()))
		}
	}
	e.dirty[ws.key] = true
}

func (s *state) dueRun(rs *ruleState) int64 {
	r := rs.rule
	switch {
	case s.run != nil && r.MaxDurationSeconds > 0 && !s.run.Late:
		return s.runDeadline(r) + slack
	case len(s.times) > 0:
		return s.times[len(s.times)-1] + int64(r.Within()) + slack + 1
	}
	return 0
}

// passRun says what has taken too long, or is over, by a time.
func (e *Engine) passRun(rs *ruleState, s *state, upTo int64) {
	if s.run == nil {
		e.loopOver(rs, s, upTo)
		return
	}
	if cs := e.containers[s.container]; cs != nil && rs.rule.MaxDurationSeconds > 0 && !s.run.Late && s.runDeadline(rs.rule) <= upTo {
		e.late(rs, s, &cs.Container)
	}
}

// beginRuns has a workload be as if there had been no runs.
func (e *Engine) beginRuns(_ *ruleState, s *state) {
	if s.runs != nil {
		s.times, *s.runs = nil, runsState{}
	}
}

// setBackRun has nothing of a run, or of the runs of a workload, be later than now.
func (e *Engine) setBackRun(rs *ruleState, s *state, now int64) {
	if s.run != nil {
		s.run.Started, s.run.Since = min(s.run.Started, now), min(s.run.Since, now)
	}
	if s.runs != nil && s.runs.Loop && len(s.times) == 0 {
		s.runs.Loop = false
		if s.open && !s.runs.Wrong {
			e.end(rs, s, now, "the clock was set back")
		}
	}
}
