package importer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// The language of Dozzle's expressions is that of expr-lang; this is the part of it that
// says which lines, and which containers, an alert is for.
//
//	or   = and { ("||" | "or") and }
//	and  = not { ("&&" | "and") not }
//	not  = ("!" | "not") not | test
//	test = "(" or ")" | "true" | "false" | term [ operator term ]

// boolean is an expression that is true or false.
type boolean struct {
	op       string // "and", "or", "not", "true", "false", or an operator of a test
	subs     []*boolean
	not      bool // of a test: turned round
	left     term
	right    term
	original string // of a test
}

// term is what a test compares: a path, or a value, or several.
type term struct {
	path   []string // such as message, status; a function before it is in fn
	fn     string   // lower or upper
	text   string   // of a value
	kind   byte     // p path, s text, n number, b truth, 0 nil, l list
	values []term
}

const (
	maxExpression = 16 << 10 // bytes
	maxBrackets   = 100
)

type exprReader struct {
	text  string
	at    int
	depth int
}

// parseExpr reads an expression.
func parseExpr(text string) (*boolean, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("it is longer than %d bytes", maxExpression)
	}
	r := &exprReader{text: text}
	e, err := r.or()
	if err == nil && r.blank() < len(text) {
		err = r.fail("what follows isn't known here")
	}
	return e, err
}

func (r *exprReader) fail(what string) error {
	return fmt.Errorf("%s, at character %d", what, len([]rune(r.text[:min(r.at, len(r.text))]))+1)
}

func (r *exprReader) blank() int {
	for r.at < len(r.text) && strings.IndexByte(" \t\r\n", r.text[r.at]) >= 0 {
		r.at++
	}
	return r.at
}

// take goes behind a sign or a word, if there it is.
func (r *exprReader) take(word string) bool {
	r.blank()
	rest, ok := strings.CutPrefix(r.text[r.at:], word)
	if !ok || isNameByte(word[len(word)-1]) && rest != "" && isNameByte(rest[0]) {
		return false
	}
	r.at += len(word)
	return true
}

func isNameByte(c byte) bool {
	return c == '_' || c < 0x80 && (unicode.IsLetter(rune(c)) || unicode.IsDigit(rune(c)))
}

