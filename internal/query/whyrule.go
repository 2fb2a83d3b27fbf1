package query

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"logscan/internal/correlate"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/rule/match"
	"logscan/internal/scan"
	"logscan/internal/store"
)

// WhyRuleQuery asks why a rule made no hit in a time.
type WhyRuleQuery struct {
	Rule         rule.Rule
	Since, Until time.Time
}

// RuleWhy is what became of the lines of a time for a rule, as it is now, with nothing
// known before.
type RuleWhy struct {
	Since, Until time.Time
	Events       int64        // of the rule that were stored in that time, whyEvents at most
	Last         *event.Event // the last one of all that are kept; nil for none
	Containers   int          // with lines of the time, that the rule is for
	Others       int          // likewise, that it isn't for
	Unscanned    int          // that it would be for, whose logs rules don't read
	Overridden   int          // that it would be for, in whose workload another rule takes its place
	Whole        bool         // the logs have all that these wrote in the time
	Lines        int64        // that were evaluated
	Matches      int64        // lines, or records, that fulfil its conditions
	Before       int64        // of them, those written before the rule was what it is now
	Counts       rule.Counts  // what became of them
	Parts        []RulePart   // of a rule that has several
	Unmet        []RuleUnmet  // of lines that match its pattern, what they don't fulfil, the most frequent first
	Stream       int64        // lines that match its pattern, of the stream that it isn't for
	Hidden       int64        // texts that repeat what logscan has sent
	Rarest       []string     // texts of which each match has one, in any case
	Near         int64        // lines that have one, and that its pattern doesn't match
	NearLine     string       // the last of them, as a hit's text
	Most         int64        // of kind count: the most matches within its time
	MostAt       time.Time    // when the last of them was
	MostBy       string       // their values
}

// RulePart is how many lines fulfil a part of a rule.
type RulePart struct {
	Part  string // as rule.Part writes it; "" for a match
	Lines int64
}

// RuleUnmet is how many lines don't fulfil a condition, and those before it.
type RuleUnmet struct {
	Field, Condition string // as a rule.Unmet's
	Lines            int64
	Sample           string // the last of them, as a hit's text
}

// WhyRule says why a rule made no hit in a time, or that it did. A rule that can't be used
// is a rule.CompileError; ErrBusy asks to try again. What is read of logs is bounded by ctx.
func (s *Searcher) WhyRule(ctx context.Context, cfg WhyConfig, q WhyRuleQuery) (RuleWhy, error) {
	leave, err := s.pool.enter(false)
	if err != nil {
		return RuleWhy{}, err
	}
	defer leave()
	w := ruleWitness{cfg: cfg, rule: q.Rule, out: RuleWhy{Since: q.Since.UTC(), Until: q.Until.UTC(), Whole: true}, unmet: map[[2]string]*RuleUnmet{}, parts: map[string]int64{}}
	if err := w.stored(ctx, q); err != nil {
		return RuleWhy{}, err
	}
	r := q.Rule
	r.State, r.Enabled, r.OverridesID = rule.On, true, 0
	if err := w.overridden(ctx); err != nil {
		return RuleWhy{}, err
	}
	snapshot, bad := rule.Compile([]rule.Rule{r}, rule.WithBucket(cfg.Bucket), rule.WithRedactor(cfg.Redact))
	if len(bad) > 0 {
		return RuleWhy{}, bad[0]
	}
	w.nearly(&r)
	defer w.any.End()
	s.containers(&w, snapshot)
	wants := func(i journal.Info) bool { return !i.LastLine.Before(q.Since) && !w.replaced[i.Workload] }
	all, counts, err := s.witnessed(ctx, cfg, scan.ReplayConfig{Rules: snapshot, Since: q.Since, Until: q.Until, Wants: wants, Witness: &w})
	if err != nil {
		return RuleWhy{}, err
	}
	for _, c := range all {
		w.out.Lines += c.Lines
		w.out.Whole = w.out.Whole && c.Whole && c.Unread == 0
	}
	w.out.Counts = counts[r.ID]
	w.finish()
	return w.out, nil
}

// containers counts those that a rule is for.
func (s *Searcher) containers(w *ruleWitness, snapshot *rule.Snapshot) {
	for _, i := range s.journals.List() {
		if i.LastLine.Before(w.out.Since) {
			continue
		}
		switch is := len(snapshot.ForContainer(scopeOf(&i.Container)).Rules()) > 0; {
		case !is:
			w.out.Others++
		case w.replaced[i.Workload]:
			w.out.Overridden++
		case !i.Scan:
			w.out.Unscanned++
		default:
			w.out.Containers++
		}
	}
}

// ruleWitness sees, in a replay, what becomes of lines for a rule; it implements
// scan.Witness.
type ruleWitness struct {
	cfg   WhyConfig
	rule  rule.Rule
	near  *match.Required // nil where nothing is known
	any   rule.Matching   // its pattern, of all streams
	out   RuleWhy
	unmet map[[2]string]*RuleUnmet

	replaced map[string]bool // workloads in which another rule takes its place
	parts    map[string]int64
	matches  []witnessed
}

