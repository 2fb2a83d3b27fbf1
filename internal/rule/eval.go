package rule

import (
	"bytes"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"logscan/internal/redact"
	"logscan/internal/rule/match"
	"logscan/internal/shape"
	"logscan/internal/where"
)

const (
	// MaxText bounds a hit's text, and each of its captures, in bytes.
	MaxText = 500
	// MaxRecordText bounds what a hit has of its record, in bytes.
	MaxRecordText = 16 << 10
	// maxCaptures is how many of a pattern's groups a hit tells.
	maxCaptures = 32

	ellipsis = "…"
)

// Line is a whole line as the container wrote it, without its newline.
type Line struct {
	Stream   string // "stdout" or "stderr"
	TimeNano int64
	Text     []byte // not kept
}

// text is what the rules see: without what a terminal's line ends with.
func (l *Line) text() []byte { return bytes.TrimRight(l.Text, "\r") }

// Hit is a match that is to be told.
type Hit struct {
	Rule            *Rule
	TimeNano        int64
	Stream          string
	Text            string            // of the line: valid UTF-8, MaxText bytes at most; of a rule about records, the first line that says something
	Record          string            // that the line is of, its lines joined by \n: valid UTF-8, MaxRecordText bytes at most; "" where Text is all of it
	From, To        int64             // where the record lies in the container's log
	Shape           shape.Shape       // of the whole line
	By              string            // the values that the rule's By names, as a Match's; "" for none
	Captures        map[string]string // by name or $n; nil if there are none
	Suppressed      int64             // matches held back since the rule's last hit, of its shape where the cooldown is by shape
	SuppressedSince int64             // when the first of them was, in nanoseconds; 0 for none
	Streak          int64             // the rule's hits in the container in a row, with this one; see StreakGap
}

// Matching is a Set at work, for many lines. One goroutine uses it at a time.
type Matching struct {
	set     *Set
	at      [maxLayers]atWork
	layers  int // so many of at are in use
	found   []*compiled
	givenUp []*compiled
	left    int64 // of match.SubmatchWork, for the line

	profiled bool // it is measured how long the text takes

	begins  []bool // see Begins
	work    int64  // that conditions took, for the line
	unmet   []Unmet
	matches []Match
	lineNo  uint32 // counts texts that are matched
	heft    int    // see Heft

	// About the record that is evaluated.
	past   []past
	whole  []Line // its lines, where it is looked at as a whole
	joined []byte

	// About conditions on fields.
	text       []byte // of the line, for unmetWhere
	unmetWhere []unmetWhere
	submatches []submatch

	// About secrets.
	redacted bool // secrets is about this line
	secrets  []redact.Span
}

// atWork is a layer at work.
type atWork struct {
	*layer
	scratch    *match.Scratch
	conditions *match.Scratch // nil until a line needs it
	mask       match.Mask     // of conditions that count
	starts     *match.Scratch // nil until a line needs it
	fields     *where.Scan    // nil until a line needs it
	scanned    bool           // it is about this line
}

// Unmet is a rule's condition that a line doesn't fulfil though it matches the rule's
// pattern, or the rule has none.
type Unmet struct {
	Rule    *Rule
	Field   string // "all", "ignore" or "where"
	Pattern string // or condition, as the rule has it

	// Of where: the field, and its value in the line, valid UTF-8 of MaxText bytes at
	// most, unless it is missing.
	About, Value string
	Missing      bool
}

// Begin returns a Matching. It is to be ended.
func (s *Set) Begin() Matching {
	m := Matching{set: s}
	for n, l := range s.layers() {
		m.at[n] = atWork{layer: l, scratch: l.matcher.Acquire()}
		m.layers++
	}
	return m
}

// End ends it.
func (m *Matching) End() {
	for n := range m.layers {
		at := &m.at[n]
		at.scratch.Release()
		if at.conditions != nil {
			at.conditions.Release()
		}
		if at.starts != nil {
			at.starts.Release()
		}
		if at.fields != nil {
			at.fields.Release()
		}
	}
}

