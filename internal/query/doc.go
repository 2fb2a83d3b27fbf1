// Package query answers what is asked about the logs that are kept, those of removed
// containers too: which lines match (Searcher), what a rule would have told (RunBacktest),
// and which errors no rule matches (FindUncovered). It reads them as docker logs does, and
// takes nothing that carries lines.
//
// # Search
//
//	request ─▶ plan: containers, their segments and blocks by time and filter ─▶ blocks ─▶ lines ─▶ match ─▶ merge ─▶ hits
//
// Of compressed segments, blocks are passed over that can't hold what a match of the pattern
// has to: package blockfilter tells which. They are part of Progress, and not of what
// Summary says was read.
//
// # Order
//
// A line's time is its own or, where a clock has stepped back, the greatest that was
// written before its block. Of one container, lines come in the order of the log; those of
// several are merged by time, and at the same time by the container's id. The newest come
// first, or the oldest. Both are the same order, and a Token is a place in it, so that it
// can be gone on from there, whatever has been written or removed since.
//
// # Records
//
// A hit can be the whole record that its line lies in, as package lines tells them by their
// form. Which lines are one is found out of what is near: 128 KiB before the line, 96 KiB
// behind. The record is given where its first line comes that is looked for.
//
// # What it promises
//
//   - The lines are those that package lines gives to rules, whichever block reading begins
//     at: a line in chunks that began before is read from there, and one that other frames
//     end is read up to there. A line that isn't finished when the search begins isn't
//     found.
//   - What was there when the search began, and is still there when it comes to it, is
//     looked at once. What retention has removed meanwhile is counted in Summary.Skipped:
//     no journal is held while nothing is read of it.
//   - Memory is bounded, whatever matches: hits that wait for their turn take maxWaiting at
//     most, and where there are more they are read again. So is time, and how many searches
//     run at once; they read on one core less than there are, in turns, and yield after
//     each. Blocks that are in memory for rules are left to them, and what wasn't in the
//     page cache isn't there afterwards.
//   - It ends soon when its context does.
package query
