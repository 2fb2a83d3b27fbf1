// Bench measures logscan beside what it competes with, on a private Engine, and
// says which of its targets hold:
//
//	go run ./internal/bench [-quick] [-scale] [-run NAME,…] [-runs N] [-size MiB] [-out DIR]
//
// `make bench` builds what it needs and calls it. Each part writes a file of
// its own into DIR, and all that are there make up DIR.md, so that parts may be
// run apart. The parts:
//
//	carry-120, carry-200, carry-1024
//	         lines of so many bytes from a container to its log: wall time, CPU
//	logs     docker logs of 3 million lines, of the last 100
//	since    docker logs of the end of 1 GiB
//	fifos    1,000 containers' FIFOs, slow and idle: CPU, memory, wake-ups
//	latency  from a line's write in a container to the webhook's arrival
//	scale    carry over numbers of containers and rules and lengths of lines
//	matcher  the matcher's own benchmark
//	config   from a change of rules, in files and by the API, until it is live
//	search   searches of a week's logs, beside ripgrep; -size MiB has fewer
//
// Alternatives are measured in turns (A B C A B C …), so that what slows the
// machine slows all of them. Ratios are taken within a turn; tables give the
// median, the least and the greatest of all turns.
package main
