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
	// An interrupt reaches the command too; we wait for it and then clean up.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM)
	code, err := run(*image, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "withengine:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(image string, argv []string) (code int, err error) {
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
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}
