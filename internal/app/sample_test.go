package app

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
	"logscan/internal/journal"
)

// writeLog makes a container's log of these lines, as those of a fifo.
func writeLog(t *testing.T, dir *journal.Dir, id string, scan bool, lines ...string) {
	t.Helper()
	j, err := dir.Create(journal.Container{ID: id, Scan: scan, Options: journal.DefaultOptions})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	var b []byte
	for i, l := range lines {
		b = entry.Append(b, &entry.Entry{Source: "stdout", TimeNano: 1e18 + int64(i), Line: []byte(l)})
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	a := j.Attach(false)
	defer a.Detach()
	for len(b) > 0 {
		n, err := unix.Write(p[1], b)
		if err != nil {
			t.Fatal(err)
		}
		b = b[n:]
		for err == nil {
			_, err = a.Ingest(p[0], 1<<20)
		}
		if err != unix.EAGAIN {
			t.Fatal(err)
		}
	}
}

func TestSample(t *testing.T) {
	dir, err := journal.OpenDir(journal.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if b := sample(dir, 1000); len(b) != 0 {
		t.Errorf("of no containers: %q", b)
	}
	for n := range 3 {
		var lines []string
		for i := range 500 * (1 - n%2) { // the second one writes a line only
			lines = append(lines, fmt.Sprintf("container %d line %04d %s", n, i, strings.Repeat("x", 50)))
		}
		writeLog(t, dir, fmt.Sprintf("%064x", n), true, append(lines, fmt.Sprintf("container %d ends", n))...)
	}
	writeLog(t, dir, fmt.Sprintf("%064x", 3), false, "not to be scanned")

	const size = 20_000
	b := sample(dir, size)
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
