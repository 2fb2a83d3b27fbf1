package labels

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"logscan/internal/nearest"
	"logscan/internal/rule"
)

// Prefix is what the keys begin with that are logscan's.
const Prefix = "logscan."

// Bounds of what one workload's labels may say.
const (
	MaxBytes    = 16 << 10 // of all keys and values
	MaxRules    = 50
	MaxSilences = 10
	MaxPacks    = 50
	maxProblems = 20  // beyond, they are only counted
	maxShown    = 200 // bytes of a key or value in a Problem
)

// The names behind Prefix.
const (
	keyEnable   = "enable"
	keyWorkload = "workload"
	KeyPacks    = "packs" // names of packs, with commas between
	keyRule     = "rule"
	keySilence  = "silence"
)

var topNames = []string{keyEnable, keyWorkload, KeyPacks, keyRule, keySilence}

// Own returns the labels and log options that are logscan's, as many as have MaxBytes, and
// how many are left out: those come first that are about the container, then the others by
// their keys. Where both have a key, it is the log option that counts: labels may come with
// an image, options never do.
func Own(labels, options map[string]string) (own map[string]string, left int) {
	all := map[string]string{}
	for _, from := range []map[string]string{labels, options} {
		for key, value := range from {
			if strings.HasPrefix(key, Prefix) {
				all[key] = value
			}
		}
	}
	size := 0
	about := func(key string) int { return slices.Index([]string{Prefix + keyWorkload, Prefix + keyEnable}, key) }
	byKey := func(a, b string) int { return cmp.Or(-cmp.Compare(about(a), about(b)), cmp.Compare(a, b)) }
	for _, key := range slices.SortedFunc(maps.Keys(all), byKey) {
		if n := len(key) + len(all[key]); size+n <= MaxBytes {
			size += n
			continue
		}
		left++
		delete(all, key)
	}
	if len(all) == 0 {
		return nil, left
	}
	return all, left
}

// Declares reports whether a label says something of a rule or a silence.
func Declares(key string) bool {
	return strings.HasPrefix(key, Prefix+keyRule+".") || strings.HasPrefix(key, Prefix+keySilence+".")
}

// Enabled reads whether a container is scanned; it is not ok where own says nothing of
// that, or what can't be understood.
func Enabled(own map[string]string) (on, ok bool) {
	switch own[Prefix+keyEnable] {
	case "true", "on":
		return true, true
	case "false", "off":
		return false, true
	}
	return false, false
}

// Workload reads of which workload a container is; "" where own says nothing of that.
func Workload(own map[string]string) string { return own[Prefix+keyWorkload] }

// Problem is why something isn't in effect that a label says.
type Problem struct {
	Key    string `json:"key"` // of the label, or what the labels of one thing begin with; "" where it is about all
	Reason string `json:"reason"`
}

func (p Problem) String() string {
	if p.Key == "" {
		return p.Reason
	}
	return p.Key + ": " + p.Reason
}

// Declared is what labels say, as far as it is right.
type Declared struct {
	Rules    []Rule    // by name
	Silences []Silence // by name
	Packs    []string
	Problems []Problem // at most maxProblems, by key, and one about the others
}

// Rule is a rule that labels declare.
type Rule struct {
	Name    string
	Key     string                     // what its labels begin with
	Members map[string]json.RawMessage // as rule.Fields.Apply takes them, with its name and workload
	Rule    rule.Rule                  // that they make, validated
}

// Known is what there is that labels may name.
type Known struct {
	Triggers []string
	Packs    []string
}

// Read reads what own, as of Own, says for a workload; left is how many more there were.
// What depends on other things than the labels themselves and known is left to others.
func Read(own map[string]string, left int, workload string, known Known) Declared {
	r := reader{workload: workload, known: known, things: map[string]map[string]thing{keyRule: {}, keySilence: {}}}
	if left > 0 {
		r.problem("", "%d labels are left out: those that begin with %s, and the log options of these names, may have %d bytes in all", left, Prefix, MaxBytes)
	}
	for _, key := range slices.Sorted(maps.Keys(own)) {
		r.label(key, own[key])
	}
	r.rules()
	r.silences()
	r.out.Problems = bounded(r.out.Problems)
	return r.out
}

// reader is a call of Read.
type reader struct {
	workload string
	known    Known
	things   map[string]map[string]thing // by kind and name
	out      Declared
}

// thing is what is said about a rule or a silence, by field.
type thing map[string]*said

// said is what is said about a field: one text, or several by number.
type said struct {
	key   string
	one   *string
	parts map[int]string
}

func (r *reader) problem(key, format string, args ...any) {
	reason := strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, fmt.Sprintf(format, args...)) // an error may quote what was written
	r.out.Problems = append(r.out.Problems, Problem{shown(key), reason})
}

