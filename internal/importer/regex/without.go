package regex

// Without is an expression in two parts, which together match what it matches: with is
// for where the group of a name has matched, and without for where it hasn't; nil where
// that can't be. The group doesn't capture any more, and conditions on it are decided.
//
// It fails where the group is in what repeats.
func (n *Node) Without(name string) (with, without *Node, err error) {
	with, without, err = n.Clone().parted(name)
	if with != nil {
		with.decide(name, 0)
	}
	if without != nil {
		without.decide(name, 1)
	}
	return with, without, err
}

// decide replaces conditions on a group by one of their ways.
func (n *Node) decide(name string, way int) {
	n.Each(func(n *Node) bool {
		for n.Op == Exists && n.Name == name {
			*n = Node{Op: Group, Flags: "?:", Subs: []*Node{n.Subs[way]}, at: n.at}
		}
		return true
	})
}

// has reports whether a group of a name is in an expression.
func (n *Node) has(name string) (found bool) {
	n.Each(func(n *Node) bool {
		found = found || n.Op == Group && n.Name == name
		return !found
	})
	return found
}

// parted does what Without does, but for conditions.
func (n *Node) parted(name string) (with, without *Node, err error) {
	if !n.has(name) {
		return nil, n, nil
	}
	switch n.Op {
	case Group:
		if n.Name == name {
			c := n.Clone()
			c.Name, c.Flags = "", "?:"
			return c, nil, nil
		}
	case Concat:
	case Alt:
		var those, others []*Node
		for _, s := range n.Subs {
			a, b, err := s.parted(name)
			if err != nil {
				return nil, nil, err
			}
			if a != nil {
				those = append(those, a)
			}
			if b != nil {
				others = append(others, b)
			}
		}
		return alternatives(those), alternatives(others), nil
	case Repeat:
		if n.Min == 0 && n.Max == 1 {
			a, b, err := n.Subs[0].parted(name)
			if err != nil {
				return nil, nil, err
			}
			if without = (&Node{Op: Empty}); b != nil {
				without = &Node{Op: Repeat, Max: 1, Lazy: n.Lazy, Subs: []*Node{b}}
			}
			return a, without, nil
		}
		return nil, nil, &Error{Condition, n.at}
	default:
		return nil, nil, &Error{Condition, n.at}
	}
	for i, s := range n.Subs {
		if !s.has(name) {
			continue
		}
		a, b, err := s.parted(name)
		if err != nil {
			return nil, nil, err
		}
		return n.put(i, a), n.put(i, b), nil
	}
	return nil, n, nil
}

func alternatives(all []*Node) *Node {
	if len(all) == 0 {
		return nil
	}
	return &Node{Op: Group, Flags: "?:", Subs: []*Node{Alternate(all...)}}
}

// put is a copy with another node at a place; nil where that is nil.
func (n *Node) put(i int, s *Node) *Node {
	if s == nil {
		return nil
	}
	c := n.Clone()
	c.Subs[i] = s
	return c
}

// Nullable reports whether an expression matches an empty text too; of a condition or a
// look-ahead that isn't known.
func (n *Node) Nullable() bool {
	switch n.Op {
	case Empty:
		return true
	case Repeat:
		return n.Min == 0 || n.Subs[0].Nullable()
	case Concat:
		for _, s := range n.Subs {
			if !s.Nullable() {
				return false
			}
		}
		return true
	case Alt:
		for _, s := range n.Subs {
			if s.Nullable() {
				return true
			}
		}
	case Group:
		return n.Subs[0].Nullable()
	}
	return false
}
