package match

import (
	"bytes"
	"math"
	"slices"
	"time"
)

const (
	// lineWork is what a line may cost, in units of work of one or two
	// nanoseconds, where no automaton helps. Lines of 100 KiB that hold what
	// dozens of patterns look for don't come near it.
	lineWork  = 64 << 20
	unlimited = math.MaxInt64 / 2
	// shortWork is what the longest line would cost that isn't counted, if all
	// patterns were decided by the whole of it.
	shortWork = 4 * lineWork
	// needleShare is how many bytes are passed over for a unit in looking for a
	// literal; lookWork is what it takes to look closer. Where that happens
	// more often than once in so many bytes, the literal says too little.
	needleShare = 8
	lookWork    = 4
	tooManyIn   = 32
)

// spend takes work off what the line may cost, unless there is too little left.
func (s *Scratch) spend(work int64) bool {
	if work > s.left {
		return false
	}
	s.left -= work
	return true
}

// found deals with a literal of the filter that stands in the line.
func (s *Scratch) found(lit uint32, at int) {
	if s.done[lit] == s.round {
		return
	}
	open := false
	for _, r := range s.m.byKey[lit] {
		if s.profile.on {
			open = s.timed(r, at) || open
			continue
		}
		open = s.candidate(r, at) || open
	}
	if !open {
		s.done[lit] = s.round
	}
}

// timed is candidate with a clock at hand.
func (s *Scratch) timed(id uint32, at int) (open bool) {
	defer s.profile.since(time.Now(), id)
	return s.candidate(id, at)
}

// candidate goes on with a pattern of which a literal stands in the line, unless
// it is decided already. It is open as long as more literals may decide it.
func (s *Scratch) candidate(id uint32, at int) (open bool) {
	mark := &s.marks[id]
	if *mark>>markBits != s.round {
		*mark = s.round << markBits
	}
	tries := *mark & decided
	if tries == decided {
		return false
	}
	r := &s.m.rules[id]
	s.effort.work += tryWork
	from, to := max(at-r.before, 0), min(at+r.longest+r.after, len(s.line))
	switch {
	case !s.in.Has(int(id)):
	case r.exact:
		s.hits = append(s.hits, id)
	case !s.spend(tryWork):
		s.givenUp = append(s.givenUp, id)
	case tries == waiting:
		if !s.widen(id, window{from, to}) {
			return true
		}
	case tries < maxTries && r.before+r.after <= narrow:
		*mark++
		if !s.decide(id, from, to) {
			return true
		}
	case !s.hasExtras(r):
	case to == len(s.line):
		// No later literal's window goes further. One that begins before this
		// one may yet be found, but not far away.
		s.decide(id, from-2*r.longest, to)
	default:
		*mark = s.round<<markBits | waiting
		s.windows[id] = window{from, to}
		s.waiting = append(s.waiting, id)
		return true
	}
	*mark |= decided
	return false
}

// widen adds to the window of a pattern that is waiting. If that isn't one with
// the window it has, the latter is looked at first, and over says whether this
// has decided the pattern.
func (s *Scratch) widen(id uint32, more window) (over bool) {
	w := &s.windows[id]
	if more.from <= w.to && w.from <= more.to {
		w.from, w.to = min(w.from, more.from), max(w.to, more.to)
		return false
	}
	over = s.decide(id, w.from, w.to)
	*w = more
	return over
}

// decideWaiting decides the patterns that have waited for the line's end.
func (s *Scratch) decideWaiting() {
	for _, id := range s.waiting {
		if s.marks[id]&decided == waiting {
			w := s.windows[id]
			since := s.profile.clock()
			s.decide(id, w.from, w.to)
			s.profile.since(since, id)
			s.marks[id] |= decided
		}
	}
	s.waiting = s.waiting[:0]
}

// decide finds out whether a pattern matches in the line, in which any match
// lies between from and to. It may find one that lies elsewhere. It is over if
// there is one, or if that takes too much work.
func (s *Scratch) decide(id uint32, from, to int) (over bool) {
	s.effort.work += confirmWork
	r := &s.m.rules[id]
	found, ok := s.search(r, r.extras, max(from, 0), min(to, len(s.line)))
	switch {
	case !ok:
		s.givenUp = append(s.givenUp, id)
	case found:
		s.hits = append(s.hits, id)
	}
	return found || !ok
}