// Match reports whether a line, which is a record by itself, matches any rule of the set
// that goes by records' form, and keeps which, for Admit. It counts in st the rules that
// were given up.
func (m *Matching) Match(st *State, l Line) bool {
	m.past, m.whole = m.past[:0], nil
	return m.match(st, l, part{&m.set.ways[0], true, true})
}

// match reports whether a text matches any of some rules, and keeps which.
func (m *Matching) match(st *State, l Line, of part) bool {
	m.left = match.SubmatchWork
	m.lineNo++
	m.found = m.found[:0]
	stream := streamIndex(l.Stream)
	rules := of.rules()
	for n := range m.layers {
		at := &m.at[n]
		for _, pattern := range at.scratch.Match(l.text(), rules.in[n][stream]) {
			m.found = m.set.with(n, pattern, l.Stream, of, m.found)
		}
		m.profile(st, n, l.Stream, of)
		for _, pattern := range at.scratch.GivenUp() {
			m.givenUp = m.set.with(n, pattern, l.Stream, of, m.givenUp[:0])
			for _, c := range m.givenUp {
				st.count(c.rule.ID, Counts{GivenUp: 1})
			}
		}
		at.scanned = false
	}
	m.work, m.unmet, m.unmetWhere, m.submatches = 0, m.unmet[:0], m.unmetWhere[:0], m.submatches[:0]
	m.redacted = false
	if bare := rules.bare[stream]; len(bare) > 0 || slices.ContainsFunc(m.found, (*compiled).hasWhere) {
		m.meetWhere(st, l.text(), bare)
	}
	if slices.ContainsFunc(m.found, (*compiled).isConditional) {
		m.meet(st, l.text())
	}
	if len(m.found) > 1 {
		slices.SortFunc(m.found, byID)
	}
	return len(m.found) > 0
}

func (c *compiled) isConditional() bool { return len(c.all)+len(c.ignore) > 0 }
func (c *compiled) hasWhere() bool      { return len(c.where) > 0 }

// meet leaves out the rules that were found whose further conditions the line doesn't
// fulfil. Where it takes too much work to find that out, a rule is left out unless the
// line is only not known to be one to ignore.
func (m *Matching) meet(st *State, text []byte) {
	var holds [maxLayers][]uint32
	for n := range m.layers {
		if slices.ContainsFunc(m.found, func(c *compiled) bool { return c.layer() == n && c.isConditional() }) {
			holds[n] = m.meetOf(st, text, n)
		}
	}
	m.found = slices.DeleteFunc(m.found, func(c *compiled) bool {
		if !c.isConditional() {
			return false
		}
		unmet, counts := m.check(c, holds[c.layer()])
		if counts != (Counts{}) {
			st.count(c.rule.ID, counts)
		}
		if unmet.Rule != nil {
			m.unmet = append(m.unmet, unmet)
		}
		if counts.Ignored > 0 {
			st.ignore(unmet)
		}
		return unmet.Rule != nil
	})
}

// meetOf returns which further conditions of the rules of a layer that were found the line
// fulfils.
func (m *Matching) meetOf(st *State, text []byte, layer int) []uint32 {
	at := &m.at[layer]
	if at.conditions == nil {
		at.conditions = at.layer.conditions.Acquire()
		at.mask = match.NewMask(at.layer.conditions.Len())
	}
	var then time.Time
	if m.profiled {
		then = time.Now()
	}
	clear(at.mask)
	for _, c := range m.found {
		if c.layer() != layer {
			continue
		}
		for _, n := range c.all {
			at.mask.Add(int(n))
		}
		for _, n := range c.ignore {
			at.mask.Add(int(n))
		}
	}
	holds := at.conditions.Match(text, at.mask)
	m.work += at.conditions.Work()
	if m.profiled {
		m.spent(st, then, slices.DeleteFunc(slices.Clone(m.found), func(c *compiled) bool { return c.layer() != layer || !c.isConditional() })...)
	}
	return holds
}

