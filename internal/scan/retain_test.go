package scan

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"logscan/internal/journal"
)

// What max-file asks for happens as soon as the lines were scanned, also where
// their container has ended by then.
func TestScannedLinesMayGo(t *testing.T) {
	for _, when := range []string{"scanned later", "scanned meanwhile"} {
		t.Run(when, func(t *testing.T) { scannedLinesMayGo(t, when == "scanned meanwhile") })
	}
}

func scannedLinesMayGo(t *testing.T, meanwhile bool) {
	g := newRig(t)
	g.openJournals(journal.Config{HoldMax: 1 << 30})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { g.dir.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	if meanwhile {
		g.start(compile(t))
	}
	w := g.attach(0, journal.Options{MaxSize: 10_000, MaxFile: 3}, true, false)
	for range 1000 {
		w.lines("a line of some length, so that a few hundred of them fill many segments")
	}
	w.end()
	segments := func() int {
		names, _ := filepath.Glob(filepath.Join(g.root, "journal/*/*.seg"))
		return len(names)
	}
	if !meanwhile {
		if n := segments(); n < 6 {
			t.Fatalf("%d segments before anything is scanned", n)
		}
		g.start(compile(t))
	}
	eventually(t, "three segments", func() bool { return segments() == 3 })
}