func (r *reader) label(key, value string) {
	name, rest, more := strings.Cut(strings.TrimPrefix(key, Prefix), ".")
	switch {
	case name == keyRule || name == keySilence:
		if !more {
			rest = ""
		}
		r.field(name, key, rest, value)
	case name == "trigger" || name == "triggers":
		r.problem(key, "labels can't add triggers, and hold no URLs or secrets: add one by docker logscan trigger add, and name it in %s%s.NAME.triggers", Prefix, keyRule)
	case more || !slices.Contains(topNames, name):
		r.problem(key, "there is none among %s%s", list(topNames), suggest(name, topNames, ""))
	case name == keyEnable:
		if _, ok := Enabled(map[string]string{Prefix + keyEnable: value}); !ok {
			r.problem(key, "must be true or false, not %s: the container is scanned", quoted(value))
		}
	case name == keyWorkload:
		if err := rule.CheckText(value, rule.MaxWorkload); value == "" || err != nil {
			r.problem(key, "must be a name of at most %d printable characters: the workload is %s", rule.MaxWorkload, quoted(r.workload))
		}
	case name == KeyPacks:
		r.packs(key, value)
	}
}

// field notes what a label says of a field of a rule or a silence: NAME.FIELD or
// NAME.FIELD.NUMBER.
func (r *reader) field(kind, key, rest, value string) {
	parts := strings.Split(rest, ".")
	switch name := parts[0]; {
	case rest == "" || len(parts) < 2:
		r.problem(key, "is not %s%s.NAME.FIELD", Prefix, kind)
		return
	case !isName(name):
		r.problem(key, "%s is no name for a %s: that is letters, digits, - and _, not digits alone, and at most %d", quoted(name), kind, maxName)
		return
	}
	t := r.things[kind][parts[0]]
	if t == nil {
		t = thing{}
		r.things[kind][parts[0]] = t
	}
	number := -1
	if len(parts) == 3 {
		if n, err := strconv.ParseUint(parts[2], 10, 16); err == nil && strconv.FormatUint(n, 10) == parts[2] {
			number = int(n)
			parts = parts[:2]
		}
	}
	field := strings.Join(parts[1:], ".")
	s := t[field]
	if s == nil {
		s = &said{key: Prefix + kind + "." + parts[0] + "." + field}
		t[field] = s
	}
	if number < 0 {
		s.one = &value
		return
	}
	if s.parts == nil {
		s.parts = map[int]string{}
	}
	s.parts[number] = value
}

// maxName is how many bytes the name of a rule or a silence may have.
const maxName = 64

func isName(s string) bool {
	digits := true
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_'
		if !letter && (c < '0' || c > '9') {
			return false
		}
		digits = digits && !letter
	}
	return !digits && len(s) <= maxName // which "" isn't
}

// packs notes which packs the workload has.
func (r *reader) packs(key, value string) {
	for name := range strings.SplitSeq(value, ",") {
		switch name = strings.TrimSpace(name); {
		case name == "" || slices.Contains(r.out.Packs, name):
		case !slices.Contains(r.known.Packs, name):
			r.problem(key, "there is no pack %s%s", quoted(name), suggest(name, r.known.Packs, "there are no packs"))
		case len(r.out.Packs) >= MaxPacks:
			r.problem(key, "names more than %d packs", MaxPacks)
			return
		default:
			r.out.Packs = append(r.out.Packs, name)
		}
	}
}

// values are the texts that a list has, in the order of their numbers, and whether each of
// them is one by itself.
func (s *said) values() (all []string, numbered bool, err error) {
	switch {
	case s.one != nil && s.parts != nil:
		return nil, false, fmt.Errorf("is there both with and without numbers: write %s.0, %s.1, or one text alone", s.key, s.key)
	case s.one != nil:
		return []string{*s.one}, false, nil
	}
	for _, n := range slices.Sorted(maps.Keys(s.parts)) {
		all = append(all, s.parts[n])
	}
	return all, true, nil
}

// bounded sorts problems, and leaves out those that are too many.
func bounded(all []Problem) []Problem {
	slices.SortStableFunc(all, func(a, b Problem) int { return cmp.Compare(a.Key, b.Key) })
	if n := len(all) - maxProblems; n > 0 {
		all = append(all[:maxProblems:maxProblems], Problem{Reason: fmt.Sprintf("and %d more that are wrong", n)})
	}
	return all
}

// suggest names the nearest of those that there are.
func suggest(name string, known []string, none string) string {
	if len(known) == 0 {
		if none == "" {
			return ""
		}
		return ": " + none
	}
	meant, near := nearest.Name(name, known)
	if whole := name + "_seconds"; slices.Contains(known, whole) {
		meant, near = whole, true
	}
	if !near {
		return ""
	}
	return ": did you mean " + meant + "?"
}

func list(names []string) string { return strings.Join(names, ", ") }

// shown is a key as it may be told: in a line, and not too long.
func shown(key string) string {
	if len(key) > maxShown {
		key = strings.ToValidUTF8(key[:maxShown], "") + "…"
	}
	return strings.Trim(strconv.Quote(key), `"`)
}

func quoted(value string) string { return `"` + shown(value) + `"` }
