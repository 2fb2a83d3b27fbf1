package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// smallDisk gives what the plugin keeps, and its FIFOs, a filesystem of their
// own, an ext4 in a file, and returns the directory. The plugin has not been
// enabled yet.
func smallDisk(t *testing.T, e *enginetest.Engine, size int64) string {
	t.Helper()
	image, dir := filepath.Join(e.Dir, "disk"), e.PluginData()
	for _, step := range []func() error{
		func() error { return os.WriteFile(image, nil, 0o600) },
		func() error { return os.Truncate(image, size) },
		func() error { return run("mkfs.ext4", "-q", "-m", "0", "-b", "4096", image) }, // as a larger one has
		func() error { return os.MkdirAll(dir, 0o700) },
		func() error { return run("mount", "-o", "loop", image, dir) },
		func() error { return os.Remove(filepath.Join(dir, "lost+found")) },
	} {
		if err := step(); err != nil {
			t.Fatal("a small disk for the plugin: ", err)
		}
	}
	return filepath.Join(dir, ".logscan")
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// eat takes all the space that there is on a disk, and what becomes free, until
// it is undone.
func eat(t *testing.T, dir string) (undo func()) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 64<<10)
		for n := len(b); ; {
			_, err := f.Write(b[:n])
			switch {
			case err == nil:
				n = len(b)
			case errors.Is(err, unix.ENOSPC):
				n = max(n/2, 512)
			default:
				t.Error(err)
				return
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	undo = sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
		f.Close()
		os.Remove(f.Name())
	})
	t.Cleanup(undo)
	return undo
}

// onSmallDisk starts an Engine whose plugin has such a filesystem.
func onSmallDisk(t *testing.T) (e *enginetest.Engine, disk string) {
	t.Helper()
	e = enginetest.Start(t, enginetest.Options{})
	e.CreatePlugin(enginetest.BuildPlugin(t), unbounded...)
	disk = smallDisk(t, e, 64<<20)
	e.EnablePlugin()
	return e, disk
}

// writeOnSmallDisk starts a container that writes marked lines and tallies them in
// dir, and waits until some of its log is rotated and compressed.
func writeOnSmallDisk(t *testing.T, e *enginetest.Engine, disk string) (name, dir string) {
	t.Helper()
	dir = t.TempDir()
	name = e.Run([]string{"-v", dir + ":/tally", "--log-driver", enginetest.Plugin, "--log-opt", "max-size=1m", "--log-opt", "max-file=1000"},
		"loggen", "-n", "0", "-len", strconv.Itoa(lineLen-1), "-mark", strconv.Itoa(markEvery), "-buf", "4096", "-duty", "5ms", "-idle", "95ms", "-tally", "/tally/n")
	e.Eventually(time.Minute, "rotated and compressed segments", func() bool {
		segments, _ := filepath.Glob(filepath.Join(disk, "journal/*/*.zst"))
		return len(segments) > 2
	})
	return name, dir
}

// TestFullDisk fills the disk that the plugin keeps everything on, while a
// container writes, segments are rotated and compressed and hits are stored, and
// empties it again. The container writes on all the while; others start, are
// read and stop; every line is in docker logs or counted and told as lost.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	e, disk := onSmallDisk(t)
	client, c := engineClient(e), control(t, e)
	addRule(t, c, "mark", `^(?P<n>\d+) MARK`)
	name, dir := writeOnSmallDisk(t, e, disk)
	stats := func() (st api.Stats) {
		t.Helper()
		st, err := c.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	for range 2 {
		before := stats().Journal.ByReason["dropped"].Entries
		undo := eat(t, disk)
		e.Eventually(time.Minute, "lines being dropped", func() bool { return stats().Journal.ByReason["dropped"].Entries > before })
		n := tally(dir).lines
		e.Eventually(time.Minute, "the container writing on", func() bool { return tally(dir).lines > n+100*markEvery })
		other := e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "0", "-rate", "100")
		readLogs(t, client, other, logOptions{})
		e.Docker("stop", other)
		e.Docker("rm", other)
		undo()
		e.Eventually(time.Minute, "lines being kept again", func() bool {
			last := readLogs(t, client, name, logOptions{tail: "1"})
			if len(last) != 1 {
				return false
			}
			number, _ := strconv.Atoi(string(last[0].text[:10]))
			return number > n+100*markEvery
		})
	}
	e.Docker("kill", "-s", "TERM", name)
	e.Wait(name)

	caughtUp(t, e, c)
	kept := outcome{written: tally(dir).lines}
	marks := kept.count(t, client, name)
	if kept.cut != 0 || kept.doubled != 0 {
		t.Errorf("%+v", kept)
	}
	var counted int64
	lost := stats().Journal.ByReason
	for _, loss := range lost {
		counted += loss.Entries
	}
	// Events sum up a minute, unless the worker ends before. And nothing was
	// damaged: the next process finds it all again.
	replaceWorker(t, e, syscall.SIGTERM)
	c = control(t, e)
	again := outcome{written: tally(dir).lines}
	again.count(t, client, name)
	if again != kept {
		t.Errorf("after a restart %+v, before %+v", again, kept)
	}
	var ofIt int64
	e.Eventually(time.Minute, "events that tell of each lost line", func() bool {
		var told int64
		told, ofIt = toldLost(t, c, e.ContainerID(name))
		return told == counted
	})
	t.Logf("%d lines written, %d kept, %d told as lost; blocked at most %s; %v", kept.written, kept.written-kept.lost, ofIt, tally(dir).longest, lost)
	if int64(kept.lost) != ofIt {
		t.Errorf("%d lines are missing in docker logs, and %d told as lost", kept.lost, ofIt)
	}
	// Each hit that there is a line for is stored once.
	found := map[string]int{}
	for _, ev := range hits(t, c, "mark") {
		captures, _ := ev.Metadata["captures"].(map[string]any)
		found[fmt.Sprint(captures["n"])]++
	}
	for _, n := range marks {
		if times := found[fmt.Sprintf("%010d", n)]; times != 1 {
			t.Errorf("line %d was hit %d times", n, times)
		}
	}
	for n, times := range found {
		if times != 1 {
			t.Errorf("line %s was hit %d times", n, times)
		}
	}
	// It is told in dockerd's log, which may be on a full disk too, and not many
	// times a second.
	for said, least := range map[string]int{"the log can't be written; the newest lines are dropped": 1, "lines wait in their FIFO": 1, "rotated segment stays as it is": 0} {
		if n := strings.Count(string(e.Log()), said); n > 20 || n < least {
			t.Errorf("the plugin said %d times %q", n, said)
		}
	}
	inDatabase(t, e, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'", 1)
	if err := filepath.WalkDir(disk, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (strings.Contains(path, ".damaged") || strings.HasSuffix(path, ".tmp")) {
			t.Errorf("%s is left", path)
		}
		return ifThere(err)
	}); err != nil {
		t.Error(err)
	}
}

