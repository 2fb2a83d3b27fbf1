package correlate

import (
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"strconv"
	"strings"

	"logscan/internal/rule"
)

// Rows are JSON. What is kept of a key is a stored; of a container, under its scope
// and rule 0, a containerState; of a rule's bucket, under "bucket ID" and rule 0, a
// storedBucket; of a rule of kind new or spike whose past is known, under "seeded ID" and
// rule 0, its meaning; of a rule of kind run or spike, under "since ID" and rule 0, a
// storedSince; of a match that waits, under "early N" and rule 0, a storedEarly; of each key of kind spike, by pastBy, a storedPast; of the engine, under
// "seen" and rule 0, a storedSeen.

// storedVersion is of a stored whose fields mean what they mean today.
const storedVersion = 1

type stored struct {
	Version   int      `json:"v"`
	Meaning   string   `json:"m"` // of the rule, in short: what is kept of another one is worth nothing
	Container string   `json:"c"`
	Open      bool     `json:"o,omitempty"`
	Seen      int64    `json:"s,omitempty"`
	Cleared   int64    `json:"cl,omitempty"`
	Line      string   `json:"l,omitempty"`
	Stream    string   `json:"st,omitempty"`
	Times     []byte   `json:"t,omitempty"` // the first as a varint, of the others how much later each is
	Values    []string `json:"vs,omitempty"`
	First     string   `json:"f,omitempty"`
	Armed     bool     `json:"a,omitempty"`
	Last      int64    `json:"la,omitempty"`
	From      int64    `json:"fr,omitempty"`
	To        int64    `json:"to,omitempty"`
	Wait      int64    `json:"w,omitempty"`
	Unsure    bool     `json:"u,omitempty"`
	Matches   int64    `json:"n,omitempty"`
	Held      bool     `json:"h,omitempty"`

	Pending  []pending   `json:"p,omitempty"`
	Sequence *sequence   `json:"q,omitempty"`
	Change   *change     `json:"ch,omitempty"`
	Run      *runState   `json:"r,omitempty"`
	Runs     *runsState  `json:"rs,omitempty"`
	Ratio    *ratioState `json:"ra,omitempty"`
	Spike    *spikeState `json:"sp,omitempty"`

	Was *Container `json:"k,omitempty"`
}

type storedBucket struct {
	Debt int64 `json:"debt"`
	At   int64 `json:"at"`
}

type storedSeen struct {
	Seen int64 `json:"seen"`

	// From and To are of the latest time in which nothing was evaluated.
	From int64 `json:"from,omitempty"`
	To   int64 `json:"to,omitempty"`
}

// storedSince is since when, in nanoseconds, a rule has had a meaning, in short. To a rule
// of kind spike matches before it are among those that it was told of.
type storedSince struct {
	Meaning string `json:"m"`
	Since   int64  `json:"since"`
}

var seenKey = Key{Scope: "seen"}

const bucketScope = "bucket "

func bucketKey(rule int64) Key { return Key{Scope: bucketScope + strconv.FormatInt(rule, 10)} }

const seededScope = "seeded "

func seededKey(rule int64) Key { return Key{Scope: seededScope + strconv.FormatInt(rule, 10)} }

const sinceScope = "since "

func sinceKey(rule int64) Key { return Key{Scope: sinceScope + strconv.FormatInt(rule, 10)} }

// encode is the row of a key as it is now.
func (e *Engine) encode(k Key) []byte {
	if k.Rule != 0 {
		rs := e.rules[k.Rule]
		switch {
		case rs == nil:
			return nil
		case isPast(rs.rule, k):
			if s := rs.keys[Key{k.Rule, k.Scope, ""}]; s != nil && s.spike != nil {
				return s.spike.past.encode(rs.meaning)
			}
			return nil
		case rs.keys[k] == nil:
			return nil
		}
		return rs.keys[k].encode(rs.rule)
	}
	if id, ok := strings.CutPrefix(k.Scope, containerScope); ok {
		if c := e.containers[id]; c != nil {
			return asJSON(c)
		}
		return nil
	}
	if id, ok := strings.CutPrefix(k.Scope, earlyScope); ok {
		n, _ := strconv.ParseInt(id, 10, 64)
		return e.early.all[n].encode()
	}
	if id, ok := strings.CutPrefix(k.Scope, seededScope); ok {
		n, _ := strconv.ParseInt(id, 10, 64)
		if rs := e.rules[n]; rs != nil && seeds(rs.rule) && !rs.seeding {
			return asJSON(inShort(rs.meaning))
		}
	}
	if id, ok := strings.CutPrefix(k.Scope, sinceScope); ok {
		n, _ := strconv.ParseInt(id, 10, 64)
		if rs := e.rules[n]; rs != nil && (rs.rule.Kind == rule.KindRun || rs.since.Since != 0) {
			return asJSON(rs.since)
		}
	}
	if id, ok := strings.CutPrefix(k.Scope, bucketScope); ok {
		n, _ := strconv.ParseInt(id, 10, 64)
		if rs := e.rules[n]; rs != nil && rs.debt > 0 {
			return asJSON(storedBucket{rs.debt, rs.at})
		}
	}
	return nil
}

