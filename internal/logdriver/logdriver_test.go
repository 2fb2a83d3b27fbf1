package logdriver

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"github.com/docker/docker/daemon/logger"
	"github.com/docker/docker/daemon/logger/loggertest"
	"golang.org/x/sys/unix"

	"logscan/internal/ingest"
	"logscan/internal/journal"
)

// engine plays the Engine's side of the protocol over real FIFOs and a real
// socket, as moby's daemon/logger/adapter.go does.
type engine struct {
	t      testing.TB
	root   string
	in     *ingest.Ingest
	driver *Driver
	client *http.Client
	log    logBuffer
	stop   func()
	fifos  atomic.Int64
}

// logBuffer keeps what the driver logs.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newEngine(t testing.TB) *engine { return engineIn(t, t.TempDir()) }

func engineIn(t testing.TB, root string, settings ...func(*Driver)) *engine {
	e := &engine{t: t, root: root}
	log := slog.New(slog.NewTextHandler(&e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	fifoDir := filepath.Join(e.root, "fifo")
	os.Mkdir(fifoDir, 0o700)
	dir, err := journal.OpenDir(journal.Config{Root: filepath.Join(e.root, "journal"), SegmentMin: 1, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	if e.in, err = ingest.New(ingest.Config{FIFODir: fifoDir, RecordDir: filepath.Join(e.root, "attachments"), Journals: dir, Logger: log}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(e.root, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	e.client = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	e.driver = New(Config{Ingest: e.in, Journals: dir, PendingDir: filepath.Join(e.root, "unanswered"), Logger: log})
	e.driver.keepalive = 20 * time.Millisecond
	for _, set := range settings {
		set(e.driver)
	}
	wg.Go(func() { e.in.Run(ctx) })
	wg.Go(func() { dir.Run(ctx) })
	wg.Go(func() { e.driver.Serve(ctx, l) })
	e.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		dir.Close()
	})
	t.Cleanup(e.stop)
	return e
}

func (e *engine) post(ctx context.Context, path string, req any) (io.ReadCloser, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, "POST", "http://plugin"+path, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	resp, err := e.client.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %s %s", path, resp.Status, b)
	}
	return resp.Body, nil
}

func (e *engine) call(path string, req any) error {
	body, err := e.post(context.Background(), path, req)
	if err != nil {
		return err
	}
	defer body.Close()
	var resp response
	if err := json.NewDecoder(body).Decode(&resp); err != nil {
		return err
	}
	if resp.Err != "" {
		return fmt.Errorf("%s", resp.Err)
	}
	return nil
}

// container is a logger.Logger and LogReader by way of the plugin.
type container struct {
	e    *engine
	info logger.Info
	file string
	mu   sync.Mutex
	w    *os.File
	enc  logdriver.LogEntryEncoder
}

func (e *engine) start(info logger.Info) (*container, error) {
	name := hex.EncodeToString(fmt.Appendf(nil, "%032d", e.fifos.Add(1)))
	path := filepath.Join(e.root, "fifo", name)
	if err := unix.Mkfifo(path, 0o700); err != nil {
		return nil, err
	}
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	c := &container{e: e, info: info, file: "/run/docker/logging/" + name, w: w, enc: logdriver.NewLogEntryEncoder(w)}
	if err := e.call("/LogDriver.StartLogging", map[string]any{"File": c.file, "Info": info}); err != nil {
		w.Close()
		return nil, err
	}
	return c, nil
}

func (c *container) Name() string { return "logscan" }

func (c *container) Log(m *logger.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	buf := logdriver.LogEntry{Source: m.Source, TimeNano: m.Timestamp.UnixNano(), Line: m.Line, Partial: m.PLogMetaData != nil}
	if p := m.PLogMetaData; p != nil {
		buf.PartialLogMetadata = &logdriver.PartialLogEntryMetadata{Id: p.ID, Last: p.Last, Ordinal: int32(p.Ordinal)}
	}
	return c.enc.Encode(&buf)
}

func (c *container) Close() error {
	if err := c.e.call("/LogDriver.StopLogging", map[string]any{"File": c.file}); err != nil {
		return err
	}
	return c.w.Close()
}

func (c *container) ReadLogs(ctx context.Context, cfg logger.ReadConfig) *logger.LogWatcher {
	watcher := logger.NewLogWatcher()
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.e.post(ctx, "/LogDriver.ReadLogs", map[string]any{"Info": c.info, "Config": cfg})
	go func() {
		<-watcher.WatchConsumerGone()
		cancel()
	}()
	go func() {
		defer close(watcher.Msg)
		if err != nil {
			watcher.Err <- err
			return
		}
		defer stream.Close()
		dec := logdriver.NewLogEntryDecoder(stream)
		for {
			var buf logdriver.LogEntry
			if err := dec.Decode(&buf); err != nil {
				if err != io.EOF && ctx.Err() == nil {
					watcher.Err <- err
				}
				return
			}
			if buf.Source == keepaliveSource {
				continue
			}
			select {
			case watcher.Msg <- &logger.Message{Source: buf.Source, Timestamp: time.Unix(0, buf.TimeNano), Line: buf.Line}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return watcher
}

// moby's own suite for what `docker logs` expects of a driver.
func TestConformance(t *testing.T) {
	suite := loggertest.Reader{Factory: func(t *testing.T, info logger.Info) func(*testing.T) logger.Logger {
		e := newEngine(t)
		return func(t *testing.T) logger.Logger {
			c, err := e.start(info)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	}}
	t.Run("Tail", suite.TestTail)
	t.Run("Follow", suite.TestFollow)
}

func info(config map[string]string) logger.Info {
	return logger.Info{
		ContainerID: strings.Repeat("ab", 32), ContainerName: "/web", ContainerImageName: "img", Config: config,
		ContainerEnv:    []string{"PASSWORD=hunter2", "SHOWN=yes"},
		ContainerLabels: map[string]string{"team": "a", "logscan.workload": "shop"},
	}
}

func TestOptions(t *testing.T) {
	for name, values := range map[string][]string{
		"max-size":     {"20m", "1k", "-1", "3gb"},
		"max-file":     {"2", "100", "10000"},
		"compress":     {"true", "false", "0"},
		"tag":          {"{{.Name}}/{{.ImageName}}"},
		"labels":       {"team,other"},
		"labels-regex": {"^t"},
		"env":          {"SHOWN"}, "env-regex": {"^SH"},
		"workload": {"my shop"}, "scan": {"on", "off"},
		"mode": {"blocking", "non-blocking"}, "max-buffer-size": {"4m"},
		"cache-disabled": {"true"}, "cache-max-size": {"1m"}, "cache-max-file": {"2"}, "cache-compress": {"true"},
	} {
		for _, v := range values {
			if _, err := ParseLogOpts(info(map[string]string{name: v})); err != nil {
				t.Errorf("%s=%s: %v", name, v, err)
			}
		}
	}
	for _, bad := range []struct{ name, value, want string }{
		{"max-size", "lots", "20m"}, {"max-size", "0", "20m"}, {"max-size", "-5", "20m"}, {"max-size", "99999999tb", "20m"},
		{"max-file", "0", "above 0"}, {"max-file", "x", "above 0"}, {"max-file", "10001", "at most 10000"}, {"max-file", "100000", "at most 10000"},
		{"compress", "maybe", "true or false"},
		{"tag", "{{.Nope}}", "template"}, {"tag", "{{", "template"},
		{"labels-regex", "(", "regular expression"}, {"env-regex", "[", "regular expression"},
		{"labels-regex", strings.Repeat("[ab]x", 1<<20), "at most 4096 bytes"}, {"env-regex", strings.Repeat("(", 4097), "at most 4096 bytes"},
		{"workload", "", "printable"}, {"workload", "a\nb", "printable"}, {"workload", strings.Repeat("x", 129), "printable"},
		{"scan", "perhaps", "on or off"},
		{"max-sise", "1m", `did you mean "max-size"`},
		{"Scan", "on", `did you mean "scan"`},
		{"loki-url", "x", "The log-opts are: cache-compress, "},
	} {
		_, err := ParseLogOpts(info(map[string]string{bad.name: bad.value}))
		if err == nil || !strings.Contains(err.Error(), bad.want) || !strings.Contains(err.Error(), bad.name) {
			t.Errorf("%s=%q: %v", bad.name, bad.value, err)
		}
	}
	if _, err := ParseLogOpts(info(map[string]string{"compress": "true", "max-file": "1"})); err == nil {
		t.Error("compress with one file accepted")
	}
	c, err := ParseLogOpts(info(map[string]string{"max-file": "1", "max-size": "1k", "scan": "off", "env": "SHOWN", "labels": "team", "tag": "{{.Name}}{{.ContainerEnv}}"}))
	want := journal.Options{MaxSize: 1000, MaxFile: 1}
	if err != nil || c.Options != want || c.Scan || c.Name != "web" || c.Workload != "shop" || c.Attrs["SHOWN"] != "yes" || c.Attrs["team"] != "a" {
		t.Errorf("%+v, %v", c, err)
	}
	if b, _ := json.Marshal(c); strings.Contains(string(b), "hunter2") {
		t.Errorf("a secret is kept: %s", b)
	}
}

func TestWorkload(t *testing.T) {
	compose := map[string]string{"com.docker.compose.project": "p", "com.docker.compose.service": "s"}
	with := func(m map[string]string, k, v string) map[string]string {
		out := map[string]string{k: v}
		for k, v := range m {
			out[k] = v
		}
		return out
	}
	swarm := with(compose, "com.docker.swarm.service.name", "svc")
	for want, i := range map[string]logger.Info{
		"opt":   {Config: map[string]string{"workload": "opt"}, ContainerLabels: with(swarm, "logscan.workload", "label")},
		"label": {ContainerLabels: with(swarm, "logscan.workload", "label")},
		"said":  {Config: map[string]string{"logscan.workload": "said"}, ContainerLabels: with(swarm, "logscan.workload", "label")},
		"svc":   {ContainerLabels: swarm},
		"p/s":   {ContainerLabels: with(compose, "logscan.workload", "\x1b[31m")},
		"name":  {ContainerName: "/name", ContainerLabels: map[string]string{"com.docker.compose.project": "p"}},
	} {
		if c, err := ParseLogOpts(i); err != nil || c.Workload != want {
			t.Errorf("workload %q, %v; want %q", c.Workload, err, want)
		}
	}
}

// TestDeclared has what a container says to logscan be kept whatever it says, apart from
// the labels that triggers see, and log options count before labels.
func TestDeclared(t *testing.T) {
	i := info(map[string]string{"logscan.rule.x.pattern": "option", "logscan.nonsense": "", "logscan.enable": "true"})
	i.ContainerLabels = map[string]string{"team": "a", "logscan.rule.x.pattern": "label", "logscan.rule.x.severity": "error", "logscan.enable": "false"}
	for n := range 60 {
		i.ContainerLabels[fmt.Sprintf("logscan.rule.r%d.pattern", n)] = strings.Repeat("x", 500)
	}
	c, err := ParseLogOpts(i)
	if err != nil {
		t.Fatal(err)
	}
	if c.Declared["logscan.rule.x.pattern"] != "option" || c.Declared["logscan.rule.x.severity"] != "error" || c.LeftOut == 0 {
		t.Errorf("declared is %d labels, and %d are left out", len(c.Declared), c.LeftOut)
	}
	if want := map[string]string{"team": "a", "logscan.enable": "false"}; !maps.Equal(c.Labels, want) {
		t.Errorf("labels are %v, want %v", c.Labels, want)
	}
	for _, c := range []struct {
		option, label, scan string
		want                bool
	}{
		{"", "", "", true}, {"", "false", "", false}, {"", "off", "", false}, {"", "no", "", true},
		{"false", "true", "", false}, {"false", "", "on", true}, {"true", "", "off", false},
	} {
		i := info(map[string]string{})
		for name, value := range map[string]string{"logscan.enable": c.option, "scan": c.scan} {
			if value != "" {
				i.Config[name] = value
			}
		}
		if i.ContainerLabels = nil; c.label != "" {
			i.ContainerLabels = map[string]string{"logscan.enable": c.label}
		}
		if got, err := ParseLogOpts(i); err != nil || got.Scan != c.want {
			t.Errorf("%+v: scanned %t, %v", c, got.Scan, err)
		}
	}
}

// A bad log-opt fails the start before anything is made.
func TestBadOptionMakesNothing(t *testing.T) {
	e := newEngine(t)
	if _, err := e.start(info(map[string]string{"max-sise": "1m"})); err == nil || !strings.Contains(err.Error(), "max-size") {
		t.Fatal(err)
	}
	for _, d := range []string{"journal", "attachments", "fifo"} {
		if files, _ := os.ReadDir(filepath.Join(e.root, d)); len(files) > 0 {
			t.Errorf("%s holds %v", d, files)
		}
	}
}

// A container that an older version has accepted starts again, and its log can be
// read, though its log-opts would be refused now.
func TestOptionsOfOlderVersions(t *testing.T) {
	e := newEngine(t)
	i := info(map[string]string{"max-file": "7", "workload": "shop/web"})
	c, err := e.start(i)
	if err != nil {
		t.Fatal(err)
	}
	c.say(1)
	c.Close()
	for _, config := range []map[string]string{
		{"max-file": "100000"}, {"tag": "{{json .}}"}, {"tag": "{{range .ContainerArgs}}{{.}}{{end}}"},
	} {
		i.Config, i.ContainerName = config, "/renamed"
		c, err := e.start(i)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.all(logger.ReadConfig{Tail: -1}); len(got) != 1 {
			t.Errorf("%v: %d lines", config, len(got))
		}
		if k, _ := e.driver.cfg.Journals.Container(i.ContainerID); k.Options.MaxFile != 7 || k.Workload != "shop/web" || k.Name != "renamed" {
			t.Errorf("%v: known is %+v", config, k)
		}
		c.Close()
	}
}

func TestStopLoggingAlwaysSucceeds(t *testing.T) {
	e := newEngine(t)
	for _, req := range []any{
		map[string]any{"File": "/run/docker/logging/" + strings.Repeat("a", 64)},
		map[string]any{"File": "../x"}, map[string]any{"File": 7}, "rubbish", nil,
	} {
		if err := e.call("/LogDriver.StopLogging", req); err != nil {
			t.Errorf("%v: %v", req, err)
		}
	}
}

func TestHostileRequests(t *testing.T) {
	e := newEngine(t)
	for _, path := range []string{"StartLogging", "StopLogging", "ReadLogs", "Capabilities"} {
		for _, body := range []string{"", "{", "[]", `{"File":{}}`, `{"Config":{"Tail":"x"}}`, strings.Repeat("[", 1<<16), `"` + strings.Repeat("x", bodyMax+1)} {
			resp, err := e.client.Post("http://plugin/LogDriver."+path, "application/json", strings.NewReader(body))
			if err != nil {
				continue // the server may hang up on an endless body
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	if err := e.call("/LogDriver.Capabilities", nil); err != nil {
		t.Fatal(err)
	}
}

// A follower is cut when the plugin stops, and what it held is freed when it
// leaves.
func TestFollowersEnd(t *testing.T) {
	e := newEngine(t)
	c, err := e.start(info(nil))
	if err != nil {
		t.Fatal(err)
	}
	left := c.ReadLogs(context.Background(), logger.ReadConfig{Tail: -1, Follow: true})
	stays := c.ReadLogs(context.Background(), logger.ReadConfig{Tail: -1, Follow: true})
	c.Log(&logger.Message{Source: "stdout", Timestamp: time.Now(), Line: []byte("hello")})
	for _, w := range []*logger.LogWatcher{left, stays} {
		if m := <-w.Msg; string(m.Line) != "hello\n" {
			t.Fatalf("%q", m.Line)
		}
	}
	left.ConsumerGone()
	if _, ok := <-left.Msg; ok {
		t.Fatal("a follower that left got a line")
	}
	e.stop()
	for range stays.Msg {
	}
}

func FuzzParseLogOpts(f *testing.F) {
	f.Add("max-size", "20m")
	f.Add("tag", "{{.ID}}")
	f.Fuzz(func(t *testing.T, name, value string) {
		i := info(map[string]string{name: value})
		c, err := ParseLogOpts(i)
		if err == nil && (c.Options.MaxFile < 1 || c.Options.MaxSize == 0) {
			t.Fatalf("%s=%q gives %+v", name, value, c.Options)
		}
	})
}
