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
	"logscan/internal/removal"
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

// lockRetry is the pause before another try to lock the data directory.
const lockRetry = 10 * time.Millisecond

// Inherited is what a process gets from its supervisor.
type Inherited struct {
	Driver, Control net.Listener // Run closes them
	Losses          []*os.File   // see package loss; Run closes them
	Worker          supervisor.Status
}

// Run carries, scans and serves until ctx ends, then stops cleanly: calls in
// flight are answered, what was scanned is committed. Attachments stay as they
// are, for the next start to resume. It returns an error only where it cannot
// listen, or there is no place for logs at all.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	syscall.Umask(0o077) // files are root's alone from their first instant
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
	losses := newLossQueue(from.Losses, log)
	defer losses.Close()
	journals, err := journal.OpenDir(journal.Config{
		Root:          filepath.Join(cfg.DataDir, "journal"),
		HoldMax:       cfg.HoldMax,
		StoppedAge:    cfg.StoppedAge,
		Budget:        cfg.DiskBudget,
		CompressAfter: 5 * time.Second,
		Logger:        log,
		OnAppend: func(id string) {
			if s := scanning.Load(); s != nil {
				s.scanner.Notify(id)
			}
		},
		OnDetach: func(id string) {
			if s := scanning.Load(); s != nil {
				s.scanner.Notify(id)
			}
		},
		OnLoss:   losses.add,
		Drop:     losses.drop,
		DropRoom: losses.Room(),
		Losing:   losses.losing,
	})
	if err != nil {
		return fmt.Errorf("open journals: %w", err)
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
	run(&carry, carryCtx, "ingest", in.Run)
	run(&carry, carryCtx, "journal", func(ctx context.Context) error {
		if err := in.Ready(ctx); err != nil { // until then everybody's logs look like a stopped container's
			return err
		}
		return journals.Run(ctx)
	})
	ctl := &control{cfg: cfg, log: log, tried: make(chan struct{}), database: errors.New("it is being opened")}
	apiConfig := api.Config{
		Ingest: in, Journals: journals,
		CheckTarget: func(url string) error { return trigger.CheckTarget(url, cfg.AllowTargets) },
		Token:       ctl.tcpToken, Degraded: ctl.reasons,
		Process: from.Worker, Version: cfg.Version, Started: time.Now(), Logger: log,
	}
	ctl.use(api.New(apiConfig))
	run(&serve, ctx, "API", func(ctx context.Context) error { ctl.run(ctx, from.Control); return nil })
	run(&serve, ctx, "scan", func(ctx context.Context) error {
		return runScanning(ctx, scanningConfig{cfg: cfg, log: log, journals: journals, losses: losses, current: &scanning, control: ctl, api: apiConfig, from: from})
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
	log.Info("logscan stopped")
	return journals.Close()
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
