package correlate

import (
	"strings"
	"time"

	"logscan/internal/rule"
)

// Container is what is known of a container.
type Container struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Workload string            `json:"workload"`
	Image    string            `json:"image"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// Hit is a hit of a rule.
type Hit struct {
	TimeNano  int64
	Text      string // what there is to say, in a sentence
	Line      string // the last line that matched; "" for none
	Record    string // that it is of, where it makes the hit; "" for none, or no more than the line
	From, To  int64  // where that record lies in the container's log, or the line; 0 for none
	Stream    string // of that line
	LineTime  int64  // of that line, in nanoseconds
	Matches   int64  // that are the hit; 0 of a rule that waits for one
	Since     int64  // when the first of them was, or a run began
	Until     int64  // when a run ended; 0 for none that has
	FirstLine string // of them; "" where it isn't known any more
}

// More is matches that are no hits, but count where one was.
type More struct {
	Matches     int64
	First, Last int64
	Text        string // the last line
	Held        bool   // the rule's bucket holds back the hit that they are, or are behind
	OnlyOpen    bool   // they count where the incident is open alone
}

// End is the end of what a hit began.
type End struct {
	TimeNano int64
	Why      string
}

// Outcome is one thing that matches, or time, gave: exactly one of Hit, More and End.
type Outcome struct {
	Rule      *rule.Rule
	Container *Container // the last one that a line came from
	By        string     // the key; "" for none
	Shape     string     // of the lines; "" where the rule doesn't tell shapes apart
	Shapes    bool       // an End is of all shapes
	Keys      bool       // and of all keys
	Except    []string   // but these
	Hit       *Hit
	More      *More
	End       *End
}

// Workload is the workload that an outcome is of; "" where its rule adds up those of
// several.
func (o *Outcome) Workload() string {
	if o.Rule.Per == rule.PerRule {
		return ""
	}
	return o.Container.Workload
}

// of says of which key something is.
func (s *state) of() string {
	if s.key.By == "" {
		return ""
	}
	return " (" + s.key.By + ")"
}

// hit gives a hit, unless the rule's bucket is empty: then it is held back. It reports
// which.
func (e *Engine) hit(rs *ruleState, s *state, h Hit) {
	o := e.outcome(rs, s)
	bucket := e.bucket
	if rs.rule.Kind == rule.KindNew {
		bucket = rule.Bucket{Burst: int(rs.rule.AtMost), Refill: time.Hour / time.Duration(rs.rule.AtMost)}
	}
	if s.held = !rs.take(bucket, h.TimeNano); !s.held {
		if m := e.match; m != nil {
			h.Record = m.Record
			if h.LineTime == m.TimeNano {
				h.From, h.To = m.From, m.To
			}
		}
		o.Hit = &h
	} else {
		o.More = &More{Matches: max(h.Matches, 1), First: h.TimeNano, Last: h.TimeNano, Text: h.Text, Held: true}
		if h.Since != 0 {
			o.More.First = h.Since
		}
	}
	e.dirty[bucketKey(rs.rule.ID)] = true
	e.out = append(e.out, o)
}

// end closes a key. Where the same is open in another container of its workload, which has
// the same incident, it isn't over: the last one that is closed gives the End.
func (e *Engine) end(rs *ruleState, s *state, at int64, why string) {
	e.tellMore(rs, s)
	if s.open = false; e.openElsewhere(rs, s.key, e.container(s).Workload) {
		return
	}
	o := e.outcome(rs, s)
	o.End = &End{at, why}
	e.out = append(e.out, o)
}

// openElsewhere reports whether the values of a key are open in another container of a
// workload.
func (e *Engine) openElsewhere(rs *ruleState, k Key, workload string) bool {
	if !strings.HasPrefix(k.Scope, containerScope) {
		return false
	}
	for id, c := range e.containers {
		if other := containerScope + id; c.Workload == workload && other != k.Scope {
			if s := rs.keys[Key{k.Rule, other, k.By}]; s != nil && s.open {
				return true
			}
		}
	}
	return false
}

// tellMore gives what came while a key was open.
func (e *Engine) tellMore(rs *ruleState, s *state) {
	if s.more != nil {
		o := e.outcome(rs, s)
		o.More, s.more = s.more, nil
		e.out = append(e.out, o)
	}
}

func (e *Engine) outcome(rs *ruleState, s *state) Outcome {
	o := Outcome{Rule: rs.rule, Container: e.container(s), By: s.key.By}
	if rs.rule.Kind == rule.KindNew {
		o.By, o.Shape = "", s.key.By
	}
	return o
}

// more notes a match that is no hit.
func (e *Engine) more(s *state, m *rule.Match) { e.grow(s, 1, m.TimeNano, m.TimeNano, m.Text) }

// grow notes matches that are no hit, by the times of the first and the last, and the text
// of that.
func (e *Engine) grow(s *state, matches, first, last int64, text string) {
	if matches == 0 {
		return
	}
	if s.more == nil {
		s.more = &More{First: first}
	}
	s.more.Matches += matches
	s.more.First, s.more.Last, s.more.Text, s.more.Held = min(s.more.First, first), max(s.more.Last, last), text, s.held
	e.grown[s.key] = true
}

func (e *Engine) container(s *state) *Container {
	if c := e.containers[s.container]; c != nil {
		return &c.Container
	}
	if s.was != nil {
		return s.was
	}
	c := Container{ID: s.container}
	if name, ok := strings.CutPrefix(s.key.Scope, workloadScope); ok {
		c.Workload = name
	}
	return &c
}

// take takes a token of the rule's bucket.
func (rs *ruleState) take(b rule.Bucket, at int64) bool {
	if b.Refill <= 0 {
		return true
	}
	refill := int64(b.Refill)
	capacity := int64(max(b.Burst, 1)) * refill
	if at > rs.at {
		rs.debt = max(0, rs.debt-min(at-rs.at, rs.debt))
		rs.at = at
	}
	if rs.debt > capacity-refill {
		return false
	}
	rs.debt += refill
	return true
}
