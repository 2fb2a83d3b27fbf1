package journal

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKill lets a child ingest from a pipe that the parent keeps full, and
// kills it with SIGKILL again and again: every frame is there once, in order.
func TestKill(t *testing.T) {
	if root := os.Getenv("LOGSCAN_TEST_JOURNAL"); root != "" {
		ingestForEver(root)
	}
	root := t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	unix.FcntlInt(r.Fd(), unix.F_SETPIPE_SZ, 1<<20)
	done := make(chan int)
	stop := make(chan struct{})
	go func() {
		var b []byte
		i := 0
		for ; ; i++ {
			select {
			case <-stop:
				w.Close()
				done <- i
				return
			default:
			}
			b = append(b[:0], frame(i, int64(i+1), 50+i%300)...)
			if _, err := w.Write(b); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "LOGSCAN_TEST_JOURNAL="+root)
		cmd.ExtraFiles = []*os.File{r}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	for k := range 20 {
		cmd := start()
		time.Sleep(time.Duration(60+k*5) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
	}
	close(stop)
	cmd := start() // drains to the end
	lines := <-done
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDir(Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	j, err := d.Acquire(testID)
	if err != nil {
		t.Fatal(err)
	}
	wantRun(t, numbers(t, readAll(t, j, 0)), 0, lines)
	if b, err := os.ReadFile(filepath.Join(j.path, noteName)); err != nil || decodeNote(b).phase != phaseWritten {
		t.Errorf("no transfers: %x, %v", b, err)
	}
	t.Log(lines, "lines over 20 kills")
}

// ingestForEver is the child.
func ingestForEver(root string) {
	d, err := OpenDir(Config{Root: root})
	if err == nil {
		var j *Journal
		if j, err = d.Create(Container{ID: testID, Options: Options{MaxSize: 1 << 20, MaxFile: 1 << 20}}); err == nil {
			unix.SetNonblock(3, true)
			a := j.Attach(true)
			for {
				_, err = a.Ingest(3, 1<<20)
				if err == io.EOF {
					os.Exit(0)
				}
				if err == unix.EAGAIN {
					time.Sleep(100 * time.Microsecond)
				} else if err != nil {
					break
				}
			}
		}
	}
	os.Stderr.WriteString(strconv.Quote(err.Error()) + "\n")
	os.Exit(1)
}
