// Package app wires logscan's parts together and runs them. It is the only
// place where they meet; the order here is the plugin's start-up and shutdown.
//
// Carrying lines comes first and depends on nothing: the sockets listen before
// this process exists (package supervisor), and a database that cannot be opened
// delays rules and events but never a container. Neither does a part that keeps
// crashing: what isn't needed to carry lines starts the later, the more
// processes have ended soon after their start.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/ingest"
	"logscan/internal/journal"
	"logscan/internal/logdriver"
	"logscan/internal/query"
	"logscan/internal/removal"
	"logscan/internal/rule"
	"logscan/internal/supervisor"
	"logscan/internal/trigger"
)

// Names of the sockets in Config.SocketDir. The first is what config.json
// tells the Engine; the second is the control socket, which the Engine shows
// on the host as /run/docker/plugins/<plugin id>/logscan-api.sock.
const (
	DriverSocket  = "logscan.sock"
	ControlSocket = "logscan-api.sock"
)

// aliveEvery is how often the supervisor is told that lines are carried.
const aliveEvery = 5 * time.Second

// lockRetry is the pause before another try to lock the data directory.
const lockRetry = 10 * time.Millisecond

// Inherited is what a process gets from its supervisor.
type Inherited struct {
	Driver, Control net.Listener // Run closes them
	Losses          []*os.File   // see package loss; Run closes them
	Worker          supervisor.Status
	Alive           func() // see supervisor.Inherited; nil: nobody asks
}

// Run carries, scans and serves until ctx ends, then stops cleanly: calls in
// flight are answered, what was scanned is committed. Attachments stay as they
// are, for the next start to resume. It returns an error only where it cannot
// listen, or can't carry lines any more: then another process should.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	broken := make(chan error, 1) // holds why lines aren't carried any more
	syscall.Umask(0o077)          // files are root's alone from their first instant
	for _, err := range cfg.Problems {
		log.Warn("setting ignored", "err", err)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		log.Error("data directory", "err", err)
	}

	from, err := inherit(cfg)
	if err != nil {
		return err
	}
	defer from.Driver.Close()
	defer from.Control.Close()
	unlock := lockData(ctx, cfg.DataDir, log)
	defer unlock()
	if ctx.Err() != nil {
		return nil
	}

	var scanning atomic.Pointer[scanning] // nil until the database is open
	watch := &query.Watch{}               // for tails
	notify := func(id string) {
		watch.Notify(id)
		if s := scanning.Load(); s != nil {
			s.scanner.Notify(id)
		}
	}
	losses := newLossQueue(from.Losses, filepath.Join(cfg.DataDir, "losses"), log)
	defer losses.Close()
	journals, err := journal.OpenDir(journal.Config{
		Root:          filepath.Join(cfg.DataDir, "journal"),
		HoldMax:       cfg.HoldMax,
		StoppedAge:    cfg.StoppedAge,
		Budget:        cfg.DiskBudget,
		Beside:        cfg.besideLogs,
		CompressAfter: 5 * time.Second,
		Logger:        log,
		OnAppend:      notify,
		OnAttach:      notify,
		OnDetach:      notify,
		OnLoss:        losses.add,
		Drop:          losses.drop,
		DropRoom:      losses.Room(),
		Losing:        losses.losing,
	})
	if journals == nil {
		return fmt.Errorf("open journals: %w", err)
	}
	if err != nil {
		log.Error("no place for logs; lines are drained, and told as lost, until there is one", "err", err)
	}
	losses.finish(journals.Gone)
	in, err := ingest.New(ingest.Config{
		FIFODir:   cfg.FIFODir,
		RecordDir: filepath.Join(cfg.DataDir, "attachments"),
		Journals:  journals,
		Logger:    log,
	})
	if err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	driver := logdriver.New(logdriver.Config{Ingest: in, Journals: journals, PendingDir: filepath.Join(cfg.DataDir, "unanswered"), Logger: log})

	// Two stages of shutdown: the Engine's side goes first, so that what its
	// last calls drained is still scanned and committed.
	carryCtx, stopCarrying := context.WithCancel(context.Background())
	defer stopCarrying()
	var carry, serve sync.WaitGroup
	run := func(wg *sync.WaitGroup, ctx context.Context, name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
				log.Error("stopped early", "part", name, "err", err)
			}
		})
	}
	run(&serve, ctx, "log driver", func(ctx context.Context) error { return driver.Serve(ctx, from.Driver) })
	run(&carry, carryCtx, "ingest", func(ctx context.Context) error {
		err := in.Run(ctx)
		if ctx.Err() == nil {
			broken <- fmt.Errorf("ingest: %w", err)
			stop()
		}
		return err
	})
	if from.Alive != nil {
		run(&carry, carryCtx, "sign of life", func(ctx context.Context) error { return signs(ctx, in, from.Alive) })
	}
	run(&carry, carryCtx, "journal", func(ctx context.Context) error {
		if err := in.Ready(ctx); err != nil { // until then everybody's logs look like a stopped container's
			return err
		}
		return journals.Run(ctx)
	})
	queries := query.NewPool(cfg.Queries)
	searcher := query.New(journals, queries, in.Flush)
	tailer := query.NewTailer(query.TailConfig{Journals: journals, Searcher: searcher, Watch: watch, Rules: func() query.LiveRules {
		if s := scanning.Load(); s != nil {
			return query.LiveRules{Snapshot: s.snapshot.Load(), Echo: s.echo}
		}
		return query.LiveRules{}
	}})
	ctl := newAPIServer(cfg, log)
	apiConfig := api.Config{
		Ingest: in, Journals: journals,
		CheckTarget: func(url string) error { return trigger.CheckTarget(url, cfg.Targets) },
		Search:      searcher.Search,
		Tail:        tailer.Tail,
		Share: func(ctx context.Context, r rule.Rule) (api.Hint, error) {
			return share(ctx, journals, r, time.Now(), usualShare)
		},
		Uncovered: func(ctx context.Context, rules []rule.Rule, q query.UncoveredQuery) (query.Uncovered, error) {
			q.Redact = cfg.Redact
			return query.FindUncovered(ctx, journals, queries, rules, q)
		},
		Token: ctl.tcpToken, Tokens: &ctl.tokens, Degraded: ctl.reasons,
		Process: from.Worker, Version: cfg.Version, Started: time.Now(), Logger: log,
	}
	ctl.use(api.New(apiConfig))
	run(&serve, ctx, "API", func(ctx context.Context) error { ctl.run(ctx, from.Control); return nil })
	run(&serve, ctx, "scan", func(ctx context.Context) error {
		var ready atomic.Bool
		go func() { ready.Store(in.Ready(ctx) == nil) }() // until then everybody's logs look like a stopped container's
		return runScanning(ctx, scanningConfig{cfg: cfg, log: log, ready: ready.Load, journals: journals, losses: losses, current: &scanning, control: ctl, api: apiConfig, queries: queries, searcher: searcher, from: from})
	})
	removals := removal.New(removal.Config{Socket: cfg.EngineSocket, Journals: journals, Logger: log, Finished: func(id string) bool {
		s := scanning.Load()
		return s != nil && s.scanner.Finished(id)
	}})
	run(&serve, ctx, "removal", func(ctx context.Context) error {
		if err := in.Ready(ctx); err != nil {
			return err
		}
		return removals.Run(ctx)
	})
	log.Info("logscan started", "version", cfg.Version, "data", cfg.DataDir)

	serve.Wait()
	stopCarrying()
	carry.Wait()
	if err := journals.Close(); err != nil {
		log.Error("close journals", "err", err)
	}
	losses.save()
	log.Info("logscan stopped")
	select {
	case err := <-broken:
		return err
	default:
		return nil
	}
}

