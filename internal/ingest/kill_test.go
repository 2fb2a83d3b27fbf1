package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestKill kills a process that ingests under full load, again and again, each
// time within some milliseconds of its first bytes. Segments are small, so that
// kills hit rotations too.
func TestKill(t *testing.T) {
	if root := os.Getenv("LOGSCAN_TEST_INGEST"); root != "" {
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		_, in, err := open(root, log)
		if err != nil {
			t.Fatal(err)
		}
		in.Run(context.Background()) // until killed
	}
	h := newHost(t)
	h.start()
	const fifos, kills = 4, 40
	var writers sync.WaitGroup
	var counts [fifos]int
	var enough atomic.Bool
	for k := range fifos {
		name, f := h.fifo(k)
		c := container(fmt.Sprint("c", k))
		c.Options.MaxSize, c.Options.MaxFile = 100_000, 1_000_000
		if err := h.in.Start(context.Background(), name, c); err != nil {
			t.Fatal(err)
		}
		writers.Go(func() {
			for n := 0; !enough.Load(); n++ {
				if _, err := f.Write(line(n)); err != nil {
					t.Error(err)
					return
				}
				counts[k] = n + 1
			}
		})
	}
	h.stop()
	for k := range kills {
		before := h.journalBytes()
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "LOGSCAN_TEST_INGEST="+h.root)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprint("process ", k, " carries lines"), func() bool { return h.journalBytes() > before })
		time.Sleep(rand.N(20 * time.Millisecond)) // anywhere in its work
		cmd.Process.Kill()
		cmd.Wait()
	}
	enough.Store(true)
	h.start()
	writers.Wait()
	total := 0
	for k, count := range counts {
		id := fmt.Sprint("c", k)
		eventually(t, "the rest arrives", func() bool { return len(read(t, h.dir, id)) >= count })
		wantRun(t, read(t, h.dir, id), count)
		total += count
	}
	t.Log(total, "lines over", kills, "kills")
}

// journalBytes is what all segments hold.
func (h *host) journalBytes() (n int64) {
	files, err := filepath.Glob(filepath.Join(h.root, "data", "journal", "*", "*.seg"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, name := range files {
		if info, err := os.Stat(name); err == nil {
			n += info.Size()
		}
	}
	return n
}