// loadOwn reads a row of rule 0, and reports whether it could.
func (e *Engine) loadOwn(r Row) bool {
	if id, ok := strings.CutPrefix(r.Scope, containerScope); ok {
		var c containerState
		if json.Unmarshal(r.Data, &c) != nil || c.ID != id {
			return false
		}
		e.containers[id] = &c
		return true
	}
	if id, ok := strings.CutPrefix(r.Scope, earlyScope); ok {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil || n < 0 {
			return false
		}
		e.early.unread[n] = r.Data
		return true
	}
	if r.Scope == seenKey.Scope {
		var v storedSeen
		if json.Unmarshal(r.Data, &v) != nil {
			return false
		}
		e.seen, e.written, e.stoodFrom, e.stoodTo = v.Seen, v.Seen, v.From, v.To
		return true
	}
	if id, ok := strings.CutPrefix(r.Scope, seededScope); ok {
		n, err := strconv.ParseInt(id, 10, 64)
		var of string
		if err != nil || json.Unmarshal(r.Data, &of) != nil {
			return false
		}
		e.seeded[n] = of
		return true
	}
	if id, ok := strings.CutPrefix(r.Scope, sinceScope); ok {
		n, err := strconv.ParseInt(id, 10, 64)
		var v storedSince
		if err != nil || json.Unmarshal(r.Data, &v) != nil {
			return false
		}
		e.since[n] = v
		return true
	}
	id, ok := strings.CutPrefix(r.Scope, bucketScope)
	n, err := strconv.ParseInt(id, 10, 64)
	var v storedBucket
	if !ok || err != nil || json.Unmarshal(r.Data, &v) != nil || v.Debt < 0 {
		return false
	}
	e.buckets[n] = v
	return true
}

func (s *state) encode(r *rule.Rule) []byte {
	v := stored{
		Version: storedVersion, Meaning: inShort(meaning(r)), Container: s.container, Open: s.open, Seen: s.seen, Cleared: s.cleared, Line: s.line, Stream: s.stream,
		Values: s.values, First: s.first, Armed: s.armed, Last: s.last, From: s.from, To: s.to, Wait: s.wait, Unsure: s.unsure, Matches: s.matches, Held: s.held, Was: s.was,
		Pending: s.pending, Sequence: s.sequence, Change: s.change,
		Run: s.run, Runs: s.runs, Ratio: s.ratio, Spike: s.spike,
	}
	if r.Kind == rule.KindNew && !s.unsure {
		v.Line, v.Stream = "", ""
	}
	last := int64(0)
	for _, t := range s.times {
		v.Times = binary.AppendVarint(v.Times, t-last)
		last = t
	}
	return asJSON(v)
}

// wasOpen reads of a row of any meaning and version which container it is of and whether
// it is open, as far as that can be known.
func wasOpen(b []byte) (container string, open bool) {
	var v stored
	_ = json.Unmarshal(b, &v)
	return v.Container, v.Open
}

// decode reads a row of a key whose rule has a meaning. It isn't ok where it isn't one
// of that, or isn't readable.
func decode(b []byte, meaning string) (s *state, ok, readable bool) {
	var v stored
	if json.Unmarshal(b, &v) != nil {
		return nil, false, false
	}
	if v.Version != storedVersion || v.Meaning != inShort(meaning) {
		return nil, false, true
	}
	s = &state{
		container: v.Container, open: v.Open, seen: v.Seen, cleared: v.Cleared, line: v.Line, stream: v.Stream,
		values: v.Values, first: v.First, armed: v.Armed, last: v.Last, from: v.From, to: v.To, wait: v.Wait,
		unsure: v.Unsure, matches: v.Matches, held: v.Held, was: v.Was, kept: v.Seen,
		pending: v.Pending, sequence: v.Sequence, change: v.Change,
		run: v.Run, runs: v.Runs, ratio: v.Ratio, spike: v.Spike,
	}
	last := int64(0)
	for len(v.Times) > 0 {
		d, n := binary.Varint(v.Times)
		if n <= 0 || len(s.times) > 0 && (d < 0 || last+d < last) {
			return nil, false, false
		}
		last += d
		s.times, v.Times = append(s.times, last), v.Times[n:]
	}
	if len(s.values) > 0 && len(s.values) != len(s.times) || (s.from == 0) != (s.to == 0) || s.from > s.to {
		return nil, false, false
	}
	if s.ratio != nil && !s.ratio.sound() || s.spike != nil && !s.spike.sound() {
		return nil, false, false
	}
	if s.spike != nil {
		s.spike.past.first = s.spike.Next + 1 // until it is read
	}
	return s, true, true
}

// inShort is a meaning as rows have it.
func inShort(meaning string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(meaning))
	return strconv.FormatUint(h.Sum64(), 16)
}

func asJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("correlate: " + err.Error()) // none of these can fail
	}
	return b
}
