package logdriver

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/ingest"
	"logscan/internal/journal"
)

// A process that ends while it has a StartLogging call leaves it to the next,
// which the Engine calls again without saying what for.
func TestCallOfAnEndedProcess(t *testing.T) {
	root := t.TempDir()
	os.Mkdir(filepath.Join(root, "fifo"), 0o700)
	fifo, another := strings.Repeat("a1", 32), strings.Repeat("d4", 32)
	for _, name := range []string{fifo, another} {
		path := filepath.Join(root, "fifo", name)
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := os.OpenFile(path, os.O_RDWR, 0) // as the Engine holds it
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
	}
	dir := filepath.Join(root, "unanswered")
	ended := openPending(dir, slog.New(slog.DiscardHandler))
	ended.begin(startCall{File: "/run/docker/logging/" + fifo, Container: journal.Container{ID: "c1", Name: "web", Scan: true, Options: journal.DefaultOptions}})
	ended.begin(startCall{File: "../../" + fifo[:8], Container: journal.Container{ID: "c2"}}) // not one of the Engine's names
	ended.begin(startCall{File: "/run/docker/logging/" + another, Container: journal.Container{ID: "c4"}})
	for name, old := range map[string]time.Duration{strings.Repeat("b2", 32): 0, strings.Repeat("c3", 32): time.Hour} {
		content := []byte(`{"file": "/run/docker/logging/`)
		if old > 0 {
			content, _ = json.Marshal(startCall{File: name, Container: journal.Container{ID: "old"}})
		}
		at := time.Now().Add(-old)
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		os.Chtimes(filepath.Join(dir, name), at, at)
	}

	e := engineIn(t, root)
	empty := func() string {
		r, _ := http.NewRequestWithContext(context.Background(), "POST", "http://plugin/LogDriver.StartLogging", nil)
		resp, err := e.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer response
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return answer.Err
	}
	if err := empty(); err != "" {
		t.Fatalf("the call is lost: %s", err)
	}
	attached := slices.DeleteFunc(e.in.Attachments(), func(a ingest.FIFOStatus) bool { return a.Unknown })
	if len(attached) != 1 || attached[0].ContainerID != "c1" {
		t.Errorf("attached: %+v", attached)
	}
	// One that comes with all it says is nobody else's any more.
	if err := e.call("/LogDriver.StartLogging", map[string]any{"File": another, "Info": info(nil)}); err != nil {
		t.Fatal(err)
	}
	if err := empty(); !strings.Contains(err, "try again") {
		t.Errorf("a call that nothing is known of: %q", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("answered, but still there: %v", left)
	}
}