// check returns the first condition of a rule that the line doesn't fulfil, or isn't
// known to; the zero Unmet where there is none. The counts are what is to be said of it.
func (m *Matching) check(c *compiled, holds []uint32) (unmet Unmet, counts Counts) {
	givenUp := m.at[c.layer()].conditions.GivenUp()
	for k, n := range c.all {
		if !slices.Contains(holds, n) {
			if slices.Contains(givenUp, n) {
				counts.GivenUp = 1
			}
			return Unmet{Rule: c.rule, Field: "all", Pattern: c.further[k]}, counts
		}
	}
	for k, n := range c.ignore {
		if slices.Contains(holds, n) {
			return Unmet{Rule: c.rule, Field: "ignore", Pattern: c.part.Ignore[k]}, Counts{Ignored: 1}
		}
		if slices.Contains(givenUp, n) {
			counts.GivenUp = 1
		}
	}
	return Unmet{}, counts
}

// Unmet returns which condition kept rules from matching the latest line that match it
// with their pattern, or have none, the first of each. It is valid until the next call of
// Match, and the line is not to change before.
func (m *Matching) Unmet() []Unmet {
	for _, u := range m.unmetWhere {
		m.unmet = append(m.unmet, m.unmetIn(u))
	}
	m.unmetWhere = m.unmetWhere[:0]
	return m.unmet
}

// Parts returns what the latest line that Match was called with is to the rules that it
// matched, by id; of a rule of kind sequence, the later step first.
func (m *Matching) Parts() []Part {
	out := make([]Part, len(m.found))
	for i, c := range m.found {
		out[i] = c.part
	}
	return out
}

// Telling returns the rules that the latest text matched with conditions that hits are
// made of: their own, those of a step, or what no line of a run may be. They are by id.
func (m *Matching) Telling() (out []*Rule) {
	for _, c := range m.found {
		tells := c.part.Role == Main || c.part.Role == Step || c.part.Role == MustNot
		if tells && (len(out) == 0 || out[len(out)-1] != c.rule) {
			out = append(out, c.rule)
		}
	}
	return out
}

// Rules returns the rules of what Parts returns.
func (m *Matching) Rules() []*Rule {
	out := make([]*Rule, len(m.found))
	for i, c := range m.found {
		out[i] = c.rule
	}
	return out
}

// Except has Admit know nothing of the rules that hidden names, and returns how
// many of those that matched these are.
func (m *Matching) Except(hidden func(id int64) bool) int {
	n := len(m.found)
	m.found = slices.DeleteFunc(m.found, func(c *compiled) bool { return hidden(c.rule.ID) })
	return n - len(m.found)
}

// Admit updates st by the rules that the line matched which Match was last
// called with, and appends the hits, by rule id. What matches rules whose hits depend
// on more than the line is for TakeMatches.
func (m *Matching) Admit(st *State, l Line, hits []Hit) []Hit {
	st.Retain(m.set)
	text, shown := l.text(), l.text()
	if m.whole != nil {
		shown = m.summary()
	}
	var of shape.Shape
	if slices.ContainsFunc(m.found, func(c *compiled) bool { return c.part.Role != Of }) {
		of = shape.Of(shown)
	}
	for _, c := range m.found {
		if c.part.Role != Main || c.rule.sums() {
			m.add(st, c, l, shown, of)
			continue
		}
		h := Hit{Rule: c.rule, TimeNano: l.TimeNano, Stream: l.Stream, Shape: of}
		by, wrong := m.values(c, text)
		if wrong != (Counts{}) {
			st.count(c.rule.ID, wrong)
			continue
		}
		h.By = byText(c.keys, by)
		if past := m.pastOf(c, h.By); past != nil {
			st.hold(&past.hit, l.TimeNano, shown, past.why)
			continue
		}
		why, behind := st.admit(m.set, shown, &h)
		m.past = append(m.past, past{of: c, key: h.By, hit: h, why: why, behind: behind})
		if why != admitted {
			continue
		}
		captures, wrong := m.captures(c, text)
		if wrong != (Counts{}) {
			st.count(c.rule.ID, wrong)
		}
		h.Text, h.Captures = m.shown(shown, text), captures
		hits = append(hits, h)
	}
	return hits
}