// signs tells the supervisor again and again that the loop which drains the FIFOs
// comes round. Where that hangs, so does every container on this host.
func signs(ctx context.Context, in *ingest.Ingest, alive func()) error {
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		if err := in.Turn(ctx); err != nil {
			return err
		}
		alive()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// inherit returns what cfg has from the supervisor; without one, it listens.
func inherit(cfg Config) (in Inherited, err error) {
	if cfg.Inherited != nil {
		return *cfg.Inherited, nil
	}
	if in.Driver, err = supervisor.Listen(cfg.SocketDir, DriverSocket); err != nil {
		return in, err
	}
	if in.Control, err = supervisor.Listen(cfg.SocketDir, ControlSocket); err != nil {
		in.Driver.Close()
	}
	return in, err
}

// lockData waits until no other process works in the data directory. The Engine
// starts no second plugin while the first lives; were that ever to fail, two
// readers would tear each FIFO's lines apart. Where locks don't work, there is
// none.
func lockData(ctx context.Context, dir string, log *slog.Logger) (unlock func()) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		log.Error("data directory not locked", "err", err)
		return func() {}
	}
	for waited := false; ctx.Err() == nil; waited = true {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			log.Error("data directory not locked", "err", err)
			break
		}
		if !waited {
			log.Error("another process works in the data directory; waiting for its end", "dir", dir)
		}
		select {
		case <-ctx.Done():
		case <-time.After(lockRetry):
		}
	}
	return func() { f.Close() }
}
