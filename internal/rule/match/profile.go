package match

import (
	"math/bits"
	"time"
)

// profileEvery is of how many lines of a Scratch one is matched with a clock at hand.
const profileEvery = 256

// Spent is the time that was spent on a pattern in a line.
type Spent struct {
	Pattern uint32
	Nanos   int64
}

// profile is of a line.
type profile struct {
	on    bool
	begun time.Time
	total int64 // nanoseconds
	spent []Spent
}

// Profile returns how long the latest call of Match took, in nanoseconds, and how long it
// was about single patterns, which is the less; it is not ok where that wasn't measured,
// as with most lines. It is valid until the next call.
func (s *Scratch) Profile() (total int64, of []Spent, ok bool) {
	return s.profile.total, s.profile.spent, s.profile.on
}

func (p *profile) begin(round uint32) {
	if p.on = round%profileEvery == 0; p.on {
		p.spent, p.begun = p.spent[:0], time.Now()
	}
}

func (p *profile) end() {
	if p.on {
		p.total = time.Since(p.begun).Nanoseconds()
	}
}

// clock returns the time that since and share are to be told.
func (p *profile) clock() (now time.Time) {
	if p.on {
		now = time.Now()
	}
	return now
}

// since adds the time from then on to what was spent on a pattern.
func (p *profile) since(then time.Time, id uint32) {
	if p.on {
		p.spent = append(p.spent, Spent{id, time.Since(then).Nanoseconds()})
	}
}

// share adds the time from then on to what was spent on those of some patterns that are
// wanted, to each as much.
func (p *profile) share(then time.Time, ids []uint32, wanted uint64) {
	if !p.on {
		return
	}
	nanos := time.Since(then).Nanoseconds() / int64(bits.OnesCount64(wanted))
	for i, id := range ids {
		if wanted>>i&1 != 0 {
			p.spent = append(p.spent, Spent{id, nanos})
		}
	}
}
