// Logscan is one binary with two faces.
//
// Inside the plugin, `logscan serve` is what the Engine starts: it carries,
// keeps and scans the lines of containers, and answers the Engine.
//
// On the host it is the command line. Docker finds it as docker-logscan among
// its CLI plugins and runs it for `docker logscan …`; called by any other name
// it is `logscan …`, the same commands. It finds the running plugin by asking
// the Engine, and speaks to it over the plugin's control socket, which only root
// can open; or over TCP, with a token, where the plugin is set up so.
//
//	docker logscan rule add oom 'Out of memory' --severity error
//	docker logscan trigger add ops https://hooks.example.com/logscan --secret -
//	docker logscan events -f
//	docker logscan help rules
//
// Exit codes: 0 done, 1 not possible (the message says what to do), 2 used the
// wrong way, so that nothing was tried, 3 `rule test` or `search` found no match, 130
// interrupted, 141 nobody reads what it prints.
package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"

	"logscan/internal/app"
	"logscan/internal/loss"
	"logscan/internal/supervisor"
)

// version is stamped by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go endWithDocker(os.Getenv("DOCKER_CLI_PLUGIN_SOCKET"), cancel)

	plugin := strings.HasPrefix(filepath.Base(os.Args[0]), "docker-")
	if plugin {
		// Docker would tell of a plugin that a signal ended.
		signal.Ignore(syscall.SIGPIPE)
	}
	tty := term.IsTerminal(int(os.Stdout.Fd()))
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	c := &cli{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		getenv: os.Getenv,
		tty:    tty,
		errTTY: term.IsTerminal(int(os.Stderr.Fd())),
		width:  width,
		color:  tty && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		plugin: plugin,
		serve:  serve,
	}
	code := c.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// endWithDocker ends the program when the docker command that started it is
// told to end. Docker says so by closing this socket, since a signal may reach
// it alone.
func endWithDocker(socket string, cancel func()) {
	if socket == "" {
		return
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return // an older docker, or one that has gone: signals have to do
	}
	defer conn.Close()
	io.Copy(io.Discard, conn)
	cancel()
}

// serve is what runs inside the plugin: the supervisor, which the Engine starts,
// and the worker, which the supervisor starts.
func serve(ctx context.Context) error {
	cfg := app.ConfigFromEnv(os.Getenv)
	cfg.Version = version
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: cfg.LogLevel,
		// dockerd puts its own time before each line.
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	if !supervisor.IsWorker() {
		losses, err := loss.Files()
		if err != nil {
			log.Warn("a worker that is killed takes along what it has not told of losses", "err", err)
		}
		return supervisor.Run(ctx, supervisor.Config{
			SocketDir: cfg.SocketDir,
			Calls:     app.DriverSocket,
			Sockets:   []string{app.ControlSocket},
			Files:     losses,
			// The data directory is the worker's to make.
			Writable: []string{cfg.SocketDir, cfg.FIFODir, filepath.Dir(cfg.DataDir), os.TempDir()},
			Logger:   log,
		})
	}
	in, err := supervisor.Inherit(1)
	if err != nil {
		return err
	}
	cfg.Inherited = &app.Inherited{Driver: in.Calls, Control: in.Sockets[0], Losses: in.Files, Worker: in.Status, Alive: in.Alive}
	return app.Run(ctx, cfg, log)
}
