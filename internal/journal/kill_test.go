package journal

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/loss"
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
	var taken atomic.Int64 // writes that went through
	go func() {
		var b []byte
		i := 0
		for ; ; taken.Add(1) {
			select {
			case <-stop:
				w.Close()
				done <- i
				return
			default:
			}
			// Many at once, so that there is much to take out however busy the machine is.
			for b = b[:0]; len(b) < 4*transferMin; i++ {
				b = append(b, frame(i, int64(i+1), 50+i%300)...)
			}
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
		full := taken.Load()
		cmd := start()
		for taken.Load() < full+20 { // it has begun, and taken what fills the pipe
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(k*5) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
	}
	close(stop)
	cmd := start() // drains to the end
	lines := <-done
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	wantRun(t, numbers(t, left(t, root)), 0, lines)
	if b, err := os.ReadFile(filepath.Join(root, testID, noteName)); err != nil || decodeNote(b).phase != phaseWritten {
		t.Errorf("no transfers: %x, %v", b, err)
	}
	t.Log(lines, "lines over 20 kills")
}

// left is what a process has left in the log.
func left(t *testing.T, root string) []byte {
	t.Helper()
	d, err := OpenDir(Config{Root: root, SegmentMin: 1})
	if err != nil {
		t.Fatal(err)
	}
	j, err := d.Acquire(testID)
	if err != nil {
		t.Fatal(err)
	}
	return readAll(t, j, 0)
}

// ingestForEver is the child.
func ingestForEver(root string) {
	d, err := OpenDir(Config{Root: root, SegmentMin: 1})
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

// TestKillWhileDropping kills, again and again, a process whose disk is full most
// of the time, and where the oldest lines are removed to make room: every frame
// is kept or told as lost, by this process or by a later one, and once.
func TestKillWhileDropping(t *testing.T) {
	if root := os.Getenv("LOGSCAN_TEST_FULL"); root != "" {
		if err := dropForEver(root); err != nil {
			t.Fatal(err)
		}
		os.Exit(0)
	}
	root := smallDisk(t, "2m")
	files, err := loss.Files()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	lines, bytes := 0, 0
	written, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		defer w.Close()
		for {
			select {
			case <-stop:
				return
			default:
			}
			size := 20 + lines*37%300
			if lines%40 == 0 {
				size = 16000
			}
			n, _ := w.Write(frame(lines, int64(lines+1), size))
			bytes += n
			lines++
		}
	}()
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillWhileDropping$")
		cmd.Env = append(os.Environ(), "LOGSCAN_TEST_FULL="+root)
		cmd.ExtraFiles = append([]*os.File{r}, files...)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	const kills = 60
	for k := range kills {
		cmd := start()
		time.Sleep(30 * time.Millisecond)
		undo := fill(t, root)
		time.Sleep(rand.N(30 * time.Millisecond))
		if k%3 == 0 {
			undo() // killed while it recovers
			time.Sleep(rand.N(3 * time.Millisecond))
		}
		cmd.Process.Kill()
		cmd.Wait()
		undo()
	}
	close(stop)
	cmd := start()
	<-written
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	l, err := loss.Open(files)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, told := l.Take(time.Now(), l.Waiting())
	b := left(t, root)
	kept := numbers(t, b)
	for i := 1; i < len(kept); i++ {
		if kept[i] <= kept[i-1] {
			t.Fatalf("line %d after %d", kept[i], kept[i-1])
		}
	}
	var sum loss.Sum
	for k, s := range told {
		if k.Container != testID {
			t.Errorf("%+v: %+v", k, s)
		}
		sum.Bytes += s.Bytes
		sum.Frames += s.Frames
	}
	// What was cut from the file in the instant before a kill is not told as a
	// frame; its rest is, as rubbish.
	missing := lines - len(kept) - int(sum.Frames)
	if rubbish := int(told[loss.Key{Container: testID, Reason: "corrupt"}].Times); missing < 0 || missing > rubbish {
		t.Errorf("%d lines written, %d kept, %d told", lines, len(kept), sum.Frames)
	}
	if missing == 0 && bytes != len(b)+int(sum.Bytes) {
		t.Errorf("%d bytes written, %d kept, %d told", bytes, len(b), sum.Bytes)
	}
	t.Logf("%d lines written, %d kept, over %d kills; %d not told as lines: %+v", lines, len(kept), kills, missing, told)
}

// dropForEver is the child.
func dropForEver(root string) error {
	var files []*os.File
	for fd := range 3 {
		files = append(files, os.NewFile(uintptr(4+fd), "inherited"))
	}
	ledger, err := loss.Open(files)
	if err != nil {
		return err
	}
	of := func(l Loss) (loss.Key, loss.Sum) {
		return loss.Key{Container: l.ContainerID, Reason: l.Reason}, loss.Sum{Times: l.Times(), Bytes: l.Bytes, Frames: l.Frames}
	}
	d, err := OpenDir(Config{
		Root:   root,
		OnLoss: func(l Loss) { ledger.Add(of(l)) },
		Drop: func(fd int, l Loss) (int, error) {
			k, s := of(l)
			n, _, err := ledger.Drop(fd, k, s)
			return n, err
		},
		DropRoom: ledger.Room(),
		Losing: func(l Loss) func(bool) {
			k, s := of(l)
			e := loss.Expected{Key: k, Sum: s, From: l.From, To: l.To}
			ledger.Expect(e)
			return func(lost bool) { ledger.Happened(e, lost) }
		},
	})
	if err != nil {
		return err
	}
	for _, e := range ledger.OpenEnds() {
		ledger.Happened(e, d.Gone(e.Container, e.From, e.To))
	}
	d.gracePeriod = time.Millisecond
	j, err := d.Create(Container{ID: testID, Options: Options{MaxSize: 50_000, MaxFile: 1 << 20}})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { d.roomLoop(ctx); close(ended) }()
	unix.SetNonblock(3, true)
	a := j.Attach(true)
	for {
		switch _, err := a.Ingest(3, 1<<20); err {
		case nil:
		case io.EOF:
			stop()
			<-ended
			return nil
		case unix.EAGAIN:
			time.Sleep(100 * time.Microsecond)
		default: // the disk is full
			time.Sleep(time.Millisecond)
		}
	}
}
