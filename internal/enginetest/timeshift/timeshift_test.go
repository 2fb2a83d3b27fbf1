package timeshift_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"logscan/internal/enginetest/timeshift"
)

// readerEnv makes this program one that tells the time for each line it is sent.
const readerEnv = "LOGSCAN_TEST_CLOCK"

func TestMain(m *testing.M) {
	if os.Getenv(readerEnv) == "" {
		os.Exit(m.Run())
	}
	for range 2 { // threads that read the clock all the time
		go func() {
			for {
				_ = time.Now()
			}
		}()
	}
	start := time.Now()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		now := time.Now()
		fmt.Println(now.UnixNano(), now.Sub(start).Nanoseconds())
	}
}

// A process's clock is off by what was set, its monotonic clock is not, and
// nobody else's is.
func TestSet(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), readerEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	last := int64(-1)
	for _, hours := range []int8{0, 1, 0, -1, -2, 127, -128, 0} {
		if err := timeshift.Set(cmd.Process.Pid, hours); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		io.WriteString(in, "\n")
		var now, elapsed int64
		if _, err := fmt.Fscanln(out, &now, &elapsed); err != nil {
			t.Fatal(err)
		}
		after := time.Now()
		at := time.Unix(0, now).Add(-time.Duration(hours) * time.Hour)
		if at.Before(before.Round(0)) || at.After(after.Round(0)) {
			t.Errorf("%d hours: it reads %s, between %s and %s", hours, time.Unix(0, now), before, after)
		}
		if elapsed < last || time.Duration(elapsed) > after.Sub(began) {
			t.Errorf("%d hours: %d ns since its start, %d before", hours, elapsed, last)
		}
		last = elapsed
	}
	if err := timeshift.Set(0, 1); err == nil {
		t.Error("the clock of no process was set")
	}
}
