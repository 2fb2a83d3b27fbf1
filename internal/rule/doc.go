// Package rule decides which log lines matter: it knows what a rule is, which
// rules are in effect for a workload, and which of their matches become hits.
//
// # Effective rules
//
// Rules without a workload are global. A workload's effective rules are the
// globals that it doesn't override, its enabled overrides and its own enabled
// rules. A disabled override removes the global rule there. An override that
// can't be compiled leaves the workload without either of the two: what it was
// made to replace doesn't come back.
//
// # What becomes a hit
//
// A match is a hit unless the rule has matched a line before it in its record, the rule's
// cooldown in this container runs, or the container's token bucket is empty. Matches that
// are held back are counted, and the rule's next hit says how many they were and since
// when.
//
// A rule that would take too much work to check on a line made to be dear is given
// up on that line, and counts it; so does one whose hit has groups that would take
// too much. It depends on the line and on the workload's rules alone.
//
// # What it promises
//
//   - Evaluate is a pure function of (set, state, record): the same records give the
//     same hits, whenever and however often they are evaluated. There is no
//     clock but the lines' own times, no goroutine and no I/O.
//   - Lines' times may step back or be absurd. A step back lengthens a cooldown
//     by less than twice its length, and the wait for a token by less than the
//     time in which the bucket fills, however far it goes.
//   - A Snapshot and its Sets never change what they answer; they may be used
//     concurrently. All rules are matched at once, by package match. A State
//     belongs to one container and one goroutine at a time.
//   - Whatever is read from outside is bounded: patterns by length and compiled
//     size, lines by the work that they may take, a hit's texts by length and
//     number, an encoded State by its count.
package rule
