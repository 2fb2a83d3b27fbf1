package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// originalDocker is the variable in which docker tells its CLI plugins how it was
// called itself (docker/cli, cli-plugins/manager).
const originalDocker = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"

// dockerEnd is how long a docker command may take to end that is told to.
const dockerEnd = 5 * time.Second

// runDocker runs a docker command for the Engine that this one is for, and returns what
// it prints, without the last newline. The error is what docker says.
func (c *cli) runDocker(ctx context.Context, args ...string) (string, error) {
	program := c.getenv(originalDocker)
	if program == "" {
		program = "docker"
	}
	var global []string
	for _, h := range slices.Compact(slices.Clone(c.engine.hosts)) {
		if c.plugin || !isTCP(h) { // else it is the address of logscan's API
			global = append(global, "--host", h)
		}
	}
	if c.engine.context != "" {
		global = append(global, "--context", c.engine.context)
	}
	if c.engine.config != "" {
		global = append(global, "--config", c.engine.config)
	}
	cmd := exec.CommandContext(ctx, program, append(global, args...)...)
	cmd.WaitDelay = dockerEnd
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return strings.TrimSuffix(out.String(), "\n"), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &exit):
		return "", fmt.Errorf("docker %s: %s", args[0], dockerError(said.String()))
	}
	return "", fmt.Errorf("docker can't be run: %w", err)
}

// dockerError is what docker says of a failure, on one line and without what it always
// says.
func dockerError(said string) string {
	var lines []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "docker: "))
		if line != "" && !strings.HasPrefix(line, "WARNING: ") && !strings.HasPrefix(line, "See 'docker ") && !strings.HasPrefix(line, "Run 'docker ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// drillImages are images that have what a drill needs, a shell: the first that is there
// is used.
var drillImages = []string{"busybox", "alpine", "debian", "ubuntu"}

// findImage is an image on the Engine that has a shell: the one asked for, "" for any.
func (c *cli) findImage(ctx context.Context, asked string) (string, error) {
	if asked != "" {
		_, err := c.docker(ctx, "image", "inspect", "--format", "{{.Id}}", asked)
		if err != nil && strings.Contains(strings.ToLower(err.Error()), "no such image") {
			return "", advise("docker pull "+asked, "there is no image %s on the Engine", asked)
		}
		return asked, err
	}
	list, err := c.docker(ctx, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
	if err != nil {
		return "", err
	}
	for _, want := range drillImages {
		for image := range strings.Lines(list) {
			image = strings.TrimSpace(image)
			name := image[strings.LastIndex(image, "/")+1:]
			if strings.HasPrefix(name, want+":") && !strings.HasSuffix(name, ":<none>") {
				return image, nil
			}
		}
	}
	return "", advise("docker pull "+drillImages[0]+"\n"+c.name()+" drill --image IMAGE …      (any other one with a shell)",
		"a container is run for the drill, and none of the images %s is on the Engine", strings.Join(drillImages, ", "))
}
