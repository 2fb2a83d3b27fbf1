package loss

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, files []*os.File) *Ledger {
	t.Helper()
	l, err := Open(again(t, files))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// again is what the next process gets of files.
func again(t *testing.T, files []*os.File) (out []*os.File) {
	t.Helper()
	for _, f := range files {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, os.NewFile(uintptr(fd), f.Name()))
	}
	return out
}

func newFiles(t *testing.T) []*os.File {
	t.Helper()
	files, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	return files
}

var dropped = Key{"a", "dropped"}

func (l *Ledger) take() map[Key]Sum {
	_, told := l.Take(time.Now(), l.Waiting())
	return told
}

func TestLedger(t *testing.T) {
	files := newFiles(t)
	l := open(t, files)
	if !l.Add(dropped, Sum{1, 10, 2}) || l.Add(dropped, Sum{0, 5, 1}) {
		t.Error("fresh")
	}
	l = open(t, files) // the next process
	batch, told := l.Take(time.Now(), l.Waiting())
	if len(told) != 1 || told[dropped] != (Sum{1, 15, 3}) || l.Batch() != batch {
		t.Fatalf("%v %d", told, l.Batch())
	}
	l.Add(dropped, Sum{1, 1, 1})
	if l = open(t, files); l.Batch() != batch {
		t.Fatal("the batch is forgotten")
	}
	l.PutBack()
	if told = l.take(); told[dropped] != (Sum{2, 16, 4}) {
		t.Fatalf("%v", told)
	}
	l.Add(dropped, Sum{1, 7, 0})
	l = open(t, files)
	l.Told()
	if told = l.take(); len(told) != 1 || told[dropped] != (Sum{1, 7, 0}) {
		t.Fatalf("%v", told)
	}
	l.Told()
	if l = open(t, files); len(l.Waiting()) > 0 || l.Batch() != 0 || len(l.free) != len(l.t.slots) {
		t.Errorf("%v, %d free", l.Waiting(), len(l.free))
	}
}

// Containers beyond the bound are summed up together; what is told makes room.
func TestBound(t *testing.T) {
	files := newFiles(t)
	l := open(t, files)
	for round := range 3 {
		for n := range 3 * containersMax {
			for _, reason := range []string{"torn", "dropped"} {
				l.Add(Key{fmt.Sprint(round, " ", n), reason}, Sum{1, 2, 3})
			}
		}
		l = open(t, files)
		told := l.take()
		var all, several Sum
		for k, s := range told {
			if all = all.plus(s); k.Container == "" {
				several = several.plus(s)
			}
		}
		if n := int64(6 * containersMax); all != (Sum{n, 2 * n, 3 * n}) || len(told) != containersMax+2 || several.Times != n-containersMax {
			t.Errorf("%d sums, %+v, of several %+v", len(told), all, several)
		}
		l.Told()
	}
	for n := range 100 { // there are no so many
		l.Add(Key{"", fmt.Sprint(n)}, Sum{Times: 1})
	}
	l.Add(Key{string(make([]byte, 1000)), string(make([]byte, 1000))}, Sum{Times: 1})
	var all Sum
	for _, s := range open(t, files).take() {
		all = all.plus(s)
	}
	if all.Times != 101 {
		t.Errorf("%+v", all)
	}
}

// Memory that holds anything at all stops no worker.
func TestRubbish(t *testing.T) {
	rnd := rand.New(rand.NewChaCha8([32]byte{1}))
	for range 200 {
		files := newFiles(t)
		b := make([]byte, tableSize)
		for range rnd.IntN(2000) {
			binary.NativeEndian.PutUint64(b[rnd.IntN(tableSize/8)*8:], rnd.Uint64()>>rnd.IntN(64))
		}
		binary.NativeEndian.PutUint64(b[8:], uint64(rnd.IntN(1100)))
		files[0].WriteAt(b, 0)
		files[2].Write(b[:rnd.IntN(1000)])
		l := open(t, files)
		l.PutBack()
		l.take()
		l.Told()
		l.Add(dropped, Sum{1, 2, 3})
		if told := open(t, files).take(); len(told) != 1 || told[dropped] != (Sum{1, 2, 3}) {
			t.Fatalf("%v", told)
		}
	}
	files := newFiles(t)
	if err := files[0].Truncate(10); err == nil {
		t.Error("the memory can be made shorter")
	}
	if _, err := Open(again(t, []*os.File{files[1], files[1], files[2]})); err == nil {
		t.Error("a pipe for a table")
	}
}