// search reports whether a pattern matches between from and to, where it looks
// only where literals of further sets stand near enough. It is not ok if that
// takes too much work.
func (s *Scratch) search(r *rule, near []extra, from, to int) (found, ok bool) {
	if len(near) == 0 || to-from <= narrow {
		return s.run(r, from, to)
	}
	set := s.m.extras[near[0].set]
	if !s.spend(int64((to - from) * len(set) / needleShare)) {
		return false, false
	}
	var next occurrences
	next.begin(set, s.line[:to], from)
	w := window{to, from} // none yet
	for w.to < to {
		at, n := next.take()
		if n == 0 {
			break
		}
		begin := max(at-int(near[0].before), from)
		if begin > w.to && w.from < w.to {
			if found, ok = s.search(r, near[1:], w.from, w.to); found || !ok {
				return found, ok
			}
			w.from = to
		}
		w.from, w.to = min(w.from, begin), min(at+n+int(near[0].after), to)
		if next.looks > maxExtraLits+(to-from)/tooManyIn {
			w.to = to
		}
	}
	if !s.spend(int64(next.looks * lookWork)) {
		return false, false
	}
	if w.from >= w.to {
		return false, true
	}
	return s.search(r, near[1:], w.from, w.to)
}

// run reports whether a pattern matches in the line, in which any match lies
// between from and to. It is not ok if that takes too much work.
func (s *Scratch) run(r *rule, from, to int) (found, ok bool) {
	from = runeStart(s.line, from)
	if !s.spend(r.weight.perByte * int64(to-from+1)) {
		return false, false
	}
	return s.confirm(r, from, to), true
}

// confirm is run for what has been paid.
func (s *Scratch) confirm(r *rule, from, to int) bool {
	if d := r.automaton(s.m); d != nil {
		if found, ok := d.run(s.line, from, to, 1); ok {
			return found != 0
		}
	}
	switch p := r.compiled(); {
	case p.nfa != nil:
		_, found := p.nfa.run(s.line, from, to)
		return found
	case p.program != nil:
		w := walker{program: p.program}
		return w.run(s.line, from, to)
	}
	return r.regexp().Match(s.line)
}

// fold decides the patterns that may match without a literal of theirs, in a
// line that has bytes beyond ASCII.
func (s *Scratch) fold() {
	if !bytes.Contains(s.line, kelvinText) && !bytes.Contains(s.line, longSText) {
		return
	}
	for _, id := range s.m.folding {
		if !s.in.Has(int(id)) || slices.Contains(s.hits, id) || slices.Contains(s.givenUp, id) {
			continue
		}
		since := s.profile.clock()
		switch found, ok := s.run(&s.m.rules[id], 0, len(s.line)); {
		case !ok:
			s.givenUp = append(s.givenUp, id)
		case found:
			s.hits = append(s.hits, id)
		}
		s.profile.since(since, id)
	}
}

var (
	kelvinText = []byte(string(kelvin))
	longSText  = []byte(string(longS))
)

// union decides the patterns of a shared automaton.
func (s *Scratch) union(u *union) {
	since := s.profile.clock()
	want := uint64(0)
	for i, id := range u.members {
		switch {
		case !s.in.Has(int(id)):
		case s.spend(s.m.rules[id].weight.perByte * int64(len(s.line)+1)):
			want |= 1 << i
		default:
			s.givenUp = append(s.givenUp, id)
		}
	}
	if want == 0 {
		return
	}
	found, ok := uint64(0), false
	if d := u.automaton(s.m); d != nil {
		found, ok = d.run(s.line, 0, len(s.line), want)
	}
	for i, id := range u.members {
		switch {
		case want>>i&1 == 0:
		case ok && found>>i&1 != 0, !ok && s.confirm(&s.m.rules[id], 0, len(s.line)):
			s.hits = append(s.hits, id)
		}
	}
	s.profile.share(since, u.members, want)
}

// hasExtras reports whether the line has a literal of each of a pattern's
// further sets, as far as it can be told at the cost.
func (s *Scratch) hasExtras(r *rule) bool {
	for _, e := range r.extras {
		i := e.set
		if s.extras[i]>>1 != s.round {
			if !s.spend(int64(len(s.line) * len(s.m.extras[i]) / needleShare)) {
				return true
			}
			s.extras[i] = s.round << 1
			looks := 0
			for k := range s.m.extras[i] {
				if s.m.extras[i][k].index(s.line, &looks) >= 0 {
					s.extras[i] |= 1
					break
				}
			}
			s.left -= min(s.left, int64(looks*lookWork))
		}
		if s.extras[i]&1 == 0 {
			return false
		}
	}
	return true
}