// stored says which events of the rule there are.
func (w *ruleWitness) stored(ctx context.Context, q WhyRuleQuery) error {
	f := store.EventFilter{Source: event.Logscan, RuleID: q.Rule.ID, Limit: 1}
	last, err := w.cfg.Store.Events(ctx, f)
	if err != nil {
		return err
	}
	if len(last) > 0 {
		w.out.Last = &last[0]
	}
	f.Since, f.Until, f.Limit = q.Since, q.Until, whyEvents
	events, err := w.cfg.Store.Events(ctx, f)
	w.out.Events = int64(len(events))
	return err
}

// overridden finds the workloads in which another rule takes the place of w's.
func (w *ruleWitness) overridden(ctx context.Context) error {
	all, err := w.cfg.Store.Rules(ctx)
	w.replaced = map[string]bool{}
	for _, r := range all {
		if r.OverridesID == w.rule.ID {
			w.replaced[r.WorkloadID] = true
		}
	}
	return err
}

// nearly has the witness see lines that match nearly.
func (w *ruleWitness) nearly(r *rule.Rule) {
	one := rule.New()
	one.ID, one.Name, one.Pattern = 1, "nearly", r.Pattern
	if r.Pattern == "" {
		one.State, one.Enabled = rule.Off, false
	}
	snapshot, _ := rule.Compile([]rule.Rule{one})
	w.any = snapshot.For("").Begin()
	if w.near = rule.Rarest(r.Pattern); w.near != nil {
		w.out.Rarest = w.near.Texts
	}
}

func (w *ruleWitness) Begin(*journal.Container, *rule.Record) {}

func (w *ruleWitness) Text(l rule.Line, n int, m *rule.Matching, hidden bool) {
	if hidden {
		w.out.Hidden++
		return
	}
	parts, unmet := m.Parts(), m.Unmet()
	for _, p := range parts {
		w.parts[p.String()]++
		if p.Role != rule.Main {
			continue
		}
		w.out.Matches++
		if l.TimeNano < w.rule.UpdatedAt.UnixNano() {
			w.out.Before++
		}
	}
	for _, u := range unmet {
		k := [2]string{u.Field, u.Pattern}
		of := w.unmet[k]
		if of == nil {
			of = &RuleUnmet{Field: u.Field, Condition: u.Pattern}
			w.unmet[k] = of
		}
		of.Lines++
		of.Sample = rule.Shown(l.Text, w.cfg.Redact)
	}
	if len(parts)+len(unmet) > 0 || n < 0 {
		return
	}
	var none rule.State
	switch {
	case w.any.Match(&none, l):
		if w.rule.Streams != rule.Streams[0] && w.rule.Streams != l.Stream {
			w.out.Stream++
		}
	case w.near != nil && w.near.Near(l.Text):
		w.out.Near++
		w.out.NearLine = rule.Shown(l.Text, w.cfg.Redact)
	}
}

func (w *ruleWitness) End(*rule.Matching) {}

func (w *ruleWitness) Match(c *correlate.Container, m *rule.Match) {
	if m.Role == rule.Main && m.Rule.Kind == rule.KindCount && len(w.matches) < maxWitnessed {
		w.matches = append(w.matches, witnessOf(c, m))
	}
}

// finish puts together what there was.
func (w *ruleWitness) finish() {
	for p, n := range w.parts {
		w.out.Parts = append(w.out.Parts, RulePart{p, n})
	}
	slices.SortFunc(w.out.Parts, func(a, b RulePart) int { return strings.Compare(a.Part, b.Part) })
	for _, u := range w.unmet {
		w.out.Unmet = append(w.out.Unmet, *u)
	}
	slices.SortFunc(w.out.Unmet, func(a, b RuleUnmet) int {
		return cmp.Or(cmp.Compare(b.Lines, a.Lines), strings.Compare(a.Field+a.Condition, b.Field+b.Condition))
	})
	w.most()
}

// most finds the most matches within the rule's time.
func (w *ruleWitness) most() {
	type key struct{ scope, by string }
	type window struct {
		matches []witnessed
		values  map[string]int
	}
	windows := map[key]*window{}
	slices.SortStableFunc(w.matches, func(a, b witnessed) int { return cmp.Compare(a.nano, b.nano) })
	for _, m := range w.matches {
		k := key{m.scope, m.by}
		of := windows[k]
		if of == nil {
			of = &window{values: map[string]int{}}
			windows[k] = of
		}
		of.matches = append(of.matches, m)
		of.values[m.distinct]++
		for m.nano-of.matches[0].nano > int64(w.rule.Within()) {
			first := of.matches[0].distinct
			if of.values[first]--; of.values[first] == 0 {
				delete(of.values, first)
			}
			of.matches = of.matches[1:]
		}
		n := int64(len(of.matches))
		if w.rule.Distinct != "" {
			n = int64(len(of.values))
		}
		if n > w.out.Most {
			w.out.Most, w.out.MostAt, w.out.MostBy = n, time.Unix(0, m.nano).UTC(), w.cfg.Redact.Text(m.by)
		}
	}
}