// add notes that a text fulfils a part of a rule whose hits depend on more than that.
func (m *Matching) add(st *State, c *compiled, l Line, shown []byte, of shape.Shape) {
	by, wrong := m.values(c, l.text())
	if wrong != (Counts{}) {
		st.count(c.rule.ID, wrong)
		return
	}
	all := len(c.keys) > 0 && (len(c.by) == 0 || (c.part.Role == Clear || c.part.Role == Until) && !slices.ContainsFunc(by, func(v string) bool { return v != "" }))
	if c.part.Role == Of { // once in a record, as a match is
		if key := byText(c.keys, by); m.pastOf(c, key) == nil {
			m.past = append(m.past, past{of: c, key: key})
			m.addOf(c.rule, key, l)
		}
		return
	}
	match := Match{
		Rule: c.rule, Role: c.part.Role, N: c.part.N, TimeNano: l.TimeNano, Stream: l.Stream, Text: m.shown(shown, l.text()), Shape: of.String(),
		All: all, LineNo: m.lineNo,
	}
	if c.distinct != nil {
		match.Distinct, by = by[len(by)-1], by[:len(by)-1]
	}
	if !all {
		match.By = byText(c.keys, by)
		match.Short = m.shortBy(c, l.text())
	}
	if c.part.Role != Until && c.part.Role != Clear {
		st.count(c.rule.ID, Counts{Matches: 1})
	}
	key := match.By + "\x00" + match.Distinct
	if m.pastOf(c, key) != nil {
		return
	}
	m.past = append(m.past, past{of: c, key: key})
	m.matches = append(m.matches, match)
}

// shortBy is the key where quoted groups match as little as they can; "" where there is
// none.
func (m *Matching) shortBy(c *compiled, text []byte) string {
	if c.short < 0 {
		return ""
	}
	at, took, ok := m.set.layerOf(c).conditions.Submatch(uint32(c.short), text, m.left)
	m.left -= took
	if !ok || at == nil {
		return ""
	}
	var values []string
	for _, s := range c.by {
		values = append(values, m.value(c, s, text, at))
	}
	return byText(c.keys, values)
}

// value is the beginning of a value of the line for a part, the groups of whose pattern
// are at places.
func (m *Matching) value(c *compiled, s source, text []byte, at []int) string {
	if s.group == 0 {
		value, _ := m.scanFields(c.layer(), text).Text(s.field)
		return short(value)
	}
	from, to := at[2*s.group], at[2*s.group+1]
	if from < 0 {
		return ""
	}
	return short(strings.ToValidUTF8(string(text[from:min(to, from+2*MaxByText)]), "\uFFFD"))
}

// ofBack is how many matches are looked at for one with which a line of role Of counts.
const ofBack = 8

// addOf counts a line of which a rule's matches are a share. Nothing but its number is of
// interest, so that one match stands for those of a key and a bucket: a rule may be about
// each line there is. Where it makes a difference that the line comes behind others, since
// time has gone on with these or goes on with it, it stands for itself.
func (m *Matching) addOf(r *Rule, by string, l Line) {
	length := r.Bucket()
	bucket := Slot(l.TimeNano, length)
	for i := len(m.matches) - 1; i >= max(0, len(m.matches)-ofBack); i-- {
		of := &m.matches[i]
		if of.Rule != r {
			continue
		}
		its := Slot(of.TimeNano, length)
		if of.Role == Of && of.By == by && its == bucket {
			of.Lines++
			of.TimeNano, of.Until = min(of.TimeNano, l.TimeNano), max(of.Until, l.TimeNano)
			return
		}
		if over := max(of.TimeNano, of.Until) - int64(Slack); over >= (bucket+1)*int64(length) || l.TimeNano-int64(Slack) >= (its+1)*int64(length) {
			break
		}
	}
	m.matches = append(m.matches, Match{Rule: r, Role: Of, TimeNano: l.TimeNano, Until: l.TimeNano, Stream: l.Stream, By: by, Lines: 1})
}

