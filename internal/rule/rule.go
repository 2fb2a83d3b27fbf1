package rule

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"sort"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/incident"
	"logscan/internal/rule/match"
	"logscan/internal/shape"
)

// Streams are what that field of a rule can be.
var Streams = []string{"all", "stdout", "stderr"}

// States of a rule.
const (
	On     = "on"
	Off    = "off"
	Shadow = "shadow" // hits are events and incidents, of which nobody is told
)

// States are what that field of a rule can be.
var States = []string{On, Off, Shadow}

// What a rule's cooldown is for.
const (
	ByShape = "shape" // lines of one shape: what is another trouble isn't held back
	ByRule  = "rule"  // all lines
)

// Bounds of a rule; each refusal names the one that it is about.
const (
	MaxName        = 128                  // bytes
	MaxDescription = 4096                 // bytes
	MaxWorkload    = 128                  // bytes; also of what containers say that they are replicas of
	MaxPattern     = 4096                 // bytes
	MaxGlobs       = 4096                 // bytes, all of a list
	MaxConditions  = 16                   // further patterns of a kind, and conditions on fields
	MaxContext     = 200                  // lines before, and after, what is found
	MaxSiblings    = 60                   // seconds around it, of lines of other containers
	MaxProgram     = 10_000               // instructions that a pattern compiles to
	MaxStarts      = 16                   // different patterns by which records begin, of all rules
	MaxCooldown    = 365 * 24 * time.Hour // also keeps sums of times far from overflow
)

// DefaultContext is how many lines before, and after, what is found an event has.
const DefaultContext = 10

// Rule says what to look for in which lines. Fields has a line about each of its
// fields that is not logscan's own.
type Rule struct {
	ID                 int64               `json:"id" readOnly:"true"`
	Name               string              `json:"name"`
	Description        string              `json:"description"`
	Pattern            string              `json:"pattern"`                 // RE2; "" = none
	All                fields.Texts        `json:"all" nullable:"false"`    // RE2, each of which a line matches too
	Ignore             fields.Texts        `json:"ignore" nullable:"false"` // RE2, none of which it matches
	Where              fields.Texts        `json:"where" nullable:"false"`  // conditions of package where, all of which it fulfils
	Record             bool                `json:"record"`                  // conditions are about a record, its lines joined by \n
	RecordStart        string              `json:"record_start"`            // RE2; "" = records are known by their form
	Severity           event.Severity      `json:"severity"`
	Streams            string              `json:"streams"`
	CooldownSeconds    int64               `json:"cooldown_seconds"`
	CooldownBy         string              `json:"cooldown_by"`
	State              string              `json:"state"`        // "" is what Enabled says
	Enabled            bool                `json:"enabled"`      // the State isn't Off
	WorkloadID         string              `json:"workload_id"`  // "" = global
	OverridesID        int64               `json:"overrides_id"` // 0 = none
	Images             fields.List[string] `json:"images"`       // globs
	Names              fields.List[string] `json:"names"`        // globs of containers' names
	Labels             fields.List[string] `json:"labels"`       // KEY or KEY=VALUE, globs, of which a container has all
	Kind               string              `json:"kind"`
	By                 fields.List[string] `json:"by"`  // groups of the pattern, such as $user, and fields
	Per                string              `json:"per"` // whose matches add up
	AtLeast            int64               `json:"at_least"`
	WithinSeconds      int64               `json:"within_seconds"`
	Distinct           string              `json:"distinct"` // a group, such as $user, or a field
	ForSeconds         int64               `json:"for_seconds"`
	GraceSeconds       int64               `json:"grace_seconds"`
	Arm                string              `json:"arm"`
	WhenStopped        string              `json:"when_stopped"`
	Active             string              `json:"active"` // as schedule.ParseHours reads it
	ForgetSeconds      int64               `json:"forget_seconds"`
	AtMost             int64               `json:"at_most"`
	Steps              fields.Texts        `json:"steps" nullable:"false"` // conditions each
	Hit                string              `json:"hit"`
	SlowerThanSeconds  int64               `json:"slower_than_seconds"`
	Until              fields.Texts        `json:"until" nullable:"false"` // conditions each
	OnStop             string              `json:"on_stop"`
	Field              string              `json:"field"`                     // a group, such as $version, or a field
	Must               fields.Texts        `json:"must" nullable:"false"`     // conditions each, which some line of a run has to fulfil
	MustNot            fields.Texts        `json:"must_not" nullable:"false"` // conditions each, which no line of a run may fulfil
	MinLines           int64               `json:"min_lines"`
	MaxDurationSeconds int64               `json:"max_duration_seconds"`
	Restarts           int64               `json:"restarts"` // starts within WithinSeconds
	Of                 string              `json:"of"`       // conditions
	Over               string              `json:"over"`     // a share, such as 5% or 0.05
	WindowSeconds      int64               `json:"window_seconds"`
	Factor             string              `json:"factor"`                 // a number, such as 3 or 2.5
	Clear              fields.Texts        `json:"clear" nullable:"false"` // conditions each, any of which ends what is open
	ResolveAfter       int64               `json:"resolve_after_seconds"`
	Repeat             int64               `json:"repeat_seconds"`
	TellResolved       bool                `json:"tell_resolved"`
	Before             int64               `json:"before"` // lines that an event has from before its record
	After              int64               `json:"after"`
	SiblingsSeconds    int64               `json:"siblings_seconds"` // around it, of lines of the containers beside
	Triggers           fields.List[string] `json:"triggers"`         // names of those that alone are told
	fields.Managed     `readOnly:"true"`
	CreatedAt          time.Time `json:"created_at" readOnly:"true"`
	UpdatedAt          time.Time `json:"updated_at" readOnly:"true"`
}

