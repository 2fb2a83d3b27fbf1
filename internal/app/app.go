// Package app wires logscan's parts together and runs them. It is the only
// place where they meet; the order here is the plugin's start-up and shutdown.
//
// Carrying lines comes first and depends on nothing: the Engine's socket
// listens before anything is recovered, and a database that cannot be opened
// delays rules and events but never a container.
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

	"logscan/internal/api"
	"logscan/internal/ingest"
	"logscan/internal/journal"
	"logscan/internal/logdriver"
	"logscan/internal/trigger"
)

// Names of the sockets in Config.SocketDir. The first is what config.json
// tells the Engine; the second is the control socket, which the Engine shows
// on the host as /run/docker/plugins/<plugin id>/logscan-api.sock.
const (
	DriverSocket  = "logscan.sock"
	ControlSocket = "logscan-api.sock"
)

// Run carries, scans and serves until ctx ends, then stops cleanly: calls in
// flight are answered, what was scanned is committed. Attachments stay as they
// are, for the next start to resume. It returns an error only where it cannot
// listen at all.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	syscall.Umask(0o077) // sockets and files are root's alone from their first instant
	for _, err := range cfg.Problems {
		log.Warn("setting ignored", "err", err)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		log.Error("data directory", "err", err)
	}

	driverListener, err := listen(cfg.SocketDir, DriverSocket)
	if err != nil {
		return err
	}
	controlListener, err := listen(cfg.SocketDir, ControlSocket)
	if err != nil {
		driverListener.Close()
		return err
	}

	var scanning atomic.Pointer[scanning] // nil until the database is open
	losses := newLossQueue(log)
	journals, err := journal.OpenDir(journal.Config{
		Root:       filepath.Join(cfg.DataDir, "journal"),
		HoldMax:    cfg.HoldMax,
		StoppedAge: cfg.StoppedAge,
		Budget:     cfg.DiskBudget,
		Logger:     log,
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
		OnLoss: losses.add,
	})
	if err != nil {
		return fmt.Errorf("open journals: %w", err)
	}
	in, err := ingest.New(ingest.Config{
		FIFODir:   cfg.FIFODir,
		RecordDir: filepath.Join(cfg.DataDir, "attachments"),
		Journals:  journals,
		Logger:    log,
	})
	if err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	driver := logdriver.New(logdriver.Config{Ingest: in, Journals: journals, Logger: log})

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
	run(&serve, ctx, "log driver", func(ctx context.Context) error { return driver.Serve(ctx, driverListener) })
	run(&carry, carryCtx, "ingest", in.Run)
	run(&carry, carryCtx, "journal", func(ctx context.Context) error {
		if err := in.Ready(ctx); err != nil { // until then everybody's logs look like a stopped container's
			return err
		}
		return journals.Run(ctx)
	})
	ctl := &control{cfg: cfg, log: log, database: errors.New("it is being opened")}
	apiConfig := api.Config{
		Ingest: in, Journals: journals,
		CheckTarget: func(url string) error { return trigger.CheckTarget(url, cfg.AllowTargets) },
		Token:       ctl.tcpToken, Degraded: ctl.reasons,
		Version: cfg.Version, Started: time.Now(), Logger: log,
	}
	ctl.use(api.New(apiConfig))
	run(&serve, ctx, "API", func(ctx context.Context) error { ctl.run(ctx, controlListener); return nil })
	run(&serve, ctx, "scan", func(ctx context.Context) error {
		return runScanning(ctx, scanningConfig{cfg: cfg, log: log, journals: journals, losses: losses, current: &scanning, control: ctl, api: apiConfig})
	})
	log.Info("logscan started", "version", cfg.Version, "data", cfg.DataDir)

	serve.Wait()
	stopCarrying()
	carry.Wait()
	log.Info("logscan stopped")
	return journals.Close()
}

// listen makes a unix socket that only root can connect to, replacing one left
// by a process that was killed.
func listen(dir, name string) (net.Listener, error) {
	path := filepath.Join(dir, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove stale socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
