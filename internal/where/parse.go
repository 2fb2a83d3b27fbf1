package where

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"logscan/internal/rule/match"
)

// Parse reads a condition: PATH OP VALUE. Its pattern, if it has one, is what compile
// makes of it, whose error says what is wrong. Errors are for users: they name the
// position, counted in characters from 1, and say what to write.
func Parse(text string, compile func(expr string) (*match.Pattern, error)) (*Condition, error) {
	p := parser{text: text}
	c, err := p.condition(compile)
	if err != nil {
		return nil, err
	}
	c.text = c.format()
	return c, nil
}

// Compile is for Parse where no bounds of patterns matter.
func Compile(expr string) (*match.Pattern, error) {
	if _, err := regexp.Compile(expr); err != nil {
		return nil, err
	}
	return match.NewPattern(expr)
}

type parser struct {
	text string
	i    int // in bytes
}

// wrong is an error about a place of the text.
func (p *parser) wrong(at int, format string, args ...any) error {
	return fmt.Errorf("%s at position %d", fmt.Sprintf(format, args...), utf8.RuneCountInString(p.text[:at])+1)
}

func (p *parser) blank() {
	for p.i < len(p.text) && (p.text[p.i] == ' ' || p.text[p.i] == '\t') {
		p.i++
	}
}

func (p *parser) condition(compile func(string) (*match.Pattern, error)) (*Condition, error) {
	if at := strings.IndexFunc(p.text, func(r rune) bool { return r == utf8.RuneError || r < ' ' && r != '\t' }); at >= 0 {
		return nil, fmt.Errorf("has a character at position %d that can't be looked for", utf8.RuneCountInString(p.text[:at])+1)
	}
	p.text = strings.Trim(p.text, " \t")
	if p.text == "" {
		return nil, fmt.Errorf("is empty: write PATH OP VALUE, such as status >= 500")
	}
	c := &Condition{}
	var err error
	if p.text[0] == '$' {
		err = p.groupOf(c)
	} else {
		c.path, err = p.path()
	}
	if err == nil {
		err = p.operator(c)
	}
	if err != nil {
		return nil, err
	}
	at := p.i
	p.blank()
	switch {
	case c.op == exists || c.op == missing:
		if p.i < len(p.text) {
			return nil, p.wrong(p.i, "nothing can follow %s; there is more", c.op)
		}
		return c, nil
	case p.i == len(p.text):
		return nil, p.wrong(at, `a value is missing behind %s; write "" for an empty one`, c.op)
	case c.op == matches || c.op == differs:
		err = p.pattern(c, compile)
	case c.op == in:
		err = p.list(c)
	default:
		err = p.single(c)
	}
	if err == nil && c.group == "" && c.path.isLevel() {
		err = p.levels(c)
	}
	return c, err
}

// groupOf reads $name or $1.
func (p *parser) groupOf(c *Condition) error {
	end := 1
	for end < len(p.text) && (isLetter(p.text[end]) || isDigit(p.text[end]) || p.text[end] == '_') {
		end++
	}
	if end == 1 {
		return p.wrong(1, `a group's name or number is missing; a field whose name begins with $ is written "$…"`)
	}
	c.group, p.i = p.text[1:end], end
	return nil
}

// path reads a path.
func (p *parser) path() (out path, err error) {
	for {
		at := p.i
		s := segment{}
		if p.i < len(p.text) && p.text[p.i] == '"' {
			s.quoted = true
			if s.key, err = p.quoted(); err != nil {
				return nil, err
			}
		} else {
			for p.i < len(p.text) && strings.IndexByte(" \t.[]\"=!<>~(),", p.text[p.i]) < 0 {
				p.i++
			}
			if s.key = p.text[at:p.i]; s.key == "" {
				return nil, p.wrong(at, `a field's name is missing; write one such as status, http.status or "k8s.io/app"`)
			}
		}
		out = append(out, s)
		for p.i < len(p.text) && p.text[p.i] == '[' {
			at := p.i
			n := digits([]byte(p.text[at+1:]))
			if n == 0 || n > 6 || !strings.HasPrefix(p.text[at+1+n:], "]") {
				return nil, p.wrong(at, "an index is a number in brackets, such as [0], unlike what stands")
			}
			index, _ := strconv.Atoi(p.text[at+1 : at+1+n])
			out = append(out, segment{index: index, isIndex: true})
			p.i = at + n + 2
		}
		if len(out) > maxSegments {
			return nil, p.wrong(at, "a path has at most %d parts; it has more", maxSegments)
		}
		if p.i == len(p.text) || p.text[p.i] != '.' {
			return out, nil
		}
		p.i++
	}
}

// quoted reads what is in quotes, where \" is a quote and \\ a backslash.
func (p *parser) quoted() (string, error) {
	var b strings.Builder
	begin := p.i
	for p.i++; p.i < len(p.text); p.i++ {
		switch c := p.text[p.i]; c {
		case '"':
			p.i++
			return b.String(), nil
		case '\\':
			if p.i++; p.i == len(p.text) || p.text[p.i] != '"' && p.text[p.i] != '\\' {
				return "", p.wrong(p.i-1, `in quotes write \\ for a backslash and \" for a quote, unlike what stands`)
			}
			b.WriteByte(p.text[p.i])
		default:
			b.WriteByte(c)
		}
	}
	return "", p.wrong(begin, "a quote is missing that ends the text which begins")
}

