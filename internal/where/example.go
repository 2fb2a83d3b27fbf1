package where

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// Example makes up what conditions hold for: values of fields, as the members of an
// object that Object writes, and texts of a pattern's groups by their names or numbers.
// What it finds nothing for is left out. A text for an expression is what match returns.
func Example(conditions []*Condition, match func(expr string) (string, bool)) (fields map[string]any, groups map[string]string) {
	fields, groups = map[string]any{}, map[string]string{}
	about := map[string][]*Condition{}
	var order []string
	for _, c := range conditions {
		of := c.Field()
		if about[of] == nil {
			order = append(order, of)
		}
		about[of] = append(about[of], c)
	}
	for _, of := range order {
		same := about[of]
		text, ok := example(same, match)
		switch {
		case !ok:
		case same[0].group != "":
			groups[same[0].group] = text
		default:
			put(fields, same[0].path, scalar(text))
		}
	}
	return fields, groups
}

// example is a value for which conditions on one field hold; false where there has to be
// none, or none is found.
func example(conditions []*Condition, match func(expr string) (string, bool)) (string, bool) {
	var b Builder
	var tries []string
	absent := true
	for _, c := range conditions {
		b.Add(c)
		tries = append(tries, c.candidates(match)...)
		absent = absent && c.absent() == Yes
	}
	if absent {
		return "", false
	}
	s := b.Build().Acquire()
	defer s.Release()
	for _, text := range append(tries, "x", "0", "1", "-1", "") {
		s.Reset(nil)
		holds := true
		for n, c := range conditions {
			v := Unknown
			if c.group == "" && c.path.isLevel() {
				v = c.ofLevel(levelNamed([]byte(text)))
			} else {
				v = s.HoldsFor(b.Add(conditions[n]), []byte(text), true)
			}
			holds = holds && v == Yes
		}
		if holds {
			return text, true
		}
	}
	return "", false
}

// candidates are values for which a condition probably holds.
func (c *Condition) candidates(match func(expr string) (string, bool)) (out []string) {
	for _, v := range c.values {
		out = append(out, v.text)
		switch q := v.quantity; {
		case q.kind == plain && !q.inexact:
			out = append(out, strconv.FormatInt(q.i+1, 10), strconv.FormatInt(q.i-1, 10))
		case q.kind != noNumber:
			unit := strings.TrimLeft(v.text, "+-0123456789. ")
			out = append(out, "10"+v.text, "0"+unit, "-1"+unit)
		default:
			out = append(out, v.text+"x")
		}
	}
	if c.group == "" && c.path.isLevel() {
		out = append([]string{"error"}, Levels...)
	}
	if c.op == matches {
		if text, ok := match(c.expr); ok {
			out = append(out, text)
		}
	}
	return out
}

// scalar is a text as JSON has it.
func scalar(text string) any {
	if text == "true" || text == "false" {
		return text == "true"
	}
	if n := []byte(text + " "); number(n, 0) == len(text) {
		return json.Number(text)
	}
	return text
}

// put puts a value where a path leads, unless there is something else on the way.
func put(fields map[string]any, p path, v any) {
	var in func(at any, p path) any
	in = func(at any, p path) any {
		switch {
		case len(p) == 0:
			return v
		case p[0].isIndex:
			list, _ := at.([]any)
			if p[0].index > maxListed {
				return at
			}
			for len(list) <= p[0].index {
				list = append(list, nil)
			}
			list[p[0].index] = in(list[p[0].index], p[1:])
			return list
		}
		m, ok := at.(map[string]any)
		if !ok {
			m = map[string]any{}
		}
		m[p[0].key] = in(m[p[0].key], p[1:])
		return m
	}
	in(fields, p)
}

// Object is an object in JSON, with a text under a key that it doesn't have yet.
func Object(fields map[string]any, text string) string {
	all := map[string]any{}
	for k, v := range fields {
		all[k] = v
	}
	for _, key := range []string{"msg", "message", "text"} {
		if _, taken := all[key]; !taken && text != "" {
			all[key] = text
			break
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(all) // texts and numbers only
	return strings.TrimSuffix(b.String(), "\n")
}
