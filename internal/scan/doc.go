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
//     evaluated by the rules that this was about, so that a receiver that logs its
//     messages doesn't ring. Such lines are counted, by container.
//   - A line is bounded: what is beyond Config.MaxLine is not evaluated, and
//     counted. A line that doesn't end is evaluated as far as it goes when its
//     container ends, when it hasn't grown for Config.FlushAfter, or when much
//     else was written since it began; what comes after is a line of its own.
//
// # The cursor
//
// A cursor is the position behind the lines that are evaluated (package lines),
// and the rule engine's state there (package rule). Each stored one follows the
// one before, by its revision, so that a commit which is repeated because it
// failed changes nothing where it was persisted nevertheless.
//
// # A turn
//
// Lines come from a lines.Source, matches from a rule.Matching, hits from its
// Admit, events from event; what a turn gives goes to the committer with the
// cursor behind it. Each step knows nothing of the next, and none has a clock but
// the entries' own.
package scan
