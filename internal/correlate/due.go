package correlate

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"strings"
	"time"

	"logscan/internal/rule"
)

// Advance has time pass up to watermarks, in nanoseconds: all, up to which everything
// is evaluated, and of, that of a container. No watermark is behind now.
func (e *Engine) Advance(now, all int64, of func(container string) int64) {
	e.inTime()
	if now < e.now || e.now == 0 {
		e.setBack(now)
	}
	e.now = now
	var later []*state
	for len(e.due) > 0 && e.due[0].at <= now {
		s := e.due[0]
		rs := e.rules[s.key.Rule]
		upTo := all
		if id, ok := strings.CutPrefix(s.key.Scope, containerScope); ok {
			upTo = of(id)
		}
		e.unplan(s)
		due := s.due(rs)
		if due > upTo {
			later = append(later, s)
			continue
		}
		if rs.rule.Kind == rule.KindNew {
			e.forget(rs, s, upTo, "")
			continue
		}
		kindOf(rs.rule).pass(e, rs, s, due-slack)
		e.dirty[s.key] = true
		if s.idle() {
			e.forget(rs, s, upTo, "")
			continue
		}
		e.plan(rs, s)
	}
	for _, s := range later {
		e.plan(e.rules[s.key.Rule], s)
	}
	if all > e.seen {
		e.seen = all
	}
}

// setBack has nothing that is known be later than now: the clock was set back, and until
// it has caught up nothing would be counted, or missed.
func (e *Engine) setBack(now int64) {
	for _, rs := range e.sorted() {
		for _, scope := range slices.Sorted(maps.Keys(rs.early)) {
			if all := rs.early[scope]; all[len(all)-1].match.TimeNano > now {
				e.goOn(rs, scope, func(*early) bool { return true })
			}
		}
		for scope, at := range rs.latest {
			rs.latest[scope] = min(at, now)
		}
		rs.at = min(rs.at, now)
		if rs.since.Since > now {
			rs.since.Since = now
			e.dirty[sinceKey(rs.rule.ID)] = true
		}
		for _, s := range rs.all() {
			if s.latest(rs.rule) <= now+slack {
				continue
			}
			e.settle(rs, s, s.to)
			s.noLaterThan(now)
			if q := s.sequence; q != nil {
				q.Began, q.MissedAt = min(q.Began, now), min(q.MissedAt, now)
			}
			s.seen, s.kept, s.last, s.cleared = min(s.seen, now), min(s.kept, now), min(s.last, now), min(s.cleared, now)
			s.ahead(now)
			e.setBackRun(rs, s, now)
			over := rs.rule.Kind == rule.KindCount && len(s.times) == 0
			if s.ratio != nil {
				s.ratio.setBack(rs.rule, now)
			}
			if s.spike != nil {
				s.spike.setBack(rs.rule, now)
				e.dirty[pastKey(s.key)] = true
				over = s.spike.Hit > s.spike.Next
			}
			if s.open && over {
				e.end(rs, s, now, "the clock was set back")
			}
			e.plan(rs, s)
			e.dirty[s.key] = true
		}
	}
}

// latest is the latest time that something is known of.
func (s *state) latest(r *rule.Rule) int64 {
	at := max(s.seen, s.last, s.cleared)
	if s.ratio != nil {
		at = max(at, s.ratio.Judged)
	}
	if s.spike != nil {
		at = max(at, s.spike.Next*int64(r.Window()))
	}
	return at
}

// Waits reports whether time alone may give something.
func (e *Engine) Waits() bool { return len(e.due)+len(e.early.all) > 0 }

// Stood says that for so long, up to a time in nanoseconds, nothing was evaluated and
// containers may not have been able to write: for so much longer what was to come is
// waited for, and what there usually is isn't known of that time.
func (e *Engine) Stood(d time.Duration, upTo int64) {
	e.seen = max(e.seen, upTo)
	for _, rs := range e.sorted() {
		for _, s := range rs.all() {
			if e.stood(rs, s, d, upTo) {
				e.dirty[s.key] = true
				e.plan(rs, s)
			}
		}
	}
	e.stoodFrom, e.stoodTo = upTo-int64(d), upTo // for what comes late
}

// stood is Stood of a key. It reports whether that changed anything.
func (e *Engine) stood(rs *ruleState, s *state, d time.Duration, upTo int64) bool {
	switch q := s.sequence; {
	case rs.rule.Kind == rule.KindAbsent:
		e.settle(rs, s, s.to)
		if !s.armed || s.open {
			return false
		}
		s.wait += int64(d)
	case q != nil && q.Step > 0 && rs.rule.Hit == rule.HitMissing:
		q.Wait += int64(d)
	case s.run != nil && !s.run.Late:
		s.run.Wait += int64(d)
	case s.ratio != nil && s.open:
		s.ratio.stood(rs.rule, upTo)
	case s.spike != nil:
		if !s.spike.stood(rs.rule, upTo-int64(d), upTo) {
			return false
		}
		e.dirty[pastKey(s.key)] = true
	default:
		return false
	}
	return true
}

// lost is for how long, behind a time, containers may not have been able to write.
func (e *Engine) lost(at int64) int64 { return max(e.stoodTo-max(at, e.stoodFrom), 0) }

// Seen is the latest watermark that is known to have been stored, in nanoseconds; 0 for
// none.
func (e *Engine) Seen() int64 { return e.written }

// due is the watermark by which time alone changes something; 0 for never.
func (s *state) due(rs *ruleState) int64 {
	if rs.rule.Kind == rule.KindNew {
		return s.seen + int64(rs.rule.Forget())
	}
	at := kindOf(rs.rule).due(s, rs)
	if at == 0 && s.cleared != 0 && s.idle() {
		at = s.cleared + 2*slack // what comes late is of before it
	}
	return at
}

// idle reports whether a key is as if it had never been seen.
func (s *state) idle() bool {
	if s.ratio != nil && len(s.ratio.Buckets) > 0 || s.spike != nil {
		return false
	}
	return !s.open && len(s.times) == 0 && s.last == 0 && s.from == 0 && len(s.pending) == 0 && s.run == nil && s.change == nil && (s.sequence == nil || *s.sequence == sequence{})
}

// plan notes when a key is due.
func (e *Engine) plan(rs *ruleState, s *state) {
	at := s.due(rs)
	switch {
	case at == s.at:
	case at == 0:
		e.unplan(s)
	case s.at == 0:
		s.at = at
		heap.Push(&e.due, s)
	default:
		s.at = at
		heap.Fix(&e.due, s.heap)
	}
}

func (e *Engine) unplan(s *state) {
	if s.at != 0 {
		heap.Remove(&e.due, s.heap)
		s.at = 0
	}
}

// dueHeap has the key that is due first at its top.
type dueHeap []*state

func (h dueHeap) Len() int { return len(h) }

func (h dueHeap) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].at, h[j].at), compareKeys(h[i].key, h[j].key)) < 0
}

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heap, h[j].heap = i, j
}

func (h *dueHeap) Push(v any) {
	s := v.(*state)
	s.heap = len(*h)
	*h = append(*h, s)
}

func (h *dueHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return s
}
