package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"logscan/internal/app"
)

// fakeEngine answers GET /plugins on a unix socket.
func fakeEngine(t *testing.T, status int, plugins string) (host string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "eng")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "d"))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.URL.Path != "/plugins" {
			t.Errorf("asked for %s %s", r.Method, r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, plugins)
	}))
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(func() {
		srv.Close()
		os.RemoveAll(dir)
	})
	return "unix://" + filepath.Join(dir, "d")
}

// entry is a plugin as dockerd 20.10 lists it.
func entry(id, name string, enabled bool, kind string) string {
	return fmt.Sprintf(`{"Config":{"Args":{"Name":"","Settable":null},"Interface":{"Socket":"logscan.sock","Types":[%q]}},"Enabled":%v,"Id":%q,"Name":%q,"PluginReference":"docker.io/library/x","Settings":{}}`, kind, enabled, id, name)
}

func TestFindPlugin(t *testing.T) {
	ok := entry("id1", "logscan:latest", true, logDriver)
	for _, tt := range []struct {
		name, plugin, plugins string
		status                int
		id                    string
		says                  []string
	}{
		{name: "plain", plugins: "[" + entry("id0", "vieux/sshfs:latest", true, "docker.volumedriver/1.0") + "," + ok + "]", id: "id1"},
		{name: "from a registry", plugins: "[" + entry("id2", "localhost:5000/tools/logscan:v1.2", true, logDriver) + "]", id: "id2"},
		{name: "other name", plugin: "mylogs", plugins: "[" + ok + "," + entry("id3", "mylogs:latest", true, logDriver) + "]", id: "id3"},
		{name: "full name", plugin: "localhost:5000/logscan:v2", plugins: "[" + ok + "," + entry("id4", "localhost:5000/logscan:v2", true, logDriver) + "]", id: "id4"},
		{name: "name without tag", plugin: "localhost:5000/logscan", plugins: "[" + ok + "," + entry("id4", "localhost:5000/logscan:v2", true, logDriver) + "]", id: "id4"},
		{name: "by tag", plugin: "logscan:v2", plugins: "[" + ok + "," + entry("id5", "logscan:v2", true, logDriver) + "]", id: "id5"},
		{name: "one of two enabled", plugins: "[" + ok + "," + entry("id5", "logscan:v2", false, logDriver) + "]", id: "id1"},
		{name: "two enabled", plugins: "[" + ok + "," + entry("id5", "logscan:v2", true, logDriver) + "]", says: []string{"logscan:latest, logscan:v2", "--plugin"}},
		{name: "none", plugins: "[]", says: []string{"no plugin called logscan", "make install", "docker plugin install"}},
		{name: "null", plugins: "null", says: []string{"no plugin called logscan"}},
		{name: "disabled", plugins: "[" + entry("id1", "logscan:latest", false, logDriver) + "]", says: []string{"disabled", "docker plugin enable --timeout 0 logscan:latest"}},
		{name: "no log driver", plugins: "[" + entry("id1", "logscan:latest", true, "docker.volumedriver/1.0") + "]", says: []string{"no logging driver"}},
		{name: "similar name", plugins: "[" + entry("id1", "notlogscan:latest", true, logDriver) + "]", says: []string{"no plugin called logscan"}},
		{name: "engine refuses", status: 500, plugins: `{"message":"layer store is broken"}`, says: []string{"500", "layer store is broken"}},
		{name: "no JSON", plugins: "<html>", says: []string{"list of plugins"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.status == 0 {
				tt.status = 200
			}
			if tt.plugin == "" {
				tt.plugin = "logscan"
			}
			c := &cli{plugin: true, getenv: func(string) string { return "" }}
			c.engine.plugin = tt.plugin
			c.engine.hosts = []string{fakeEngine(t, tt.status, tt.plugins)}
			found, err := c.findPlugin(t.Context())
			if len(tt.says) == 0 {
				if err != nil || found.ID != tt.id {
					t.Errorf("got %q, %v; want %q", found.ID, err, tt.id)
				}
				return
			}
			var out strings.Builder
			c.err = &out
			if err == nil {
				t.Fatalf("found %q", found.ID)
			}
			c.report(err)
			for _, w := range tt.says {
				if !strings.Contains(out.String(), w) {
					t.Errorf("%q does not say %q", out.String(), w)
				}
			}
		})
	}
}

