package match

import (
	"bytes"
	"sync/atomic"
)

// effort is what a Matcher had to do beyond passing over lines. In a scratch it
// is that of the lines since it was last added to the Matcher's.
type effort struct {
	lines int64
	work  int64 // in looks that the filter takes at a place of a line
}

// What is done weighs about as much as this many looks.
const (
	tryWork     = 4 // to look at a pattern's further literals
	confirmWork = 8 // to run its automaton
)

// meter adds efforts up.
type meter struct {
	lines, work atomic.Int64
	expected    float64 // work for a line of the Stats' own; set by Build
}

const (
	// meterEvery and meterWork are how much a scratch counts by itself.
	meterEvery = 256
	meterWork  = 16
	// driftLines is how many lines it takes to tell what they are like.
	driftLines = 50_000
	// A Matcher has drifted when it does this many times what it should and
	// some looks for each line more.
	driftFactor = 3
	driftSlack  = 2
)

func (m *meter) add(e *effort) {
	if e.lines >= meterEvery || e.work >= meterWork {
		m.lines.Add(e.lines)
		m.work.Add(e.work)
		*e = effort{}
	}
}

// Drifted reports whether the lines matched since it was last asked cost much
// more than those of the Stats would: with Stats of today's lines another
// Matcher might be faster. Too few lines are left for the next time. One
// goroutine at a time may ask.
func (m *Matcher) Drifted() bool {
	lines := m.meter.lines.Load()
	if lines < driftLines {
		return false
	}
	work := m.meter.work.Swap(0)
	m.meter.lines.Add(-lines)
	return float64(work) > float64(lines)*(driftFactor*m.meter.expected+driftSlack)
}

// calibrate finds what a line is to cost.
func (m *Matcher) calibrate(sample []byte) {
	s := m.newScratch()
	var lines int
	for line := range bytes.Lines(sample) {
		m.match(s, bytes.TrimRight(line, "\r\n"), nil, unlimited)
		lines++
	}
	m.meter.expected = float64(s.effort.work) / float64(max(lines, 1))
}
