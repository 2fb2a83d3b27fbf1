// Command matchbench compares package match with vectorscan and with a loop
// over package regexp, in thread CPU time, and prints tables with medians,
// spreads and ratios, and which of the targets hold. Vectorscan is a peer to
// measure against and no part of logscan: build with
//
//	go run -tags vectorscan ./internal/bench/matchbench
//
// which needs Debian's libvectorscan-dev. Lines come from a generator; the
// matcher's statistics are learned from others than those measured.
//
// With -logcheck and the directory where Debian's logcheck-database is unpacked
// it compares the hits of that package's patterns with grep -E's, one by one,
// and the time for all of them with grep's and ripgrep's.
package main
