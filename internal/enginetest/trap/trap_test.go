package trap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/enginetest"
)

// childEnv makes this test binary the program that is trapped; it names what to
// do, in the directory that is its own.
const childEnv = "TRAP_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		enginetest.Main(m)
	case "write":
		fmt.Println(os.WriteFile("file", []byte("content"), 0o666))
	case "change": // each step's error, or nil
		f, err := os.Create("made")
		fmt.Println("openat", errno(err))
		if err != nil {
			f, _ = os.OpenFile("made", os.O_RDWR, 0)
		}
		_, err = f.WriteAt([]byte("there"), 2)
		fmt.Println("pwrite64", errno(err))
		fmt.Println("ftruncate", errno(f.Truncate(100)))
		fmt.Println("fsync", errno(f.Sync()))
		fmt.Println("mkdirat", errno(os.Mkdir("dir", 0o777)))
		fmt.Println("linkat", errno(os.Link("made", "dir/linked")))
		fmt.Println("symlinkat", errno(os.Symlink("nowhere", "dir/link")))
		fmt.Println("renameat", errno(os.Rename("made", "renamed")))
		fmt.Println("unlinkat", errno(os.Remove("dir/linked")))
	case "splice":
		r, w, _ := os.Pipe()
		w.WriteString("through the pipe")
		f, _ := os.Create("file")
		off := int64(3)
		n, err := unix.Splice(int(r.Fd()), nil, int(f.Fd()), &off, 100, unix.SPLICE_F_NONBLOCK)
		fmt.Println(n, err, off)
	case "clock":
		fmt.Println(time.Now().Unix())
	case "threads":
		var all sync.WaitGroup
		for n := range 50 {
			all.Go(func() {
				for range 100 {
					if err := os.WriteFile(fmt.Sprint(n), []byte("content"), 0o666); !errors.Is(err, unix.EIO) {
						fmt.Println(err)
					}
				}
			})
		}
		all.Wait()
	}
}

func errno(err error) any {
	var number unix.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

// run runs the child and returns its directory and what it said.
func run(t *testing.T, what, calls, program string, handle func(*Call) Answer) (dir, said string) {
	t.Helper()
	dir = t.TempDir()
	tr := Listen(t, filepath.Join(t.TempDir(), "s"), handle)
	cmd := tr.Command(calls, program)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), childEnv+"="+what, "GORACE=atexit_sleep_ms=0")
	out, err := cmd.Output()
	if err != nil {
		said = err.Error()
	}
	return dir, string(out) + said
}

func TestWriteFails(t *testing.T) {
	for what, c := range map[string]struct {
		handle  func(*Call) Answer
		said    string
		content string
	}{
		"not":                {func(*Call) Answer { return Continue }, "<nil>", "content"},
		"nothing is written": {func(*Call) Answer { return Fail(unix.EIO) }, "input/output error", ""},
		"all is written": {func(c *Call) Answer {
			if n, err := c.Do(); n != 7 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			return Fail(unix.EIO)
		}, "input/output error", "content"},
		"all is said to be written": {func(c *Call) Answer { return Value(7) }, "<nil>", ""},
		"killed before": {func(c *Call) Answer {
			if err := c.Kill(); err != nil {
				t.Error(err)
			}
			return Continue
		}, "signal: killed", ""},
		"killed behind it": {func(c *Call) Answer {
			c.Do()
			c.Kill()
			return Continue
		}, "signal: killed", "content"},
	} {
		t.Run(what, func(t *testing.T) {
			dir, said := run(t, "write", "write", os.Args[0], func(call *Call) Answer {
				if filepath.Base(call.Target()) == "file" {
					return c.handle(call)
				}
				return Continue
			})
			if !strings.Contains(said, c.said) {
				t.Errorf("said %q", said)
			}
			if b, err := os.ReadFile(filepath.Join(dir, "file")); string(b) != c.content || err != nil {
				t.Errorf("written %q, %v", b, err)
			}
		})
	}
}

// Each kind of change is done in the program's place, and failed.
func TestChangesFailThoughDone(t *testing.T) {
	const all = "openat/2&0x40,pwrite64,ftruncate,fsync,mkdirat,linkat,symlinkat,renameat,renameat2,unlinkat"
	dir, said := run(t, "change", all, os.Args[0], func(c *Call) Answer {
		// What could not be removed as a file, os.Remove removes as a directory.
		if _, err := c.Do(); err != nil && (c.Name != "unlinkat" || c.Args[2] == 0) {
			t.Errorf("%s %s: %v", c.Name, c.Target(), err)
		}
		return Fail(unix.EIO)
	})
	for _, line := range strings.Split(strings.TrimSpace(said), "\n") {
		if !strings.HasSuffix(line, " input/output error") {
			t.Error(line)
		}
	}
	if n := strings.Count(said, "\n"); n != 9 {
		t.Errorf("%d answers:\n%s", n, said)
	}
	var found []string
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		found = append(found, name)
		return err
	})
	if got := strings.Join(found, " "); got != ". dir dir/link renamed" {
		t.Errorf("there is %s", got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "renamed")); err != nil || len(b) != 100 || string(b[2:7]) != "there" {
		t.Errorf("written %q, %v", b, err)
	}
}

func TestSpliceFailsThoughDone(t *testing.T) {
	for _, c := range []struct {
		answer Answer
		said   string
	}{
		{Fail(unix.EIO), "-1 input/output error 19"},
		{Value(16), "16 <nil> 19"},
	} {
		dir, said := run(t, "splice", "splice", os.Args[0], func(call *Call) Answer {
			if n, err := call.Do(); n != 16 || err != nil || filepath.Base(call.Target()) != "file" {
				t.Errorf("%d, %v, %s", n, err, call.Target())
			}
			return c.answer
		})
		if strings.TrimSpace(said) != c.said {
			t.Errorf("said %q", said)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(b) != "\x00\x00\x00through the pipe" {
			t.Errorf("written %q, %v", b, err)
		}
	}
}

// A program that asks the kernel for the time is told another one.
func TestClockIsShifted(t *testing.T) {
	const shift = 1_000_000
	program := WithoutVDSO(t, os.Args[0], t.TempDir())
	_, said := run(t, "clock", "clock_gettime/0=0", program, func(c *Call) Answer {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &ts); err != nil || c.Args[0] != unix.CLOCK_REALTIME {
			t.Errorf("%v, clock %d", err, c.Args[0])
		}
		b := binary.NativeEndian.AppendUint64(nil, uint64(ts.Sec+shift))
		if err := c.Write(1, binary.NativeEndian.AppendUint64(b, uint64(ts.Nsec))); err != nil {
			t.Error(err)
		}
		return Value(0)
	})
	var told int64
	fmt.Sscan(said, &told)
	if ahead := told - time.Now().Unix(); ahead < shift-60 || ahead > shift {
		t.Errorf("said %q, %d s ahead", said, ahead)
	}
}

// Each call of many threads is answered once.
func TestThreads(t *testing.T) {
	var calls atomic.Int64
	_, said := run(t, "threads", "write", os.Args[0], func(c *Call) Answer {
		if strings.Contains(c.Target(), ":") { // the runtime's own, and what the child says
			return Continue
		}
		calls.Add(1)
		return Fail(unix.EIO)
	})
	if said != "" || calls.Load() != 5000 {
		t.Errorf("%d calls; said %q", calls.Load(), said)
	}
}

func TestParse(t *testing.T) {
	for _, bad := range []string{"", "nothing", "write/", "write/1", "write/6=1", "write/1=x"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is a list of calls", bad)
		}
	}
}
