// Package query answers what is asked about the logs that are kept, those of removed
// containers too: which lines match (Searcher), which are written (Tailer), what a rule
// would have told (RunBacktest), which errors no rule matches (FindUncovered), and what
// became of a line, or of a rule's lines, and why (Searcher.Why, Searcher.WhyRule). It
// reads them as docker logs does, and takes nothing that carries lines.
//
// # Search
//
//	request ─▶ plan: containers, their segments and blocks by time and filter ─▶ blocks ─▶ lines ─▶ match ─▶ merge ─▶ hits
//
// Of compressed segments, blocks are passed over that can't hold what a match of the pattern
// has to: package blockfilter tells which. They are part of Progress, and not of what
// Summary says was read. Of a block that is read, only the frames are decoded that have it,
// as match.Finder tells, and those that are no whole lines.
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
//     journals are held for a second at most, a few at once, and none while hits are shown.
//   - Memory is bounded, whatever matches: hits that wait for their turn take maxWaiting at
//     most, and where there are more they are read again. So is time, and how many
//     queries there are at once, by a Pool; they read on one core less than there are, in
//     turns, and yield after each. Blocks that are in memory for rules are left to them, and what wasn't in the
//     page cache isn't there afterwards.
//   - It ends soon when its context does.
//
// # Tail
//
//	search ─▶ the last lines, and where it ended in each log
//	Watch  ─▶ logs that have grown ─▶ some of the one that is furthest behind ─▶ waiting, by time ─▶ output
//
// A tail has a goroutine that reads, and the one that called it, which gives. Of a
// container that writes nothing it keeps a position, and neither a file nor a goroutine; it
// holds a journal while it reads from it, which is for a block at most.
//
//   - Of one container, lines come in the order of the log, each once. Those of several are
//     merged by time: a line waits until all that was written up to its time is read, but no
//     longer than holdFor for what may be on its way into a journal. Where many wait, it
//     waits for none.
//   - Lines that wait to be given take maxHeld. Where there is no room, nothing is read: the
//     journals are the queue. What is too far behind in them is passed over and counted,
//     once the reader is slow or maxLag is far exceeded.
//   - It learns from Watch what has grown, and asks nobody: a tail of silent logs does
//     nothing, but for the sign of life each aliveEvery.
package query
