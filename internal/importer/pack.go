package importer

import (
	"regexp/syntax"
	"strings"

	"logscan/internal/rule"
)

// packer joins expressions by | to patterns within a rule's bounds. It knows what each
// takes, so that joining many costs no more than to compile each once.
type packer struct {
	size map[string]int // instructions that an expression compiles to
}

// instructions is what an expression takes; too many where it can't be compiled.
func (p *packer) instructions(pattern string) int {
	if n, known := p.size[pattern]; known {
		return n
	}
	n := rule.MaxProgram + 1
	if tree, err := syntax.Parse(pattern, syntax.Perl); err == nil {
		if prog, err := syntax.Compile(tree.Simplify()); err == nil {
			n = len(prog.Inst)
		}
	}
	if p.size == nil {
		p.size = map[string]int{}
	}
	p.size[pattern] = n
	return n
}

// slack is how far below the bounds joined patterns stay.
const slack = 64

// join makes alternatives behind a common begin of as few patterns as there is room for
// in each; "" is no begin.
func (p *packer) join(begin string, all []string) (joined []string) {
	var now []string
	bytes, instructions := 0, 0
	flush := func() {
		switch {
		case len(now) == 1 && begin == "":
			joined = append(joined, now[0])
		case len(now) > 0 && begin == "":
			joined = append(joined, "(?:"+strings.Join(now, ")|(?:")+")")
		case len(now) > 0:
			joined = append(joined, begin+"(?:"+strings.Join(now, "|")+")")
		}
		now = nil
		bytes, instructions = len(begin)+slack, p.instructions(begin)+slack
	}
	flush()
	for _, one := range all {
		if bytes+len(one)+5 > rule.MaxPattern || instructions+p.instructions(one)+2 > rule.MaxProgram {
			flush()
		}
		now = append(now, one)
		bytes += len(one) + 5
		instructions += p.instructions(one) + 2
	}
	flush()
	return joined
}

// joined are patterns of which there are no more than a rule may have, where there is a
// way.
func joined(all []string) []string {
	if len(all) <= rule.MaxConditions {
		return all
	}
	return new(packer).join("", all)
}