// From the Engine to the plugin's socket and through it, or what stands in the
// way.
func TestThroughTheEngine(t *testing.T) {
	p := newTestPlugin(t)
	sockets, err := os.MkdirTemp("", "plg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	host := fakeEngine(t, 200, "["+entry("id1", "logscan:latest", true, logDriver)+"]")
	run := func(args ...string) (string, int) {
		var out strings.Builder
		c := &cli{in: strings.NewReader(""), out: &out, err: &out, plugin: true, getenv: func(string) string { return "" }}
		c.engine.sockets = sockets
		code := c.run(context.Background(), args)
		return out.String(), code
	}
	args := []string{"-H", host, "--config", sockets, "-D", "-l", "debug", "--tls=false", "logscan", "rule", "add", "oom", "x"}
	if out, code := run(args...); code != exitFailed || !strings.Contains(out, "control socket") || !strings.Contains(out, "Try:") {
		t.Errorf("socket missing: %d %s", code, out)
	}
	if err := os.Mkdir(filepath.Join(sockets, "id1"), 0o700); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(sockets, "id1", app.ControlSocket)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as a killed plugin leaves it
	l.Close()
	if out, code := run(args...); code != exitFailed || !strings.Contains(out, "nothing answers") {
		t.Errorf("plugin dead: %d %s", code, out)
	}
	os.Remove(at)
	if err := os.Symlink(p.socket, at); err != nil {
		t.Fatal(err)
	}
	if out, code := run(args...); code != 0 || strings.TrimSpace(out) != "1" {
		t.Errorf("%d %s", code, out)
	}
	// Completion goes the same way.
	if out, code := run("__complete", "-H", host, "logscan", "rule", "rm", ""); code != 0 || !strings.HasPrefix(out, "oom\n") {
		t.Errorf("completion: %d %s", code, out)
	}
}

func TestEngineHost(t *testing.T) {
	dir := t.TempDir()
	meta := func(name, host string) {
		t.Helper()
		sum := sha256.Sum256([]byte(name))
		d := filepath.Join(dir, "contexts", "meta", hex.EncodeToString(sum[:]))
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
		b, _ := json.Marshal(map[string]any{"Name": name, "Endpoints": map[string]any{"docker": map[string]string{"Host": host}}})
		if err := os.WriteFile(filepath.Join(d, "meta.json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	meta("rootless", "unix:///run/user/0/docker.sock")
	meta("current", "unix:///run/current.sock")
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"currentContext":"current"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		engine engineOptions
		env    map[string]string
		want   string
		err    string
	}{
		{name: "nothing", env: map[string]string{"HOME": "/nonexistent"}, want: defaultHost},
		{name: "flag", engine: engineOptions{hosts: []string{"unix:///a"}}, env: map[string]string{"DOCKER_HOST": "unix:///b"}, want: "unix:///a"},
		{name: "path", engine: engineOptions{hosts: []string{"/a/b"}}, want: "unix:///a/b"},
		{name: "env", env: map[string]string{"DOCKER_HOST": "unix:///b", "DOCKER_CONFIG": dir, "DOCKER_CONTEXT": "rootless"}, want: "unix:///b"},
		{name: "context flag beats env", engine: engineOptions{context: "rootless", config: dir}, env: map[string]string{"DOCKER_HOST": "unix:///b"}, want: "unix:///run/user/0/docker.sock"},
		{name: "context env", env: map[string]string{"DOCKER_CONTEXT": "rootless", "DOCKER_CONFIG": dir}, want: "unix:///run/user/0/docker.sock"},
		{name: "current context", env: map[string]string{"DOCKER_CONFIG": dir}, want: "unix:///run/current.sock"},
		{name: "default context", engine: engineOptions{context: "default", config: dir}, want: defaultHost},
		{name: "no such context", engine: engineOptions{context: "nope", config: dir}, err: `"nope"`},
		{name: "flag and context", engine: engineOptions{context: "default", hosts: []string{"unix:///a"}}, err: "not both"},
		{name: "two hosts", engine: engineOptions{hosts: []string{"unix:///a", "unix:///b"}}, err: "one -H"},
	} {
		c := &cli{engine: tt.engine, getenv: func(k string) string { return tt.env[k] }}
		got, err := c.engineHost()
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
	c := &cli{engine: engineOptions{hosts: []string{"ssh://bob:pw@far"}}, plugin: true}
	if _, err := c.findPlugin(t.Context()); err == nil || !strings.Contains(err.Error(), "ssh://far") || strings.Contains(err.Error(), "pw") {
		t.Errorf("far engine: %v", err)
	}
}
