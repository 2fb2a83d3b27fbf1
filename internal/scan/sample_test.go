package scan

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"logscan/internal/journal"
)

func TestSample(t *testing.T) {
	g := newRig(t)
	if b := Sample(g.dir, 1000); len(b) != 0 {
		t.Errorf("of no containers: %q", b)
	}
	for n := range 3 {
		w := g.container(n)
		defer w.end()
		for i := range 500 * (1 - n%2) { // the second one writes a line only
			w.lines(fmt.Sprintf("container %d line %04d %s", n, i, strings.Repeat("x", 50)))
		}
		w.lines(fmt.Sprintf("container %d ends", n))
	}
	off := g.attach(3, journal.DefaultOptions, false, false)
	defer off.end()
	off.lines("not to be scanned")

	const size = 20_000
	b := Sample(g.dir, size)
	if len(b) > size || len(b) < size*9/10 || b[len(b)-1] != '\n' {
		t.Errorf("%d bytes, %q last", len(b), b[max(0, len(b)-100):])
	}
	for n, atLeast := range []int{80, 1, 80} {
		if got := bytes.Count(b, fmt.Appendf(nil, "container %d ", n)); got < atLeast {
			t.Errorf("%d lines of container %d", got, n)
		}
	}
	if bytes.Contains(b, []byte("not to be")) || bytes.Contains(b, []byte("line 0000 ")) {
		t.Error("has lines that it shouldn't")
	}
}
