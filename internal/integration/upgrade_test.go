package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"logscan/internal/enginetest"
)

// thief stands in PATH before docker. When make install is about to upgrade, it
// does to the registry what a local user may, and what one could who had found
// the password.
const thief = `#!/bin/bash
set -eu
real=%[1]s dir=%[2]s
[ "$1 $2" = "plugin upgrade" ] || exec "$real" "$@"
remote=${*: -1}
at=${remote%%%%/*}
curl -s -o "$dir/answer" -w '%%{http_code}' -X PUT -H 'Content-Type: application/vnd.docker.distribution.manifest.v2+json' \
	--data '{}' "http://$at/v2/logscan/manifests/upgrade" >"$dir/status"
if [ -e "$dir/knows" ]; then
	"$real" plugin create "$remote" "$dir/plugin" >/dev/null
	"$real" plugin push "$remote" >/dev/null
	"$real" plugin rm "$remote" >/dev/null
fi
exec "$real" "$@"
`

// TestMakeInstallEnablesOnlyWhatWasBuilt shows that nobody who comes in between
// while make install upgrades gets a plugin of theirs enabled.
func TestMakeInstallEnablesOnlyWhatWasBuilt(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	env := makeEnv(t, e)
	mustMake(t, env, "install")

	docker, err := exec.LookPath("docker")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-R", enginetest.BuildPlugin(t), filepath.Join(dir, "plugin")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("plugin/rootfs/etc/foreign", "somebody else's\n", 0o600)
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("bin/docker", fmt.Sprintf(thief, docker, dir), 0o700)
	env = append(env, "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	foreign := func() bool {
		_, err := os.Stat(filepath.Join(e.Dir, "data/plugins", e.PluginID(), "rootfs/etc/foreign"))
		return err == nil
	}
	enabled := func() string { return e.Docker("plugin", "inspect", "-f", "{{.Enabled}}", enginetest.Plugin) }

	install := func() {
		t.Helper()
		mustMake(t, env, "install")
		if status, err := os.ReadFile(filepath.Join(dir, "status")); err != nil || string(status) != "401" {
			t.Errorf("a push without the password is answered %s, %v", status, err)
		}
		if foreign() || enabled() != "true" {
			t.Errorf("the plugin is foreign: %t, enabled: %s", foreign(), enabled())
		}
	}
	install()

	write("knows", "", 0o600)
	out, err := tryMake(t, env, "install")
	if err == nil || !strings.Contains(out, "another plugin than the one that was built") {
		t.Errorf("make install with a foreign plugin: %v\n%s", err, out)
	}
	if !foreign() {
		t.Error("the foreign plugin isn't there: the test shows nothing")
	}
	if enabled() != "false" {
		t.Error("the foreign plugin is enabled")
	}

	// What was built takes its place.
	if err := os.Remove(filepath.Join(dir, "knows")); err != nil {
		t.Fatal(err)
	}
	install()
	control(t, e)
}

// TestMakeInstallTrustsNoForeignListener shows that a port at which somebody else
// listens isn't taken for the registry, whatever answers there.
func TestMakeInstallTrustsNoForeignListener(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	env := makeEnv(t, e)
	mustMake(t, env, "install")
	asked := make(chan struct{}, 100)
	dir := t.TempDir()
	// It lets somebody else listen where it was told to, and stays, silent.
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("docker-registry", fmt.Sprintf("#!/bin/bash\nsed -n 's/.*127.0.0.1:\\([0-9]*\\).*/\\1/p' \"$2\" >>%s/ports\nexec sleep 600\n", dir))
	stop := make(chan struct{})
	served := make(chan struct{})
	go func() {
		defer close(served)
		seen := 0
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			b, _ := os.ReadFile(filepath.Join(dir, "ports"))
			ports := strings.Fields(string(b))
			for ; seen < len(ports); seen++ {
				port, err := strconv.Atoi(ports[seen])
				if err != nil {
					t.Error(err)
					return
				}
				l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					t.Error(err)
					return
				}
				defer l.Close()
				go func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						asked <- struct{}{}
						c.Close()
					}
				}()
			}
		}
	}()
	out, err := tryMake(t, append(env, "PATH="+dir+":"+os.Getenv("PATH")), "install")
	close(stop)
	<-served
	if err == nil || !strings.Contains(out, "the registry for the upgrade does not start") {
		t.Errorf("make install: %v\n%s", err, out)
	}
	if len(asked) > 0 {
		t.Error("the foreign listener was spoken to")
	}
	if now := e.Docker("plugin", "inspect", "-f", "{{.Enabled}}", enginetest.Plugin); now != "true" {
		t.Errorf("the plugin that was installed is enabled: %s", now)
	}
}
