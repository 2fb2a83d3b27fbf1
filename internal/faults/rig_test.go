package faults

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3"
	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/app"
	"logscan/internal/enginetest"
	"logscan/internal/enginetest/trap"
	"logscan/internal/entry"
)

// deadline is for whatever must come to pass.
const deadline = time.Minute

// rig is logscan with what is its own, and what plays the Engine and a receiver.
type rig struct {
	t    *testing.T
	dir  string // sockets, FIFOs and data; a socket's path has to be short
	data string
	said *os.File
	cmd  *exec.Cmd
	*api.Client
	engine  *http.Client
	hooks   hooks
	refused int // calls that the Engine would have shown as an error
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "f")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, data: filepath.Join(dir, ".logscan"), Client: api.Dial(filepath.Join(dir, app.ControlSocket))}
	r.engine = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, app.DriverSocket))
	}}}
	r.hooks.got = map[string]map[string]bool{}
	r.hooks.Server = httptest.NewServer(&r.hooks)
	if r.said, err = os.Create(filepath.Join(dir, "said")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.cmd != nil {
			r.cmd.Process.Kill()
			r.cmd.Wait()
		}
		r.Close()
		r.hooks.Close()
		if t.Failed() {
			said, _ := os.ReadFile(r.said.Name())
			t.Logf("logscan said:\n%s", said[max(0, len(said)-8000):])
		}
		r.said.Close()
		os.RemoveAll(dir)
	})
	return r
}

// start runs logscan as the Engine would, with the calls of a fault, or all,
// trapped; handle nil: none.
func (r *rig) start(calls string, handle func(*trap.Call) trap.Answer) {
	r.t.Helper()
	program := filepath.Join(enginetest.BuildPlugin(r.t), "rootfs/logscan")
	r.cmd = exec.Command(program, "serve")
	if handle != nil {
		r.cmd = trap.Listen(r.t, filepath.Join(r.dir, "trap"), handle).Command(calls, program, "serve")
	}
	r.cmd.Env = append(os.Environ(), "LOGSCAN_FIFO_DIR="+r.dir, "LOGSCAN_SOCKET_DIR="+r.dir, "LOGSCAN_ALLOW_TARGETS=127.0.0.1", "LOGSCAN_BUCKET_REFILL=0")
	r.cmd.Stdout, r.cmd.Stderr = r.said, r.said
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
}

// stop ends it as the Engine would.
func (r *rig) stop() {
	r.t.Helper()
	r.cmd.Process.Signal(syscall.SIGTERM)
	if err := r.cmd.Wait(); err != nil {
		r.t.Errorf("ended: %v", err)
	}
	r.cmd = nil
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(deadline); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("not within %s: %s", deadline, what)
		}
	}
}

// call calls as dockerd does: what gets no answer it repeats, with what it had not
// yet read of its request, which is nothing.
func (r *rig) call(path string, request any) (body []byte, err error) {
	r.t.Helper()
	b, err := json.Marshal(request)
	if err != nil {
		r.t.Fatal(err)
	}
	rest := struct{ io.Reader }{bytes.NewReader(b)}
	r.eventually(path+" answered", func() bool {
		var resp *http.Response
		if resp, err = r.engine.Post("http://plugin/LogDriver."+path, "application/json", rest); err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err = io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", resp.Status, body)
		}
		return err == nil
	})
	return body, err
}

