// Withengine runs a command beside a private Docker Engine, which is gone when
// the command ends, with everything that ran in it:
//
//	go run ./internal/enginetest/withengine [-image NAME] COMMAND [ARG…]
//
// The command finds the Engine in DOCKER_HOST, its directory in ENGINE_DIR, and
// has a Docker configuration of its own in DOCKER_CONFIG. -image imports a small
// image with busybox under that name first.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"logscan/internal/enginetest/private"
)

func main() {
	private.Main()
	image := flag.String("image", "", "import a busybox image under this name")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "withengine: a Docker Engine needs root: run this as root")
		os.Exit(1)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	code, err := run(*image, flag.Args(), signals)
	if err != nil {
		fmt.Fprintln(os.Stderr, "withengine:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run waits for the command also after a signal, and then cleans up.
func run(image string, argv []string, signals <-chan os.Signal) (code int, err error) {
	e, err := private.Start(private.Options{})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()

	config := filepath.Join(e.Dir, "config")
	if err := os.Mkdir(config, 0o700); err != nil {
		return 1, err
	}
	env := append(os.Environ(), "DOCKER_HOST="+e.Host(), "DOCKER_CONFIG="+config, "DOCKER_CONTEXT=", "ENGINE_DIR="+e.Dir)
	if image != "" {
		fs, err := private.Image(nil)
		if err != nil {
			return 1, err
		}
		cmd := exec.Command("docker", "import", "-", image)
		cmd.Env, cmd.Stdin = env, bytes.NewReader(fs)
		if out, err := cmd.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("docker import: %w: %s", err, out)
		}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, os.Stdin, os.Stdout, os.Stderr
	select {
	case s := <-signals: // while the Engine started
		return 128 + int(s.(syscall.Signal)), nil
	default:
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	go func() {
		for s := range signals {
			// An interrupt typed at the terminal reaches the command by itself.
			if s != syscall.SIGINT {
				cmd.Process.Signal(s)
			}
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}
