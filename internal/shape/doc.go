// Package shape tells which log lines say the same: it makes the fingerprint of
// a line's shape, which is its words without what varies between them.
//
//	GET /orders/17 took 4 ms     GET <path> took <num>
//	GET /orders/9 took 231 ms    GET <path> took <num>
//
// What it promises:
//
//   - A fingerprint depends on the line's bytes alone: there is no state, no
//     locale, no clock and nothing that is learnt. It is the same in every process
//     and on every machine, and may be kept. A change to any line's fingerprint is
//     a new Version.
//   - Of allocates nothing and looks at the line's first Reach bytes at most, and
//     at far fewer in most lines: no line can make it slow.
//   - Every sequence of bytes has a fingerprint; those without a word share one.
//   - Readable is for people. It is no identity: lines of one shape may show
//     different placeholders.
//
// What it doesn't promise: that two messages of a program always have two shapes,
// or that one always has one. Punctuation doesn't count, nor do digits at the end
// of a word. Names that look like words, as of a group, a table or a host without
// a dot, do.
//
// # Algorithm
//
// The fingerprint is the XXH64, with seed 0, of the line's normal form. That is
// "fp1 ", and then, from left to right, a space and the letters for each word, and
// a byte 0x01 for each run of parameters behind the first word. Without a word it
// is "fp1 " and a byte 0x02. It has 256 bytes at most, and the first word that
// doesn't fit ends it, so that a longer number never moves the cut. Where a word
// and a parameter repeat the two before them, they are left out: a list of blk_1
// blk_2 blk_3 has the shape of blk_1.
//
// Each byte is one of:
//
//	letter      A to Z, a to z, and 0x80 and above
//	digit       0 to 9
//	join        _ - . : # % + ~ $ * ^
//	slash       /
//	backslash   \
//	at          @
//	space       0x20 and below, and 0x7f
//	delimiter   everything else
//
// The longest run without space and delimiter is a piece. Pieces are words,
// parameters or both, by these classes and a few lists: numbers, addresses, paths,
// URLs, hosts, hashes, dates, what is quoted without a space, and what stands where
// a name is expected (user=, "for invalid user") are parameters; a code of up to
// three digits (status 404, exit code 137) is a word. The functions of this package
// have the rules, in the order in which they hold.
//
// Of a line that is JSON or logfmt count the level, short codes, the message and
// the error, or where it has neither of these two, the names of its fields.
package shape
