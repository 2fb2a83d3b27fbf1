package scan

import (
	"encoding/json"
	"errors"
	"slices"
)

// maxID bounds a line's id in a cursor; the Engine's are 64 bytes.
const maxID = 128

// maxRuns bounds what is read; far more than there can be rules.
const maxRuns = 100_000

// position is a cursor's place in the journal, kept as JSON.
type position struct {
	Next    int64            `json:"next"` // everything before is evaluated, but for
	Streams []streamPosition `json:"streams,omitempty"`
	Runs    map[int64]run    `json:"runs,omitempty"` // by rule
}

// streamPosition is about a stream that is inside a line.
type streamPosition struct {
	Source   string `json:"source"`
	Start    int64  `json:"start,omitempty"`    // where the line begins, unless
	Skipping bool   `json:"skipping,omitempty"` // its rest is passed over
	ID       string `json:"id,omitempty"`       // of the line passed over
}

var errPosition = errors.New("scan: not a cursor")

func (p position) encode() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // numbers and strings
	}
	return b
}

func decodePosition(b []byte) (position, error) {
	var p position
	if err := json.Unmarshal(b, &p); err != nil {
		return position{}, errPosition
	}
	if p.Next < 0 || len(p.Streams) > len(sources) || len(p.Runs) > maxRuns {
		return position{}, errPosition
	}
	var seen [len(sources)]bool
	for _, s := range p.Streams {
		i := slices.Index(sources[:], s.Source)
		if i < 0 || seen[i] || s.Start < 0 || s.Start > p.Next || len(s.ID) > maxID {
			return position{}, errPosition
		}
		seen[i] = true
	}
	return p, nil
}

// start is where reading has to begin.
func (p position) start() int64 {
	start := p.Next
	for _, s := range p.Streams {
		if !s.Skipping {
			start = min(start, s.Start)
		}
	}
	return start
}

// position describes a's streams for a cursor at next.
func (a *assembler) position(next int64) position {
	p := position{Next: next}
	for i := range a.streams {
		switch s := &a.streams[i]; {
		case s.skipping:
			p.Streams = append(p.Streams, streamPosition{Source: sources[i], Skipping: true, ID: s.skipID})
		case s.joiner.Pending():
			p.Streams = append(p.Streams, streamPosition{Source: sources[i], Start: s.start})
		}
	}
	return p
}

// restore prepares a for replaying from p.start().
func (a *assembler) restore(p position) {
	for i := range a.streams {
		a.streams[i].start = p.Next // replays nothing
	}
	for _, sp := range p.Streams {
		s := &a.streams[slices.Index(sources[:], sp.Source)]
		if sp.Skipping {
			s.skipping, s.skipID = true, sp.ID
		} else {
			s.start = sp.Start
		}
	}
}
