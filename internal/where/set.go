package where

import (
	"sync"

	"logscan/internal/rule/match"
)

// Builder collects the conditions of a Set.
type Builder struct {
	set     Set
	numbers map[string]int32
	slots   map[string]int32 // by path
}

// Add adds a condition and returns its number in the Set; the same one has the same
// number.
func (b *Builder) Add(c *Condition) int32 {
	if n, ok := b.numbers[c.text]; ok {
		return n
	}
	if b.numbers == nil {
		b.numbers, b.slots = map[string]int32{}, map[string]int32{}
	}
	n := int32(len(b.set.conditions))
	b.numbers[c.text] = n
	e := entry{Condition: c, slot: -1, pattern: -1, without: c.absent(), op: c.op}
	for l := noLevel; l <= levelFatal; l++ {
		e.levels |= uint8(c.ofLevel(l)&Yes) << l
	}
	if len(c.values) == 1 && c.op != in {
		e.number = c.values[0].quantity
		e.isNumber = e.number.kind != noNumber
	}
	switch {
	case c.group != "":
	case c.path.isLevel():
		b.set.level = true
		e.isLevel = true
	default:
		e.slot = b.slot(c.path)
	}
	if c.pattern != nil {
		e.pattern = int32(len(b.set.patterns))
		b.set.patterns = append(b.set.patterns, n)
		if e.slot >= 0 {
			b.set.ofSlot[e.slot] = append(b.set.ofSlot[e.slot], n)
		}
	}
	b.set.conditions = append(b.set.conditions, e)
	return n
}

// slot returns the place of a path's value.
func (b *Builder) slot(p path) int32 {
	key := p.String()
	n, ok := b.slots[key]
	if ok {
		return n
	}
	n = int32(len(b.set.ofSlot))
	b.slots[key] = n
	b.set.ofSlot = append(b.set.ofSlot, nil)
	b.set.root.insert(p, slotRef{slot: n})
	if flat, ok := p.flat(); ok && len(p) > 1 {
		b.set.root.insert(path{{key: flat}}, slotRef{slot: n})
	}
	return n
}

// Build makes the Set.
func (b *Builder) Build() *Set {
	s := &b.set
	if s.level {
		paths, keys := levelTexts()
		for i, keysOf := range paths {
			p := make(path, len(keysOf))
			for k, key := range keysOf {
				p[k].key = key
			}
			s.root.insert(p, slotRef{slot: -1, level: keys[i]})
		}
		s.root.insert(path{{key: "@t"}}, slotRef{slot: -1, compact: true})
	}
	s.root.finish()
	patterns := make([]*match.Pattern, len(s.patterns))
	for i, n := range s.patterns {
		patterns[i] = s.conditions[n].Condition.pattern
	}
	s.matcher = match.Build(patterns, nil)
	s.masks = make([]match.Mask, len(s.ofSlot))
	for slot, conditions := range s.ofSlot {
		s.masks[slot] = match.NewMask(len(patterns))
		for _, n := range conditions {
			s.masks[slot].Add(int(s.conditions[n].pattern))
		}
	}
	s.pool.New = func() any { return s.newScan() }
	return s
}

// Set is conditions that are checked together. It may be used concurrently.
type Set struct {
	conditions []entry
	root       node
	level      bool // of the line is asked for
	ofSlot     [][]int32
	masks      []match.Mask // by slot: the patterns of its conditions
	patterns   []int32      // conditions by their patterns' numbers
	matcher    *match.Matcher
	pool       sync.Pool // of *Scan
}

// entry is a condition in a Set.
type entry struct {
	*Condition
	slot    int32 // of its path's value; -1 where it is about a group or the level
	pattern int32 // number in Set.matcher; -1 for none
	isLevel bool
	levels  uint8 // where it is: a bit for each for which it holds, noLevel too
	without Verdict

	// What it takes to compare with one number, so that nothing else is looked at.
	isNumber bool
	op       op
	number   quantity
}

// Len is how many conditions there are.
func (s *Set) Len() int { return len(s.conditions) }

// Condition is one of them.
func (s *Set) Condition(n int32) *Condition { return s.conditions[n].Condition }

// Acquire returns a Scan, for many lines. It is to be released.
func (s *Set) Acquire() *Scan { return s.pool.Get().(*Scan) }

// node is a place in objects and arrays to which paths lead.
type node struct {
	slots   []slotRef // of the value itself
	keys    []branch  // what is in an object, as a hash table: a power of two
	indexes []branch  // what is in an array, by index
	grown   []branch  // keys before finish
	lengths uint64    // of keys that there are, a bit for each; the last one for all longer ones
}

// slotRef is what a value is for.
type slotRef struct {
	slot    int32    // -1 where it is for the level
	level   levelKey // as what
	compact bool     // it is there in the compact format of Serilog, in which no level is info
}

type branch struct {
	key   string
	index int
	node  *node
}

// insert has a path lead to a slot.
func (n *node) insert(p path, to slotRef) {
	if len(p) == 0 {
		n.slots = append(n.slots, to)
		return
	}
	list := &n.grown
	if p[0].isIndex {
		list = &n.indexes
	}
	for _, b := range *list {
		if b.key == p[0].key && b.index == p[0].index {
			b.node.insert(p[1:], to)
			return
		}
	}
	next := &node{}
	*list = append(*list, branch{p[0].key, p[0].index, next})
	next.insert(p[1:], to)
}

// finish makes the tables.
func (n *node) finish() {
	for _, b := range n.indexes {
		b.node.finish()
	}
	if len(n.grown) == 0 {
		return
	}
	length := 4
	for length < 4*len(n.grown) {
		length *= 2
	}
	n.keys = make([]branch, length)
	for _, b := range n.grown {
		b.node.finish()
		n.lengths |= 1 << min(len(b.key), 63)
		at := hash([]byte(b.key)) & uint32(length-1)
		for n.keys[at].node != nil {
			at = (at + 1) & uint32(length-1)
		}
		n.keys[at] = b
	}
	n.grown = nil
}

// hash tells keys apart by some of their bytes.
func hash(key []byte) uint32 {
	if len(key) == 0 {
		return 0
	}
	h := uint32(len(key)) + uint32(key[0])<<8 + uint32(key[len(key)-1])<<16 + uint32(key[len(key)/2])<<24
	h *= 0x9E3779B1
	return h ^ h>>15
}

// child is where a key leads; nil if no path goes there.
func (n *node) child(key []byte) *node {
	if n.lengths>>min(len(key), 63)&1 == 0 {
		return nil
	}
	for at := hash(key); ; at++ {
		b := &n.keys[at&uint32(len(n.keys)-1)]
		if b.node == nil {
			return nil
		}
		if b.key == string(key) {
			return b.node
		}
	}
}
