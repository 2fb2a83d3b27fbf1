package rule

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Severities and Streams are what those fields of a rule can be.
var (
	Severities = []string{"info", "warn", "error"}
	Streams    = []string{"all", "stdout", "stderr"}
)

// Bounds of a rule; each refusal names the one that it is about.
const (
	MaxName        = 128                  // bytes
	MaxDescription = 4096                 // bytes
	MaxWorkload    = 512                  // bytes
	MaxPattern     = 4096                 // bytes
	MaxProgram     = 10_000               // instructions that a pattern compiles to
	MaxCooldown    = 365 * 24 * time.Hour // also keeps sums of times far from overflow
)

// Rule says what to look for in which lines. Its form in JSON is package api's.
type Rule struct {
	ID          int64
	Name        string
	Description string
	Pattern     string        // RE2
	Severity    string        // one of Severities
	Streams     string        // one of Streams
	Cooldown    time.Duration // after a hit, per container; 0 = none
	Enabled     bool
	WorkloadID  string // "" = global
	OverridesID int64  // the global rule that this one replaces in its workload; 0 = none
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// FieldError refuses a rule because of one of its fields, by its name in JSON.
type FieldError struct {
	Field  string
	Reason string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

// Validate checks all that can be said about a rule alone; what it finds is a
// *FieldError. Whether the overridden rule exists is the store's to check.
func Validate(r Rule) error {
	refuse := func(field, format string, args ...any) error {
		return &FieldError{field, fmt.Sprintf(format, args...)}
	}
	switch {
	case strings.TrimSpace(r.Name) == "":
		return refuse("name", "is required")
	case len(r.Name) > MaxName:
		return refuse("name", "is %d bytes long; the most is %d", len(r.Name), MaxName)
	case !printable(r.Name):
		return refuse("name", "has characters that can't be printed")
	case len(r.Description) > MaxDescription:
		return refuse("description", "is %d bytes long; the most is %d", len(r.Description), MaxDescription)
	case !utf8.ValidString(r.Description):
		return refuse("description", "is not valid UTF-8")
	case !slices.Contains(Severities, r.Severity):
		return refuse("severity", "is %q; must be %s", r.Severity, oneOf(Severities))
	case !slices.Contains(Streams, r.Streams):
		return refuse("streams", "is %q; must be %s", r.Streams, oneOf(Streams))
	case r.Cooldown < 0 || r.Cooldown > MaxCooldown:
		return refuse("cooldown_seconds", "must be from 0 (none) to %d", MaxCooldown/time.Second)
	case len(r.WorkloadID) > MaxWorkload:
		return refuse("workload_id", "is %d bytes long; the most is %d", len(r.WorkloadID), MaxWorkload)
	case !printable(r.WorkloadID):
		return refuse("workload_id", "has characters that can't be printed")
	case r.OverridesID < 0:
		return refuse("overrides_id", "must be a rule's id, or 0 for none")
	}
	if _, err := parsePattern(r.Pattern); err != nil {
		return &FieldError{"pattern", err.Error()}
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func oneOf(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
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
