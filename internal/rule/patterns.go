package rule

import "logscan/internal/rule/match"

// Patterns keeps what the patterns of a snapshot were compiled to for the next
// one, so that a change of one rule costs what that rule's pattern does, however
// many rules there are: some microseconds for each instruction. The zero Patterns
// is ready. One call of Compile at a time may use it.
type Patterns struct {
	known map[string]*pattern
	// compiled is how many were not known when they were asked for.
	compiled int
}

// pattern is a pattern, compiled.
type pattern struct {
	*match.Pattern
	names []string // of captures; "" for the match as a whole
	err   error    // why it can't be used; the rest is not set then
}

// WithPatterns has Compile use what it compiled for the snapshot before.
func WithPatterns(p *Patterns) Option {
	return func(s *compiling) { s.compiler = p }
}

// Required returns sets of texts of which every match of a pattern holds one each, as
// match.Pattern's; nil where nothing is known of them.
func Required(expr string) [][]string {
	tree, err := parsePattern(expr)
	if err != nil {
		return nil
	}
	return match.PatternOf(expr, tree).Required()
}

// Finder returns what finds where a pattern may match, as match.Pattern's; nil where there is
// nothing to look for.
func Finder(expr string) *match.Finder {
	tree, err := parsePattern(expr)
	if err != nil {
		return nil
	}
	return match.PatternOf(expr, tree).Finder()
}

// get compiles a pattern, if it isn't known or in next already, for which it is
// kept.
func (p *Patterns) get(expr string, next map[string]*pattern) *pattern {
	if known := next[expr]; known != nil {
		return known
	}
	known := p.known[expr]
	if known == nil {
		p.compiled++
		known = &pattern{}
		tree, err := parsePattern(expr)
		if err != nil {
			known.err = err
		} else {
			known.Pattern, known.names = match.PatternOf(expr, tree), captureNames(tree)
		}
	}
	next[expr] = known
	return known
}
