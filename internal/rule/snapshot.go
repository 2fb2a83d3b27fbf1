package rule

import (
	"cmp"
	"fmt"
	"math"
	"regexp/syntax"
	"slices"
	"sync"
	"time"

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
type Option func(*Snapshot)

// WithBucket sets the bound of a container's hits.
func WithBucket(b Bucket) Option {
	return func(s *Snapshot) {
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
	return func(s *Snapshot) { s.stats = stats }
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
// together, whichever workload they are for; a Set says which of them count.
type Snapshot struct {
	bucket   bucket
	stats    *match.Stats        // for Compile
	compiler *Patterns           // for Compile
	known    map[int64]bool      // ids of all rules, disabled and broken ones too
	globals  []*compiled         // by id
	own      map[string]*overlay // by workload
	matcher  *match.Matcher
	patterns [][]*compiled // global rules by their pattern's number in matcher
	// conditions matches the further patterns of rules, on lines that match a
	// rule's pattern.
	conditions *match.Matcher
	fields     *where.Set // conditions on fields
	global     *Set       // of workloads without rows of their own
	correlated []*Rule
	narrower   sets // of containers for which not all rules of their workload are
}

// overlay is what a workload changes.
type overlay struct {
	rules    []*compiled    // its own and its overrides, the enabled ones
	replaced map[int64]bool // globals that are not in effect
	once     sync.Once
	set      *Set
}

type compiled struct {
	rule    *Rule
	bare    bool     // there is no pattern, but where
	pattern uint32   // number in Snapshot.matcher, unless bare
	names   []string // of captures; "" for the match as a whole
	// Numbers in Snapshot.conditions, as further and the rule have them.
	all, ignore []uint32
	further     []string // patterns of all, but for one that takes the place of a pattern
	where       []condition
	by          []int // groups that the rule's By names
	distinct    int   // the group that its Distinct names; 0 for none
}

// Compile makes a snapshot. A rule that can't be used is left out alone, and
// reported unless it is disabled anyway.
func Compile(rules []Rule, opts ...Option) (*Snapshot, []CompileError) {
	s := &Snapshot{known: map[int64]bool{}, own: map[string]*overlay{}, compiler: &Patterns{}}
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
	patterns, conditions := patternTable{numbers: map[string]uint32{}}, patternTable{numbers: map[string]uint32{}}
	var onFields where.Builder
	kept := map[string]*pattern{}
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
		c := &compiled{rule: r}
		if err := c.compile(s.compiler, kept, &patterns, &conditions, &onFields); err != nil {
			drop("%v", err)
			continue
		}
		if r.Correlated() {
			s.correlated = append(s.correlated, r)
		}
		if r.WorkloadID == "" {
			s.globals = append(s.globals, c)
		} else {
			o := s.overlay(r.WorkloadID)
			o.rules = append(o.rules, c)
		}
	}
	s.patterns = make([][]*compiled, len(patterns.list))
	for _, c := range s.globals {
		if !c.bare {
			s.patterns[c.pattern] = append(s.patterns[c.pattern], c)
		}
	}
	s.fields = onFields.Build()
	s.matcher, s.conditions = match.Build(patterns.list, s.stats), match.Build(conditions.list, s.stats)
	s.compiler.known = kept
	s.stats, s.compiler = nil, nil
	s.global = s.newSet(&overlay{})
	return s, bad
}

// patternTable numbers the patterns; rules with the same one share it.
type patternTable struct {
	list    []*match.Pattern
	numbers map[string]uint32
}

func (t *patternTable) add(expr string, p *pattern) uint32 {
	n, ok := t.numbers[expr]
	if !ok {
		n = uint32(len(t.list))
		t.numbers[expr] = n
		t.list = append(t.list, p.Pattern)
	}
	return n
}

// compile compiles the patterns and conditions of c's rule. Of a rule that can't be used
// some may be among the conditions: nobody asks for them.
func (c *compiled) compile(compiler *Patterns, kept map[string]*pattern, patterns, conditions *patternTable, onFields *where.Builder) error {
	expr := c.rule.Pattern
	if c.further = c.rule.All; expr == "" && len(c.further) > 0 {
		expr, c.further = c.further[0], c.further[1:]
	}
	c.bare = expr == "" && len(c.rule.Conditions()) > 0
	var main *pattern
	if !c.bare {
		if main = compiler.get(expr, kept); main.err != nil {
			return fmt.Errorf("pattern %w", main.err)
		}
		if c.rule.Pattern != "" {
			c.names = main.names
		}
	}
	further := func(field string, exprs []string) (numbers []uint32, err error) {
		for n, expr := range exprs {
			p := compiler.get(expr, kept)
			if p.err != nil {
				return nil, fmt.Errorf("%s: pattern %d %w", field, n+1, p.err)
			}
			numbers = append(numbers, conditions.add(expr, p))
		}
		return numbers, nil
	}
	var err error
	if c.all, err = further("all", c.further); err != nil {
		return err
	}
	if c.ignore, err = further("ignore", c.rule.Ignore); err != nil {
		return err
	}
	for n, text := range c.rule.Conditions() {
		on, err := parseCondition(text, compiler, kept)
		var groups []int
		if err == nil {
			groups, err = groupsOf(on, c.names)
		}
		if err != nil {
			return fmt.Errorf("where: condition %d: %w", n+1, err)
		}
		c.where = append(c.where, condition{onFields.Add(on), groups})
	}
	if !c.bare {
		c.pattern = patterns.add(expr, main)
	}
	return c.key()
}

// key finds the groups by which c's rule adds matches up.
func (c *compiled) key() error {
	for _, name := range c.rule.By {
		n := captureIndex(c.names, name)
		if n == 0 {
			return fmt.Errorf("by: the pattern has no group %.64s", name)
		}
		c.by = append(c.by, n)
	}
	if name := c.rule.Distinct; name != "" {
		if c.distinct = captureIndex(c.names, name); c.distinct == 0 {
			return fmt.Errorf("distinct: the pattern has no group %.64s", name)
		}
	}
	return nil
}

// Correlated returns the rules of the snapshot whose hits depend on more than a line.
func (s *Snapshot) Correlated() []*Rule { return s.correlated }

// Correlated returns the rules of the set whose hits depend on more than a line.
func (s *Set) Correlated() []*Rule { return s.correlated }

// Waits reports whether any of them is of kind absent.
func (s *Snapshot) Waits() bool {
	return slices.ContainsFunc(s.correlated, func(r *Rule) bool { return r.Kind == KindAbsent })
}

// Drifted reports whether the lines that were matched since it was last asked,
// if there were many, cost much more than lines like those of WithStats would.
// One goroutine at a time may ask.
func (s *Snapshot) Drifted() bool { return s.matcher.Drifted() }

// Known reports whether a rule with this id was among the snapshot's, enabled
// or not.
func (s *Snapshot) Known(id int64) bool { return s.known[id] }

// Matches returns the ids of the enabled rules, of all workloads and streams, whose
// pattern matches a line, and of those without one whose conditions it fulfils.
func (s *Snapshot) Matches(line []byte) []int64 {
	var ids []int64
	found := s.matcher.Match(line, nil, nil)
	for _, n := range found {
		for _, c := range s.patterns[n] {
			ids = append(ids, c.rule.ID)
		}
	}
	for _, o := range s.own {
		for _, c := range o.rules {
			if !c.bare && slices.Contains(found, c.pattern) {
				ids = append(ids, c.rule.ID)
			}
		}
	}
	ids = append(ids, s.bareMatches(line)...)
	slices.Sort(ids)
	return ids
}

// bareMatches returns the ids of the rules without a pattern whose conditions a line
// fulfils.
func (s *Snapshot) bareMatches(line []byte) (ids []int64) {
	rules := slices.Clone(s.globals)
	for _, o := range s.own {
		rules = append(rules, o.rules...)
	}
	fields := s.fields.Acquire()
	defer fields.Release()
	fields.Reset(line)
	for _, c := range rules {
		if c.bare && !slices.ContainsFunc(c.where, func(w condition) bool { return fields.Holds(w.number) != where.Yes }) {
			ids = append(ids, c.rule.ID)
		}
	}
	return ids
}

func (s *Snapshot) overlay(workload string) *overlay {
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
	snapshot   *Snapshot
	overlay    *overlay
	own        map[uint32][]*compiled   // overlay's rules by their pattern's number
	in         [len(streams)]match.Mask // patterns that count, by stream
	bare       [len(streams)][]bareRule // rules without a pattern, by stream and id
	scoped     []*compiled              // rules that are not for all containers, by id
	correlated []*Rule                  // by id
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
	o := s.own[workload]
	if o == nil || len(o.rules) == 0 && len(o.replaced) == 0 {
		return s.global
	}
	o.once.Do(func() { o.set = s.newSet(o) })
	return o.set
}

func (s *Snapshot) newSet(o *overlay) *Set {
	set := &Set{snapshot: s, overlay: o, own: map[uint32][]*compiled{}}
	for _, c := range o.rules {
		if !c.bare {
			set.own[c.pattern] = append(set.own[c.pattern], c)
		}
	}
	rules := set.compiled()
	for _, c := range rules {
		if c.rule.Correlated() {
			set.correlated = append(set.correlated, c.rule)
		}
		if c.rule.scoped() {
			set.scoped = append(set.scoped, c)
		}
	}
	for i, stream := range streams {
		set.in[i] = match.NewMask(s.matcher.Len())
		for _, c := range rules {
			switch {
			case !c.in(stream):
			case c.bare:
				set.bare[i] = append(set.bare[i], bareRule{c.where[0].number, c})
			default:
				set.in[i].Add(int(c.pattern))
			}
		}
	}
	return set
}

// in reports whether a rule is about a stream.
func (c *compiled) in(stream string) bool {
	return c.rule.Streams == "all" || c.rule.Streams == stream
}

// with appends the rules of the set that have a pattern and are about a stream.
func (s *Set) with(pattern uint32, stream string, dst []*compiled) []*compiled {
	for _, c := range s.snapshot.patterns[pattern] {
		if c.in(stream) && !s.overlay.replaced[c.rule.ID] {
			dst = append(dst, c)
		}
	}
	for _, c := range s.own[pattern] {
		if c.in(stream) {
			dst = append(dst, c)
		}
	}
	return dst
}

// compiled returns the rules of the set, by id.
func (s *Set) compiled() []*compiled {
	var out []*compiled
	for _, c := range s.snapshot.globals {
		if !s.overlay.replaced[c.rule.ID] {
			out = append(out, c)
		}
	}
	out = append(out, s.overlay.rules...)
	slices.SortFunc(out, byID)
	return out
}

func byID(a, b *compiled) int { return cmp.Compare(a.rule.ID, b.rule.ID) }

// Rules returns the rules of the set, by id.
func (s *Set) Rules() []Rule {
	var out []Rule
	for _, c := range s.compiled() {
		out = append(out, *c.rule)
	}
	return out
}
