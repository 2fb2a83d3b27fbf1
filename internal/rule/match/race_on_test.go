//go:build race

package match

// slowness divides how much the tests of one goroutine try: the race detector
// finds nothing in them, and makes them some fifteen times slower.
const slowness = 6
