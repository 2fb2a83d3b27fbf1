package config

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"logscan/internal/event"
	"logscan/internal/fields/fieldsyaml"
	"logscan/internal/rule"
	"logscan/internal/trial"
)

// Test is what a rule should make of lines. It has either Lines or Hits and Misses.
type Test struct {
	Lines  []string `json:"lines,omitempty"` // "+TIME TEXT", so long behind the first; TEXT alone at the time of the one before; "+TIME" alone has time pass
	Expect Expect   `json:"expect,omitzero"`
	Hits   []string `json:"hits,omitempty"`   // each of which, alone, is a hit, or a match where hits are made of several; one of several lines is their record
	Misses []string `json:"misses,omitempty"` // none of which, alone, is one

	at Place
}

// Expect is what is expected of lines.
type Expect struct {
	Hits      *int64         `json:"hits,omitempty"`
	Incidents *int64         `json:"incidents,omitempty"`
	Severity  event.Severity `json:"severity,omitempty"` // of the rule's events
}

// Bounds of a test.
const (
	maxTestLines = 1000
	maxTestLine  = 64 << 10 // bytes
)

// tests reads the tests of a rule.
func (p *parser) tests(file, key string, n *yaml.Node) (out []Test) {
	refuse := func(n *yaml.Node, format string, args ...any) {
		p.wrong.add(place(file, n), "rule %s: tests: %s", key, fmt.Sprintf(format, args...))
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxTests {
		refuse(n, "have to be a list, of at most %d: each with lines and expect, or with hits and misses", maxTests)
		return nil
	}
	for _, item := range n.Content {
		t := Test{at: place(file, item)}
		keys, values := fieldsyaml.Entries(item, p.say(file))
		for k, name := range keys {
			var err error
			switch v := values[k]; name.Value {
			case "lines":
				t.Lines, err = texts(v)
			case "hits":
				t.Hits, err = texts(v)
			case "misses":
				t.Misses, err = texts(v)
			case "expect":
				err = t.Expect.read(v)
			default:
				err = fmt.Errorf("is unknown; there are lines and expect, or hits and misses")
			}
			if err != nil {
				refuse(values[k], "%s: %v", printable(name.Value), err)
			}
		}
		before := p.lines
		p.lines += len(t.Lines) + len(t.Hits) + len(t.Misses)
		if p.lines > maxLines {
			if before <= maxLines {
				refuse(item, "all tests together may have at most %d lines", maxLines)
			}
			return nil
		}
		switch given := t.Expect != (Expect{}); {
		case len(keys) == 0:
		case given != (len(t.Lines) > 0), given == (len(t.Hits)+len(t.Misses) > 0):
			refuse(item, "each has lines and expect, or hits and misses")
		default:
			if _, _, err := t.timed(); err != nil {
				refuse(item, "%v", err)
			}
		}
		out = append(out, t)
	}
	return out
}

// texts reads a list of lines.
func texts(n *yaml.Node) (out []string, err error) {
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxTestLines {
		return nil, fmt.Errorf("has to be a list, of at most %d lines", maxTestLines)
	}
	for _, item := range n.Content {
		if item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		if item.Kind != yaml.ScalarNode || len(item.Value) > maxTestLine {
			return nil, fmt.Errorf("each line has to be a text, of at most %d bytes", maxTestLine)
		}
		out = append(out, item.Value)
	}
	return out, nil
}

// read reads what is expected.
func (e *Expect) read(n *yaml.Node) error {
	var err error
	keys, values := fieldsyaml.Entries(n, func(_ *yaml.Node, text string) { err = fmt.Errorf("%s", text) })
	for k, name := range keys {
		v := values[k]
		var count int64
		switch {
		case name.Value == "severity":
			e.Severity = event.Severity(v.Value)
			err = e.Severity.Validate()
		case name.Value != "hits" && name.Value != "incidents":
			err = fmt.Errorf("%s is unknown; there are hits, incidents and severity", printable(name.Value))
		case v.Kind != yaml.ScalarNode || v.Decode(&count) != nil || count < 0:
			err = fmt.Errorf("%s has to be a number", name.Value)
		case name.Value == "hits":
			e.Hits = &count
		default:
			e.Incidents = &count
		}
		if err != nil {
			return err
		}
	}
	return err
}

// timed are the lines with their times, and the time at the end, in seconds.
func (t Test) timed() (out []trial.Line, until float64, err error) {
	for _, s := range t.Lines {
		text := s
		if rest, ok := strings.CutPrefix(s, "+"); ok {
			at, after, _ := strings.Cut(rest, " ")
			if d, bad := time.ParseDuration(at); bad == nil {
				if d.Seconds() < until {
					return nil, 0, fmt.Errorf("%.60q goes back in time", s)
				}
				until, text = d.Seconds(), after
				if rest == at {
					continue
				}
			}
		}
		out = append(out, trial.Line{At: until, Text: text})
	}
	return out, until, nil
}

// TestLines are all lines of a rule's tests, each by itself.
func (r *Rule) TestLines() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, t := range r.Tests {
			timed, _, err := t.timed()
			if err != nil {
				continue // Test tells
			}
			texts := slices.Concat(t.Hits, t.Misses)
			for _, l := range timed {
				texts = append(texts, l.Text)
			}
			for _, text := range texts {
				for line := range strings.SplitSeq(text, "\n") {
					if !yield(line) {
						return
					}
				}
			}
		}
	}
}