// replaceWorker ends the worker and waits for another one.
func replaceWorker(t *testing.T, e *enginetest.Engine, sig syscall.Signal) {
	t.Helper()
	worker := e.PluginPID()
	kill(t, worker, sig)
	e.Eventually(time.Minute, "another worker", func() bool { pid := e.PluginPID(); return pid != 0 && pid != worker })
}

// toldLost sums up the entries that events tell of as lost, and those of one
// container.
func toldLost(t *testing.T, c *api.Client, id string) (all, ofIt int64) {
	t.Helper()
	for _, ev := range allEvents(t, c, api.EventQuery{Source: "system"}) {
		frames, _ := ev.Metadata["frames"].(float64) // none but losses have it
		if all += int64(frames); ev.Metadata["container_id"] == id {
			ofIt += int64(frames)
		}
	}
	return all, ofIt
}

// TestKillOnAFullDisk kills the worker again and again where it can't keep lines,
// before any event has told of them: the database is on the same disk. With space
// again, each line is in docker logs, or told of as lost, once.
func TestKillOnAFullDisk(t *testing.T) {
	t.Parallel()
	e, disk := onSmallDisk(t)
	client := engineClient(e)
	name, dir := writeOnSmallDisk(t, e, disk)
	dropping := func() int {
		return strings.Count(string(e.Log()), "the log can't be written; the newest lines are dropped")
	}
	undo := eat(t, disk)
	const kills = 6
	for n := range kills {
		e.Eventually(time.Minute, "lines being dropped", func() bool { return dropping() > n })
		written := tally(dir).lines
		e.Eventually(time.Minute, "the container writing on", func() bool { return tally(dir).lines > written+10*markEvery })
		replaceWorker(t, e, syscall.SIGKILL)
	}
	undo()
	e.Eventually(time.Minute, "lines being kept again", func() bool {
		written := tally(dir).lines
		last := readLogs(t, client, name, logOptions{tail: "1"})
		if len(last) != 1 {
			return false
		}
		number, _ := strconv.Atoi(string(last[0].text[:10]))
		return number > written-10*markEvery
	})
	e.Docker("kill", "-s", "TERM", name)
	e.Wait(name)
	caughtUp(t, e, control(t, e))
	replaceWorker(t, e, syscall.SIGTERM) // else a minute is summed up
	c := control(t, e)
	kept := outcome{written: tally(dir).lines}
	kept.count(t, client, name)
	var told int64 // not by Eventually: where some are missing, it is to be seen which
	for deadline := time.Now().Add(time.Minute); told < int64(kept.lost) && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		_, told = toldLost(t, c, e.ContainerID(name))
	}
	t.Logf("%d lines written, %d lost over %d kills, %d told as lost; blocked at most %s", kept.written, kept.lost, kills, told, tally(dir).longest)
	if n := strings.Count(string(e.Log()), "events about lost lines not kept"); n > 300 {
		t.Errorf("storing them was tried %d times", n)
	}
	if told != int64(kept.lost) || kept.lost == 0 || kept.cut != 0 || kept.doubled != 0 {
		t.Errorf("%+v, %d told as lost", kept, told)
		for _, ev := range allEvents(t, c, api.EventQuery{Source: "system"}) {
			t.Logf("%s %s %v", ev.CreatedAt.Format(time.StampMilli), ev.Message, ev.Metadata)
		}
	}
}
