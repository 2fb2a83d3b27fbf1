// Package logdriver answers the Engine: the endpoints of its log-driver
// protocol (docker.logdriver/1.0), and the log-opts.
//
// It promises the Engine what keeps containers well: a bad log-opt fails the
// start before anything is made; StopLogging always succeeds, once all that the
// container wrote is kept; and nothing here waits for rules or a database.
package logdriver

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/daemon/logger"
	"github.com/docker/go-plugins-helpers/sdk"

	"logscan/internal/ingest"
	"logscan/internal/journal"
)

const (
	manifest = `{"Implements": ["LogDriver"]}`
	// stopPath is that of the calls that are never refused, see noError.
	stopPath = "/LogDriver.StopLogging"
	// bodyMax bounds a request in bytes: it holds a container's labels and
	// environment.
	bodyMax = 16 << 20
	// shutdownGrace is how long calls in flight may take once we are to stop;
	// the Engine kills after 10 s.
	shutdownGrace = 5 * time.Second
)

// Config is a Driver's.
type Config struct {
	Ingest     *ingest.Ingest
	Journals   *journal.Dir
	PendingDir string // where calls are remembered until they are answered
	Logger     *slog.Logger
}

// Driver serves the Engine.
type Driver struct {
	cfg       Config
	log       *slog.Logger
	keepalive time.Duration // how often a silent follower is sent something
	callTime  time.Duration // see limits.go
	readers   chan struct{} // holds one for each ReadLogs call being answered
	calls     inFlight
	pending   *pending
}

// New returns a driver; Serve makes it answer.
func New(cfg Config) *Driver {
	return &Driver{cfg: cfg, log: cfg.Logger, keepalive: keepalive, callTime: callTime, readers: make(chan struct{}, readersMax), calls: inFlight{idle: make(chan struct{})}, pending: openPending(cfg.PendingDir, cfg.Logger)}
}

type startRequest struct {
	File string
	Info logger.Info
}

type stopRequest struct {
	File string
}

type readRequest struct {
	Info   logger.Info
	Config logger.ReadConfig
}

type response struct {
	Err string `json:",omitempty"`
}

type capabilities struct {
	Cap logger.Capability
	Err string
}

// Serve, called once, answers on l until ctx ends. Then it accepts no more, lets calls in
// flight finish for a few seconds, and returns; followers of a log are cut.
//
// A process that ends before it has answered leaves its calls to the next one
// (package supervisor), which carries them out once more.
func (d *Driver) Serve(ctx context.Context, l net.Listener) error {
	if err := d.cfg.Ingest.Ready(ctx); err != nil {
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/Plugin.Activate", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", sdk.DefaultContentTypeV1_1)
		io.WriteString(w, manifest)
	})
	handle := func(path string, f http.HandlerFunc) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if d.calls.begin() {
				defer d.calls.end()
			} else if path != stopPath {
				http.Error(w, "logscan is stopping", http.StatusServiceUnavailable)
				return
			}
			callCtx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(ctx, func() { time.AfterFunc(shutdownGrace, cancel) })()
			r.Body = http.MaxBytesReader(w, r.Body, bodyMax)
			f(w, r.WithContext(callCtx))
		})
	}
	handle("/LogDriver.Capabilities", endpoint(func(context.Context, struct{}, error) capabilities {
		return capabilities{Cap: logger.Capability{ReadLogs: true}}
	}))
	handle("/LogDriver.StartLogging", endpoint(d.startLogging))
	handle(stopPath, endpoint(d.stopLogging))
	handle("/LogDriver.ReadLogs", func(w http.ResponseWriter, r *http.Request) {
		callCtx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)() // a follower would stay
		d.readLogs(callCtx, w, r)
	})

	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	srv := &http.Server{Handler: mux, ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelWarn)}
	// A call that came after another on its connection would end with us.
	srv.SetKeepAlivesEnabled(false)
	err := srv.Serve(timedListener{l, d.callTime})
	if ctx.Err() == nil {
		return err
	}
	select {
	case <-d.calls.close():
	case <-time.After(shutdownGrace):
		d.log.Warn("calls of the Engine were still unanswered at shutdown")
	}
	return nil
}

// endpoint answers the calls of one kind: f gets what was asked for, or why that
// isn't known, and what it returns is the answer.
func endpoint[Request, Response any](f func(context.Context, Request, error) Response) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req Request
		err := decode(w, r, &req)
		w.Header().Set("Content-Type", sdk.DefaultContentTypeV1_1)
		json.NewEncoder(w).Encode(f(r.Context(), req, err))
	}
}

// inFlight counts calls, and refuses new ones once closed.
type inFlight struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{}
}

func (c *inFlight) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.n++
	}
	return !c.closed
}

func (c *inFlight) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.closed && c.n == 0 {
		close(c.idle)
	}
}

func (c *inFlight) close() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed = true; c.n == 0 {
		close(c.idle)
	}
	return c.idle
}

var errEmpty = errors.New("empty request")

// decode reads one JSON request, to its end.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	err := json.NewDecoder(r.Body).Decode(v)
	if err == io.EOF {
		err = errEmpty
	}
	if _, rest := io.Copy(io.Discard, r.Body); rest == nil {
		cameIn(w)
	}
	return err
}

func (d *Driver) startLogging(ctx context.Context, req startRequest, err error) response {
	var c journal.Container
	switch {
	case err == nil:
		if c, err = ParseLogOpts(req.Info); err != nil {
			c, err = d.accepted(req.Info, err)
		}
		if err == nil {
			d.pending.begin(startCall{File: req.File, Container: c})
		}
	case errors.Is(err, errEmpty):
		if call, ok := d.pending.take(); ok {
			d.log.Info("a call that a process before had is answered", "container", call.Container.ID)
			req.File, c, err = call.File, call.Container, nil
		} else {
			err = errLost
		}
	}
	if err == nil {
		err = d.cfg.Ingest.Start(ctx, req.File, c)
		d.pending.end(req.File)
	}
	if err != nil {
		if req.File != "" {
			d.cfg.Ingest.Refuse(req.File)
		}
		// The Engine shows it to whoever starts the container.
		d.log.Warn("container can't log to us", "container", req.Info.ContainerID, "err", err)
		return response{"logscan: " + err.Error()}
	}
	d.log.Debug("attached", "container", c.ID, "workload", c.Workload)
	return response{}
}

// accepted returns what is known of a container that has a log already: an older
// version has accepted its log-opts, which nobody can change, and neither its next
// start nor `docker logs` may fail because this one no longer does.
func (d *Driver) accepted(info logger.Info, refused error) (journal.Container, error) {
	c, ok := d.cfg.Journals.Container(info.ContainerID)
	if !ok {
		return c, refused
	}
	d.log.Warn("a log-opt that is not valid any more; going on with what was kept of the container", "container", c.ID, "err", refused)
	c.Name, c.Started = cut(strings.TrimPrefix(info.ContainerName, "/"), nameMax), time.Now().UTC()
	return c, nil
}

// noError is the one answer to StopLogging: an error would make the Engine keep
// the FIFO, and its reference to us, for ever.
type noError struct{}

func (d *Driver) stopLogging(ctx context.Context, req stopRequest, err error) noError {
	if err != nil {
		d.log.Warn("StopLogging", "err", err)
	}
	if req.File != "" {
		if err := d.cfg.Ingest.Stop(ctx, req.File); err != nil {
			d.log.Warn("stopped, but not all could be written yet; it waits in the FIFO", "err", err)
		}
	}
	return noError{}
}
