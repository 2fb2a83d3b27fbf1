package rule

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp/syntax"
	"slices"
	"sync"
	"time"

	"logscan/internal/redact"
	"logscan/internal/rule/match"
	"logscan/internal/where"
)

// Bucket bounds the hits of a container, all rules together: Burst of them at
// once, and one more after each Refill.
type Bucket struct {
	Burst  int           // at least 1
	Refill time.Duration // 0 = no bound
}

// DefaultBucket is used where Compile is told no other.
var DefaultBucket = Bucket{Burst: 30, Refill: 2 * time.Second}

// Option changes how Compile makes a snapshot.
type Option func(*compiling)

// compiling is a call of Compile.
type compiling struct {
	*base
	stats    *match.Stats
	compiler *Patterns
	apart    map[string][]Rule // by workload
	before   *Snapshot         // nil: there was none
}

// WithBucket sets the bound of a container's hits.
func WithBucket(b Bucket) Option {
	return func(s *compiling) {
		if b.Refill <= 0 {
			s.bucket = bucket{}
			return
		}
		n := min(int64(max(b.Burst, 1)), math.MaxInt64/int64(b.Refill))
		s.bucket = bucket{refill: int64(b.Refill), capacity: n * int64(b.Refill)}
	}
}

// WithStats says what the lines to come are like, which makes matching faster.
func WithStats(stats *match.Stats) Option {
	return func(s *compiling) { s.stats = stats }
}

// WithRedactor has what is kept of lines be without secrets; what matches, and what makes
// keys and shapes, is the line as it is.
func WithRedactor(r *redact.Redactor) Option {
	return func(s *compiling) { s.redactor = r }
}

// bucket is a Bucket in nanoseconds of refilling.
type bucket struct {
	refill   int64 // what a hit takes; 0 = no bound
	capacity int64
}

// CompileError says why a rule is in no set.
type CompileError struct {
	RuleID int64
	Name   string
	Reason string
}

func (e CompileError) Error() string {
	return fmt.Sprintf("rule %d (%s): %s", e.RuleID, e.Name, e.Reason)
}

// Snapshot is all rules at one moment, compiled. All their patterns are matched
// together, whichever workload they are for; a Set says which of them count. Only rules
// that a workload has apart are matched by themselves, see apart.go.
type Snapshot struct {
	*base
	apart      map[string]*onBase // by workload; not to be changed
	correlated []*Rule
}

// base is the rules of a Snapshot that are matched together.
type base struct {
	bucket   bucket
	redactor *redact.Redactor    // nil: nothing is redacted
	known    map[int64]bool      // ids of all its rules, disabled and broken ones too
	ignores  map[Ignored]bool    // patterns to ignore of the enabled ones
	globals  []*compiled         // parts of global rules, by id
	own      map[string]*overlay // by workload
	layer    layer               // patterns are those of globals
	global   *Set                // of workloads without rules of their own
	narrower sets                // of containers for which not all rules of their workload are

	correlated []*Rule
}

// layer is what some rules need that are matched together.
type layer struct {
	matcher  *match.Matcher
	patterns [][]*compiled // by their pattern's number in matcher
	// conditions matches the further patterns of rules, on lines that match a
	// rule's pattern.
	conditions *match.Matcher
	starts     *match.Matcher    // the patterns by which records begin
	begins     map[string]uint32 // their numbers
	fields     *where.Set        // conditions on fields
}

// overlay is what a workload changes.
type overlay struct {
	rules    []*compiled    // parts of its own and its overrides, the enabled ones
	replaced map[int64]bool // globals that are not in effect
	once     sync.Once
	set      *Set
}

// compiled is a part of a rule.
type compiled struct {
	rule    *Rule
	part    Part
	apart   bool     // it is of its Set's second layer, and the numbers are of that
	bare    bool     // there is no pattern, but where
	none    bool     // there are no conditions: no line is meant
	pattern uint32   // number in layer.matcher, unless bare
	names   []string // of captures; "" for the match as a whole
	// Numbers in layer.conditions, as further and the part have them.
	all, ignore []uint32
	further     []string // patterns of all, but for one that takes the place of a pattern
	where       []condition
	keys        []string // the rule's Key
	by          []source // of it; nil where the part doesn't name it
	distinct    *source
	short       int // number of the part's Short in layer.conditions; -1 for none
}

