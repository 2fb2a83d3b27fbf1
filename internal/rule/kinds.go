package rule

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"logscan/internal/fields"
	"logscan/internal/incident"
	"logscan/internal/schedule"
	"logscan/internal/where"
)

// What the matches of a rule add up to.
const (
	KindLine   = "line"   // each match is a hit
	KindCount  = "count"  // the match that makes so many of them within a time is one
	KindAbsent = "absent" // that there was none for a time is one
	KindNew    = "new"    // the first of its shape in a workload is one

	KindSequence = "sequence" // that steps are all done in order within a time is one, or that they aren't
	KindRatio    = "ratio"    // that they are more than a share of other lines is one
	KindSpike    = "spike"    // that they are far more than usual is one
	KindChange   = "change"   // that a value is another one than before is one
	KindRun      = "run"      // that a container's run isn't as it should be is one
)

// Kinds are all kinds of rules.
var Kinds = []string{KindLine, KindCount, KindAbsent, KindSequence, KindChange, KindRun, KindRatio, KindSpike, KindNew}

// Whose matches a rule adds up.
const (
	PerContainer = "container"
	PerWorkload  = "workload"
	PerRule      = "rule" // of all containers
)

// From when on a rule of KindAbsent waits for a match.
const (
	ArmFirst = "first" // from the first one on
	ArmStart = "start" // from the start of a container on
)

// What a rule of KindAbsent does where no container runs.
const (
	StoppedPause = "pause" // it doesn't wait
	StoppedHit   = "hit"   // it waits all the same
)

// What a hit of a rule of KindSequence is.
const (
	HitMissing  = "missing"  // the first step, and not the last one within the time
	HitComplete = "complete" // all steps
)

// What a rule of KindSequence does where no container runs any more.
const (
	StopWait   = "wait"   // it waits all the same
	StopForget = "forget" // it waits no longer
	StopHit    = "hit"    // what isn't done is missing
)

// What rules of KindNew have where nothing is said.
const (
	DefaultForget int64 = 30 * 24 * 3600 // seconds
	DefaultAtMost int64 = 10             // hits an hour
)

// Bounds of what rules add up.
const (
	MaxAtLeast = 10_000          // matches
	MaxBy      = 4               // values of a key
	MaxByText  = 128             // bytes of each
	MinFor     = 5 * time.Second // that a match is waited for
	MaxSteps   = 10
	MaxActive  = 256  // bytes
	MaxAtMost  = 1000 // hits an hour
	MinForget  = time.Hour

	MaxMinLines = 1_000_000 // lines that a run has to have
	MaxRestarts = 1000      // starts within a time
)

// Correlated reports whether the rule's hits, or their end, depend on more than a line.
func (r *Rule) Correlated() bool { return r.sums() || len(r.Clear) > 0 }

// sums reports whether matches of the rule are no hits by themselves.
func (r *Rule) sums() bool { return r.Kind != KindLine && r.Kind != "" }

// Within is the time in which matches are counted.
func (r *Rule) Within() time.Duration { return time.Duration(r.WithinSeconds) * time.Second }

// SlowerThan is how long the steps have to take, at least.
func (r *Rule) SlowerThan() time.Duration { return time.Duration(r.SlowerThanSeconds) * time.Second }

// Waits reports whether it matters to the rule which containers run.
func (r *Rule) Waits() bool {
	return r.Kind == KindAbsent && r.WhenStopped == StoppedPause || r.Kind == KindSequence && r.OnStop != StopWait
}

// Forget is after how long a shape is new again.
func (r *Rule) Forget() time.Duration { return time.Duration(r.ForgetSeconds) * time.Second }

// MaxDuration is how long a run may take; 0 for any time.
func (r *Rule) MaxDuration() time.Duration {
	return time.Duration(r.MaxDurationSeconds) * time.Second
}

// For is how long there has to be no match.
func (r *Rule) For() time.Duration { return time.Duration(r.ForSeconds) * time.Second }

// Grace is how much longer a match is waited for behind the start of a container.
func (r *Rule) Grace() time.Duration { return time.Duration(r.GraceSeconds) * time.Second }