func TestDrop(t *testing.T) {
	files := newFiles(t)
	for _, l := range []*Ledger{open(t, files), New()} {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		fd, other := p[0], Key{"b", "dropped"}
		unix.Write(p[1], []byte("0123456789"))
		if n, fresh, err := l.Drop(fd, dropped, Sum{1, 4, 2}); n != 4 || !fresh || err != nil {
			t.Error(n, fresh, err)
		}
		if n, fresh, err := l.Drop(fd, dropped, Sum{0, 60, 5}); n != 6 || fresh || err != nil {
			t.Error(n, fresh, err)
		}
		if n, _, err := l.Drop(fd, other, Sum{1, 60, 5}); n != 0 || err != unix.EAGAIN {
			t.Error(n, err)
		}
		unix.Close(p[1])
		if n, _, err := l.Drop(fd, other, Sum{1, 60, 5}); n != 0 || err != nil {
			t.Error(n, err)
		}
		unix.Close(fd)
		if l.mem != nil {
			l = open(t, files)
		}
		if told := l.take(); len(told) != 1 || told[dropped] != (Sum{1, 10, 2}) {
			t.Errorf("%v", told)
		}
		l.Told()
		l.Close()
		if l.Add(dropped, Sum{1, 1, 1}) {
			t.Error("added to a closed one")
		}
		if _, _, err := l.Drop(fd, dropped, Sum{1, 1, 1}); err != os.ErrClosed {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// record is what TestKill's child takes out of its pipe, one or several at once.
const record = 100

// TestKill kills, with SIGKILL, a process that adds, drops and tells, again and
// again, anywhere in its work: all that has left the pipe is told, once.
func TestKill(t *testing.T) {
	if dir := os.Getenv("LOGSCAN_TEST_LOSS"); dir != "" {
		t.Fatal(loseForEver(dir))
	}
	const kills = 150
	dir := t.TempDir()
	files := newFiles(t)
	fifo, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	stop, written := make(chan struct{}), make(chan int64)
	go func() {
		defer w.Close()
		b := make([]byte, record)
		for n := int64(0); ; n++ {
			select {
			case <-stop:
				written <- n
				return
			default:
			}
			w.Write(b)
		}
	}()
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "LOGSCAN_TEST_LOSS="+dir)
		cmd.ExtraFiles = append([]*os.File{fifo}, files...)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	batches := func() int {
		told, _ := filepath.Glob(filepath.Join(dir, "*.told"))
		return len(told)
	}
	interrupted := 0
	for range kills {
		before := batches()
		cmd := start()
		for deadline := time.Now().Add(time.Minute); batches() == before; time.Sleep(100 * time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatal("nothing is told")
			}
		}
		time.Sleep(rand.N(3 * time.Millisecond))
		cmd.Process.Kill()
		cmd.Wait()
		var words [16]byte
		files[0].ReadAt(words[:], 0)
		if words != ([16]byte{}) {
			interrupted++
		}
	}
	close(stop)
	last := start() // to the pipe's end
	all := <-written
	if err := last.Wait(); err != nil {
		t.Fatal(err)
	}
	var told, added Sum
	names, _ := filepath.Glob(filepath.Join(dir, "*.told"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var d, a Sum
		if _, err := fmt.Sscan(string(b), &d.Bytes, &d.Frames, &a.Bytes, &a.Frames); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		told, added = told.plus(d), added.plus(a)
	}
	if told.Frames != all || told.Bytes != all*record {
		t.Errorf("%d written, %d told; of %d bytes %d", all, told.Frames, all*record, told.Bytes)
	}
	// The child counts in a file what it adds, before it does: each kill may
	// come between the two.
	b, _ := os.ReadFile(filepath.Join(dir, "added"))
	if n := int64(len(b)); added.Frames > n || added.Frames < n-kills || added.Bytes != 7*added.Frames {
		t.Errorf("%d added, %+v told", n, added)
	}
	t.Logf("%d records in %d batches over %d kills, %d of them inside a batch or a drop", all, len(names), kills, interrupted)
}

// loseForEver is the child. It tells by making a file, at once, that is called
// as the batch is.
func loseForEver(dir string) error {
	files := make([]*os.File, 3)
	for i := range files {
		files[i] = os.NewFile(uintptr(4+i), "inherited")
	}
	l, err := Open(files)
	if err != nil {
		return err
	}
	added, err := os.OpenFile(filepath.Join(dir, "added"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	name := func(batch int64) string { return filepath.Join(dir, fmt.Sprint(batch, ".told")) }
	if batch := l.Batch(); batch != 0 {
		if _, err := os.Stat(name(batch)); err == nil {
			l.Told()
		} else {
			l.PutBack()
		}
	}
	other := Key{"b", "torn"}
	for end := false; !end; {
		for range 1 + rand.IntN(20) {
			n := 1 + rand.Int64N(300)
			ready, err := unix.Poll([]unix.PollFd{{Fd: 3, Events: unix.POLLIN}}, -1)
			if ready < 0 && err == unix.EINTR {
				continue
			}
			there, err := unix.IoctlGetInt(3, unix.TIOCINQ)
			if err != nil {
				return err
			}
			if n = min(n, int64(there)/record, 500); n == 0 {
				if end = there == 0; end {
					break
				}
				continue
			}
			if m, _, err := l.Drop(3, dropped, Sum{1, n * record, n}); err != nil || int64(m) != n*record {
				return fmt.Errorf("%d of %d taken: %w", m, n*record, err)
			}
			if _, err := added.Write([]byte{'.'}); err != nil {
				return err
			}
			l.Add(other, Sum{1, 7, 1})
		}
		batch, told := l.Take(time.Now(), l.Waiting())
		d, a := told[dropped], told[other]
		tmp := filepath.Join(dir, "tmp")
		if err := os.WriteFile(tmp, fmt.Append(nil, d.Bytes, " ", d.Frames, " ", a.Bytes, " ", a.Frames), 0o600); err != nil {
			return err
		}
		if err := os.Rename(tmp, name(batch)); err != nil {
			return err
		}
		l.Told()
	}
	os.Exit(0)
	return nil
}
