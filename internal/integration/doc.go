// Package integration holds the tests that show, on a real Docker Engine with
// the plugin as users install it, what logscan promises. There is nothing else
// in it. Each test has an Engine of its own (package enginetest).
//
// What `docker logs` should print is never written down by hand: it is what
// json-file and local print for the same output of a container, and what
// filtering a container's whole log by the rules of docker logs gives.
package integration
