package where

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// naiveField is a value of a line: the keys and indexes that lead to it, and its text.
type naiveField struct {
	steps []any
	text  string
}

var (
	naiveObject = regexp.MustCompile(`^\{[ \t\r\n]*"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"[ \t\r\n]*:`)
	naiveGap    = regexp.MustCompile(`^[ \t\n(\[{,;|]+`)
	naiveQuote  = regexp.MustCompile(`^"(?:[^"\\]|\\(?s:.))*"`)
	naiveKey    = regexp.MustCompile(`^([A-Za-z0-9_.@/:\x{80}-\x{10FFFF}-]+)=`)
	naiveToken  = regexp.MustCompile(`^[^ \t\n]+`)
	naiveEscape = regexp.MustCompile(`\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\(?s:.)`)
)

// naiveFields reads all fields of a line, in their order; object is where its JSON
// begins, or -1.
func naiveFields(line string) (fields []naiveField, object int) {
	for i := range len(line) {
		if (i == 0 || strings.IndexByte(" \t\n|:>])", line[i-1]) >= 0) && naiveObject.MatchString(line[i:]) {
			d := json.NewDecoder(strings.NewReader(line[i:]))
			d.UseNumber()
			naiveValue(d, line[i:], nil, 0, &fields)
			return fields, i
		}
	}
	return naivePairs(line), -1
}

// naiveValue reads the next value, and reports whether it was whole.
func naiveValue(d *json.Decoder, text string, steps []any, depth int, fields *[]naiveField) bool {
	token, err := d.Token()
	if err != nil {
		return false
	}
	end := func() int { return int(d.InputOffset()) }
	is := ""
	switch v := token.(type) {
	case json.Delim:
		begin := end() - 1
		if depth >= maxDepth {
			return false
		}
		for n := 0; d.More(); n++ {
			step := any(n)
			if v == '{' {
				key, err := d.Token()
				if err != nil {
					return false
				}
				step = key.(string)
			}
			if !naiveValue(d, text, append(slices.Clone(steps), step), depth+1, fields) {
				return false
			}
		}
		if _, err := d.Token(); err != nil {
			return false
		}
		is = text[begin:end()]
	case string:
		is = v
	case json.Number:
		if is = v.String(); end() == len(text) {
			return false
		}
	case bool:
		is = strconv.FormatBool(v)
	case nil:
		return true
	}
	*fields = append(*fields, naiveField{steps, is})
	return true
}

func naivePairs(line string) (fields []naiveField) {
	for rest := line; rest != ""; {
		if gap := naiveGap.FindString(rest); gap != "" {
			rest = rest[len(gap):]
			continue
		}
		if q := naiveQuote.FindString(rest); q != "" {
			rest = rest[len(q):]
			continue
		}
		m := naiveKey.FindStringSubmatch(rest)
		if m == nil || strings.HasPrefix(rest[len(m[0]):], "=") {
			rest = rest[max(1, len(naiveToken.FindString(rest))):]
			continue
		}
		rest = rest[len(m[0]):]
		value := ""
		if strings.HasPrefix(rest, `"`) {
			q := naiveQuote.FindString(rest)
			if q == "" {
				return fields
			}
			rest = rest[len(q):]
			value = naiveEscape.ReplaceAllStringFunc(q[1:len(q)-1], func(s string) string {
				var out string
				if json.Unmarshal([]byte(`"`+s+`"`), &out) != nil {
					return s
				}
				return out
			})
		} else {
			value = naiveToken.FindString(rest)
			rest = rest[len(value):]
			all := value
			for value != "" {
				last := value[len(value)-1]
				open := map[byte]string{')': "(", ']': "[", '}': "{"}[last]
				if last != ',' && last != ';' && (open == "" || strings.Contains(all, open)) {
					break
				}
				value = value[:len(value)-1]
			}
		}
		fields = append(fields, naiveField{[]any{m[1]}, value})
	}
	return fields
}