// Sums says in words what the rule's matches add up to.
func (r *Rule) Sums() string {
	of := ""
	if len(r.By) > 0 {
		of = ", by " + r.By.String()
	}
	if r.Per != PerContainer {
		of += ", per " + r.Per
	}
	switch r.Kind {
	case KindCount:
		what := "matches"
		if r.Distinct != "" {
			what = "values of " + r.Distinct
		}
		return fmt.Sprintf("count: %d %s within %s%s", r.AtLeast, what, incident.Span(r.Within()), of)
	case KindAbsent:
		from := ""
		if r.Arm == ArmStart {
			from = ", from the start"
		}
		if r.Active != "" {
			from += ", " + r.Active
		}
		return fmt.Sprintf("absent: no match for %s%s%s", incident.Span(r.For()), from, of)
	}
	switch r.Kind {
	case KindSequence:
		what := "a hit where the last is missing"
		if r.Hit == HitComplete {
			what = "a hit where all are done"
			if r.SlowerThanSeconds > 0 {
				what += ", in more than " + incident.Span(r.SlowerThan())
			}
		}
		return fmt.Sprintf("sequence: %d steps within %s, %s%s", len(r.Steps), incident.Span(r.Within()), what, of)
	case KindChange:
		return fmt.Sprintf("change: %s is another one than before%s", r.Field, of)
	case KindRun:
		return "run: " + strings.Join(r.runHasTo(), ", ")
	case KindRatio:
		return fmt.Sprintf("ratio: over %s of at least %s lines of %q in %s%s", Percent(r.Share()), Thousands(r.Least()), r.Of, incident.Span(r.Window()), of)
	case KindSpike:
		return fmt.Sprintf("spike: more than %s times the usual matches in %s, and than %d%s", r.Factor, incident.Span(r.Window()), r.Least(), of)
	case KindNew:
		return fmt.Sprintf("new: the first of its shape in %s, at most %d an hour", incident.Span(r.Forget()), r.AtMost)
	}
	return "line: each match"
}

// newWhere is which lines a rule of KindNew is for where it says nothing about that.
var newWhere = fields.Texts{"level >= error"}

// Conditions are the conditions on fields that are in effect.
func (r *Rule) Conditions() fields.Texts {
	if r.Kind == KindNew && r.Pattern == "" && len(r.All)+len(r.Where) == 0 {
		return newWhere
	}
	return r.Where
}

// ofKinds says that a field is of rules of some kinds, and is missing or too much in r.
func ofKinds(r Rule, given, required bool, kinds ...string) error {
	switch is := slices.Contains(kinds, r.Kind); {
	case is && required && !given:
		return fmt.Errorf("is required for rules of kind %s", r.Kind)
	case !is && given:
		return fmt.Errorf("is for rules of kind %s only; this one is of kind %s", strings.Join(kinds, ", "), r.Kind)
	}
	return nil
}

// checkKind checks all that depends on the kind.
func checkKind(r Rule) error {
	for _, f := range []struct {
		name  string
		check func(Rule) error
	}{
		{"by", checkBy}, {"per", checkPer}, {"at_least", checkAtLeast}, {"within_seconds", checkWithin}, {"distinct", checkDistinct}, {"for_seconds", checkFor}, {"arm", checkArm}, {"when_stopped", checkWhenStopped}, {"active", checkActive}, {"forget_seconds", checkForget}, {"at_most", checkAtMost},
		{"steps", checkSteps}, {"hit", checkHit}, {"slower_than_seconds", checkSlowerThan}, {"until", checkUntil}, {"on_stop", checkOnStop}, {"field", checkField},
		{"must", checkMust}, {"must_not", checkMustNot}, {"min_lines", checkMinLines}, {"max_duration_seconds", checkMaxDuration}, {"restarts", checkRestarts},
		{"of", checkOf}, {"over", checkOver}, {"window_seconds", checkWindow}, {"factor", checkFactor},
	} {
		err := f.check(r)
		var of *fields.Error
		if errors.As(err, &of) {
			return of
		}
		if err != nil {
			return &fields.Error{Field: f.name, Reason: err.Error()}
		}
	}
	return nil
}

func checkBy(r Rule) error {
	if err := ofKinds(r, len(r.By) > 0, false, KindLine, KindCount, KindAbsent, KindSequence, KindChange, KindRatio); err != nil {
		return err
	}
	if len(r.By) > MaxBy {
		return fmt.Errorf("has %d values; the most is %d", len(r.By), MaxBy)
	}
	if r.Kind == KindSequence {
		return nil // its steps have them
	}
	for _, name := range r.By {
		if err := checkValue(r, name); err != nil {
			return err
		}
	}
	return nil
}

func checkPer(r Rule) error {
	return ofKinds(r, r.Per != PerContainer, false, KindCount, KindAbsent, KindNew, KindSequence, KindChange, KindRatio, KindSpike)
}

