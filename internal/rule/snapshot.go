package rule

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"sync"
	"time"
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

// Snapshot is all rules at one moment, compiled.
type Snapshot struct {
	bucket  bucket
	known   map[int64]bool // ids of all rules, disabled and broken ones too
	globals []*compiled
	own     map[string]*overlay // by workload
	global  *Set                // of workloads without rows of their own

	mu   sync.Mutex // guards sets
	sets map[string]*Set
}

// overlay is what a workload changes.
type overlay struct {
	rules    []*compiled    // its own and its overrides, the enabled ones
	replaced map[int64]bool // globals that are not in effect
}

type compiled struct {
	rule  *Rule
	re    *regexp.Regexp
	names []string // of captures; "" for the match as a whole
}

// Compile makes a snapshot. A rule that can't be used is left out alone, and
// reported unless it is disabled anyway.
func Compile(rules []Rule, opts ...Option) (*Snapshot, []CompileError) {
	s := &Snapshot{known: map[int64]bool{}, own: map[string]*overlay{}, sets: map[string]*Set{}}
	WithBucket(DefaultBucket)(s)
	for _, o := range opts {
		o(s)
	}
	rules = slices.SortedFunc(slices.Values(rules), func(a, b Rule) int { return cmp.Compare(a.ID, b.ID) })
	globals := map[int64]bool{}
	for _, r := range rules {
		s.known[r.ID] = true
		if r.WorkloadID == "" && r.OverridesID == 0 {
			globals[r.ID] = true
		}
	}
	var bad []CompileError
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
		re, err := compilePattern(r.Pattern)
		if err != nil {
			drop("pattern %v", err)
			continue
		}
		c := &compiled{rule: r, re: re, names: captureNames(re)}
		if r.WorkloadID == "" {
			s.globals = append(s.globals, c)
		} else {
			o := s.overlay(r.WorkloadID)
			o.rules = append(o.rules, c)
		}
	}
	s.global = &Set{snapshot: s, rules: s.globals}
	return s, bad
}

// Known reports whether a rule with this id was among the snapshot's, enabled
// or not.
func (s *Snapshot) Known(id int64) bool { return s.known[id] }

func (s *Snapshot) overlay(workload string) *overlay {
	o := s.own[workload]
	if o == nil {
		o = &overlay{replaced: map[int64]bool{}}
		s.own[workload] = o
	}
	return o
}

// captureNames returns what a pattern's groups are called in Hit.Captures.
func captureNames(re *regexp.Regexp) []string {
	names := re.SubexpNames()
	for i := range names {
		if i > 0 && names[i] == "" {
			names[i] = fmt.Sprintf("$%d", i)
		}
	}
	return names[:min(len(names), 1+maxCaptures)]
}

// Set is the effective rules of a workload.
type Set struct {
	snapshot *Snapshot
	rules    []*compiled // by id
}

// For returns the effective rules of a workload. It is quick when called again
// for the same one.
func (s *Snapshot) For(workload string) *Set {
	o := s.own[workload]
	if o == nil {
		return s.global
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.sets[workload]
	if set == nil {
		set = &Set{snapshot: s}
		for _, c := range s.globals {
			if !o.replaced[c.rule.ID] {
				set.rules = append(set.rules, c)
			}
		}
		set.rules = append(set.rules, o.rules...)
		slices.SortFunc(set.rules, func(a, b *compiled) int { return cmp.Compare(a.rule.ID, b.rule.ID) })
		s.sets[workload] = set
	}
	return set
}

// Rules returns the rules of the set, by id.
func (s *Set) Rules() []Rule {
	out := make([]Rule, len(s.rules))
	for i, c := range s.rules {
		out[i] = *c.rule
	}
	return out
}
