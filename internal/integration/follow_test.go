package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"logscan/internal/enginetest"
)

// lineCounter is standard output of a docker logs -f of numbered lines: it
// checks that each is the next one.
type lineCounter struct {
	rest  []byte
	lines chan int // how many there are so far; the latest only
	n     int
	err   error
}

func newLineCounter() *lineCounter { return &lineCounter{lines: make(chan int, 1)} }

func (l *lineCounter) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			break
		}
		l.rest = rest
		if number, err := strconv.Atoi(string(line[:min(10, len(line))])); l.err == nil && (err != nil || number != l.n) {
			l.err = fmt.Errorf("line %d is %q", l.n, line)
		}
		l.n++
	}
	select {
	case <-l.lines:
	default:
	}
	l.lines <- l.n
	return len(b), nil
}

func (l *lineCounter) waitFor(t *testing.T, n int, within time.Duration) {
	t.Helper()
	deadline := time.After(within)
	for {
		select {
		case got := <-l.lines:
			if got >= n {
				return
			}
		case <-deadline:
			t.Fatalf("no %d lines within %s", n, within)
		}
	}
}

// TestFollow shows that docker logs -f follows over many rotations and beyond
// the 30 s after which an Engine would cut it had the plugin been enabled
// without --timeout 0, has every line once, and ends with the container.
func TestFollow(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	// 200 lines of 1 KiB a second and segments of 100 kB: two rotations a second.
	// Nothing is removed before it was followed: 1000 segments are kept.
	c := e.Run([]string{"--log-driver", enginetest.Plugin, "--log-opt", "max-size=100k", "--log-opt", "max-file=1000"},
		"loggen", "-n", "7000", "-len", "1024", "-rate", "200")
	followed := newLineCounter()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := e.Command(ctx, "logs", "-f", c)
	cmd.Stdout = followed
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	followed.waitFor(t, 6500, 90*time.Second) // lines come while the container runs
	if d := time.Since(start); d < 31*time.Second {
		t.Errorf("followed for %s only", d)
	}
	if segments, _ := filepath.Glob(filepath.Join(e.PluginData(), ".logscan/journal", e.ContainerID(c), "*.seg*")); len(segments) < 20 {
		t.Errorf("%d segments: no rotation to speak of", len(segments))
	}
	e.Wait(c)
	ended := time.Now()
	if err := cmd.Wait(); err != nil {
		t.Errorf("docker logs -f: %v", errors.Join(err, ctx.Err()))
	}
	if d := time.Since(ended); d > 5*time.Second {
		t.Errorf("docker logs -f ended %s after its container", d)
	}
	if followed.err != nil || followed.n != 7000 {
		t.Errorf("%d lines followed of 7000: %v", followed.n, followed.err)
	}
}

// TestFollowWithTailAndSince follows from a point in the past.
func TestFollowWithTailAndSince(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	client := engineClient(e)
	c := e.Run([]string{"--log-driver", enginetest.Plugin}, "sh", "-c", "loggen -n 100; trap 'loggen -n 150 | tail -n 50; exit' TERM; while :; do sleep 0.1; done")
	e.Eventually(time.Minute, "100 lines", func() bool { return len(readLogs(t, client, c, logOptions{})) == 100 })
	all := readLogs(t, client, c, logOptions{timestamps: true})

	type result struct {
		first string
		n     int
		err   error
	}
	follow := func(o logOptions) chan result {
		o.follow = true
		body := openLogs(t, client, c, o)
		done := make(chan result, 1)
		go func() {
			defer body.Close()
			b, err := io.ReadAll(body)
			r := result{err: err}
			for ; len(b) >= 8; r.n++ {
				n := 8 + int(binary.BigEndian.Uint32(b[4:]))
				if r.n == 0 {
					r.first = string(b[8:18])
				}
				b = b[n:]
			}
			done <- r
		}()
		return done
	}
	tail, since, nothing := follow(logOptions{tail: "10"}), follow(logOptions{since: all[70].time}), follow(logOptions{tail: "0"})
	e.Docker("kill", "-s", "TERM", c)
	e.Wait(c)
	for what, want := range map[string]struct {
		got   chan result
		first string
		n     int
	}{
		"--tail 10": {tail, "0000000090", 60},
		"--since":   {since, strings.Fields(string(all[70].text))[0], 80},
		"--tail 0":  {nothing, "0000000100", 50},
	} {
		select {
		case r := <-want.got:
			// Lines of one burst may share their time with those before.
			if r.err != nil || r.first > want.first || r.n < want.n || what != "--since" && (r.first != want.first || r.n != want.n) {
				t.Errorf("docker logs -f %s: %+v, want %d lines from %s", what, r, want.n, want.first)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("docker logs -f %s does not end", what)
		}
	}
}

// TestFollowersThatLeaveAreFreed shows that a departed client costs nothing,
// also where its container is silent.
func TestFollowersThatLeaveAreFreed(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	client := engineClient(e)
	silent := e.Run([]string{"--log-driver", enginetest.Plugin}, "sh", "-c", "echo line; exec sleep 600")
	busy := e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "0", "-rate", "100")
	for _, c := range []string{silent, busy} {
		e.Eventually(time.Minute, "a line", func() bool { return len(readLogs(t, client, c, logOptions{tail: "1"})) == 1 })
	}
	plugin, dockerd := e.PluginPID(), e.DockerdPID()
	client.CloseIdleConnections()
	// What Docker keeps open for a container's life is open now.
	before := [2]int{files(t, plugin), files(t, dockerd)}
	for range 10 {
		for _, c := range []string{silent, busy} {
			body := openLogs(t, client, c, logOptions{follow: true})
			var b [9]byte // a chunk's header, and the beginning of the first line
			if _, err := io.ReadFull(body, b[:]); err != nil {
				t.Fatal(err)
			}
			body.Close()
		}
	}
	client.CloseIdleConnections()
	// Each time that a silent follower is sent something, dockerd notices about
	// every second of those whose client has gone.
	e.Eventually(2*time.Minute, "as many files open as before the followers came", func() bool {
		return files(t, plugin) <= before[0]+carriedFiles && files(t, dockerd) <= before[1]
	})
}

// carriedFiles is how many more files the plugin may have open once it has carried
// lines of two containers: what is scanned of either may be read from its file,
// which is else not open, and a large turn goes through two pipes and /dev/null.
const carriedFiles = 2 + 5

// files returns how many files a process has open, the database's not counted:
// how many connections there are to it depends on who asks at the same time.
func files(t testing.TB, pid int) (n int) {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if file, err := os.Readlink(filepath.Join(dir, name.Name())); err == nil && !strings.Contains(file, "logscan.db") {
			n++
		}
	}
	return n
}
