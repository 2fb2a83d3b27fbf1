package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"logscan/internal/enginetest/private"
)

const (
	// Plugin is the name that the plugin is installed under.
	Plugin = "logscan"
	// PluginDirEnv names a plugin directory that is already built.
	PluginDirEnv = "LOGSCAN_PLUGIN_DIR"

	pluginSockets = "/run/docker/plugins"
	respawnTime   = 30 * time.Second
)

// BuildPlugin returns a plugin directory (config.json and rootfs), made by
// `make plugin` once in a process, or the one that LOGSCAN_PLUGIN_DIR names.
func BuildPlugin(t testing.TB) string {
	t.Helper()
	dir, err := builtPlugin()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var builtPlugin = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv(PluginDirEnv); dir != "" {
		return filepath.Abs(dir)
	}
	base, err := buildDir()
	if err != nil {
		return "", err
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("make", "-s", "-C", root, "plugin", "BUILD="+base)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make plugin: %w: %s", err, out)
	}
	return filepath.Join(base, "plugin"), nil
})

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// VariantPlugin returns a copy of a plugin directory that is another version to
// the Engine: its description differs, and so does its layer, since the Engine
// refuses to create a plugin from a layer that it has already.
func VariantPlugin(t testing.TB, dir, description string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "plugin")
	if b, err := exec.Command("cp", "-a", dir, out).CombinedOutput(); err != nil {
		t.Fatalf("copying the plugin: %v: %s", err, b)
	}
	SetConfig(t, out, "description", description)
	if err := os.WriteFile(filepath.Join(out, "rootfs/etc/variant"), []byte(description+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

// SetConfig sets a field of the config.json in a plugin directory.
func SetConfig(t testing.TB, dir, field string, value any) {
	t.Helper()
	file := filepath.Join(dir, "config.json")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(b, &config); err != nil {
		t.Fatal(err)
	}
	config[field] = value
	if b, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// InstallPlugin builds the plugin, creates it with the given settings
// (NAME=value) and enables it.
func (e *Engine) InstallPlugin(settings ...string) {
	e.t.Helper()
	e.CreatePlugin(BuildPlugin(e.t), settings...)
	e.EnablePlugin()
}

// CreatePlugin creates the plugin from a plugin directory, disabled.
func (e *Engine) CreatePlugin(dir string, settings ...string) {
	e.t.Helper()
	e.Docker("plugin", "create", Plugin, dir)
	if len(settings) > 0 {
		e.Docker(append([]string{"plugin", "set", Plugin}, settings...)...)
	}
}

// EnablePlugin enables the plugin, without the timeout that would cut follows. An
// Engine says that a plugin is disabled before it has taken the mounts below its
// directory away (moby, plugin/manager.go, HandleExitEvent): enabling it in
// between fails, and works when it is said again.
func (e *Engine) EnablePlugin() {
	e.t.Helper()
	for try := 1; ; try++ {
		_, err := e.TryDocker("plugin", "enable", "--timeout", "0", Plugin)
		if err == nil {
			return
		}
		if try == 5 || !strings.Contains(err.Error(), "setting up propagated mount") {
			e.t.Fatal(err)
		}
		e.t.Logf("once more: %v", err)
		time.Sleep(time.Second)
	}
}

// DisablePlugin disables the plugin also while containers use it.
func (e *Engine) DisablePlugin() {
	e.t.Helper()
	e.Docker("plugin", "disable", "-f", Plugin)
}

// UpgradePlugin upgrades the disabled plugin to another one in a registry.
func (e *Engine) UpgradePlugin(remote string) {
	e.t.Helper()
	e.Docker("plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", Plugin, remote)
}

// PushPlugin pushes a plugin directory to a registry under a name.
func (e *Engine) PushPlugin(dir, remote string) {
	e.t.Helper()
	e.Docker("plugin", "create", remote, dir)
	e.Docker("plugin", "push", remote)
	e.Docker("plugin", "rm", remote)
}

// PluginID returns the plugin's id.
func (e *Engine) PluginID() string {
	e.t.Helper()
	return e.Docker("plugin", "inspect", "-f", "{{.Id}}", Plugin)
}

// PluginPID returns the process id of the running plugin's worker, which does
// the plugin's work; 0 if none runs.
func (e *Engine) PluginPID() int {
	e.t.Helper()
	_, worker := e.pluginPIDs(e.PluginID())
	return worker
}

// SupervisorPID returns the process id of the running plugin's first process;
// 0 if none runs.
func (e *Engine) SupervisorPID() int {
	e.t.Helper()
	supervisor, _ := e.pluginPIDs(e.PluginID())
	return supervisor
}

// pluginPIDs finds the plugin's first process as the child of its shim, which
// is among the descendants of this Engine's keeper, and its worker as the child
// of that. The shim of a plugin that was killed may take its time to end.
func (e *Engine) pluginPIDs(id string) (supervisor, worker int) {
	for _, shim := range e.shimPIDs("plugins.moby", id) {
		if supervisor = logscanBelow(shim); supervisor != 0 {
			return supervisor, e.WorkerOf(supervisor)
		}
	}
	return 0, 0
}

// WorkerOf returns the process id of the worker that a supervisor has now; 0 if
// it has none. It may be called beside the Engine's other methods.
func (e *Engine) WorkerOf(supervisor int) int { return logscanBelow(supervisor) }

// PluginShimPID and ContainerShimPID return the process id of the shim that
// keeps the plugin, or a container.
func (e *Engine) PluginShimPID() int {
	e.t.Helper()
	return e.shimPID("plugins.moby", e.PluginID())
}

func (e *Engine) ContainerShimPID(name string) int {
	e.t.Helper()
	return e.shimPID("moby", e.ContainerID(name))
}

func (e *Engine) shimPID(namespace, id string) int {
	if pids := e.shimPIDs(namespace, id); len(pids) > 0 {
		return pids[len(pids)-1]
	}
	return 0
}

func (e *Engine) shimPIDs(namespace, id string) (pids []int) {
	for _, pid := range private.Descendants(e.KeeperPID()) {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.Contains(string(args), "\x00-namespace\x00"+namespace+"\x00-id\x00"+id+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// logscanBelow returns the child that runs the plugin's binary, not runc on its
// way there. No grandchild will do: the worker of a supervisor that was killed may
// be about to end yet.
func logscanBelow(pid int) int {
	for _, child := range private.Children(pid) {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", child))
		if err == nil && filepath.Base(exe) == "logscan" {
			return child
		}
	}
	return 0
}

// KillPlugin kills the plugin's first process with SIGKILL, and so all of the
// plugin, and waits until a new one answers in its place.
func (e *Engine) KillPlugin() {
	e.t.Helper()
	id := e.PluginID()
	var pid int
	e.Eventually(respawnTime, "the plugin running", func() bool {
		pid, _ = e.pluginPIDs(id)
		return pid != 0 && e.enabled(id, pid)
	})
	e.kill(pid)
	e.Eventually(respawnTime, "a new plugin process answering", func() bool {
		again, _ := e.pluginPIDs(id)
		return again != 0 && again != pid && e.enabled(id, again) && e.answers(id)
	})
}

// KillWorker kills the plugin's worker with SIGKILL, at whatever age, and waits
// until a new one answers in its place.
func (e *Engine) KillWorker() {
	e.t.Helper()
	id := e.PluginID()
	var pid int
	e.Eventually(respawnTime, "the plugin's worker running", func() bool {
		_, pid = e.pluginPIDs(id)
		return pid != 0
	})
	e.kill(pid)
	e.Eventually(respawnTime, "a new worker answering", func() bool {
		_, again := e.pluginPIDs(id)
		return again != 0 && again != pid && e.answers(id)
	})
}

func (e *Engine) kill(pid int) {
	e.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		e.t.Fatal(err)
	}
}

// answers tells whether the plugin replies as it does to the Engine. That it
// can be connected to says little: its socket outlives its worker.
func (e *Engine) answers(id string) bool {
	client := &http.Client{Timeout: respawnTime, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(pluginSockets, id, "logscan.sock"))
		},
	}}
	res, err := client.Post("http://plugin/LogDriver.Capabilities", "application/json", nil)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// enabled tells whether the Engine has done all that it does when it starts the
// plugin, in the process pid: only then does it start the plugin again when it
// ends. The last of it is to write the plugin's config.json.
func (e *Engine) enabled(id string, pid int) bool {
	saved, err := os.Stat(filepath.Join(e.Dir, "data/plugins", id, "config.json"))
	if err != nil {
		return false
	}
	return time.Since(saved.ModTime()) < processAge(pid)
}

// processAge returns how long ago a process started, to a hundredth of a
// second; a process that has gone is old.
func processAge(pid int) time.Duration {
	const tick = time.Second / 100 // USER_HZ
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return time.Hour
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return time.Hour
	}
	start, err := strconv.ParseInt(fields[19], 10, 64) // since boot
	if err != nil {
		return time.Hour
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Hour
	}
	var up float64
	if _, err := fmt.Sscan(string(uptime), &up); err != nil {
		return time.Hour
	}
	return time.Duration(up*float64(time.Second)) - time.Duration(start)*tick
}

// PluginData returns the host path of the plugin's propagated mount: the FIFOs
// and, in .logscan, everything that the plugin keeps.
func (e *Engine) PluginData() string {
	e.t.Helper()
	return filepath.Join(e.Dir, "data/plugins", e.PluginID(), "propagated-mount")
}

// ControlSocket returns the host path of the plugin's control socket.
func (e *Engine) ControlSocket() string {
	e.t.Helper()
	return filepath.Join(pluginSockets, e.PluginID(), "logscan-api.sock")
}
