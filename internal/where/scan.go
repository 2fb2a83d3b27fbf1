package where

import (
	"cmp"
	"strings"
	"unicode/utf8"

	"logscan/internal/rule/match"
)

// lineWork bounds what the patterns may take for a line, in package match's units.
const lineWork = 64 << 20

// Scan is a Set at work on one line after the other. One goroutine uses it at a time.
type Scan struct {
	set  *Set
	line []byte

	read   bool    // the line's fields are known
	object int     // where its JSON object begins; -1 if it has none
	round  uint32  // numbers the lines; what was noted in an earlier one is void
	fields []field // by slot
	left   int     // slots that have no value yet

	strong, weak level // that keys say
	compact      bool
	level        level
	leveled      bool // level is known

	patterns *match.Scratch // nil until a line needs it
	one      match.Mask
	work     int64
	matched  []Verdict // of conditions with a pattern, by its number
	key      []byte    // an escaped one, decoded
}

// field is a value of the line that is being read.
type field struct {
	value
	round   uint32
	matched uint32 // round in which the patterns were matched
}

func (s *Set) newScan() *Scan {
	return &Scan{set: s, fields: make([]field, len(s.ofSlot)), matched: make([]Verdict, len(s.patterns)), one: match.NewMask(len(s.patterns))}
}

// Reset begins a line, which is not to change until the next one.
func (s *Scan) Reset(line []byte) {
	s.line, s.read, s.leveled, s.work = line, false, false, 0
	if s.round++; s.round == 0 {
		clear(s.fields)
		s.round = 1
	}
}

// Release gives a Scan back.
func (s *Scan) Release() {
	s.line = nil
	if s.patterns != nil {
		s.patterns.Release()
		s.patterns = nil
	}
	s.set.pool.Put(s)
}

// Work is how many units of package match's work the line took.
func (s *Scan) Work() int64 { return s.work }

// Read reads the line's fields. It need not be called: they are read when they are first
// asked for.
func (s *Scan) Read() {
	if !s.read {
		s.scan()
	}
}

// Holds reports whether a condition on a field holds.
func (s *Scan) Holds(n int32) Verdict {
	e := &s.set.conditions[n]
	s.Read()
	if e.isLevel {
		if !s.leveled {
			s.lineLevel()
		}
		return Verdict(e.levels >> s.level & 1)
	}
	f := &s.fields[e.slot]
	switch {
	case f.round != s.round:
		return e.without
	case e.isNumber:
		return e.numeric(f.value.number())
	case e.pattern < 0:
		return e.of(&f.value)
	}
	if f.matched != s.round {
		f.matched = s.round
		s.match(f.decoded(), s.set.masks[e.slot], s.set.ofSlot[e.slot])
	}
	return s.matched[e.pattern]
}

// numeric is the verdict for a value where the condition names one number.
func (e *entry) numeric(q *quantity) Verdict {
	if q.kind != e.number.kind {
		return verdict(e.op == unequal)
	}
	order := q.compare(e.number)
	switch e.op {
	case equal:
		return verdict(order == 0)
	case unequal:
		return verdict(order != 0)
	}
	return e.ordered(order)
}

// HoldsFor reports whether a condition on a pattern's group holds, which may have taken
// no part in the match.
func (s *Scan) HoldsFor(n int32, text []byte, took bool) Verdict {
	e := &s.set.conditions[n]
	switch {
	case !took:
		return e.without
	case e.pattern < 0:
		return e.of(&value{raw: text})
	}
	clear(s.one)
	s.one.Add(int(e.pattern))
	s.match(text, s.one, []int32{n})
	return s.matched[e.pattern]
}

// match notes in s.matched which of some conditions with a pattern hold for a text.
func (s *Scan) match(text []byte, mask match.Mask, conditions []int32) {
	set := s.set
	for _, n := range conditions {
		e := &set.conditions[n]
		s.matched[e.pattern] = verdict(e.op == differs)
		if s.work > lineWork {
			s.matched[e.pattern] = Unknown
		}
	}
	if s.work > lineWork {
		return
	}
	if s.patterns == nil {
		s.patterns = set.matcher.Acquire()
	}
	for _, p := range s.patterns.Match(text, mask) {
		s.matched[p] = verdict(set.conditions[set.patterns[p]].op == matches)
	}
	for _, p := range s.patterns.GivenUp() {
		s.matched[p] = Unknown
	}
	s.work += s.patterns.Work()
}

// Text is what a condition on a field is about, for people, as valid UTF-8: the field's
// value, or the line's level; false where the line has none.
func (s *Scan) Text(n int32) (string, bool) {
	e := &s.set.conditions[n]
	s.Read()
	switch {
	case e.isLevel:
		l := s.lineLevel()
		return l.String(), l != noLevel
	case e.slot < 0 || s.fields[e.slot].round != s.round:
		return "", false
	}
	return strings.ToValidUTF8(string(s.fields[e.slot].decoded()), string(utf8.RuneError)), true
}

// scan reads the line.
func (s *Scan) scan() {
	s.read, s.left = true, len(s.fields)
	s.strong, s.weak, s.compact = noLevel, noLevel, false
	if s.set.level {
		s.left++
	}
	if s.object = objectStart(s.line); s.object >= 0 {
		s.readObject(&s.set.root, s.object, 0)
	} else {
		s.readPairs()
	}
}

// lineLevel is the line's level.
func (s *Scan) lineLevel() level {
	if s.leveled {
		return s.level
	}
	s.leveled = true
	text, pri := noLevel, noLevel
	switch {
	case s.object < 0:
		text, pri = textLevel(s.line)
		s.level = cmp.Or(text, s.strong, s.weak, pri)
	case cmp.Or(s.strong, s.weak) != noLevel:
		s.level = cmp.Or(s.strong, s.weak)
	case s.compact:
		s.level = levelInfo
	default:
		text, pri = textLevel(s.line[:s.object])
		s.level = cmp.Or(text, pri)
	}
	return s.level
}

// found notes a value, unless there was one.
func (s *Scan) found(n *node, raw []byte, escaped bool) {
	for _, to := range n.slots {
		switch {
		case to.slot >= 0:
			f := &s.fields[to.slot]
			if f.round == s.round {
				continue
			}
			f.round, f.value = s.round, value{raw: raw, escaped: escaped, buffer: f.buffer}
			s.left--
		case to.compact:
			s.compact = true
		case s.strong == noLevel:
			v := value{raw: raw, escaped: escaped}
			l := levelValue(to.level, v.decoded())
			switch {
			case l == noLevel:
			case to.level == weakKey || to.level == letterKey:
				if s.weak == noLevel {
					s.weak = l
				}
			default:
				s.strong = l
				s.left--
			}
		}
	}
}
