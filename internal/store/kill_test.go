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
)

const childEnv = "LOGSCAN_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		fmt.Println(commitForEver(path))
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
			Events:  []Event{hit(strconv.Itoa(n), nil)},
			Cursors: []Cursor{{ContainerID: "c", Position: []byte(strconv.Itoa(n))}},
		}, to(1))
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
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
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+path)
		out := must[io.ReadCloser](t)(cmd.StdoutPipe())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Some commits, and then a moment that differs from round to round.
		stop := acked + 3 + round
		for acked < stop {
			if _, err := fmt.Fscanln(out, &acked); err != nil {
				t.Fatal(err)
			}
		}
		timer := time.AfterFunc(time.Duration(round)*300*time.Microsecond, func() { cmd.Process.Kill() })
		for {
			if _, err := fmt.Fscanln(out, &acked); err != nil {
				break
			}
		}
		cmd.Wait()
		timer.Stop()

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
		events := must[[]Event](t)(s.Events(t.Context(), EventFilter{Ascending: true}))
		deliveries := must[[]Delivery](t)(s.Deliveries(t.Context(), Pending, 0))
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