func checkForget(r Rule) error {
	if err := CheckSeconds(r.ForgetSeconds); err != nil {
		return err
	}
	if r.Forget() < MinForget {
		return fmt.Errorf("must be at least %s", MinForget)
	}
	return ofKinds(r, r.ForgetSeconds != DefaultForget, false, KindNew)
}

func checkAtMost(r Rule) error {
	if r.AtMost < 1 || r.AtMost > MaxAtMost {
		return fmt.Errorf("must be from 1 to %d", MaxAtMost)
	}
	return ofKinds(r, r.AtMost != DefaultAtMost, false, KindNew)
}

func checkAtLeast(r Rule) error {
	if r.AtLeast < 0 || r.AtLeast > MaxAtLeast {
		return fmt.Errorf("must be from 1 to %d", MaxAtLeast)
	}
	if err := ofKinds(r, r.AtLeast != 0, r.Kind == KindCount, KindCount, KindRatio, KindSpike); err != nil || r.Kind != KindCount {
		return err
	}
	most := MaxAtLeast
	if len(r.By) > 0 {
		most /= 10 // what is kept of each key is bounded
	}
	if r.Distinct != "" {
		most /= 10
	}
	if r.AtLeast > int64(most) {
		return fmt.Errorf("can be %d at the most with by, %d with distinct, %d with both", MaxAtLeast/10, MaxAtLeast/10, MaxAtLeast/100)
	}
	return nil
}

func checkWithin(r Rule) error {
	if err := CheckSeconds(r.WithinSeconds); err != nil {
		return err
	}
	switch {
	case r.Kind == KindRun && r.WithinSeconds == 0 && r.Restarts != 0:
		return errors.New("is required with restarts: so many starts within so long")
	case r.Kind == KindRun && r.WithinSeconds != 0 && r.Restarts == 0:
		return errors.New("goes with restarts: so many starts within so long")
	}
	return ofKinds(r, r.WithinSeconds != 0, r.Kind != KindRun, KindCount, KindSequence, KindRun)
}

func checkDistinct(r Rule) error {
	if err := ofKinds(r, r.Distinct != "", false, KindCount); err != nil || r.Distinct == "" {
		return err
	}
	return checkValue(r, r.Distinct)
}

func checkFor(r Rule) error {
	if err := CheckSeconds(r.ForSeconds); err != nil {
		return err
	}
	if err := ofKinds(r, r.ForSeconds != 0, true, KindAbsent); err != nil {
		return err
	}
	if r.ForSeconds != 0 && r.For() < MinFor {
		return fmt.Errorf("must be at least %s: entries may be a little out of order", MinFor)
	}
	return nil
}

func checkArm(r Rule) error {
	if r.Arm == ArmStart && len(r.By) > 0 {
		return fmt.Errorf("can't be %s where by is given: which values to wait for is known from their first match on", ArmStart)
	}
	return ofKinds(r, r.Arm != ArmFirst, false, KindAbsent)
}

func checkActive(r Rule) error {
	if err := CheckText(r.Active, MaxActive); err != nil {
		return err
	}
	hours, err := schedule.ParseHours(r.Active)
	if err == nil {
		err = ofKinds(r, r.Active != "", false, KindAbsent)
	}
	if err == nil && r.Active != "" && hours.After(time.Unix(0, 0), r.For()).IsZero() {
		err = fmt.Errorf("has no hours that go on for %s: nothing would ever be missed", incident.Span(r.For()))
	}
	return err
}

func checkWhenStopped(r Rule) error {
	return ofKinds(r, r.WhenStopped != StoppedPause, false, KindAbsent)
}

func checkSteps(r Rule) error {
	if err := ofKinds(r, len(r.Steps) > 0, true, KindSequence); err != nil || r.Kind != KindSequence {
		return err
	}
	if len(r.Steps) < 2 || len(r.Steps) > MaxSteps {
		return fmt.Errorf("are %d; there have to be 2 to %d", len(r.Steps), MaxSteps)
	}
	if own := (Conditions{Pattern: r.Pattern, All: r.All, Where: r.Where}); !own.empty() || len(r.Ignore) > 0 {
		return fmt.Errorf("say which lines a rule of kind %s is for: it has no pattern, all, ignore or where of its own", KindSequence)
	}
	return checkParts(r, "steps")
}

func checkHit(r Rule) error { return ofKinds(r, r.Hit != HitMissing, false, KindSequence) }

