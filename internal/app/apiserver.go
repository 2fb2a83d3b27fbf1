package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"logscan/internal/api"
)

const (
	// listenAgain is how soon an address that can't be listened at is tried
	// again.
	listenAgain = 5 * time.Second

	// Connections to the API: of one listener, and over TCP of one address.
	maxConns    = 256
	maxPerPeer  = 64
	headersTime = 10 * time.Second
	answerTime  = 30 * time.Second // a stream has this for each event

	// openWait is how long requests wait to see whether the database opens. Right
	// after a start that is a moment, and worth more than a refusal.
	openWait   = 5 * time.Second
	healthPath = "/healthz" // doesn't wait
)

// apiServer serves the API from the first instant, on the unix socket and, where
// that is set, on TCP. What it serves changes when the database is open.
type apiServer struct {
	cfg     Config
	log     *slog.Logger
	handler atomic.Pointer[http.Handler]
	tokens  api.Tokens    // that the TCP listener takes
	tried   chan struct{} // closed when the database was opened, or couldn't be

	mu       sync.Mutex // guards the rest
	database error      // why it isn't open
	listen   error      // why TCP isn't listened on
	token    string     // the admin's; "" where TCP is off
}

func newAPIServer(cfg Config, log *slog.Logger) *apiServer {
	return &apiServer{cfg: cfg, log: log, tried: make(chan struct{}), database: errors.New("it is being opened")}
}

// ServeHTTP hands requests to the API of the moment.
func (c *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-c.tried:
	default:
		if r.URL.Path != healthPath {
			c.waitForDatabase(r.Context())
		}
	}
	(*c.handler.Load()).ServeHTTP(w, r)
}

func (c *apiServer) waitForDatabase(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	select {
	case <-c.tried:
	case <-ctx.Done():
	}
}

// use makes h what is served from now on.
func (c *apiServer) use(h http.Handler) { c.handler.Store(&h) }

func (c *apiServer) setDatabase(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.database = err
	select {
	case <-c.tried:
	default:
		close(c.tried)
	}
}

// settings are those that can't be used as they are, and why.
func (c *apiServer) settings() []string {
	var out []string
	for _, p := range c.cfg.Problems {
		out = append(out, p.Error())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listen != nil {
		out = append(out, c.listen.Error())
	}
	return out
}

// reasons are what is wrong as far as it is known here.
func (c *apiServer) reasons() []api.Reason {
	var out []api.Reason
	c.mu.Lock()
	if c.database != nil {
		out = append(out, api.Reason{Reason: "database", Detail: c.database.Error()})
	}
	c.mu.Unlock()
	for _, p := range c.settings() {
		out = append(out, api.Reason{Reason: "settings", Detail: p})
	}
	return out
}

// tcpToken is the token and where it is good for.
func (c *apiServer) tcpToken() (api.Token, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return api.Token{Token: c.token, Listen: c.cfg.Listen}, c.token != ""
}

// run serves until ctx ends.
func (c *apiServer) run(ctx context.Context, unix net.Listener) {
	var wg sync.WaitGroup
	wg.Go(func() { c.serve(ctx, unix, &api.Limit{Total: maxConns, PerAddr: maxConns}, api.SameOrigin(c)) })
	if c.cfg.Listen != "" {
		wg.Go(func() { c.runTCP(ctx) })
	}
	wg.Wait()
}

// runTCP listens, however long that takes: the port may be taken, the address
// not there yet.
func (c *apiServer) runTCP(ctx context.Context) {
	token := c.cfg.Token
	if token == "" {
		var err error
		if token, err = loadToken(filepath.Join(c.cfg.DataDir, tokenFile)); err != nil {
			c.log.Error("the token is good until the plugin ends: it can't be kept", "err", err)
		}
	}
	c.tokens.SetAdmin(token)
	c.mu.Lock()
	c.token = token
	c.mu.Unlock()
	// The origin is looked at before the token: a page has no business here
	// even if it knew the token.
	h := api.SameOrigin(api.NewGate(&c.tokens, c.cfg.TrustedProxies, c))
	for {
		l, err := net.Listen("tcp", c.cfg.Listen)
		if err != nil {
			err = fmt.Errorf("setting LOGSCAN_LISTEN=%s can't be listened on (%w); trying again", c.cfg.Listen, errors.Unwrap(err))
		}
		c.mu.Lock()
		if err != nil && c.listen == nil {
			c.log.Error("API over TCP", "err", err)
		}
		c.listen = err
		c.mu.Unlock()
		if err == nil {
			c.log.Info("API listens on TCP", "address", c.cfg.Listen)
			c.serve(ctx, l, &api.Limit{Total: maxConns, PerAddr: maxPerPeer, Proxies: c.cfg.TrustedProxies}, h)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenAgain):
		}
	}
}

// serve serves one listener until ctx ends or it fails.
func (c *apiServer) serve(ctx context.Context, l net.Listener, limit *api.Limit, h http.Handler) {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headersTime,
		// Bodies have a time of their own (api), and so has each event of a
		// stream; a ReadTimeout would end streams.
		WriteTimeout:   answerTime,
		IdleTimeout:    time.Minute,
		MaxHeaderBytes: 16 << 10,
		BaseContext:    func(net.Listener) context.Context { return ctx }, // live streams end with us
		ErrorLog:       slog.NewLogLogger(c.log.Handler(), slog.LevelError),
	}
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
	})
	defer stop()
	if err := srv.Serve(limit.Apply(srv, l)); err != nil && !errors.Is(err, http.ErrServerClosed) {
		c.log.Error("API", "address", l.Addr(), "err", err)
	}
}
