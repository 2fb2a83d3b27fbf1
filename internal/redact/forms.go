package redact

import (
	"bytes"
	"regexp"
)

// form is a way in which secrets are written.
type form struct {
	any   []string // one of these is in each of them, in lower case where fold
	fold  bool
	also  string                             // is in each of them too
	re    *regexp.Regexp                     // its groups are what is secret, or all of it where it has none
	as    func(secret []byte) (from, to int) // the part of a group that is; nil: all
	after func(text []byte) []Span           // what else is secret in a text that has one
}

const privateKey = `[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----`

var forms = []form{
	{any: []string{"authorization"}, fold: true, re: regexp.MustCompile(`(?i)authorization\\*["']?\s{0,4}[:=]\s{0,4}\\*["']?(?:(?:basic|bearer|digest|negotiate|token)\s+)?([^\s"',;\\]+)`), as: valueOf},
	{any: []string{"bearer"}, fold: true, re: regexp.MustCompile(`(?i)\bbearer\s+([A-Za-z0-9._~+/-]{8,}=*)`), as: tokenOf},
	{any: []string{"eyJ"}, re: regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,3}`)},
	{any: []string{"AKIA", "ASIA"}, re: regexp.MustCompile(`(?:AKIA|ASIA)[A-Z0-9]{16}\b`), after: secretKeys},
	{any: []string{"PRIVATE KEY"}, re: regexp.MustCompile(`(?s)-----BEGIN ` + privateKey + `.*?(?:-----END ` + privateKey + `|\z)`)},
	{any: []string{"PRIVATE KEY"}, re: regexp.MustCompile(`(?:[A-Za-z0-9+/=]{1,100}(?:\s|\\[rn]){1,4})+-----END ` + privateKey)}, // that began before
	{any: []string{"://"}, also: "@", re: regexp.MustCompile(`://[^\s/:@"']*:([^\s/@"']+)@`)},
}

// mayBeIn reports whether a secret of the form may be in a text; lower is it in lower
// case.
func (f *form) mayBeIn(text, lower []byte) bool {
	if f.fold {
		text = lower
	}
	for _, word := range f.any {
		if bytes.Contains(text, []byte(word)) {
			return bytes.Contains(text, []byte(f.also))
		}
	}
	return false
}

func (f *form) find(text []byte, spans []Span) []Span {
	n := len(spans)
	spans = groups(f.re, text, spans, f.as)
	if f.after != nil && len(spans) > n {
		spans = append(spans, f.after(text)...)
	}
	return spans
}

// groups adds what the groups of an expression match, or all of it where it has none.
func groups(re *regexp.Regexp, text []byte, spans []Span, as func([]byte) (from, to int)) []Span {
	for _, at := range re.FindAllSubmatchIndex(text, -1) {
		if len(at) > 2 {
			at = at[2:]
		}
		for ; len(at) > 0; at = at[2:] {
			s := Span{at[0], at[1]}
			if s.From < 0 {
				continue
			}
			if as != nil {
				from, to := as(text[s.From:s.To])
				s = Span{s.From + from, s.From + to}
			}
			if s.From < s.To {
				spans = append(spans, s)
			}
		}
	}
	return spans
}

// valueOf leaves out what ends a value, and values that say nothing.
func valueOf(v []byte) (from, to int) {
	cut := bytes.TrimRight(v, `)}]>\`)
	switch string(bytes.ToLower(cut)) {
	case "null", "nil", "none", "true", "false", "undefined", Mark[:len(Mark)-1]:
		return 0, 0
	}
	return 0, len(cut)
}

// tokenOf leaves out words, such as that of "bearer authentication".
func tokenOf(v []byte) (from, to int) {
	if len(v) < 20 && !bytes.ContainsAny(v, "0123456789") {
		return 0, 0
	}
	return 0, len(v)
}

var secretKey = regexp.MustCompile(`(?:^|[^A-Za-z0-9/+=])([A-Za-z0-9/+]{40})(?:$|[^A-Za-z0-9/+=])`)

// secretKeys are what may be the secret keys of AWS, beside the id of one.
func secretKeys(text []byte) []Span {
	return groups(secretKey, text, nil, func(v []byte) (from, to int) {
		var lower, upper, digit bool
		for _, c := range v {
			lower = lower || c >= 'a' && c <= 'z'
			upper = upper || c >= 'A' && c <= 'Z'
			digit = digit || isDigit(c)
		}
		if !lower || !upper || !digit {
			return 0, 0
		}
		return 0, len(v)
	})
}
