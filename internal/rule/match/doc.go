// Package match finds which of many regular expressions match a line, at a cost
// that hardly grows with their number. What it finds is exactly what package
// regexp finds for each of them alone.
//
// # How
//
//	line ─▶ filter ─▶ literals ─▶ further literals ─▶ windows ─▶ lazy DFA ─▶ answer
//	  └────────────────── shared lazy DFAs ──────────────────────┴─▶ NFA ────┘
//
// Of each expression Build derives sets of literals of which every match
// contains one each, and takes the set that occurs least. A filter over grams
// of four bytes finds these literals in a line, all expressions' at once. Where
// one stands, the expression's other sets are looked for, and if they are there
// too, near enough, the expression's own automaton decides, over the windows of
// the line where a match can be. Expressions without a usable literal are run
// together, as one automaton, over each line.
//
// Automata are made of states that come into being when they are needed, within
// a bound of memory and of work per line. Where a text needs too many of them an
// NFA decides, which has none, all its instructions being bits of a few words.
//
// # What a line may cost
//
// Work is counted in units that depend on the expressions and the line alone: the
// bytes of each window times what a byte may cost in the worst case, and what it
// takes to look for literals. A line that could cost a fraction of a second is
// matched by a plan that no Stats have a part in, and expressions that would take
// more than what is left of the line's work are given up, one by one. The same
// line therefore gives the same answers after a restart and years later.
//
// # What it promises
//
//   - Answers don't depend on the Stats, on what was matched before, or on what
//     others match at the same time; and on the other expressions only where some
//     are given up. A Matcher may be used concurrently.
//   - Memory is bounded: by the expressions' number and size, and a fixed
//     amount for states. So is the work for a line.
//   - Match allocates nothing once it is warm.
package match
