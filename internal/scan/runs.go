package scan

import (
	"math"

	"logscan/internal/correlate"
	"logscan/internal/journal"
	"logscan/internal/rule"
)

// never is a place that no log has.
const never = math.MaxInt64

// runs is how far a follower is with the runs of its container, where there are rules of
// kind run. Which run a line is of is told by its place in the log, so it is the same
// after a kill, and however late lines are evaluated.
type runs struct {
	on    bool          // there are such rules
	list  []journal.Run // as of this turn
	from  int64         // lines from here on are evaluated with such rules
	told  int64         // the number of the latest run that was told of; those before it are left out or told of too
	over  bool          // its end was told
	next  int64         // where the first run begins that wasn't told of; never for none
	lines int64         // that weren't told of
}

// run is what package correlate is told of a container's run, in order: that it began,
// lines of it, or that it ended.
type run struct {
	n, at int64        // of its begin or end
	ended bool         // which of them
	lines int64        // 0 for a begin or end
	rules []*rule.Rule // of kind run, that are in effect for the lines
}

func (r *run) tell(e *correlate.Engine, c *correlate.Container) {
	switch {
	case r.lines > 0:
		e.Lines(c.ID, r.lines, r.rules)
	case r.ended:
		e.Ended(c.ID, r.n, r.at)
	default:
		e.Began(*c, r.n, r.at, r.rules)
	}
}

// ended is the number of the latest run, if all is told of it; else 0.
func (r *runs) ended() int64 {
	if !r.over {
		return 0
	}
	return r.told
}

// lookAtRuns finds out which runs of its container there are, before lines are evaluated.
func (f *follower) lookAtRuns() {
	r := &f.runs
	if !f.snapshot.Runs() {
		*r = runs{next: never}
		return
	}
	r.list, _ = f.j.Runs()
	if !r.on {
		*r = runs{on: true, list: r.list, from: f.src.Taken(), over: true}
		for i := range r.list { // what was before the run that goes on is known, or too old
			if i+1 < len(r.list) && r.list[i+1].From < r.from {
				r.told = r.list[i].N
			}
		}
	}
	r.findNext()
}

func (r *runs) findNext() {
	r.next = never
	for i := range r.list {
		if r.list[i].N > r.told {
			r.next = r.list[i].From
			return
		}
	}
}

// endRuns notes, behind the last line there is, which runs have begun and ended.
func (f *follower) endRuns() {
	r := &f.runs
	if !r.on {
		f.unknown.Store(false)
		return
	}
	list, attached := f.j.Runs()
	if !f.atEnd() {
		return
	}
	if !attached && !f.ready() {
		f.unsure = true
		f.unknown.Store(true)
		return
	}
	r.list = list
	r.findNext()
	f.tellRuns(f.src.Taken(), false, !attached)
	if !attached {
		f.endRun()
	}
	f.unknown.Store(false)
}

// tellRuns notes the runs that began up to a place in the log, where a line begins, or
// what there is ends; over says that all of them have ended.
func (f *follower) tellRuns(at int64, line, over bool) {
	r := &f.runs
	if r.next > at {
		return
	}
	f.addUp()
	for i := range r.list {
		n := &r.list[i]
		if n.N <= r.told {
			continue
		}
		if n.From > at {
			break
		}
		f.endRun()
		to, last := at, true
		if i+1 < len(r.list) && r.list[i+1].From <= at {
			to, last = r.list[i+1].From, false
		}
		is, sure := true, true
		if to == n.From && !(line && last) { // it is silent
			is, sure = n.Sure(f.now, over || !last)
		}
		if !sure {
			f.unsure = true
			break
		}
		f.beginRun(n, is)
	}
	r.findNext()
}

// beginRun notes that a run began, or that there was none.
func (f *follower) beginRun(n *journal.Run, is bool) {
	r := &f.runs
	r.told, r.over, f.owed = n.N, !is, true
	if !is {
		return
	}
	begun := &run{n: n.N, at: n.Started.UnixNano()}
	if n.From >= r.from {
		begun.rules, _ = f.set.Runs()
	}
	f.inputs = append(f.inputs, input{container: f.container(), run: begun})
}

// endRun notes that the latest run that was told of has ended.
func (f *follower) endRun() {
	r := &f.runs
	if r.over {
		return
	}
	ended := &run{n: r.told, ended: true}
	for i := range r.list {
		if n := &r.list[i]; n.N == r.told && !n.Ended.IsZero() {
			ended.at = n.Ended.UnixNano()
		}
	}
	r.over, f.owed, f.urgent = true, true, true
	f.inputs = append(f.inputs, input{container: f.container(), run: ended})
}

// addUp notes what lines were since it was last called, to rules that add them up.
func (f *follower) addUp() {
	f.matched(f.matching.TakeMatches())
	r := &f.runs
	if rules, counted := f.set.Runs(); r.on && counted && r.lines > 0 {
		f.inputs = append(f.inputs, input{container: f.container(), run: &run{lines: r.lines, rules: rules}})
	}
	r.lines = 0
}