// naiveHolds is whether a condition on a field holds for a line.
func naiveHolds(c *Condition, line string) bool {
	fields, object := naiveFields(line)
	if c.path.isLevel() {
		return naiveLevelHolds(c, naiveLevel(fields, line, object))
	}
	for _, f := range fields {
		if naiveLeads(c.path, f.steps) {
			return naiveIs(c, f.text)
		}
	}
	return c.op == missing || c.op == unequal
}

func naiveLeads(p path, steps []any) bool {
	var want []any
	var keys []string
	for _, s := range p {
		if s.isIndex {
			want = append(want, s.index)
			keys = append(keys, "\x00")
		} else {
			want = append(want, s.key)
			keys = append(keys, s.key)
		}
	}
	return slices.Equal(want, steps) || slices.Equal([]any{strings.Join(keys, ".")}, steps)
}

func naiveIs(c *Condition, text string) bool {
	switch c.op {
	case exists:
		return true
	case missing:
		return false
	case matches, differs:
		return regexp.MustCompile(c.expr).MatchString(text) == (c.op == matches)
	case equal, in:
		return slices.ContainsFunc(c.values, func(l literal) bool { return naiveEqual(l, text) })
	case unequal:
		return !naiveEqual(c.values[0], text)
	}
	a, b := naiveNumber(text), naiveNumber(c.values[0].text)
	if a.kind == "" || a.kind != b.kind {
		return false
	}
	order := a.compare(b)
	return map[op]bool{less: order < 0, most: order <= 0, more: order > 0, least: order >= 0}[c.op]
}

func naiveEqual(l literal, text string) bool {
	if a, b := naiveNumber(l.text), naiveNumber(text); !l.quoted && a.kind != "" && b.kind != "" {
		return a.kind == b.kind && a.compare(b) == 0
	}
	return l.text == text
}

type naiveQuantity struct {
	kind  string
	exact *big.Rat // nil where it is no whole number that fits an int64
	f     float64
}

var (
	naivePlain = regexp.MustCompile(`^[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?$`)
	naiveUnits = regexp.MustCompile(`^[+-]?\d+(\.\d+)?( ?(ns|us|µs|μs|ms|s|m|min|h|d)(\d+(\.\d+)?(ns|us|µs|μs|ms|s|m|min|h|d))*| ?([kKMGTP]?B|[KMGTP]iB))$`)
	naivePart  = regexp.MustCompile(`(\d+(?:\.\d+)?) ?([^\d.]+)`)
	naiveSizes = map[string]string{
		"ns": "1", "us": "1000", "µs": "1000", "μs": "1000", "ms": "1000000", "s": "1000000000", "m": "60000000000", "min": "60000000000", "h": "3600000000000", "d": "86400000000000",
		"B": "1", "kB": "1000", "KB": "1000", "MB": "1000000", "GB": "1000000000", "TB": "1000000000000", "PB": "1000000000000000",
		"KiB": "1024", "MiB": "1048576", "GiB": "1073741824", "TiB": "1099511627776", "PiB": "1125899906842624",
	}
)

func naiveNumber(text string) (q naiveQuantity) {
	if len(text) > maxNumber {
		return q
	}
	sum := new(big.Rat)
	switch {
	case naivePlain.MatchString(text):
		q.kind = "number"
		if strings.ContainsAny(text, "eE") {
			q.f, _ = strconv.ParseFloat(text, 64)
			return q
		}
		sum.SetString(text)
	case naiveUnits.MatchString(text):
		q.kind = "duration"
		for _, part := range naivePart.FindAllStringSubmatch(text, -1) {
			n, _ := new(big.Rat).SetString(part[1])
			unit, _ := new(big.Rat).SetString(naiveSizes[part[2]])
			sum.Add(sum, n.Mul(n, unit))
			if strings.HasSuffix(part[2], "B") {
				q.kind = "size"
			}
		}
		if text[0] == '-' {
			sum.Neg(sum)
		}
	default:
		return q
	}
	q.f, _ = sum.Float64()
	if sum.IsInt() && sum.Num().IsInt64() {
		q.exact = sum
	}
	return q
}