func (r *exprReader) chain(op string, words []string, next func() (*boolean, error)) (*boolean, error) {
	first, err := next()
	if err != nil {
		return nil, err
	}
	all := []*boolean{first}
	for r.take(words[0]) || r.take(words[1]) {
		e, err := next()
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	if len(all) == 1 {
		return first, nil
	}
	return &boolean{op: op, subs: all}, nil
}

func (r *exprReader) or() (*boolean, error)  { return r.chain("or", []string{"||", "or"}, r.and) }
func (r *exprReader) and() (*boolean, error) { return r.chain("and", []string{"&&", "and"}, r.not) }

func (r *exprReader) not() (*boolean, error) {
	if r.depth++; r.depth > maxBrackets {
		return nil, r.fail("its brackets are too deep")
	}
	defer func() { r.depth-- }()
	r.blank()
	if !strings.HasPrefix(r.text[r.at:], "!=") && r.take("!") || r.take("not") {
		e, err := r.not()
		return &boolean{op: "not", subs: []*boolean{e}}, err
	}
	if r.take("(") {
		e, err := r.or()
		if err == nil && !r.take(")") {
			err = r.fail("a bracket has no end")
		}
		return e, err
	}
	return r.test()
}

// operators are those of tests.
var operators = []string{"==", "!=", "<=", ">=", "<", ">", "contains", "startsWith", "endsWith", "matches", "in"}

func (r *exprReader) test() (*boolean, error) {
	from := r.blank()
	left, err := r.term()
	if err != nil {
		return nil, err
	}
	e := &boolean{left: left}
	e.not = r.take("not")
	for _, op := range operators {
		if r.take(op) {
			e.op = op
			break
		}
	}
	switch {
	case e.op == "" && e.not:
		return nil, r.fail("an operator is missing behind not")
	case e.op == "" && left.kind == 'b':
		return &boolean{op: left.text}, nil
	case e.op == "" && left.kind == 'p':
		e.op, e.right = "==", term{kind: 'b', text: "true"}
	case e.op == "":
		return nil, r.fail("this is no test that is known here")
	default:
		if e.right, err = r.term(); err != nil {
			return nil, err
		}
	}
	e.original = strings.TrimSpace(r.text[from:r.at])
	return e, nil
}

func (r *exprReader) term() (t term, err error) {
	r.blank()
	if r.at == len(r.text) {
		return t, r.fail("something is missing at the end")
	}
	switch c := r.text[r.at]; {
	case c == '"' || c == '\'' || c == '`':
		t.kind = 's'
		t.text, err = r.quoted(c)
		return t, err
	case c == '[':
		t.kind = 'l'
		for r.at++; !r.take("]"); {
			v, err := r.term()
			if err != nil {
				return t, err
			}
			t.values = append(t.values, v)
			if !r.take(",") && (r.blank() == len(r.text) || r.text[r.at] != ']') {
				return t, r.fail("a list has no end")
			}
		}
		return t, nil
	case '0' <= c && c <= '9' || c == '-' || c == '.':
		from := r.at
		for r.at < len(r.text) && strings.IndexByte("0123456789.eE_-+", r.text[r.at]) >= 0 {
			r.at++
		}
		t.kind, t.text = 'n', strings.ReplaceAll(r.text[from:r.at], "_", "")
		if _, err := strconv.ParseFloat(t.text, 64); err != nil {
			return t, r.fail("this is no number")
		}
		return t, nil
	}
	name := r.word()
	switch name {
	case "":
		return t, r.fail("what stands isn't known here")
	case "true", "false":
		return term{kind: 'b', text: name}, nil
	case "nil":
		return term{kind: '0'}, nil
	case "lower", "upper":
		if r.take("(") {
			if r.depth++; r.depth > maxBrackets {
				return t, r.fail("its brackets are too deep")
			}
			t, err = r.term()
			r.depth--
			if err == nil && (!r.take(")") || t.kind != 'p' || t.fn != "") {
				err = r.fail("a function of this isn't known here")
			}
			t.fn = name
			return t, err
		}
	}
	t = term{kind: 'p', path: []string{name}}
	for {
		switch {
		case strings.HasPrefix(r.text[r.at:], "("):
			return t, r.fail("the function " + name + " isn't known here")
		case r.take("?.") || r.take("."):
			name = r.word()
			if name == "" {
				return t, r.fail("a name is missing behind the dot")
			}
			t.path = append(t.path, name)
		case strings.HasPrefix(r.text[r.at:], "["):
			r.at++
			key, err := r.term()
			if err != nil {
				return t, err
			}
			if key.kind != 's' || !r.take("]") {
				return t, r.fail("what stands in brackets isn't known here")
			}
			t.path = append(t.path, key.text)
		default:
			return t, nil
		}
	}
}

// word reads a name; "" where there is none.
func (r *exprReader) word() string {
	from := r.at
	for r.at < len(r.text) && isNameByte(r.text[r.at]) {
		r.at++
	}
	return r.text[from:r.at]
}

// quoted reads a text in quotes; those of ` have no escapes.
func (r *exprReader) quoted(quote byte) (string, error) {
	var b strings.Builder
	for r.at++; r.at < len(r.text); {
		if r.text[r.at] == quote {
			r.at++
			return b.String(), nil
		}
		if r.text[r.at] != '\\' || quote == '`' {
			b.WriteByte(r.text[r.at])
			r.at++
			continue
		}
		c, multibyte, rest, err := strconv.UnquoteChar(r.text[r.at:], quote)
		if err != nil {
			return "", r.fail("this escape isn't known here")
		}
		if c < 0x80 || multibyte {
			b.WriteRune(c)
		} else {
			b.WriteByte(byte(c))
		}
		r.at = len(r.text) - len(rest)
	}
	return "", r.fail("a text has no end")
}

const maxWays = 16 // of an expression with ||; each becomes a rule

// ways is the expression as an alternative of conjunctions of tests.
func (e *boolean) ways(not bool) ([][]*boolean, error) {
	switch e.op {
	case "true", "false":
		if (e.op == "true") != not {
			return [][]*boolean{nil}, nil
		}
		return nil, nil
	case "not":
		return e.subs[0].ways(!not)
	case "or", "and":
		all := [][]*boolean{nil}
		if (e.op == "or") != not {
			all = nil
		}
		for _, s := range e.subs {
			ways, err := s.ways(not)
			if err != nil {
				return nil, err
			}
			if (e.op == "or") != not {
				all = append(all, ways...)
			} else {
				all = cross(all, ways)
			}
			if len(all) > maxWays {
				return nil, fmt.Errorf("it has more than %d ways to be true", maxWays)
			}
		}
		return all, nil
	}
	t := *e
	t.not = e.not != not
	return [][]*boolean{{&t}}, nil
}

func cross(a, b [][]*boolean) (all [][]*boolean) {
	for _, x := range a {
		for _, y := range b {
			if len(all) > maxWays {
				return all
			}
			all = append(all, append(append([]*boolean(nil), x...), y...))
		}
	}
	return all
}
