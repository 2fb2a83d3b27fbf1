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
//   - Lines that belong together are evaluated together, as one record (package lines):
//     what is of one that isn't over waits for its end, a second at the most behind its
//     last line. All other lines are evaluated at once.
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
// A cursor is the position behind the lines that are evaluated, or in a record that
// isn't over (package lines), these records, and the rule engine's state there (package
// rule). The log is held from the first line of such a record on, as if nothing of it
// had been read. Each stored one follows the
// one before, by its revision, so that a commit which is repeated because it
// failed changes nothing where it was persisted nevertheless.
//
// # A turn
//
// Lines come from a lines.Source, records from a lines.Records for each way in which
// rules have them made, matches and hits from a rule.Matching's Evaluate, events from
// event; what a turn gives goes to the committer with the
// cursor behind it. Each step knows nothing of the next, and none has a clock but
// the entries' own.
package scan
