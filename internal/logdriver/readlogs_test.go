package logdriver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"github.com/docker/docker/daemon/logger"
)

// ask sends one ReadLogs call and returns its answer's entries as they come.
func (c *container) ask(ctx context.Context, cfg logger.ReadConfig) (next func() (*logdriver.LogEntry, error), leave func()) {
	c.e.t.Helper()
	body, err := c.e.post(ctx, "/LogDriver.ReadLogs", map[string]any{"Info": c.info, "Config": cfg})
	if err != nil {
		c.e.t.Fatal(err)
	}
	dec := logdriver.NewLogEntryDecoder(body)
	return func() (*logdriver.LogEntry, error) {
		e := new(logdriver.LogEntry)
		return e, dec.Decode(e)
	}, func() { body.Close() }
}

// all returns the whole answer but keepalives.
func (c *container) all(cfg logger.ReadConfig) (out []*logdriver.LogEntry) {
	c.e.t.Helper()
	next, leave := c.ask(context.Background(), cfg)
	defer leave()
	for {
		e, err := next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			c.e.t.Fatal(err)
		}
		if e.Source != keepaliveSource {
			out = append(out, e)
		}
	}
}

func (c *container) say(n int) {
	c.e.t.Helper()
	if err := c.Log(&logger.Message{Source: "stdout", Timestamp: time.Unix(0, int64(n+1)), Line: fmt.Appendf(nil, "%d", n)}); err != nil {
		c.e.t.Error(err)
	}
}

func text(entries []*logdriver.LogEntry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%s %d %v %q\n", e.Source, e.TimeNano, e.Partial, e.Line)
	}
	return b.String()
}

func (e *engine) inFlight() int {
	e.driver.calls.mu.Lock()
	defer e.driver.calls.mu.Unlock()
	return e.driver.calls.n
}

// eventually polls a condition that another thread brings about.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// jsonFile answers as json-file does, see the forwarder in moby's
// daemon/logger/loggerutils/logfile.go.
func jsonFile(entries []*logdriver.LogEntry, tail int, since, until int64) (out []*logdriver.LogEntry) {
	if tail >= 0 {
		entries = entries[max(0, len(entries)-tail):]
	}
	for _, e := range entries {
		if since != 0 && e.TimeNano < since {
			continue
		}
		since = 0
		if until != 0 && e.TimeNano > until {
			break
		}
		out = append(out, e)
	}
	return out
}

