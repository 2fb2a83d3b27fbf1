package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logscan/internal/enginetest"
)

// TestInstallFromARegistryAsDefaultDriver is the way of users who have no
// clone: docker plugin install, then daemon.json.
func TestInstallFromARegistryAsDefaultDriver(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	remote := e.Registry() + "/logscan:1.0"
	e.PushPlugin(enginetest.BuildPlugin(t), remote)
	e.Docker("plugin", "install", "--alias", enginetest.Plugin, "--grant-all-permissions", remote, "LOGSCAN_LOG_LEVEL=debug")
	e.Configure("log-driver", enginetest.Plugin)
	e.Restart()

	c := e.Run(nil, "sh", "-c", "echo to stdout; echo to stderr >&2")
	if driver := e.Docker("inspect", "-f", "{{.HostConfig.LogConfig.Type}}", c); driver != enginetest.Plugin {
		t.Errorf("the default driver is %s", driver)
	}
	e.Wait(c)
	if out, errOut := e.Logs(c); string(out) != "to stdout\n" || string(errOut) != "to stderr\n" {
		t.Errorf("docker logs prints %q and %q", out, errOut)
	}

	// Without log-opts in daemon.json, dockerd starts also without the plugin.
	e.DisablePlugin()
	e.Restart()
	e.EnablePlugin()
	if out, _ := e.Logs(c); string(out) != "to stdout\n" {
		t.Errorf("after a start without the plugin, docker logs prints %q", out)
	}
}

// TestCommandLine shows that `docker logscan` works where the binary stands
// among Docker's CLI plugins, for this Engine.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	control(t, e)
	dir := filepath.Join(e.Dir, "config/cli-plugins")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(enginetest.BuildPlugin(t), "rootfs/logscan"), filepath.Join(dir, "docker-logscan")); err != nil {
		t.Fatal(err)
	}
	e.Docker("logscan", "rule", "add", "oom", "Out of memory", "--severity", "error")
	c := e.Run([]string{"--log-driver", enginetest.Plugin}, "sh", "-c", "echo all is well; echo kernel: Out of memory: Killed process 17 >&2")
	e.Wait(c)
	e.Eventually(30*time.Second, "a hit", func() bool {
		out, err := e.TryDocker("logscan", "events", "--format", "{{json .}}")
		return err == nil && strings.Count(out, "Killed process 17") == 1 && !strings.Contains(out, "all is well")
	})
	e.DisablePlugin()
	if _, err := e.TryDocker("logscan", "rule", "ls"); err == nil || !strings.Contains(err.Error(), "docker plugin enable") {
		t.Errorf("with the plugin disabled: %v", err)
	}
}

// TestAMistakenLogOptionFailsAtOnce shows what somebody sees who mistypes one.
func TestAMistakenLogOptionFailsAtOnce(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	for option, want := range map[string][]string{
		"max-sizes=1m": {"max-sizes", "max-size", "labels-regex"},
		"scan=maybe":   {"scan", "maybe", "on or off"},
	} {
		_, err := e.TryDocker("run", "--rm", "--network", "none", "-e", "TOKEN=do-not-tell", "--log-driver", enginetest.Plugin, "--log-opt", option, enginetest.Image, "true")
		if err == nil {
			t.Errorf("%s is accepted", option)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: the error doesn't say %q: %v", option, w, err)
			}
		}
		if _, said, _ := strings.Cut(err.Error(), "exit status"); strings.Contains(said, "do-not-tell") { // before it stands our own command
			t.Errorf("%s: the error tells the environment: %v", option, err)
		}
	}
	if journals, _ := os.ReadDir(filepath.Join(e.PluginData(), ".logscan/journal")); len(journals) > 0 {
		t.Errorf("journals were made: %v", journals)
	}
}
