// Package match finds which of many regular expressions match a line, at a cost
// that hardly grows with their number. What it finds is exactly what package
// regexp finds for each of them alone.
//
// # How
//
//	line ─▶ filter ─▶ literals ─▶ further literals ─▶ lazy DFA ─▶ answer
//	  └──────────────── shared lazy DFAs ──────────────────────────┘
//
// Of each expression Build derives sets of literals of which every match
// contains one each, and takes the set that occurs least. A filter over grams
// of four bytes finds these literals in a line, all expressions' at once. Where
// one stands, the expression's other sets are looked for, and if they are there
// too, the expression's own automaton decides, over the part of the line where
// a match can be. Expressions without a usable literal are run together, as one
// automaton, over each line.
//
// Automata are made of states that come into being when they are needed, within
// a bound of memory. Beyond it, and where making states costs more than they
// save, package regexp decides.
//
// # What it promises
//
//   - Answers don't depend on the Stats, on what was matched before, or on what
//     others match at the same time. A Matcher may be used concurrently.
//   - Memory is bounded: by the expressions' number and size, and a fixed
//     amount for states.
//   - Match allocates nothing once it is warm.
package match
