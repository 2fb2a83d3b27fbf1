// Package journal keeps each container's log: the Engine's own frames (see
// package entry), exactly as they came, in a directory per container.
//
//	<root>/<container id>/
//	    container.json             what is known of the container; no environment
//	    runs.json                  when it was started, and where in the log
//	    00000000000000000000.seg.zst    rotated and compressed
//	    00000000000020971597.seg        the active segment: raw frames
//	    00000000000020971597.idx        its sparse index
//	    transfer                   what was written last, where much comes at once
//
// A segment's name is its base: the offset of its first byte, counted in
// uncompressed frame bytes. A log begins at the time of its making, in
// microseconds since 1970 (see birth.go), so that offsets are never reused, not
// even by a log that is removed and made again: a cursor stays valid whatever is
// rotated, compressed or removed around it. Every segment begins and ends at a
// frame boundary.
//
// The active segment is written by splice(2), from the pipe to the page cache
// without passing through this process, or, where much comes at once, in steps
// that a note in the container's directory tells apart (see transfer.go): a kill
// at any instant loses and doubles nothing. The one thing that a kill may leave
// unfinished is the last frame, whose rest is still in the pipe; it stays in the
// file and is completed when its writer is attached again, and removed when it
// never can be. Readers see whole frames only.
//
// # Index
//
// About every 64 KiB an index has a point, describing the frames before it:
// format.go has its form. An index is a hint: what is missing or wrong in
// it is found again by hopping over frame headers.
//
// # Compressed segments
//
// A rotated segment is compressed in the background, Config.CompressAfter later
// if it is still there, each block between two points as one zstd frame, followed
// by a skippable zstd frame (RFC 8878, 3.1.2) with the index, so that `zstd -dc`
// gives the raw segment back: format.go has its form.
// Behind each blockfilter.MaxBlocks blocks, and the last, lies the filter of these, which
// is such a frame too; segments without are as good. Package blockfilter has its form.
//
// It is written beside the raw one, synced and renamed, and only then the raw
// one is unlinked. Where both exist, the raw one is the truth.
//
// # What is bounded
//
// A container's segments by max-size and max-file, as in Docker's local driver,
// within bounds of the journal's own: a segment has at least 64 KiB and at most 1
// GiB, and there are no more than 10,000 of them. Without a max-size there is no
// max-file. Segments that nobody has scanned yet are kept beyond max-file up to
// Config.HoldMax; past that they go, counted and reported. Logs are removed of
// containers that stopped, or whose logs were last read, longer ago than
// Config.StoppedAge; and when all together pass Config.Budget, the oldest lines
// of stopped containers, beginning with the one that stopped first, and then
// those of running ones.
//
// # What can't be written or read
//
// Where the disk is full, the oldest lines are removed to make room, as beyond
// the budget. Where nothing helps for some seconds, an attachment's newest lines
// are dropped, whole and counted, so that its container goes on: a FIFO that
// nobody drains blocks it. So are they with any other error, after another file
// was tried. A journal opens on a disk that is full, read-only or failing.
//
// Where the directory of all logs can't be used, there is a Dir all the same, of
// which nothing can be acquired; what containers say is drained and counted until
// it can.
//
// What is damaged, or removed by somebody else, costs the frames that were hit. An
// index is found again from the frames, and frames behind rubbish from how the
// Engine's begin; in a compressed segment a damaged block is passed over, and
// without its trailer it is unpacked as far as it goes. Nothing is deleted that
// could be read. All that is missing is counted and reported. What can't be read
// for a moment is neither old nor empty: nothing is removed on the strength of an
// error.
//
// Nothing is synced to disk but compressed segments and container.json, before they
// are renamed; one that a log's first line has to write is soon after. A power cut
// loses what the kernel had not written back, as with Docker's own drivers.
package journal