// operator reads what is asked of the field.
func (p *parser) operator(c *Condition) error {
	p.blank()
	at := p.i
	if at == len(p.text) {
		return p.wrong(at, "an operator is missing: write %s", allOps)
	}
	for p.i < len(p.text) && strings.IndexByte("=!<>~", p.text[p.i]) >= 0 {
		p.i++
	}
	if p.i == at {
		for p.i < len(p.text) && isLetter(p.text[p.i]) {
			p.i++
		}
	}
	is := p.text[at:p.i]
	if c.op = opNamed(is); c.op != noOp {
		return nil
	}
	for wrong, right := range map[string]string{"==": "=", "=>": ">=", "=<": "<=", "=~": "~", "<>": "!=", "!": "!="} {
		if is == wrong {
			return p.wrong(at, "%s is no operator: write %s instead, it stands", wrong, right)
		}
	}
	if is == "" {
		_, n := utf8.DecodeRuneInString(p.text[at:])
		is = p.text[at : at+n]
	}
	return p.wrong(at, "%.20q is no operator: write %s; it stands", is, allOps)
}

// single reads one value, which goes to the end.
func (p *parser) single(c *Condition) error {
	at := p.i
	var v literal
	if p.text[at] == '"' {
		text, err := p.quoted()
		if err != nil {
			return err
		}
		if p.i < len(p.text) {
			return p.wrong(p.i, `a value in quotes ends with them, and \" is a quote in it; there is more`)
		}
		v = literal{text: text, quoted: true}
	} else {
		if err := p.another(at); err != nil {
			return err
		}
		v = newLiteral(p.text[at:])
	}
	c.values = []literal{v}
	switch c.op {
	case less, most, more, least:
		if v.quantity.kind == noNumber && (c.group != "" || !c.path.isLevel()) {
			return p.wrong(at, "%s takes %s, not the value", c.op, numberOneOf)
		}
	}
	return nil
}

// another refuses a second condition behind a value, which people write.
func (p *parser) another(at int) error {
	rest := p.text[at:]
	for _, word := range []string{" and ", " AND ", " && ", " or ", " OR ", " || "} {
		n := strings.Index(rest, word)
		if n < 0 {
			continue
		}
		next := parser{text: rest[n+len(word):]}
		if _, err := next.condition(func(string) (*match.Pattern, error) { return nil, nil }); err == nil {
			return p.wrong(at+n+1, `give each condition by itself, all of them have to hold, or put the value in quotes; there is%s`, strings.TrimRight(word, " "))
		}
	}
	return nil
}

func newLiteral(text string) literal {
	return literal{text: text, quantity: parseQuantity([]byte(text))}
}

// list reads (a, b).
func (p *parser) list(c *Condition) error {
	if p.text[p.i] != '(' {
		return p.wrong(p.i, "in takes a list such as (a, b), which has to begin")
	}
	p.i++
	for {
		p.blank()
		at := p.i
		var v literal
		if p.i < len(p.text) && p.text[p.i] == '"' {
			text, err := p.quoted()
			if err != nil {
				return err
			}
			v = literal{text: text, quoted: true}
		} else {
			for p.i < len(p.text) && strings.IndexByte(`,()"`, p.text[p.i]) < 0 {
				p.i++
			}
			if v = newLiteral(strings.TrimRight(p.text[at:p.i], " \t")); v.text == "" {
				return p.wrong(at, `a value of the list is missing; write "" for an empty one`)
			}
		}
		c.values = append(c.values, v)
		p.blank()
		switch {
		case len(c.values) > maxListed:
			return p.wrong(at, "a list has at most %d values; it has more", maxListed)
		case p.i == len(p.text):
			return p.wrong(p.i, "a ) is missing")
		case p.text[p.i] == ',':
			p.i++
		case p.text[p.i] == ')' && p.i == len(p.text)-1:
			return nil
		case p.text[p.i] == ')':
			return p.wrong(p.i+1, "nothing can follow the list; there is more")
		default:
			return p.wrong(p.i, "write a comma between values, and quotes around what holds more; there is none")
		}
	}
}

// pattern reads an expression, which goes to the end.
func (p *parser) pattern(c *Condition, compile func(string) (*match.Pattern, error)) error {
	at := p.i
	c.expr = p.text[at:]
	if c.expr[0] == '"' {
		end := 1
		for end < len(c.expr) && c.expr[end] != '"' {
			if c.expr[end] == '\\' {
				end++
			}
			end++
		}
		switch {
		case end >= len(c.expr):
			return p.wrong(at, "a quote is missing that ends the text which begins")
		case end != len(c.expr)-1:
			return p.wrong(at+end+1, `a pattern in quotes ends with them, and \" is a quote in it; there is more`)
		}
		c.expr = strings.ReplaceAll(c.expr[1:end], `\"`, `"`)
	}
	var err error
	if c.pattern, err = compile(c.expr); err != nil {
		return fmt.Errorf("its pattern, from position %d, %w", utf8.RuneCountInString(p.text[:at])+1, err)
	}
	return nil
}

// levels reads the values of a condition on the level.
func (p *parser) levels(c *Condition) error {
	if c.op == matches || c.op == differs {
		return p.wrong(0, `the level is %s, and has no text: write "level" in quotes for the field; it stands`, levelOneOf)
	}
	for _, v := range c.values {
		l := levelNamed(bytes.ToLower([]byte(v.text)))
		if l == noLevel {
			at := strings.LastIndex(p.text, v.text)
			if v.quantity.kind != noNumber {
				return p.wrong(at, `the level is %s, not a number; write "level" in quotes for the field as it is: there is %.20q`, levelOneOf, v.text)
			}
			return p.wrong(at, "a level is %s, not %.20q", levelOneOf, v.text)
		}
		c.levels |= 1 << l
	}
	for i := range c.values {
		l := levelNamed([]byte(c.values[i].text))
		c.values[i] = literal{text: l.String()}
	}
	return nil
}