func checkSlowerThan(r Rule) error {
	if err := CheckSeconds(r.SlowerThanSeconds); err != nil {
		return err
	}
	if r.SlowerThanSeconds != 0 && r.Kind == KindSequence && (r.Hit != HitComplete || r.SlowerThanSeconds >= r.WithinSeconds) {
		return fmt.Errorf("is for hit %s, and has to be shorter than within", HitComplete)
	}
	return ofKinds(r, r.SlowerThanSeconds != 0, false, KindSequence)
}

func checkUntil(r Rule) error {
	if err := ofKinds(r, len(r.Until) > 0, false, KindSequence); err != nil || r.Kind != KindSequence {
		return err
	}
	return checkParts(r, "until")
}

func checkOnStop(r Rule) error { return ofKinds(r, r.OnStop != StopWait, false, KindSequence) }

func checkField(r Rule) error {
	if err := ofKinds(r, r.Field != "", true, KindChange); err != nil || r.Field == "" {
		return err
	}
	return checkValue(r, r.Field)
}

// checkValue says why a rule can't tell lines apart by a value: a group of its pattern,
// such as $user or $1, or a field such as http.status.
func checkValue(r Rule, name string) error {
	if !strings.HasPrefix(name, "$") {
		if _, err := where.Parse(name+" exists", where.Compile); err != nil {
			return fmt.Errorf("%.64q is neither a group of the pattern, $name, nor a field such as http.status: %w", name, err)
		}
		return nil
	}
	if r.Pattern == "" {
		return fmt.Errorf("%.64q has to be a group of the pattern, and there is none", name)
	}
	tree, err := parsePattern(r.Pattern)
	if err != nil {
		return nil // that is said of the pattern
	}
	if len(name) < 2 {
		return fmt.Errorf("%.64q is no group of the pattern: write $name for (?P<name>…), or $1 for the first without a name", name)
	}
	names := captureNames(tree)
	if captureIndex(names, name) == 0 {
		return fmt.Errorf("the pattern has no group %s: it has %s", name, groups(names))
	}
	return nil
}

// captureIndex is which of a pattern's groups a name such as $user or $1 is; 0 for none.
func captureIndex(names []string, name string) int {
	for i, n := range names {
		if i > 0 && (n == name || n == strings.TrimPrefix(name, "$")) {
			return i
		}
	}
	return 0
}

// groups lists a pattern's groups as by takes them.
func groups(names []string) string {
	if len(names) < 2 {
		return "none"
	}
	out := make([]string, 0, len(names)-1)
	for _, n := range names[1:] {
		out = append(out, "$"+strings.TrimPrefix(n, "$"))
	}
	return strings.Join(out, ", ")
}

// Slack is how much entries may be out of order: those of stdout and stderr, and of several
// containers.
const Slack = 2 * time.Second

// Match is a line that fulfils a part of a rule whose hits depend on more than a line.
type Match struct {
	Rule     *Rule
	Role     Role
	N        int    // the part's
	Lines    int64  // that it stands for, of role Of: the others are of the same key, in the same of the rule's buckets
	Until    int64  // of role Of: the time of the latest of these, where TimeNano is that of the earliest
	All      bool   // it is about all keys, whatever their values: By says nothing
	LineNo   uint32 // of the line, among those of one Matching: it may be in several matches
	TimeNano int64
	Stream   string
	Text     string // of the line, as a Hit's
	Record   string // likewise
	From, To int64  // where the record lies in the container's log
	Shape    string // of the line
	By       string // the values that the rule's By names, such as "ip=192.0.2.7, user=root"; "" for none
	Short    string // By where quoted groups match as little as they can; "" where none is quoted
	Distinct string // the value that the rule's Distinct names, MaxByText bytes at most
}

// byText writes the values of a key for people, so that different values differ.
func byText(names, values []string) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strings.TrimPrefix(names[i], "$"))
		b.WriteByte('=')
		if v == "" || strings.ContainsFunc(v, func(r rune) bool {
			return r <= ' ' || r == ',' || r == '"' || r == utf8.RuneError || !strconv.IsPrint(r)
		}) {
			v = strconv.Quote(v)
		}
		b.WriteString(v)
	}
	return b.String()
}

// short is the beginning of a value of a key.
func short(v string) string {
	if len(v) <= MaxByText {
		return v
	}
	n := MaxByText
	for n > 0 && !utf8.RuneStart(v[n]) {
		n--
	}
	return v[:n]
}
