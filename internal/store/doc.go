// Package store keeps what logscan must not forget in one SQLite file: rules,
// triggers, the event log, the scanner's cursors and the outbox of deliveries.
//
// What it promises:
//   - Commit is the commit point of the whole road from line to webhook: the
//     events, the cursors that passed their lines and the deliveries they cause
//     are there together, or none of them is. A kill at any instant leaves the
//     state before or after.
//   - What was acknowledged survives a power cut too (synchronous=FULL). A
//     webhook may have left right after a commit: were its event lost, the
//     replayed line would be sent again under a new id. Commits are grouped by
//     their callers, so that a sync for each is affordable. Only a cursor without
//     hits and the outcome of an attempt don't wait for the disk: undone by a
//     power cut, lines are evaluated and deliveries sent again, under their ids.
//   - Ids of rules, triggers and events are never used twice. A delivery's id
//     is the same for ever.
//   - A damaged file never stops logscan and is never deleted: Open renames it,
//     starts afresh with ids beyond all earlier ones, logs it and puts an event
//     into the new file.
//   - A failed call (full disk, say) changes nothing and may be repeated.
//   - No error and no log line holds a trigger's secret or URL.
//
// All methods are safe concurrently. Reads don't wait for writes; one write
// waits for the other.
package store