// Compile makes a snapshot. A rule that can't be used is left out alone, and
// reported unless it is disabled anyway.
func Compile(rules []Rule, opts ...Option) (*Snapshot, []CompileError) {
	s := &compiling{base: &base{known: map[int64]bool{}, ignores: map[Ignored]bool{}, own: map[string]*overlay{}}, compiler: &Patterns{}}
	WithBucket(DefaultBucket)(s)
	for _, o := range opts {
		o(s)
	}
	rules = slices.SortedFunc(slices.Values(rules), func(a, b Rule) int { return cmp.Compare(a.ID, b.ID) })
	globals := map[int64]bool{}
	for i := range rules {
		r := &rules[i]
		_ = settle(r, func(string) bool { return false }) // nothing is said that could clash
		s.known[r.ID] = true
		if r.WorkloadID == "" && r.OverridesID == 0 {
			globals[r.ID] = true
		}
	}
	var bad []CompileError
	t := newTables(s.compiler)
	for i := range rules {
		r := &rules[i]
		drop := func(format string, args ...any) {
			if r.Enabled {
				bad = append(bad, CompileError{r.ID, r.Name, fmt.Sprintf(format, args...)})
			}
		}
		if r.OverridesID != 0 {
			if r.WorkloadID == "" || !globals[r.OverridesID] {
				drop("overrides rule %d, which is no global rule", r.OverridesID)
				continue
			}
			s.overlay(r.WorkloadID).replaced[r.OverridesID] = true
		}
		if !r.Enabled {
			continue
		}
		parts, err := t.compile(r)
		if err != nil {
			drop("%v", err)
			continue
		}
		if r.Correlated() {
			s.correlated = append(s.correlated, r)
		}
		for _, c := range parts {
			for _, pattern := range c.part.Ignore {
				s.ignores[Ignored{r.ID, pattern}] = true
			}
		}
		if r.WorkloadID == "" {
			s.globals = append(s.globals, parts...)
		} else {
			o := s.overlay(r.WorkloadID)
			o.rules = append(o.rules, parts...)
		}
	}
	s.layer = t.build(s.stats)
	for _, c := range s.globals {
		s.layer.add(c)
	}
	s.compiler.known = t.kept
	s.global = s.newSet(&overlay{}, nil)
	out, badApart := (&Snapshot{base: s.base, correlated: s.base.correlated}).withApart(s.apart, s.before)
	return out, append(bad, badApart...)
}

// tables are what the parts of all rules are compiled into.
type tables struct {
	compiler             *Patterns
	kept                 map[string]*pattern
	patterns, conditions patternTable
	starts               patternTable // for the first lines of records
	fields               where.Builder
}

func newTables(compiler *Patterns) tables {
	return tables{compiler: compiler, kept: map[string]*pattern{}, patterns: newPatternTable(), conditions: newPatternTable(), starts: newPatternTable()}
}

// build makes a layer without rules.
func (t *tables) build(stats *match.Stats) layer {
	return layer{
		matcher: t.patterns.build(stats), patterns: make([][]*compiled, len(t.patterns.list)),
		conditions: t.conditions.build(stats), starts: t.starts.build(nil), begins: t.starts.numbers, fields: t.fields.Build(),
	}
}

// nothing matches no line: one of tens of kilobytes is enough for all that have no pattern.
var nothing = sync.OnceValue(func() *match.Matcher { return match.Build(nil, nil) })

func (t *patternTable) build(stats *match.Stats) *match.Matcher {
	if len(t.list) == 0 {
		return nothing()
	}
	return match.Build(t.list, stats)
}

// add adds a part of a rule whose pattern is in l, or that has none.
func (l *layer) add(c *compiled) {
	if c.patterned() {
		l.patterns[c.pattern] = append(l.patterns[c.pattern], c)
	}
}

