package app

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/entry"
)

// Whatever is wrong with the place for all that is kept, logscan starts and goes
// on, containers start, write and stop, and what can't be kept is counted. With a
// place again, without another start, their lines are kept and scanned, and an
// event tells of each that was lost.
func TestNoPlaceForData(t *testing.T) {
	for _, row := range []struct {
		wrong      string
		make, mend func(dir string) error
	}{
		{
			"a file in its place",
			func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
			os.Remove,
		}, {
			"a file in the logs' place",
			func(dir string) error { return writeIn(dir, "journal") },
			func(dir string) error { return os.Remove(filepath.Join(dir, "journal")) },
		}, {
			"files in the place of records and calls",
			func(dir string) error {
				if err := writeIn(dir, "attachments"); err != nil {
					return err
				}
				return writeIn(dir, "unanswered")
			},
			func(dir string) error { return nil },
		}, {
			"a disk that is read-only",
			func(dir string) error {
				if err := os.Mkdir(dir, 0o700); err != nil {
					return err
				}
				return unix.Mount("tmpfs", dir, "tmpfs", unix.MS_RDONLY, "size=64m")
			},
			func(dir string) error { return unix.Mount("", dir, "", unix.MS_REMOUNT, "") },
		},
	} {
		t.Run(row.wrong, func(t *testing.T) {
			t.Parallel()
			p := newPlugin(t, nil)
			dir := p.cfg.DataDir
			t.Cleanup(func() {
				p.stop()
				unix.Unmount(dir, unix.MNT_DETACH)
			})
			if err := row.make(dir); err != nil {
				t.Fatal(err)
			}
			p.start()
			e := newEngine(p)
			id := strings.Repeat("ab", 32)
			fifo := hex.EncodeToString(fmt.Appendf(nil, "%032d", 1))
			path := filepath.Join(p.cfg.FIFODir, fifo)
			if err := unix.Mkfifo(path, 0o700); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			written := 0
			write := func(n int) {
				for range n {
					if _, err := f.Write(entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: int64(written + 1), Line: fmt.Appendf(nil, "%d", written)})); err != nil {
						t.Fatal(err)
					}
					written++
				}
			}
			about := map[string]any{"ContainerID": id, "ContainerName": "/web"}
			e.succeed("StartLogging", map[string]any{"File": "/run/docker/logging/" + fifo, "Info": about})
			write(20_000) // several pipes full
			if err := row.mend(dir); err != nil {
				t.Fatal(err)
			}
			p.ready()
			kept := func() int { return e.lines(about) }
			p.eventually("lines that are kept", func() bool {
				write(1)
				return kept() > 0
			})
			e.succeed("StopLogging", map[string]any{"File": "/run/docker/logging/" + fifo})
			lost := func() (n int) {
				page, err := p.Events(t.Context(), api.EventQuery{Source: "system", Limit: 1000})
				if err != nil {
					t.Fatal(err)
				}
				for _, ev := range page.Items {
					frames, _ := ev.Metadata["frames"].(float64)
					n += int(frames)
				}
				return n
			}
			if all := kept(); all < written {
				p.stop() // else a minute is summed up
				p.start()
				p.ready()
				p.eventually(fmt.Sprintf("events about %d lost lines", written-all), func() bool { return lost() >= written-all })
			}
			if n := kept() + lost(); n != written {
				t.Errorf("%d lines are kept, and %d told as lost; %d were written", kept(), lost(), written)
			}
		})
	}
}

func writeIn(dir, name string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), nil, 0o600)
}

// lines counts what `docker logs` gives.
func (e *engine) lines(about any) (n int) {
	e.p.t.Helper()
	body, err := e.call("ReadLogs", map[string]any{"Info": about, "Config": map[string]any{"Tail": -1}})
	if err != nil {
		e.p.t.Fatal(err)
	}
	defer body.Close()
	dec := logdriver.NewLogEntryDecoder(body)
	for {
		var line logdriver.LogEntry
		if err := dec.Decode(&line); err != nil {
			return n
		}
		n++
	}
}
