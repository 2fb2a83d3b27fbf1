// Package lines makes lines of a journal's frames. It is the one way there: what
// evaluates rules, and whatever else looks at lines, sees the same ones.
//
// What it promises:
//
//   - Streams are told apart, and long lines, which the Engine hands over in
//     chunks, are put together again. Each line knows where in the journal it
//     lies.
//   - A line is bounded: what is beyond Config.Max is left out, and the line says
//     so.
//   - Which lines there are depends on the frames and their offsets alone, never
//     on how they are read, when, or how often reading was interrupted. A line
//     that doesn't end is one as far as it goes when its container's attachment
//     ends, when another line of its stream begins, when much else was written
//     since it began, or when the other stream says that Config.Gap has passed;
//     what comes after is a line of its own. The one exception is End, by which
//     the reader of a log that goes on has such a line at once: it leaves its
//     trace in the Position, so that who goes on from there sees no line twice.
//   - A Source reads no further than it has to, blocks on nothing but the disk,
//     and holds a block of frames at most, and one line for each stream.
//
// # Positions
//
// A position is the offset up to which everything is in lines that were given,
// but for lines that began before it and go on behind it: of those it has the
// offset at which they begin. Reading goes on at the smallest of these offsets;
// what lies before the first one and belongs to no such line is passed over.
//
// # Records
//
// Records puts lines together that belong together, such as a stack trace, an object of
// JSON over several lines, or an error of PostgreSQL with its details. They are known by
// their form (form.go has one table of all), or by a pattern that the first line of each
// matches. The streams have their own records.
//
//   - Which lines are a record depends on the lines, their streams and their times alone:
//     Records is a pure function of them. A record ends at the next one's start, at
//     MaxRecordLines or MaxRecord, where a line, also of another stream, is RecordGap
//     later, or with its container's attachment. The one exception is Quiet, by which who
//     reads a log that goes on has a record that isn't added to.
//   - A line that begins no form is a record by itself, and given at once. So is it where
//     a trace belongs to the line before it, until a stream has done so once: from then
//     on its lines are given with the next one, or when 200 ms have passed.
//   - What isn't given yet is state, which is bounded, and stored with the Position behind
//     its lines: nothing is read twice.
package lines