func (q naiveQuantity) compare(with naiveQuantity) int {
	if q.exact != nil && with.exact != nil {
		return q.exact.Cmp(with.exact)
	}
	switch {
	case q.f < with.f:
		return -1
	case q.f > with.f:
		return 1
	}
	return 0
}

// naiveLevel looks through all fields; what values and texts say is the package's own,
// which TestLevel has.
func naiveLevel(fields []naiveField, line string, object int) level {
	strong, weak, compact := noLevel, noLevel, false
	for _, f := range fields {
		for name, key := range levelKeys {
			for _, c := range cases(name) {
				if !naiveLeads(path{{key: c}}, f.steps) && !(strings.Contains(c, ".") && naiveLeads(naiveSplit(c), f.steps)) {
					continue
				}
				l := levelValue(key, []byte(f.text))
				if key == weakKey || key == letterKey {
					if weak == noLevel {
						weak = l
					}
				} else if strong == noLevel {
					strong = l
				}
			}
		}
		compact = compact || naiveLeads(path{{key: "@t"}}, f.steps)
	}
	if object < 0 {
		text, pri := textLevel([]byte(line))
		return naiveFirst(text, strong, weak, pri)
	}
	if compact {
		compact := naiveFirst(strong, weak, levelInfo)
		return compact
	}
	text, pri := textLevel([]byte(line[:object]))
	return naiveFirst(strong, weak, text, pri)
}

func naiveSplit(key string) (p path) {
	for _, s := range strings.Split(key, ".") {
		p = append(p, segment{key: s})
	}
	return p
}

func naiveFirst(all ...level) level {
	for _, l := range all {
		if l != noLevel {
			return l
		}
	}
	return noLevel
}

func naiveLevelHolds(c *Condition, l level) bool {
	if l == noLevel {
		return c.op == missing || c.op == unequal
	}
	var with []int
	for _, v := range c.values {
		with = append(with, slices.Index(Levels, v.text))
	}
	is := slices.Index(Levels, l.String())
	switch c.op {
	case exists, missing:
		return c.op == exists
	case equal, in:
		return slices.Contains(with, is)
	case unequal:
		return is != with[0]
	}
	return map[op]bool{less: is < with[0], most: is <= with[0], more: is > with[0], least: is >= with[0]}[c.op]
}

// naiveAll evaluates conditions as one would who doesn't think of costs: a line is
// decoded into a map, for each rule, or for all of them once.
func naiveAll(line []byte, rules [][]*Condition, once bool) (hits int) {
	var v map[string]any
	for i, conditions := range rules {
		if i == 0 || !once {
			v = nil
			d := json.NewDecoder(bytes.NewReader(line))
			d.UseNumber()
			if d.Decode(&v) != nil {
				return 0
			}
		}
		if !slices.ContainsFunc(conditions, func(c *Condition) bool { return !naiveInMap(c, v) }) {
			hits++
		}
	}
	return hits
}

func naiveInMap(c *Condition, v map[string]any) bool {
	var at any = v
	for _, s := range c.path {
		m, _ := at.(map[string]any)
		at = m[s.key]
	}
	if at == nil {
		return c.op == unequal || c.op == missing
	}
	text := fmt.Sprint(at)
	switch c.op {
	case equal, in:
		return slices.ContainsFunc(c.values, func(l literal) bool { return l.text == text })
	case unequal:
		return c.values[0].text != text
	}
	a, err := strconv.ParseFloat(text, 64)
	b, err2 := strconv.ParseFloat(c.values[0].text, 64)
	if err != nil || err2 != nil {
		d, _ := time.ParseDuration(text)
		with, _ := time.ParseDuration(c.values[0].text)
		a, b = float64(d), float64(with)
	}
	return map[bool]bool{true: a > b, false: a <= b}[c.op == more || c.op == least]
}