// Test tries rules on the lines of their tests: those that wanted names by their keys, or
// all where it is nil. What isn't as expected is told as *Problems. It ends with ctx.
func (s *Set) Test(ctx context.Context, wanted map[string]bool) error {
	var wrong Problems
	var tested []*Rule
	var rules []rule.Rule
	for _, r := range s.Rules {
		if len(r.Tests) > 0 && (wanted == nil || wanted[r.Key]) {
			tested, rules = append(tested, r), append(rules, r.Value)
		}
	}
	trials, bad := trial.All(rules)
	for k, r := range tested {
		if bad[k] != nil {
			wrong.add(r.Place, "rule %s: %v", r.Key, bad[k])
			continue
		}
		for _, t := range r.Tests {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("the tests took too long: %w", err)
			}
			for _, text := range t.failures(trials[k], r.Value.Severity) {
				wrong.add(t.at, "rule %s: test: %s", r.Key, text)
			}
		}
	}
	return wrong.err()
}

// failures are what isn't as a test expects.
func (t Test) failures(of *trial.Trial, severity event.Severity) (out []string) {
	for _, one := range []struct {
		texts []string
		hits  bool
	}{{t.Hits, true}, {t.Misses, false}} {
		for _, text := range one.texts {
			var record []trial.Line
			for line := range strings.SplitSeq(text, "\n") {
				record = append(record, trial.Line{Text: line})
			}
			switch got := of.Run(record, 0); {
			case one.hits && got.Hits+got.Matches == 0:
				out = append(out, fmt.Sprintf("is no hit: %.200q", text))
			case !one.hits && got.Hits+got.Matches > 0:
				out = append(out, fmt.Sprintf("is a hit: %.200q", text))
			}
		}
	}
	if len(t.Lines) == 0 {
		return out
	}
	lines, until, err := t.timed()
	if err != nil {
		return append(out, err.Error())
	}
	got := of.Run(lines, until)
	if want := t.Expect.Hits; want != nil && *want != got.Hits {
		out = append(out, fmt.Sprintf("there are %d hits, not %d", got.Hits, *want))
	}
	if want := t.Expect.Incidents; want != nil && *want != got.Incidents {
		out = append(out, fmt.Sprintf("there are %d incidents, not %d", got.Incidents, *want))
	}
	if want := t.Expect.Severity; want != "" && want != severity {
		out = append(out, fmt.Sprintf("the severity is %s, not %s", severity, want))
	}
	return out
}

// encoded are tests in JSON; nil for none.
func encoded(tests []Test) json.RawMessage {
	if len(tests) == 0 {
		return nil
	}
	b, err := json.Marshal(tests)
	if err != nil {
		panic(err) // of texts and numbers
	}
	return b
}

// sameTests reports whether tests are as they were stored.
func sameTests(stored json.RawMessage, tests []Test) bool {
	return slices.Equal([]byte(stored), []byte(encoded(tests)))
}
