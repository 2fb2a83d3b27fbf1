package match

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// dfa decides which expressions of a program match, one step per rune. Its
// states are made when they are first needed, and thrown away when they take
// too much memory. It may be used concurrently: steps that are known take no
// lock.
type dfa struct {
	program
	limit  int64         // bytes of cache
	budget *atomic.Int64 // bytes that this and other automata may still take

	cache atomic.Pointer[cache]
	ran   atomic.Int64 // bytes it was asked about
	rest  atomic.Int64 // value of ran up to which it refuses

	mu   sync.Mutex // for making states
	walk walker
	key  []byte
	from int64 // ran, when the cache was new
}

// cache is the states made so far. Rows of trans begin with state; what is in
// them changes from 0 to its final value, atomically. The rest is guarded by
// dfa.mu. A cache that has become too small is replaced by a larger copy, one
// that may not grow by an empty one; whoever still uses the old one changes
// over at the next step that it doesn't know.
type cache struct {
	trans []uint32 // by state and class; and what matches there in the row's last two
	begin [contexts]uint32

	era    int // differs when states do
	states []state
	index  map[string]uint32
	bytes  int64
}

type state struct {
	insts   []uint32
	context uint8
}

// A state is the index of its row. Transitions to some carry more.
const (
	special  = 1 << 31         // something matches, or nothing can
	dead     = special | 1<<30 // nothing can match any more
	perState = 120             // bytes of a state besides its row and instructions, about
	// A cache filled by fewer bytes of text per state than this isn't worth
	// it; the dfa refuses for restBytes then.
	worthwhile = 64
	restBytes  = 4 << 20
	// A run may make this many transitions, and one more for so many bytes.
	// Those from large states count for several.
	firstSteps   = 128
	bytesPerStep = 256
	instsPerStep = 4
)

func newDFA(p *program, limit int64, budget *atomic.Int64) *dfa {
	d := &dfa{program: *p, limit: limit, budget: budget}
	d.walk.program = &d.program
	d.cache.Store(d.empty(0))
	return d
}

func (d *dfa) empty(era int) *cache {
	return &cache{era: era, index: map[string]uint32{}}
}

// stride is the length of a row.
func (d *dfa) stride() uint32 { return uint32(len(d.runes)) + 2 }

// run returns which expressions have a match in b that lies between from and
// to. A rune must begin at from. It may return early once it has found all that
// are wanted. It is not ok if there is not enough memory for an answer, or if
// that takes too many new states.
func (d *dfa) run(b []byte, from, to int, want uint64) (found uint64, ok bool) {
	if d.ran.Add(int64(to-from)+1) < d.rest.Load() {
		return 0, false
	}
	context := d.contextAt(b, from)
	spare := firstSteps + (to-from)/bytesPerStep
	c := d.cache.Load()
	s := atomic.LoadUint32(&c.begin[context])
	if s == 0 {
		if c, s, ok = d.start(context); !ok {
			return 0, false
		}
	}
	trans := c.trans
	for i := from; i <= to; {
		var class uint32
		switch {
		case i >= len(b):
			class = uint32(len(d.runes) - 1)
			i++
		case b[i] < utf8.RuneSelf:
			class = uint32(d.ascii[b[i]])
			i++
		default:
			r, n := utf8.DecodeRune(b[i:])
			class = uint32(d.class(r))
			i += n
		}
		t := atomic.LoadUint32(&trans[s+class])
		if int32(t) > 0 {
			s = t
			continue
		}
		if t == 0 {
			if c, t, ok = d.step(c, s, class, &spare); !ok {
				return 0, false
			}
			trans = c.trans
		}
		if t == dead {
			return found, true
		}
		if s = t &^ special; t&special != 0 {
			end := s + uint32(len(d.runes))
			found |= uint64(trans[end]) | uint64(trans[end+1])<<32
			if found&want == want {
				return found, true
			}
		}
	}
	return found, true
}

// start makes the state that a run begins in.
func (d *dfa) start(context uint8) (*cache, uint32, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.intern(nil, context, 0)
	c := d.cache.Load()
	if ok {
		atomic.StoreUint32(&c.begin[context], s)
	}
	return c, s, ok
}

// step makes a transition, and takes it off what is to spare. It returns the
// cache in which it leads somewhere.
func (d *dfa) step(c *cache, s, class uint32, spare *int) (*cache, uint32, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st := c.states[s/d.stride()-1]
	if *spare -= 1 + len(st.insts)/instsPerStep; *spare < 0 {
		return nil, 0, false
	}
	r := d.runes[class]
	insts, matched := d.walk.step(st.insts, st.context, r)
	t := uint32(dead)
	if len(insts) > 0 || matched != 0 || !d.anchored && r != endOfText {
		var ok bool
		if t, ok = d.intern(insts, d.after(r), matched); !ok {
			return nil, 0, false
		}
		if matched != 0 {
			t |= special
		}
	}
	now := d.cache.Load()
	if now.era == c.era {
		atomic.StoreUint32(&now.trans[s+class], t)
	}
	return now, t, true
}

// intern returns a state of the present cache, making it if need be.
func (d *dfa) intern(insts []uint32, context uint8, matched uint64) (uint32, bool) {
	k := append(d.key[:0], context)
	k = binary.LittleEndian.AppendUint64(k, matched)
	for _, pc := range insts {
		k = binary.LittleEndian.AppendUint32(k, pc)
	}
	d.key = k
	c := d.cache.Load()
	if s, ok := c.index[string(k)]; ok {
		return s, true
	}
	row := int(d.stride())
	cost := int64(4*row + 4*len(insts) + len(k) + perState)
	if !d.reserve(c, cost) {
		if c = d.reset(c); !d.reserve(c, cost) {
			d.rest.Store(d.ran.Load() + restBytes)
			return 0, false
		}
	}
	at := (len(c.states) + 1) * row
	if at+row > len(c.trans) {
		larger := *c
		larger.trans = make([]uint32, max(8*row, 2*len(c.trans)))
		copy(larger.trans, c.trans)
		c = &larger
		d.cache.Store(c)
	}
	end := at + len(d.runes)
	c.trans[end], c.trans[end+1] = uint32(matched), uint32(matched>>32)
	c.states = append(c.states, state{slices.Clone(insts), context})
	c.index[string(k)] = uint32(at)
	return uint32(at), true
}

func (d *dfa) reserve(c *cache, bytes int64) bool {
	if c.bytes+bytes > d.limit {
		return false
	}
	if d.budget.Add(-bytes) < 0 {
		d.budget.Add(bytes)
		return false
	}
	c.bytes += bytes
	return true
}

// reset begins with an empty cache.
func (d *dfa) reset(c *cache) *cache {
	ran := d.ran.Load()
	if ran-d.from < worthwhile*int64(len(c.states)) {
		d.rest.Store(ran + restBytes)
	}
	d.from = ran
	d.budget.Add(c.bytes)
	c = d.empty(c.era + 1)
	d.cache.Store(c)
	return c
}
