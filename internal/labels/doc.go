// Package labels reads what a container's labels and log options say to logscan: whether
// it is scanned, of which workload it is, and rules, silences and packs for that workload.
//
// Whoever may start a container writes them, and so may whoever built its image. Hence
// what they say holds for the container's own workload alone, is bounded, and names
// triggers but can't make any: no label holds a URL or a secret. A label that is wrong
// keeps no container from starting; it is left out, and told as a Problem.
//
// The package has no state and does no I/O.
package labels