// Cooldown is for how long, after a hit, further ones of that container are only
// counted.
func (r *Rule) Cooldown() time.Duration { return time.Duration(r.CooldownSeconds) * time.Second }

// settle has State and Enabled agree. Who says only that a rule is enabled leaves a
// rule in shadow there.
func settle(r *Rule, said func(name string) bool) error {
	switch state, enabled := said("state"), said("enabled"); {
	case state && enabled && r.Enabled != (r.State != Off):
		return &fields.Error{Field: "enabled", Reason: fmt.Sprintf("says something else than the state, %.64q: give one of the two", r.State)}
	case r.State == "", enabled && !state && r.Enabled != (r.State != Off):
		r.State = Off
		if r.Enabled {
			r.State = On
		}
	}
	r.Enabled = r.State != Off
	return nil
}

// Incidents is what r says about its incidents.
func (r *Rule) Incidents() incident.Settings {
	s := incident.Settings{
		ResolveAfter: time.Duration(r.ResolveAfter) * time.Second, Repeat: time.Duration(r.Repeat) * time.Second, TellResolved: r.TellResolved,
		Triggers: r.Triggers.String(),
	}
	switch r.Kind {
	case KindAbsent, KindRun:
		s.TellResolved = true
		fallthrough
	case KindCount, KindRatio, KindSpike:
		s.ResolveAfter, s.EndsByRule = 0, true // what the rule waits for ends it
	}
	return s
}

// CheckName says why a name can't be used, be it a rule's or another thing's: the
// same bounds hold for all.
func CheckName(name string) error {
	if strings.TrimSpace(name) == "" {
		return errors.New("is required")
	}
	return CheckText(name, MaxName)
}

// CheckSeconds says why a time can't be waited for: the same bounds hold for all.
func CheckSeconds(n int64) error {
	if most := int64(MaxCooldown / time.Second); n < 0 || n > most {
		return fmt.Errorf("must be from 0 (none) to %d (a year)", most)
	}
	return nil
}

// checkSiblings says why there can't be lines of containers beside.
func checkSiblings(r Rule) error {
	if n := r.SiblingsSeconds; n < 0 || n > MaxSiblings {
		return fmt.Errorf("must be from 0 (none) to %d", MaxSiblings)
	}
	return nil
}

// checkContext says why there can't be so many lines of context.
func checkContext(n int64) error {
	if n < 0 || n > MaxContext {
		return fmt.Errorf("must be from 0 (none) to %d", MaxContext)
	}
	return nil
}

// CheckText bounds a text, which is to be shown on a line.
func CheckText(s string, most int) error {
	switch {
	case len(s) > most:
		return fmt.Errorf("is %d bytes long; the most is %d", len(s), most)
	case !printable(s):
		return errors.New("has characters that can't be printed")
	}
	return nil
}

// printable refuses what a terminal would obey, or show in another order.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// CheckPattern says why an expression can't be used, be it for lines or for
// events' messages: the same bounds hold for all.
func CheckPattern(pattern string) error {
	_, err := parsePattern(pattern)
	return err
}

// Rarest returns texts of which each line has one that a pattern matches, as
// match.Pattern's; nil where nothing is known of them, or the pattern can't be used.
func Rarest(pattern string) *match.Required {
	tree, err := parsePattern(pattern)
	if err != nil {
		return nil
	}
	return match.PatternOf(pattern, tree).Rarest()
}

// checkPatterns says why further patterns can't be used.
func checkPatterns(patterns []string) error {
	if len(patterns) > MaxConditions {
		return fmt.Errorf("are %d patterns; the most is %d: join some by |", len(patterns), MaxConditions)
	}
	for n, p := range patterns {
		if err := CheckPattern(p); err != nil {
			return fmt.Errorf("pattern %d %w", n+1, err)
		}
	}
	return nil
}

