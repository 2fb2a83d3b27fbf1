package match

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
)

// Pattern is an expression to be matched, and what is known of it whatever it is
// matched together with: that takes most of Build's time, so one that is in many
// Matchers should be the same. It may be used concurrently.
type Pattern struct {
	expr   string
	weight weight
	facts  facts

	program lazyProgram
	re      lazyRegexp // the pattern
	inner   lazyRegexp // see Submatch
}

type lazyProgram struct {
	once    sync.Once
	program *program // nil if it can't be had
	nfa     *nfa     // nil if it isn't fit for one
}

type lazyRegexp struct {
	once sync.Once
	re   *regexp.Regexp
}

// NewPattern parses an expression as package regexp does.
func NewPattern(expr string) (*Pattern, error) {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	return PatternOf(expr, tree.Simplify()), nil
}

// PatternOf is NewPattern for an expression that has been parsed with
// syntax.Perl, and simplified.
func PatternOf(expr string, tree *syntax.Regexp) *Pattern {
	return &Pattern{expr: expr, weight: weigh(tree), facts: analyze(tree)}
}

// Required returns sets of texts of which every match holds one each; nil where nothing is
// known of them. The ASCII letters of a match may be of either case, and where the
// pattern's are too, U+212A and U+017F may stand for k and s.
func (p *Pattern) Required() (sets [][]string) {
	for _, s := range p.facts.all() {
		if shortest(s.lits) == 0 {
			continue
		}
		var texts []string
		for _, l := range minimal(s).lits {
			texts = append(texts, l.text)
		}
		sets = append(sets, texts)
	}
	return sets
}

func (p *Pattern) tree() *syntax.Regexp {
	tree, err := syntax.Parse(p.expr, syntax.Perl)
	if err != nil {
		panic(fmt.Sprintf("match: %q no longer parses: %v", p.expr, err))
	}
	return tree.Simplify()
}

// compiled returns the pattern as a program, and as bits.
func (p *Pattern) compiled() *lazyProgram {
	p.program.once.Do(func() {
		if p.program.program = programOf(p); p.program.program != nil && p.weight.bits {
			p.program.nfa = newNFA(p.program.program)
		}
	})
	return &p.program
}

// programOf compiles patterns to one program; nil if that can't be done.
func programOf(patterns ...*Pattern) *program {
	trees := make([]*syntax.Regexp, len(patterns))
	for i, p := range patterns {
		trees[i] = p.tree()
	}
	p, err := newProgram(trees)
	if err != nil {
		return nil
	}
	return p
}

// always reports whether the pattern matches any text, as an empty string at its
// begin or end.
func (p *Pattern) always() bool {
	c := p.compiled()
	if c.program == nil {
		return false
	}
	w := walker{program: c.program}
	return w.empty(syntax.EmptyBeginText|syntax.EmptyBeginLine) || w.empty(syntax.EmptyEndText|syntax.EmptyEndLine)
}

// regexp returns the pattern as package regexp has it.
func (p *Pattern) regexp() *regexp.Regexp {
	p.re.once.Do(func() { p.re.re = regexp.MustCompile(p.expr) })
	return p.re.re
}

// behind returns the pattern as the first group of an expression that looks for
// it behind the first rune of a text, which the pattern's assertions still see;
// nil if there is no such expression.
func (p *Pattern) behind() *regexp.Regexp {
	p.inner.once.Do(func() {
		expr := p.expr
		if strings.Contains(expr, `\Q`) {
			// Where there is a quotation to end, this ends it; where there is
			// none, it is wrong.
			if _, err := regexp.Compile(expr + `\E`); err == nil {
				expr += `\E`
			}
		}
		p.inner.re, _ = regexp.Compile(`\A(?s:.)(?s:.*?)(` + expr + `)`)
	})
	return p.inner.re
}
