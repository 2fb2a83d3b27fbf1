// Package scan reads every container's journal, line by line, through the rule
// engine into the store.
//
// What it promises:
//
//   - Every line is evaluated, in order, and its hits are events exactly once,
//     whatever kills the process: events, deliveries and the cursor behind
//     their lines are committed in one transaction. After a restart the lines
//     behind the last cursor are evaluated again, with the engine's state of
//     that moment, and give the same hits.
//   - It only reads. A scanner that lags or a store that fails stops no
//     container and no `docker logs`; what is not yet committed is held in the
//     journal as far as its own bound allows. While the store fails, hits wait
//     in memory up to a bound, and scanning waits behind them.
//   - Containers take turns, so that a loud one delays the others by a turn of
//     each worker at most.
//   - A new snapshot of rules holds for every line written after SetSnapshot
//     has returned, and no line is evaluated under both.
//   - A line that repeats what logscan itself has sent (Config.Echo) is not
//     evaluated, so that a receiver that logs its messages doesn't ring.
//   - A line is bounded: what is beyond Config.MaxLine is not evaluated, and
//     counted. A line that doesn't end is evaluated as far as it goes when its
//     container ends, when it hasn't grown for Config.FlushAfter, or when much
//     else was written since it began; what comes after is a line of its own.
//
// # The cursor
//
// A cursor is the offset up to which everything is evaluated, but for lines
// that began before it and go on behind it: of those it has the offset at which
// they begin, by stream. Reading goes on at the smallest of these offsets, and
// what lies before the first one and belongs to no such line is passed over.
package scan