// configure adds rules mark and cool, and a trigger, whose id it returns.
func (r *rig) configure() (trigger int64) {
	r.t.Helper()
	ctx := r.t.Context()
	r.eventually("the API", func() bool { _, err := r.Rules(ctx); return err == nil })
	for name, cooldown := range map[string]int64{"MARK": 0, "COOL": 1} {
		_, err := r.CreateRule(ctx, api.RuleCreate{
			Name: strings.ToLower(name), Pattern: `^(?P<n>\d+) .*` + name,
			RuleFields: api.RuleFields{"cooldown_seconds": cooldown, "cooldown_by": "rule"},
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	tr, err := r.CreateTrigger(ctx, api.TriggerCreate{Name: "ops", ActionURL: r.hooks.URL, TriggerFields: api.TriggerFields{"mode": "events", "sources": "logscan"}})
	if err != nil {
		r.t.Fatal(err)
	}
	return tr.ID
}

// container writes numbered lines.
type container struct {
	r       *rig
	id      string
	fifo    string
	w       *os.File
	n       int // lines written
	stop    chan struct{}
	stopped sync.WaitGroup
	blocked time.Duration // the longest
}

const (
	lineLen   = 100
	markEvery = 100 // lines: rule mark hits
	coolEvery = 25  // lines: rule cool does, once a second of the lines' time
	lineTime  = 10 * time.Millisecond
	maxSize   = "100k"
)

func about(id string) map[string]any {
	return map[string]any{
		"ContainerID": id, "ContainerName": "/" + id, "ContainerImageName": "img",
		"Config": map[string]string{"max-size": maxSize, "max-file": "1000"},
	}
}

// open makes a container's FIFO as dockerd does.
func (r *rig) open(id string) *container {
	r.t.Helper()
	c := &container{r: r, id: id, stop: make(chan struct{})}
	c.open(0)
	r.t.Cleanup(func() {
		close(c.stop)
		c.stopped.Wait()
		c.w.Close()
	})
	return c
}

// open makes the FIFO for the nth try to start.
func (c *container) open(nth int) {
	c.r.t.Helper()
	c.fifo = hex.EncodeToString(fmt.Appendf(nil, "%028s%04d", c.id, nth))
	path := filepath.Join(c.r.dir, c.fifo)
	err := unix.Mkfifo(path, 0o700)
	if err == nil {
		c.w, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		c.r.t.Fatal(err)
	}
}

// attach is `docker start`, again and again where it is refused.
func (c *container) attach() {
	c.r.t.Helper()
	c.r.eventually("StartLogging", func() bool {
		body, _ := c.r.call("StartLogging", map[string]any{"File": "/run/docker/logging/" + c.fifo, "Info": about(c.id)})
		var answer struct{ Err string }
		if err := json.Unmarshal(body, &answer); err != nil {
			c.r.t.Fatal(err)
		}
		if answer.Err == "" {
			return true
		}
		c.r.refused++
		c.r.said.WriteString("refused: " + answer.Err + "\n")
		c.w.Close()
		c.open(c.r.refused) // the Engine makes another one for each try
		return false
	})
}

// write writes lines, and tells when it blocks.
func (c *container) write(lines int) error {
	var b []byte
	for range lines {
		text := fmt.Appendf(nil, "%010d", c.n)
		if c.n%markEvery == 0 {
			text = append(text, " MARK"...)
		}
		if c.n%coolEvery == 0 {
			text = append(text, " COOL"...)
		}
		size := lineLen
		if c.n%997 == 0 {
			size = 16 << 10 // as long as the Engine's are
		}
		text = append(text, bytes.Repeat([]byte{'.'}, size-len(text))...)
		b = entry.Append(b, &entry.Entry{Source: "stdout", TimeNano: int64(time.Hour) + int64(c.n)*int64(lineTime), Line: text})
		c.n++
	}
	began := time.Now()
	c.w.SetWriteDeadline(began.Add(deadline))
	_, err := c.w.Write(b)
	c.blocked = max(c.blocked, time.Since(began))
	return err
}

// run writes at speed until it is told to stop: some lines every while, or so many
// at once that they are not spliced.
func (c *container) run() {
	lines, pause := 50, 10*time.Millisecond
	if c.id == resumed {
		lines, pause = 8*lines, 8*pause
	}
	c.stopped.Go(func() {
		for {
			if err := c.write(lines); err != nil {
				c.r.t.Errorf("%s is blocked: %v", c.id, err)
				return
			}
			select {
			case <-c.stop:
				return
			case <-time.After(pause):
			}
		}
	})
}

func (c *container) pause() {
	close(c.stop)
	c.stopped.Wait()
	c.stop = make(chan struct{})
}

// end is `docker stop`.
func (c *container) end() {
	c.r.t.Helper()
	c.r.call("StopLogging", map[string]any{"File": "/run/docker/logging/" + c.fifo})
	c.w.Close()
	os.Remove(filepath.Join(c.r.dir, c.fifo))
}

// kept are the numbers of the lines that `docker logs` shows, in order; none may
// come twice, and none be another than what was written.
func (r *rig) kept(id string) (numbers []int) {
	r.t.Helper()
	body, err := r.call("ReadLogs", map[string]any{"Info": about(id), "Config": map[string]any{"Tail": -1}})
	if err != nil {
		r.t.Fatal(err)
	}
	last := -1
	for len(body) > 0 {
		frame, rest, err := entry.Next(body)
		if err != nil {
			r.t.Errorf("%s: torn behind line %d: %v", id, last, err)
			return numbers
		}
		body = rest
		var e entry.Entry
		if err := entry.Decode(frame[entry.HeaderLen:], &e); err != nil {
			r.t.Errorf("%s: behind line %d: %v", id, last, err)
			continue
		}
		n := -1
		fmt.Sscanf(string(e.Line[:min(len(e.Line), 10)]), "%d", &n)
		if n <= last || e.Line[len(e.Line)-1] != '\n' {
			r.t.Errorf("%s: line %d behind line %d", id, n, last)
		}
		last = n
		numbers = append(numbers, n)
	}
	return numbers
}

// hooks is a receiver: it notes the webhook-ids of each hit.
type hooks struct {
	*httptest.Server
	mu    sync.Mutex // guards the rest
	got   map[string]map[string]bool
	again int // came more than once
}

func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var hook struct{ Data api.Event }
	if err := json.NewDecoder(r.Body).Decode(&hook); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	k := hit(hook.Data)
	id := r.Header.Get("webhook-id")
	if h.got[k][id] {
		h.again++
	}
	if h.got[k] == nil {
		h.got[k] = map[string]bool{}
	}
	h.got[k][id] = true
}

// hit names the line that an event of rule mark or cool is about.
func hit(ev api.Event) string {
	captures, _ := ev.Metadata["captures"].(map[string]any)
	return fmt.Sprint(ev.Metadata["rule_name"], " ", ev.Metadata["container_id"], " ", captures["n"])
}

// caughtUp waits until all lines are checked, and what that gave is stored and
// delivered.
func (r *rig) caughtUp() {
	r.t.Helper()
	var st api.Stats
	var err error
	for end := time.Now().Add(deadline); ; time.Sleep(50 * time.Millisecond) {
		st, err = r.Stats(context.Background())
		if err == nil && st.Scan.Lag == 0 && st.Scan.Waiting == 0 && st.Deliveries.Pending == 0 {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("never caught up: %+v, %v", st, err)
		}
	}
}

// events returns all that a query selects, oldest first.
func (r *rig) events(q api.EventQuery) (all []api.Event) {
	r.t.Helper()
	q.Limit = 1000
	for {
		page, err := r.Events(context.Background(), q)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(page.Items, all...)
		if !page.More || len(page.Items) == 0 {
			return all
		}
		q.Before = page.Items[0].ID
	}
}

// database asks the database of a logscan that has stopped.
func (r *rig) database(do func(db *sql.DB) error) {
	r.t.Helper()
	db, err := sql.Open("sqlite3", filepath.Join(r.data, "logscan.db"))
	if err == nil {
		err = do(db)
		db.Close()
	}
	if err != nil {
		r.t.Fatal("database: ", err)
	}
}

// left are files that are none of a well log's.
func (r *rig) left() (names []string) {
	filepath.WalkDir(r.data, func(path string, d os.DirEntry, err error) error {
		for _, mark := range []string{".bad", ".damaged", ".tmp"} {
			if err == nil && strings.Contains(d.Name(), mark) {
				names = append(names, strings.TrimPrefix(path, r.data))
			}
		}
		return nil
	})
	return names
}