// compile compiles the parts of a rule.
func (t *tables) compile(r *Rule) (out []*compiled, err error) {
	parts, err := r.Parts()
	if err != nil {
		return nil, err
	}
	switch {
	case len(parts) == 0 && r.Kind == KindRun:
		return []*compiled{{rule: r, none: true}}, nil
	case len(parts) == 0:
		return nil, errors.New("pattern is required where a rule has neither all nor where")
	}
	if err := t.start(r.RecordStart); err != nil {
		return nil, fmt.Errorf("record_start: %w", err)
	}
	keys := r.Key(parts)
	for _, p := range parts {
		c := &compiled{rule: r, part: p, keys: keys}
		if err := c.compile(t); err != nil {
			if p.Role != Main {
				err = fmt.Errorf("%s: %d: %w", p.Role, p.N+1, err)
			}
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// start adds a pattern for the first lines of records, unless it is "".
func (t *tables) start(expr string) error {
	if expr == "" {
		return nil
	}
	p := t.compiler.get(expr, t.kept)
	if p.err != nil {
		return p.err
	}
	if _, known := t.starts.numbers[expr]; !known && len(t.starts.list) >= MaxStarts {
		return fmt.Errorf("there are %d different ones already, the most there can be", MaxStarts)
	}
	t.starts.add(expr, p)
	return nil
}

// patternTable numbers the patterns; rules with the same one share it.
type patternTable struct {
	list    []*match.Pattern
	numbers map[string]uint32
}

func newPatternTable() patternTable { return patternTable{numbers: map[string]uint32{}} }

func (t *patternTable) add(expr string, p *pattern) uint32 {
	n, ok := t.numbers[expr]
	if !ok {
		n = uint32(len(t.list))
		t.numbers[expr] = n
		t.list = append(t.list, p.Pattern)
	}
	return n
}

// compile compiles c's part. Of one that can't be used some may be among the conditions:
// nobody asks for them.
func (c *compiled) compile(t *tables) error {
	expr := c.part.Pattern
	if c.further = c.part.All; expr == "" && len(c.further) > 0 {
		expr, c.further = c.further[0], c.further[1:]
	}
	c.bare = expr == "" && len(c.part.Where) > 0
	var main *pattern
	if !c.bare {
		if main = t.compiler.get(expr, t.kept); main.err != nil {
			return fmt.Errorf("pattern %w", main.err)
		}
		if c.part.Pattern != "" {
			c.names = main.names
		}
	}
	further := func(field string, exprs []string) (numbers []uint32, err error) {
		for n, expr := range exprs {
			p := t.compiler.get(expr, t.kept)
			if p.err != nil {
				return nil, fmt.Errorf("%s: pattern %d %w", field, n+1, p.err)
			}
			numbers = append(numbers, t.conditions.add(expr, p))
		}
		return numbers, nil
	}
	var err error
	if c.all, err = further("all", c.further); err != nil {
		return err
	}
	if c.ignore, err = further("ignore", c.part.Ignore); err != nil {
		return err
	}
	for n, text := range c.part.Where {
		on, err := parseCondition(text, t.compiler, t.kept)
		var groups []int
		if err == nil {
			groups, err = groupsOf(on, c.names)
		}
		if err != nil {
			return fmt.Errorf("where: condition %d: %w", n+1, err)
		}
		c.where = append(c.where, condition{t.fields.Add(on), groups})
	}
	if !c.bare {
		c.pattern = t.patterns.add(expr, main)
	}
	c.short = -1
	if expr := c.part.Short; expr != "" {
		p := t.compiler.get(expr, t.kept)
		if p.err != nil {
			return fmt.Errorf("pattern %w", p.err)
		}
		c.short = int(t.conditions.add(expr, p))
	}
	return c.key(t)
}

// key finds the values by which c's rule adds matches up. Parts besides the rule's own
// conditions may name none of them: they are about all then.
func (c *compiled) key(t *tables) error {
	missing := ""
	for _, name := range c.keys {
		s, has, err := c.sourceOf(name, t)
		if err != nil {
			return fmt.Errorf("by: %w", err)
		}
		if !has {
			missing = name
			continue
		}
		c.by = append(c.by, s)
	}
	switch {
	case missing != "" && c.part.Role == Main:
		return fmt.Errorf("by: the pattern has no group %.64s", missing)
	case missing != "" && c.part.Role == Step:
		return fmt.Errorf("has no group %.64s, by which the steps of one thing are known", missing)
	case missing != "" && c.part.Role == Of:
		return fmt.Errorf("has to name %.64s too, as its pattern or by quoting it: it is kept apart by that", missing)
	case missing != "" && c.quotes():
		return fmt.Errorf("names some values of by, but not %.64s: name all of them, or none", missing)
	case missing != "":
		c.by = nil
	}
	if name := cmp.Or(c.rule.Distinct, c.rule.Field); name != "" && c.part.Role == Main {
		s, has, err := c.sourceOf(name, t)
		if err == nil && !has {
			err = errors.New("the pattern has no such group")
		}
		if err != nil {
			return fmt.Errorf("%.64s: %w", name, err)
		}
		c.distinct = &s
	}
	return nil
}

// patterned reports whether c's pattern is among those of its layer.
func (c *compiled) patterned() bool { return !c.bare && !c.none }

// quotes reports whether c has a group that the rule's key names.
func (c *compiled) quotes() bool {
	return slices.ContainsFunc(c.by, func(s source) bool { return s.group > 0 })
}

// Correlated returns the rules of the snapshot whose hits depend on more than a line.
func (s *Snapshot) Correlated() []*Rule { return s.correlated }

// Correlated returns the rules of the set whose hits depend on more than a line.
func (s *Set) Correlated() []*Rule { return s.correlated }

// Runs returns the rules of the set that are of kind run, and whether any of them
// counts lines.
func (s *Set) Runs() (rules []*Rule, counted bool) { return s.runs, s.counted }

// Waits reports whether it matters to any of them which containers run.
func (s *Snapshot) Waits() bool {
	return slices.ContainsFunc(s.correlated, func(r *Rule) bool { return r.Kind == KindAbsent || r.Kind == KindSpike || r.Waits() })
}

// Runs reports whether any of them is of kind run.
func (s *Snapshot) Runs() bool {
	return slices.ContainsFunc(s.correlated, func(r *Rule) bool { return r.Kind == KindRun })
}

// Drifted reports whether the lines that were matched since it was last asked,
// if there were many, cost much more than lines like those of WithStats would.
// One goroutine at a time may ask.
func (s *Snapshot) Drifted() bool { return s.layer.matcher.Drifted() }

// Known reports whether a rule with this id was among the snapshot's, enabled
// or not.
func (s *Snapshot) Known(id int64) bool {
	if s.known[id] {
		return true
	}
	for _, o := range s.apart {
		if o.known[id] {
			return true
		}
	}
	return false
}

// Ignores reports whether a rule has a pattern to ignore.
func (s *Snapshot) Ignores(by Ignored) bool {
	if s.ignores[by] {
		return true
	}
	for _, o := range s.apart {
		if o.ignores[by] {
			return true
		}
	}
	return false
}

// Matches returns the ids of the enabled rules, of all workloads and streams, of which
// any pattern matches a line, and of those without one whose conditions it fulfils.
func (s *Snapshot) Matches(line []byte) []int64 {
	rules := slices.Clone(s.globals)
	for _, o := range s.own {
		rules = append(rules, o.rules...)
	}
	ids := s.layer.matches(line, rules)
	for _, o := range s.apart {
		ids = append(ids, o.layer.matches(line, o.parts)...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// matches returns the ids of some rules of the layer, as Snapshot.Matches does, in no
// order.
func (l *layer) matches(line []byte, rules []*compiled) (ids []int64) {
	found := l.matcher.Match(line, nil, nil)
	fields := l.fields.Acquire()
	defer fields.Release()
	fields.Reset(line)
	for _, c := range rules {
		switch {
		case c.patterned() && !slices.Contains(found, c.pattern):
		case c.none, c.bare && slices.ContainsFunc(c.where, func(w condition) bool { return fields.Holds(w.number) != where.Yes }):
		default:
			ids = append(ids, c.rule.ID)
		}
	}
	return ids
}

func (s *base) overlay(workload string) *overlay {
	o := s.own[workload]
	if o == nil {
		o = &overlay{replaced: map[int64]bool{}}
		s.own[workload] = o
	}
	return o
}

// captureNames returns what a pattern's groups are called in Hit.Captures.
func captureNames(tree *syntax.Regexp) []string {
	names := tree.CapNames()
	for i := range names {
		if i > 0 && names[i] == "" {
			names[i] = fmt.Sprintf("$%d", i)
		}
	}
	return names[:min(len(names), 1+maxCaptures)]
}

// Set is the effective rules of a workload.
type Set struct {
	base       *base
	apart      *apart // nil: there are none
	overlay    *overlay
	own        map[uint32][]*compiled // overlay's rules by their pattern's number
	ways       []way                  // in which records are made: by their form, and by each pattern
	scoped     []*compiled            // rules that are not for all containers, by id
	correlated []*Rule                // by id
	runs       []*Rule                // of them, those of kind run
	counted    bool                   // some of these count lines
}

// streams are told apart in a Set: the last one stands for any other.
var streams = [...]string{"stdout", "stderr", "other"}

func streamIndex(name string) int {
	for i, s := range streams[:len(streams)-1] {
		if s == name {
			return i
		}
	}
	return len(streams) - 1
}

// For returns the effective rules of a workload. It is quick.
func (s *Snapshot) For(workload string) *Set {
	if apart := s.apart[workload]; apart != nil {
		return apart.set(s.base, workload)
	}
	return s.of(workload)
}

// of returns the effective rules of a workload that are matched together.
func (s *base) of(workload string) *Set {
	o := s.own[workload]
	if o == nil || len(o.rules) == 0 && len(o.replaced) == 0 {
		return s.global
	}
	o.once.Do(func() { o.set = s.newSet(o, nil) })
	return o.set
}

// newSet makes a set of what a workload changes, and has apart; nil for nothing.
func (s *base) newSet(o *overlay, apart *apart) *Set {
	set := &Set{base: s, apart: apart, overlay: o, own: map[uint32][]*compiled{}}
	for _, c := range o.rules {
		if c.patterned() {
			set.own[c.pattern] = append(set.own[c.pattern], c)
		}
	}
	rules := set.compiled()
	for _, r := range set.rules() {
		if r.Correlated() {
			set.correlated = append(set.correlated, r)
		}
		if r.Kind == KindRun {
			set.runs, set.counted = append(set.runs, r), set.counted || r.MinLines > 0
		}
	}
	for _, c := range rules {
		if c.rule.scoped() {
			set.scoped = append(set.scoped, c)
		}
	}
	set.ways = set.waysOf(rules)
	return set
}

// in reports whether a rule is about a stream.
func (c *compiled) in(stream string) bool {
	return c.rule.Streams == "all" || c.rule.Streams == stream
}

// layers returns what the set's rules need: those matched together, then those apart,
// where there are some.
func (s *Set) layers() []*layer {
	if s.apart == nil {
		return []*layer{&s.base.layer}
	}
	return []*layer{&s.base.layer, &s.apart.layer}
}

// layerOf is that of a part of a rule of the set.
func (s *Set) layerOf(c *compiled) *layer {
	if c.apart {
		return &s.apart.layer
	}
	return &s.base.layer
}

// known reports whether there is a rule with this id, which may be disabled.
func (s *Set) known(id int64) bool { return s.base.known[id] || s.apart != nil && s.apart.known[id] }

// with appends the rules of the set that have a pattern of one of its layers, are about a
// stream, and are meant.
func (s *Set) with(layer int, pattern uint32, stream string, of part, dst []*compiled) []*compiled {
	for _, c := range s.layers()[layer].patterns[pattern] {
		if c.in(stream) && of.means(c) && !s.overlay.replaced[c.rule.ID] {
			dst = append(dst, c)
		}
	}
	if layer > 0 {
		return dst
	}
	for _, c := range s.own[pattern] {
		if c.in(stream) && of.means(c) {
			dst = append(dst, c)
		}
	}
	return dst
}

// compiled returns the rules of the set, by id.
func (s *Set) compiled() []*compiled {
	var out []*compiled
	rules := s.base.globals
	if s.apart != nil {
		rules = slices.Concat(rules, s.apart.parts)
	}
	for _, c := range rules {
		if !s.overlay.replaced[c.rule.ID] {
			out = append(out, c)
		}
	}
	out = append(out, s.overlay.rules...)
	slices.SortFunc(out, byID)
	return out
}

// byID has the parts of a rule be in their order, and the later step first: a line counts
// for the latest step that it can be.
func byID(a, b *compiled) int {
	return cmp.Or(cmp.Compare(a.rule.ID, b.rule.ID), cmp.Compare(a.part.Role, b.part.Role), cmp.Compare(b.part.N, a.part.N))
}

// rules returns the rules of the set, by id.
func (s *Set) rules() (out []*Rule) {
	for _, c := range s.compiled() {
		if len(out) == 0 || out[len(out)-1] != c.rule {
			out = append(out, c.rule)
		}
	}
	return out
}

// Rules returns the rules of the set, by id.
func (s *Set) Rules() (out []Rule) {
	for _, r := range s.rules() {
		out = append(out, *r)
	}
	return out
}