// Every combination of tail, since and until, over segments raw and compressed,
// with a clock that steps back and with chunked lines.
func TestReadAsJSONFile(t *testing.T) {
	e := newEngine(t)
	c, err := e.start(info(map[string]string{"max-size": "3k", "max-file": "1000"}))
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var want []*logdriver.LogEntry
	clock := int64(1_000_000)
	for n := range 500 {
		if clock += rnd.Int64N(1000); rnd.IntN(40) == 0 {
			clock -= 20_000
		}
		m := &logger.Message{Source: []string{"stdout", "stderr"}[rnd.IntN(2)], Timestamp: time.Unix(0, clock), Line: fmt.Appendf(nil, "%d %s", n, strings.Repeat("x", rnd.IntN(300)))}
		served := &logdriver.LogEntry{Source: m.Source, TimeNano: clock, Line: append(bytes.Clone(m.Line), '\n')}
		if rnd.IntN(5) == 0 {
			if served.Partial = true; rnd.IntN(2) == 0 {
				served.Line = bytes.Clone(m.Line) // more follows
			}
			c.logChunk(m, len(served.Line) > len(m.Line))
		} else if err := c.Log(m); err != nil {
			t.Fatal(err)
		}
		want = append(want, served)
	}
	times := []int64{0, 1, want[0].TimeNano, want[100].TimeNano, want[250].TimeNano + 1, want[400].TimeNano, clock, clock + 1_000_000}
	check := func(when string) {
		t.Helper()
		for _, tail := range []int{-1, 0, 1, 7, 250, 499, 500, 501} {
			for _, since := range times {
				for _, until := range times {
					got := c.all(logger.ReadConfig{Tail: tail, Since: moment(since), Until: moment(until)})
					if w := jsonFile(want, tail, since, until); text(got) != text(w) {
						t.Fatalf("%s, tail %d since %d until %d: %d entries, want %d", when, tail, since, until, len(got), len(w))
					}
				}
			}
		}
	}
	check("running")
	eventually(t, "rotated segments are compressed", func() bool {
		files, _ := filepath.Glob(filepath.Join(e.root, "journal", "*", "*.seg"))
		return len(files) == 1
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	check("stopped")
}

func moment(nano int64) time.Time {
	if nano == 0 {
		return time.Time{}
	}
	return time.Unix(0, nano)
}

// logChunk writes one chunk of a long line.
func (c *container) logChunk(m *logger.Message, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enc.Encode(&logdriver.LogEntry{
		Source: m.Source, TimeNano: m.Timestamp.UnixNano(), Line: m.Line, Partial: true,
		PartialLogMetadata: &logdriver.PartialLogEntryMetadata{Id: "x", Last: last, Ordinal: 1},
	}); err != nil {
		c.e.t.Error(err)
	}
}

// What a container writes while its tail is being read neither lengthens nor
// shortens the tail.
func TestTailOfAFlood(t *testing.T) {
	e := newEngine(t)
	c, err := e.start(info(nil))
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	for n := range 20 {
		c.say(n)
	}
	go func() {
		defer close(done)
		for n := 20; ; n++ {
			select {
			case <-stop:
				return
			default:
				c.say(n)
			}
		}
	}()
	var readers sync.WaitGroup
	for range 4 { // each takes what is in the FIFO before it reads, under the others' eyes
		readers.Go(func() {
			for range 100 {
				got := c.all(logger.ReadConfig{Tail: 10})
				for i := range got {
					if got[i].TimeNano != got[0].TimeNano+int64(i) {
						t.Error(text(got))
						return
					}
				}
				if len(got) != 10 {
					t.Errorf("%d lines of 10", len(got))
					return
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	<-done
}

// A follower sees every line once, over rotations and compression, and ends
// after the last one, once the container has ended.
func TestFollowToTheEnd(t *testing.T) {
	e := newEngine(t)
	c, err := e.start(info(map[string]string{"max-size": "5k", "max-file": "10000"}))
	if err != nil {
		t.Fatal(err)
	}
	const n = 5000
	for i := range 100 {
		c.say(i)
	}
	answers := make(chan []*logdriver.LogEntry)
	for range 3 {
		next, leave := c.ask(context.Background(), logger.ReadConfig{Tail: -1, Follow: true})
		go func() {
			defer leave()
			var got []*logdriver.LogEntry
			for {
				e, err := next()
				if err != nil {
					answers <- got
					return
				}
				if e.Source != keepaliveSource {
					got = append(got, e)
				}
			}
		}()
	}
	for i := 100; i < n; i++ {
		c.say(i)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got := <-answers
		for i := range got {
			if string(got[i].Line) != fmt.Sprintf("%d\n", i) {
				t.Fatalf("line %d is %q", i, got[i].Line)
			}
		}
		if len(got) != n {
			t.Fatalf("%d lines of %d", len(got), n)
		}
	}
	eventually(t, "calls ended", func() bool { return e.inFlight() == 0 })
}

// A silent follower is sent something now and then, within what the Engine lets
// through, so that it can notice that its user has left.
func TestKeepalive(t *testing.T) {
	e := newEngine(t)
	c, err := e.start(info(nil))
	if err != nil {
		t.Fatal(err)
	}
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for _, cfg := range []logger.ReadConfig{
		{Tail: -1, Follow: true}, {Tail: 0, Follow: true, Since: future}, {Tail: -1, Follow: true, Until: past}, {Tail: -1, Follow: true, Since: past, Until: future},
	} {
		next, leave := c.ask(context.Background(), cfg)
		for range 3 {
			entry, err := next()
			if err != nil {
				t.Fatal(err)
			}
			at := time.Unix(0, entry.TimeNano)
			if entry.Source == "stdout" || entry.Source == "stderr" || !cfg.Since.IsZero() && at.Before(cfg.Since) || !cfg.Until.IsZero() && at.After(cfg.Until) {
				t.Errorf("%+v: keepalive %v", cfg, entry)
			}
		}
		leave()
	}
	eventually(t, "calls ended", func() bool { return e.inFlight() == 0 })
}

// Whoever leaves, also without having read, holds nothing any more.
func TestReaderLeaves(t *testing.T) {
	e := newEngine(t)
	c, err := e.start(info(nil))
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		c.Log(&logger.Message{Source: "stdout", Timestamp: time.Now(), Line: bytes.Repeat([]byte("x"), 16<<10)})
	}
	for _, follow := range []bool{true, false} {
		for _, read := range []int{0, 1, 300} {
			next, leave := c.ask(context.Background(), logger.ReadConfig{Tail: -1, Follow: follow})
			if follow && e.inFlight() == 0 {
				t.Error("the follower has gone by itself")
			}
			for range read {
				if _, err := next(); err != nil {
					t.Fatal(err)
				}
			}
			leave()
			eventually(t, fmt.Sprintf("freed (follow %v, %d read)", follow, read), func() bool { return e.inFlight() == 0 })
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReadUnknownContainer(t *testing.T) {
	c := &container{e: newEngine(t), info: info(nil)}
	if got := c.all(logger.ReadConfig{Tail: -1, Follow: true}); len(got) > 0 {
		t.Error(text(got))
	}
}

// A call whose answer is under way when we are to stop is finished; later ones
// are refused, but StopLogging's.
func TestShutdownFinishesCalls(t *testing.T) {
	e := newEngine(t)
	dial := func() net.Conn {
		conn, err := net.Dial("unix", filepath.Join(e.root, "s"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	late, lateStop, conn := dial(), dial(), dial() // accepted in this order
	body := `{"File": "/run/docker/logging/x"}`
	fmt.Fprintf(conn, "POST /LogDriver.StopLogging HTTP/1.1\r\nHost: plugin\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:5])
	eventually(t, "call begun", func() bool { return e.inFlight() == 1 })
	stopped := make(chan struct{})
	go func() { defer close(stopped); e.stop() }()
	eventually(t, "no more accepted", func() bool {
		_, err := net.Dial("unix", filepath.Join(e.root, "s"))
		return err != nil
	})
	io.WriteString(conn, body[5:])
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	var answer response
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Err != "" {
		t.Errorf("%+v, %v", answer, err)
	}
	<-stopped
	fmt.Fprint(lateStop, "POST /LogDriver.StopLogging HTTP/1.1\r\nHost: plugin\r\nContent-Length: 0\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(lateStop), nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("StopLogging after shutdown: %+v, %v", resp, err)
	} else if b, err := io.ReadAll(resp.Body); err != nil || strings.TrimSpace(string(b)) != "{}" {
		t.Errorf("StopLogging after shutdown: %q, %v", b, err)
	}
	fmt.Fprint(late, "POST /LogDriver.Capabilities HTTP/1.1\r\nHost: plugin\r\nContent-Length: 0\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(late), nil); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after shutdown: %v, %v", resp, err)
	}
}

// Nothing of the environment that no log-opt names reaches the disk or our own
// log, whether the container starts or not.
func TestSecretsStayOut(t *testing.T) {
	e := newEngine(t)
	i := info(map[string]string{"env": "SHOWN", "tag": "{{.Name}} {{.ContainerEnv}}"})
	i.ContainerEnv = append(i.ContainerEnv, "TOKEN=s3cr3t-hunter2")
	c, err := e.start(i)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		c.say(n)
	}
	for _, config := range []map[string]string{{"max-sise": "1m"}, {"env-regex": "("}, {"tag": "{{.Nope}}"}} {
		bad := i
		bad.Config, bad.ContainerID = config, strings.Repeat("f", 64) // one that has no log yet
		if _, err := e.start(bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v: %v", config, err)
		}
	}
	c.all(logger.ReadConfig{Tail: -1})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	e.stop()
	if log := e.log.String(); strings.Contains(log, "hunter2") || !strings.Contains(log, "max-sise") {
		t.Error("our log:", log)
	}
	var names []string
	err = filepath.WalkDir(e.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		names = append(names, d.Name())
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte("hunter2")) {
			t.Errorf("a secret is in %s", path)
		}
		info, ierr := d.Info()
		if err := errors.Join(err, ierr); err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || !slices.Contains(names, "container.json") {
		t.Error(names, err)
	}
}
