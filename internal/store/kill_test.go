package store

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/trigger"
)

const (
	childEnv = "LOGSCAN_STORE_TEST_CHILD"
	storyEnv = "LOGSCAN_STORE_TEST_STORY"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		fmt.Println(commitForEver(path))
		os.Exit(1)
	}
	if path := os.Getenv(storyEnv); path != "" {
		fmt.Println(goOn(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// commitForEver goes on from the cursor, with one event in each batch.
func commitForEver(path string) error {
	s, err := Open(path, nil)
	if err != nil {
		return err
	}
	ctx := context.Background()
	c, _, err := s.Cursor(ctx, "c")
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(string(c.Position))
	for {
		n++
		_, err := s.Commit(ctx, Batch{
			Events:  []event.Event{hit(strconv.Itoa(n), nil)},
			Cursors: []Cursor{{ContainerID: "c", Position: []byte(strconv.Itoa(n))}},
		}, to(1))
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// runAndKill has a child go on with a database, and kills it so long after it has
// acknowledged a step; it returns the last one that was.
func runAndKill(t *testing.T, env, path string, acked, stop int, after time.Duration) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env+"="+path)
	out := must[io.ReadCloser](t)(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Some commits, and then a moment that differs from round to round.
	for acked < stop {
		if _, err := fmt.Fscanln(out, &acked); err != nil {
			t.Fatal(err)
		}
	}
	timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
	for {
		if _, err := fmt.Fscanln(out, &acked); err != nil {
			break
		}
	}
	cmd.Wait()
	timer.Stop()
	return acked
}

// Killed at any instant, the cursor, the events and the deliveries agree, and
// nothing that was acknowledged is gone.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logscan.db")
	s := must[*Store](t)(Open(path, nil))
	addTrigger(t, s, "t")
	s.Close()
	acked := 0
	for round := range 15 {
		acked = runAndKill(t, childEnv, path, acked, acked+3+round, time.Duration(round)*300*time.Microsecond)

		s := must[*Store](t)(Open(path, nil))
		c, _, err := s.Cursor(t.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(string(c.Position))
		if n < acked {
			t.Errorf("round %d: %d were acknowledged, %d are there", round, acked, n)
		}
		acked = n
		events := must[[]event.Event](t)(s.Events(t.Context(), EventFilter{Ascending: true}))
		deliveries := must[[]trigger.Delivery](t)(s.Deliveries(t.Context(), DeliveryFilter{State: trigger.Pending}))
		if len(events) != n || len(deliveries) != n {
			t.Fatalf("round %d: cursor %d, %d events, %d deliveries", round, n, len(events), len(deliveries))
		}
		for i, e := range events {
			if e.Message != strconv.Itoa(i+1) {
				t.Fatalf("round %d: event %d is %s", round, i+1, e.Message)
			}
		}
		if aside := must[[]string](t)(filepath.Glob(path + ".damaged-*")); len(aside) != 0 {
			t.Fatal("taken for damaged")
		}
		s.Close()
	}
}
