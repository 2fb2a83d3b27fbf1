package where

import (
	"slices"
	"strings"

	"logscan/internal/rule/match"
)

// op is what a condition asks of a field.
type op uint8

const (
	noOp op = iota
	equal
	unequal
	less
	most
	more
	least
	matches
	differs
	in
	exists
	missing
)

// ops are how they are written.
var ops = [...]string{"", "=", "!=", "<", "<=", ">", ">=", "~", "!~", "in", "exists", "missing"}

func (o op) String() string { return ops[o] }

// opNamed returns the operator that a text is, if it is one.
func opNamed(text string) op { return op(max(slices.Index(ops[:], text), 0)) }

const (
	allOps      = "=, !=, <, <=, >, >=, ~, !~, in, exists or missing"
	maxListed   = 256 // values of in
	levelOneOf  = "trace, debug, info, warn, error or fatal"
	numberOneOf = "a number such as 500, a duration such as 1.5s, or a size such as 10MB"
)

// Condition asks something of one field of a line, or of a group of a rule's pattern.
type Condition struct {
	text    string // in its usual form
	path    path
	group   string // of the pattern; "" for a field
	op      op
	values  []literal
	pattern *match.Pattern // of matches and differs
	expr    string         // of that
	levels  uint8          // where the path is the level: a bit for each that the values name, or are compared to
}

// literal is a value that a condition names.
type literal struct {
	text     string
	quantity quantity // noNumber where it is in quotes, or no number
	quoted   bool
}

// String is the condition in its usual form, which Parse takes.
func (c *Condition) String() string { return c.text }

// Group is which group of a rule's pattern the condition is about, by its name or its
// number; "" where it is about a field.
func (c *Condition) Group() string { return c.group }

// Field is what the condition is about, as people write it.
func (c *Condition) Field() string {
	if c.group != "" {
		return "$" + c.group
	}
	return c.path.String()
}

// format makes text.
func (c *Condition) format() string {
	var b strings.Builder
	b.WriteString(c.Field() + " " + c.op.String())
	switch {
	case c.op == in:
		for i, v := range c.values {
			b.WriteString([]string{", ", " ("}[b2i(i == 0)] + v.String())
		}
		b.WriteByte(')')
	case c.pattern != nil:
		b.WriteString(" " + formatPattern(c.expr))
	case len(c.values) > 0:
		b.WriteString(" " + c.values[0].String())
	}
	return b.String()
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (l literal) String() string {
	if l.quoted {
		return quote(l.text)
	}
	return l.text
}

// formatPattern writes an expression as it is, or in quotes where it would be read as
// something else. In quotes only a quote is to be escaped.
func formatPattern(expr string) string {
	if expr != "" && strings.Trim(expr, " \t") == expr && !strings.HasPrefix(expr, `"`) {
		return expr
	}
	var b strings.Builder
	for i := 0; i < len(expr); i++ {
		switch {
		case expr[i] == '"':
			b.WriteByte('\\')
		case expr[i] == '\\' && i+1 < len(expr):
			b.WriteByte(expr[i])
			i++
		}
		b.WriteByte(expr[i])
	}
	return `"` + b.String() + `"`
}

// Verdict is whether a condition holds.
type Verdict uint8

// The verdicts. Unknown is what it would take too much work to find out.
const (
	No Verdict = iota
	Yes
	Unknown
)

func verdict(holds bool) Verdict {
	if holds {
		return Yes
	}
	return No
}

// absent is the verdict for a line without the field.
func (c *Condition) absent() Verdict { return verdict(c.op == missing || c.op == unequal) }

// ofLevel is the verdict for a line of a level.
func (c *Condition) ofLevel(l level) Verdict {
	if l == noLevel {
		return c.absent()
	}
	bit := uint8(1) << l
	switch c.op {
	case equal, in:
		return verdict(c.levels&bit != 0)
	case unequal:
		return verdict(c.levels&bit == 0)
	case less:
		return verdict(bit < c.levels)
	case most:
		return verdict(bit <= c.levels)
	case more:
		return verdict(bit > c.levels)
	case least:
		return verdict(bit >= c.levels)
	}
	return verdict(c.op == exists)
}

// of is the verdict for a value, where the condition has no pattern.
func (c *Condition) of(v *value) Verdict {
	switch c.op {
	case exists:
		return Yes
	case missing:
		return No
	case equal, unequal, in:
		for i := range c.values {
			if c.values[i].is(v) {
				return verdict(c.op != unequal)
			}
		}
		return verdict(c.op == unequal)
	}
	with := &c.values[0].quantity
	q := v.number()
	if q.kind != with.kind {
		return No
	}
	return c.ordered(q.compare(*with))
}

func (c *Condition) ordered(order int) Verdict {
	switch c.op {
	case less:
		return verdict(order < 0)
	case most:
		return verdict(order <= 0)
	case more:
		return verdict(order > 0)
	}
	return verdict(order >= 0)
}

// is reports whether a value is this one.
func (l *literal) is(v *value) bool {
	if l.quantity.kind == noNumber {
		return string(v.decoded()) == l.text
	}
	// Equal texts are equal numbers.
	q := v.number()
	return q.kind == l.quantity.kind && q.compare(l.quantity) == 0
}

// value is what stands in a field.
type value struct {
	raw       []byte // as in the line
	escaped   bool   // raw has escape sequences
	unescaped bool   // buffer has it without
	numbered  bool   // quantity is set
	quantity  quantity
	buffer    []byte
}

// decoded is the value as text.
func (v *value) decoded() []byte {
	if !v.escaped {
		return v.raw
	}
	if !v.unescaped {
		v.buffer, v.unescaped = unescape(v.buffer[:0], v.raw), true
	}
	return v.buffer
}

func (v *value) number() *quantity {
	if !v.numbered {
		v.quantity, v.numbered = parseQuantity(v.decoded()), true
	}
	return &v.quantity
}
