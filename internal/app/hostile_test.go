package app

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/entry"
)

// engine speaks to a plugin as dockerd does.
type engine struct {
	p      *plugin
	client *http.Client
}

func newEngine(p *plugin) *engine {
	return &engine{p: p, client: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(p.cfg.SocketDir, DriverSocket))
	}}}}
}

func (e *engine) call(path string, request any) (io.ReadCloser, error) {
	b, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	resp, err := e.client.Post("http://plugin/LogDriver."+path, "application/json", bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// succeed makes a call that must be answered without an error.
func (e *engine) succeed(path string, request any) {
	e.p.t.Helper()
	body, err := e.call(path, request)
	if err != nil {
		e.p.t.Error(path, err)
		return
	}
	defer body.Close()
	var answer struct{ Err string }
	if err := json.NewDecoder(body).Decode(&answer); err != nil || answer.Err != "" {
		e.p.t.Errorf("%s: %q, %v", path, answer.Err, err)
	}
}

// live starts a container, lets it say n lines, stops it, and compares what
// `docker logs` gives.
func (e *engine) live(id string, n int) {
	t := e.p.t
	t.Helper()
	fifo := hex.EncodeToString(fmt.Appendf(nil, "%032s", id))
	path := filepath.Join(e.p.cfg.FIFODir, fifo)
	if err := unix.Mkfifo(path, 0o700); err != nil {
		t.Error(err)
		return
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	about := map[string]any{"ContainerID": id, "ContainerName": "/" + id, "ContainerImageName": "img"}
	e.succeed("StartLogging", map[string]any{"File": "/run/docker/logging/" + fifo, "Info": about})
	for i := range n {
		if _, err := f.Write(entry.Append(nil, &entry.Entry{Source: "stdout", TimeNano: int64(i + 1), Line: fmt.Appendf(nil, "error %d", i)})); err != nil {
			t.Error(err)
			return
		}
	}
	e.succeed("StopLogging", map[string]any{"File": "/run/docker/logging/" + fifo})
	body, err := e.call("ReadLogs", map[string]any{"Info": about, "Config": map[string]any{"Tail": -1}})
	if err != nil {
		t.Error(err)
		return
	}
	defer body.Close()
	dec := logdriver.NewLogEntryDecoder(body)
	for i := 0; ; i++ {
		var line logdriver.LogEntry
		if err := dec.Decode(&line); err != nil {
			if err != io.EOF || i != n {
				t.Errorf("%d lines of %d, %v", i, n, err)
			}
			return
		}
		if string(line.Line) != fmt.Sprintf("error %d\n", i) {
			t.Errorf("line %d is %q", i, line.Line)
			return
		}
	}
}

// lockDatabase lets another process hold the database's write lock.
func lockDatabase(t *testing.T, path string) (release func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "LOGSCAN_TEST_LOCK="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { in.Close(); cmd.Wait() })
	t.Cleanup(release)
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("the other process says %q", line)
	}
	return release
}

// holdLock is the other process.
func holdLock(path string) {
	db, err := sql.Open("sqlite3", path+"?_txlock=exclusive&_busy_timeout=60000")
	if err == nil {
		_, err = db.Begin()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("locked")
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// The database is locked by another process, every line hits every rule, and
// the receiver of the webhooks accepts and says nothing. Containers start, write,
// stop and are read all the same, and nothing grows. Once the lock is gone, every
// line has been scanned.
func TestNeverInTheWay(t *testing.T) {
	if path := os.Getenv("LOGSCAN_TEST_LOCK"); path != "" {
		holdLock(path)
	}
	hangs := freePort(t)
	go func() {
		for {
			c, err := hangs.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
		}
	}()
	p := newPlugin(t, map[string]string{"LOGSCAN_ALLOW_TARGETS": "127.0.0.1"})
	p.start()
	p.ready()
	for _, pattern := range []string{".", "error", "[0-9]+$"} {
		if _, err := p.CreateRule(t.Context(), api.RuleCreate{Name: pattern, Pattern: pattern, RuleFields: api.RuleFields{"cooldown_seconds": int64(0)}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.CreateTrigger(t.Context(), api.TriggerCreate{Name: "hangs", ActionURL: "http://" + hangs.Addr().String(), TriggerFields: api.TriggerFields{"mode": "events"}}); err != nil {
		t.Fatal(err)
	}
	e := newEngine(p)
	const lines, containers, rounds = 3000, 4, 4
	round := func(r int) {
		var wg sync.WaitGroup
		for k := range containers {
			wg.Go(func() { e.live(fmt.Sprintf("r%dc%d", r, k), lines) })
		}
		wg.Wait()
	}
	round(0)
	release := lockDatabase(t, p.database())
	round(1)
	goroutines, heap := runtime.NumGoroutine(), heapBytes()
	for r := 2; r < rounds; r++ {
		round(r)
	}
	e.client.CloseIdleConnections()
	p.eventually("no more goroutines than before", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
	if more := int64(heapBytes()) - int64(heap); more > 32<<20 {
		t.Errorf("%d MiB more are in use", more>>20)
	}
	if st, err := p.Stats(t.Context()); err != nil || st.Scan.Waiting == 0 {
		t.Errorf("the lock holds nothing up: %+v, %v", st.Scan, err)
	}
	release()
	p.eventually("all lines are scanned", func() bool {
		st, err := p.Stats(t.Context())
		return err == nil && st.Scan.Lines == rounds*containers*lines && st.Scan.Lag == 0 && st.Scan.Waiting == 0
	})
	st, err := p.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.Scan.Hits+st.Scan.Suppressed != 3*rounds*containers*lines || st.Journal.Losses != 0 {
		t.Errorf("%+v, %+v", st.Scan, st.Journal)
	}
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Whatever is in the data directory is root's alone, and so are the sockets,
// also where the process was started with a lax umask.
func TestAllIsPrivate(t *testing.T) {
	p := newPlugin(t, map[string]string{"LOGSCAN_LISTEN": "127.0.0.1:0"})
	p.start()
	p.ready()
	if _, err := p.CreateRule(t.Context(), api.RuleCreate{Name: "r", Pattern: "error"}); err != nil {
		t.Fatal(err)
	}
	e := newEngine(p)
	e.live("a", 1000)
	p.eventually("scanned", func() bool { st, err := p.Stats(t.Context()); return err == nil && st.Scan.Lines == 1000 })
	kinds := map[string]bool{}
	err := filepath.WalkDir(p.cfg.SocketDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) && path != p.cfg.SocketDir {
			return nil // a FIFO whose end the plugin has come to
		}
		if err != nil {
			return err
		}
		if path == p.cfg.SocketDir || info.Mode()&fs.ModeSocket != 0 && strings.HasSuffix(path, ".sock") && !strings.HasPrefix(path, p.cfg.DataDir) {
			return nil // the test made them
		}
		kinds[filepath.Ext(path)] = true
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{".db", ".json", ".seg", ".idx"} {
		if !kinds[kind] {
			t.Errorf("no %s was seen: %v", kind, kinds)
		}
	}
}