// values are those of the rule's key in the line, MaxByText bytes each at most, and
// behind them the one that the rule's Distinct names. Where they can't be told, what is
// wrong is to be counted.
func (m *Matching) values(c *compiled, text []byte) (out []string, wrong Counts) {
	sources := c.by
	if c.distinct != nil {
		sources = append(slices.Clip(sources), *c.distinct)
	}
	var groups submatch
	for _, s := range sources {
		if s.group > 0 {
			groups = m.submatch(c, text)
			switch {
			case !groups.ok:
				return nil, Counts{GivenUp: 1}
			case groups.at == nil:
				return nil, Counts{Unconfirmed: 1}
			}
		}
		out = append(out, m.value(c, s, text, groups.at))
	}
	return out, Counts{}
}

// Matches is how many TakeMatches would return.
func (m *Matching) Matches() int { return len(m.matches) }

// TakeMatches returns what lines matched since it was last called, of the rules whose
// hits depend on more than a line.
func (m *Matching) TakeMatches() []Match {
	out := m.matches
	m.matches, m.heft = nil, 0
	return out
}

// Heft is how many bytes the records have of what TakeMatches would return.
func (m *Matching) Heft() int { return m.heft }

// Matched reports whether the latest text matched any rule.
func (m *Matching) Matched() bool { return len(m.found) > 0 }

// Work returns how many units of package match's work it took to match the latest
// line.
func (m *Matching) Work() int64 {
	work := m.work
	for n := range m.layers {
		work += m.at[n].scratch.Work()
	}
	return work
}

// Spans returns where the rule with the lowest id of those that the latest line
// matched matches it, in bytes, at most n times; less if that takes too much
// work. A rule without a pattern has no place.
func (m *Matching) Spans(l Line, n int) [][]int {
	if len(m.found) == 0 || m.found[0].bare {
		return nil
	}
	spans, _ := m.set.layerOf(m.found[0]).matcher.Spans(m.found[0].pattern, l.text(), n, match.SubmatchWork)
	return spans
}

// Eval matches a line with every rule of the set, updates st and appends the
// hits, by rule id.
func (s *Set) Eval(st *State, l Line, hits []Hit) []Hit {
	m := s.Begin()
	defer m.End()
	if m.Match(st, l) {
		return m.Admit(st, l, hits)
	}
	st.Retain(s)
	return hits
}

// captures returns what the groups matched; groups that took no part have no
// entry. Where that can't be told, there are none, and what is wrong is to be
// counted.
func (m *Matching) captures(c *compiled, text []byte) (out map[string]string, wrong Counts) {
	if len(c.names) < 2 {
		return nil, Counts{}
	}
	s := m.submatch(c, text)
	switch {
	case !s.ok:
		return nil, Counts{GivenUp: 1}
	case s.at == nil:
		return nil, Counts{Unconfirmed: 1}
	}
	at := s.at
	for i := 1; i < len(c.names); i++ {
		if from, to := at[2*i], at[2*i+1]; from >= 0 {
			if out == nil {
				out = map[string]string{}
			}
			out[c.names[i]] = m.part(text, from, to)
		}
	}
	return out, Counts{}
}

// Clip makes valid UTF-8 of MaxText bytes at most, with an ellipsis where
// something was cut off. A run of invalid bytes becomes one U+FFFD.
func Clip(b []byte) string {
	if len(b) <= MaxText && utf8.Valid(b) {
		return string(b)
	}
	out := make([]byte, 0, MaxText)
	room := 0 // length of out up to which an ellipsis still fits behind
	bad := false
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		if r == utf8.RuneError && n == 1 {
			if bad {
				continue
			}
			bad = true
		} else {
			bad = false
		}
		if len(out)+utf8.RuneLen(r) > MaxText {
			return string(out[:room]) + ellipsis
		}
		out = utf8.AppendRune(out, r)
		if len(out)+len(ellipsis) <= MaxText {
			room = len(out)
		}
	}
	return string(out)
}
