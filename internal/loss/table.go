package loss

import (
	"sync/atomic"
	"unsafe"
)

const (
	// containersMax bounds the containers and reasons with sums of their own;
	// beyond it they are summed up without the container.
	containersMax = 1024
	// severalMax is how many reasons there may be sums of without a container.
	severalMax = 16

	containerMax = 128 // bytes of a Key's Container
	reasonMax    = 16  // bytes of a Key's Reason
)

// table is what the processes share, one after the other. All of it is zero at
// first.
//
//	+-------+--------+-----------------+---------------+
//	| batch | taking | resumed, layout | slots: 1040   |
//	+-------+--------+-----------------+---------------+
//	                  slot: | lengths | turn | sums 0 | sums 1 | container, reason |
//
// A process that is killed has made all its stores up to an instant, in their
// order, and none after it. So a change is made where it can't be seen, and then
// seen by the store of one word.
type table struct {
	batch   atomic.Int64 // what is being told; 0: nothing is
	taking  taking
	resumed atomic.Int64 // 1: a process has taken over what a file held
	layout  int64        // in a file: that it holds sums
	_       [256 - 8*8]byte
	slots   [containersMax + severalMax]slot
}

// taking is what is being taken out of a pipe.
type taking struct {
	slot          atomic.Int64 // where it counts, from 1; 0: nothing is being taken
	turn          int64        // the slot's before
	bytes         int64
	times, frames int64
}

// slot is one key's sums.
type slot struct {
	lengths atomic.Int64 // of container and reason, that one times 256; 0: free
	turn    atomic.Int64 // the sums that hold are sums[turn&1]
	sums    [2]sums
	name    [containerMax + reasonMax]byte
}

type sums struct {
	untold   Sum
	telling  Sum   // in the batch
	expected Sum   // is being lost
	from, to int64 // where, in the log
}

const tableSize = int(unsafe.Sizeof(table{}))

func (s *slot) now() sums { return s.sums[s.turn.Load()&1] }

// set makes n the sums that hold.
func (s *slot) set(n sums) {
	turn := s.turn.Load() + 1
	s.sums[turn&1] = n
	s.turn.Store(turn)
}

// use makes a free slot k's.
func (s *slot) use(k Key) {
	s.set(sums{})
	copy(s.name[copy(s.name[:], k.Container):], k.Reason)
	s.lengths.Store(int64(len(k.Container)) | int64(len(k.Reason))<<8)
}

func (s *slot) free() { s.lengths.Store(0) }

// key returns the key that the slot holds the sums of; false where the slot is
// free, or makes no sense.
func (s *slot) key() (k Key, ok bool) {
	lengths := s.lengths.Load()
	container, reason := lengths&0xff, lengths>>8
	if container > containerMax || reason < 1 || reason > reasonMax {
		return Key{}, false
	}
	return Key{string(s.name[:container]), string(s.name[container : container+reason])}, true
}

// nothing reports whether nothing waits to be told, or is being told.
func (n sums) nothing() bool { return n.untold == Sum{} && n.telling == Sum{} }

func (n sums) sane() bool { return n.untold.sane() && n.telling.sane() && n.expected.sane() }

func (s Sum) sane() bool { return s.Times >= 0 && s.Bytes >= 0 && s.Frames >= 0 }

func (s Sum) plus(o Sum) Sum {
	return Sum{s.Times + o.Times, s.Bytes + o.Bytes, s.Frames + o.Frames}
}