// checkPattern says why a rule's pattern can't be used, or that there is none though
// nothing else says which lines are meant.
func checkPattern(r Rule) error {
	if r.Pattern != "" {
		if err := CheckPattern(r.Pattern); err != nil {
			return err
		}
	}
	var other *fields.Error
	err := checkWhere(r) // conditions may be about groups that the pattern has no more
	if err == nil || errors.As(err, &other) {
		return err
	}
	return &fields.Error{Field: "where", Reason: err.Error()}
}

// checkFinds says that a rule finds nothing.
func checkFinds(r Rule) error {
	if r.Kind == KindRun {
		return checkRun(r)
	}
	if own := r.own(); own.empty() && r.Kind != KindSequence {
		return &fields.Error{Field: "pattern", Reason: "is required where a rule has neither all nor where"}
	}
	return nil
}

// checkAll says why further patterns can't be used.
func checkAll(r Rule) error {
	if err := checkPatterns(r.All); err != nil {
		return err
	}
	return checkFinds(r)
}

// checkWhere says why conditions on fields can't be used.
func checkWhere(r Rule) error {
	if len(r.Where) > MaxConditions {
		return fmt.Errorf("are %d conditions; the most is %d: join some values by in", len(r.Where), MaxConditions)
	}
	var names []string
	if tree, err := parsePattern(r.Pattern); err == nil {
		names = captureNames(tree)
	}
	for n, text := range r.Where {
		c, err := parseCondition(text, new(Patterns), map[string]*pattern{})
		if err == nil {
			_, err = groupsOf(c, names)
		}
		if err != nil {
			return fmt.Errorf("condition %d: %w", n+1, err)
		}
	}
	return checkFinds(r)
}

// checkRecordStart says why a pattern for the first lines of records can't be used.
func checkRecordStart(r Rule) error {
	if r.RecordStart == "" {
		return nil
	}
	return CheckPattern(r.RecordStart)
}

// parsePattern parses a pattern within the bounds, and simplifies it. What it
// accepts regexp.Compile accepts. The error is a reason for users, with the
// position where there is one.
func parsePattern(pattern string) (*syntax.Regexp, error) {
	if pattern == "" {
		return nil, fmt.Errorf("is required")
	}
	if len(pattern) > MaxPattern {
		return nil, fmt.Errorf("is %d bytes long; the most is %d", len(pattern), MaxPattern)
	}
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, explain(pattern, err)
	}
	tree = tree.Simplify()
	prog, err := syntax.Compile(tree)
	if err != nil {
		return nil, err
	}
	if len(prog.Inst) > MaxProgram {
		return nil, fmt.Errorf("compiles to %d instructions; the most is %d: use smaller repeat counts or fewer alternatives", len(prog.Inst), MaxProgram)
	}
	return tree, nil
}

// explain says what is wrong with a pattern, and where.
func explain(pattern string, err error) error {
	e, ok := err.(*syntax.Error)
	if !ok {
		return err
	}
	reason := e.Code.String()
	at, ok := position(pattern, e)
	if !ok {
		return fmt.Errorf("%s", reason)
	}
	if e.Expr != "" && e.Expr != pattern {
		reason += fmt.Sprintf(" `%s`", e.Expr)
	}
	return fmt.Errorf("%s at position %d", reason, utf8.RuneCountInString(pattern[:at])+1)
}

// position finds the byte at which a pattern goes wrong, which the parser
// doesn't tell.
func position(pattern string, e *syntax.Error) (int, bool) {
	switch e.Code {
	case syntax.ErrMissingParen:
		return len(pattern), true
	case syntax.ErrTrailingBackslash:
		return len(pattern) - 1, true
	case syntax.ErrMissingBracket:
		return len(pattern) - len(e.Expr), true // Expr is all from the open bracket
	case syntax.ErrLarge, syntax.ErrNestingDepth, syntax.ErrInternalError:
		return 0, false // the whole is wrong
	}
	// The shortest beginning of the pattern that is wrong in the same way ends
	// right behind the place: the parser goes from left to right.
	wrong := func(n int) bool {
		_, err := syntax.Parse(pattern[:n], syntax.Perl)
		cut, ok := err.(*syntax.Error)
		return ok && cut.Code == e.Code && (cut.Expr == e.Expr || e.Code == syntax.ErrUnexpectedParen)
	}
	text := e.Expr
	if e.Code == syntax.ErrUnexpectedParen {
		text = ")" // Expr is the whole
	}
	n := 1 + sort.Search(len(pattern), func(i int) bool { return wrong(i + 1) })
	if n > len(pattern) || !strings.HasSuffix(pattern[:n], text) {
		return 0, false
	}
	return n - len(text), true
}

// IncidentShape is the shape by which matches of lines of a shape are incidents.
func (r *Rule) IncidentShape(of shape.Shape) string {
	switch {
	case r.CooldownBy == ByRule:
		return incident.AllShapes
	case of == shape.Shape{}:
		return incident.OtherShapes
	}
	return of.String()
}
