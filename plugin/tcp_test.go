package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"logscan/internal/api"
)

// words runs a command line without --socket.
func words(t *testing.T, env map[string]string, stdin string, asDocker bool, args ...string) (out string, code int) {
	var b strings.Builder
	c := &cli{in: strings.NewReader(stdin), out: &b, err: &b, getenv: func(k string) string { return env[k] }, plugin: asDocker}
	if asDocker {
		args = append([]string{"logscan"}, args...)
	}
	code = c.run(t.Context(), args)
	return b.String(), code
}

// gate is the one before an API that one token opens.
func gate(token string, next http.Handler) http.Handler {
	var tokens api.Tokens
	tokens.SetAdmin(token)
	return api.NewGate(&tokens, nil, next)
}

func TestOverTCP(t *testing.T) {
	p := newTestPlugin(t)
	const token = "a token that is long enough"
	srv := httptest.NewServer(api.SameOrigin(gate(token, p.handler)))
	defer srv.Close()
	tcp := "tcp://" + srv.Listener.Addr().String()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(host, token string) map[string]string {
		return map[string]string{"LOGSCAN_HOST": host, "LOGSCAN_TOKEN": token, "HOME": t.TempDir()}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "tcp://" + taken.Addr().String()
	taken.Close()

	for _, tt := range []struct {
		name   string
		env    map[string]string
		stdin  string
		docker bool
		args   []string
		code   int
		says   []string
	}{
		{"add", env(tcp, token), "", true, []string{"rule", "add", "oom", "Out of memory"}, 0, []string{"1\n"}},
		{"by the environment", env(tcp, token), "", true, []string{"rule", "ls", "-q"}, 0, []string{"1\n"}},
		{"as http", env(srv.URL+"/", token), "", false, []string{"rule", "ls", "-q"}, 0, []string{"1\n"}},
		{"by --api", env("", token), "", true, []string{"--api", tcp, "rule", "ls", "-q"}, 0, []string{"1\n"}},
		{"--api before the environment", env(nobody, token), "", true, []string{"--api", tcp, "rule", "ls", "-q"}, 0, []string{"1\n"}},
		{"by -H", env("", token), "", false, []string{"-H", tcp, "rule", "ls", "-q"}, 0, []string{"1\n"}},
		{"docker's -H is the Engine's", env(tcp, token), "", true, []string{"-H", tcp, "rule", "ls"}, 1, []string{"is not on this machine", "LOGSCAN_HOST=tcp://"}},
		{"token from a file", env(tcp, ""), "", true, []string{"--token-file", file, "rule", "ls", "-q"}, 0, []string{"1\n"}},
		{"token from standard input", env(tcp, ""), token + "\n", true, []string{"--token-file", "-", "rule", "ls", "-q"}, 0, []string{"1\n"}},
		{"no token in it", env(tcp, ""), "", true, []string{"--token-file", "-", "rule", "ls"}, 1, []string{"there is no token in standard input"}},
		{"no token", env(tcp, ""), "", true, []string{"rule", "ls"}, 1, []string{"Bearer", "Try:", "LOGSCAN_TOKEN=", "docker logscan token"}},
		{"wrong token", env(tcp, "x"), "", true, []string{"rule", "ls"}, 1, []string{"the token is wrong", "docker logscan token"}},
		{"the token itself", env(tcp, token), "", true, []string{"token"}, 1, []string{"unix socket only"}},
		{"nobody there", env(nobody, token), "", true, []string{"rule", "ls"}, 1, []string{"does not answer at " + nobody, "connection refused", "LOGSCAN_LISTEN"}},
		{"no port", env("tcp://127.0.0.1", token), "", true, []string{"rule", "ls"}, 2, []string{"has no port"}},
		{"nonsense", env("ssh://bob:hunter2@host", token), "", true, []string{"rule", "ls"}, 2, []string{`"ssh://host" is no address`, "tcp://"}},
		{"a path behind it", env(tcp+"/api", token), "", true, []string{"rule", "ls"}, 2, []string{"is no address"}},
		{"two ways", env("", token), "", true, []string{"--api", tcp, "--socket", p.socket, "rule", "ls"}, 2, []string{"not both"}},
		{"the control socket by the environment", env("unix://"+p.socket, ""), "", true, []string{"token"}, 0, []string{"the token\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, code := words(t, tt.env, tt.stdin, tt.docker, tt.args...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d: %s", code, tt.code, out)
			}
			for _, s := range tt.says {
				if !strings.Contains(out, s) {
					t.Errorf("%q does not say %q", out, s)
				}
			}
			if strings.Contains(out, token) || strings.Contains(out, "hunter2") {
				t.Errorf("%q tells a secret", out)
			}
		})
	}
}

// Where the plugin can't open its database, the command line says why.
func TestWithoutDatabase(t *testing.T) {
	srv := httptest.NewServer(api.New(api.Config{
		Ingest: fakeIngest{}, Journals: fakePlugin{},
		Degraded: func() []api.Reason { return []api.Reason{{Reason: "database", Detail: "no space left on device"}} },
	}))
	defer srv.Close()
	out, code := words(t, nil, "", true, "--api", srv.URL, "rule", "ls")
	for _, want := range []string{"Error: the database is not open yet", "no space left on device", "Try:", "journalctl"} {
		if code != exitFailed || !strings.Contains(out, want) {
			t.Errorf("%d %q does not say %q", code, out, want)
		}
	}
	if out, code := words(t, nil, "", true, "--api", srv.URL, "container", "ls", "-q"); code != 0 || !strings.HasPrefix(out, "abababababab\n") {
		t.Errorf("containers: %d %s", code, out)
	}
}

func TestTriggerTest(t *testing.T) {
	p := newTestPlugin(t)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(418)
			io.WriteString(w, "not me")
		}
	}))
	defer receiver.Close()
	allowed = append(allowed, "127.0.0.1")
	t.Cleanup(func() { allowed = allowed[:len(allowed)-1] })
	for _, name := range []string{"good", "bad"} {
		if out, code := p.run("", "trigger", "add", name, receiver.URL+"/"+name); code != 0 {
			t.Fatal(out)
		}
	}
	if out, code := p.run("", "trigger", "test", "good"); code != 0 || !strings.HasPrefix(out, "good: taken with status 200 in ") {
		t.Errorf("%d %s", code, out)
	}
	out, code := p.run("", "trigger", "test", "good", "bad", "nosuch")
	if code != exitFailed || !strings.Contains(out, "good: taken") || !strings.Contains(out, "Error: trigger bad: the receiver answered 418 (after ") || !strings.Contains(out, " ms); it said: not me") || !strings.Contains(out, `no trigger "nosuch"`) {
		t.Errorf("%d %s", code, out)
	}
}

func TestCompletion(t *testing.T) {
	p := newTestPlugin(t)
	for _, args := range [][]string{{"rule", "add", "oom", "x"}, {"rule", "add", "web", "x", "--workload", "a/b"}, {"trigger", "add", "ops", "https://h.example.com/"}} {
		if out, code := p.run("", args...); code != 0 {
			t.Fatal(out)
		}
	}
	p.emit("warn", "oom", "x", nil)
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"rule", "edit", ""}, []string{"oom", "web"}},
		{[]string{"rule", "add", "--overrides", ""}, []string{"oom"}},
		{[]string{"rule", "add", "--workload", ""}, []string{"a/b", "shop/web"}},
		{[]string{"rule", "ls", "--workload", ""}, []string{"a/b", "shop/web"}},
		{[]string{"workload", "rules", ""}, []string{"a/b", "shop/web"}},
		{[]string{"trigger", "test", ""}, []string{"ops"}},
		{[]string{"events", "--rule", ""}, []string{"oom"}},
		{[]string{"trigger", "add", "--rule", ""}, []string{"oom", "web"}},
		{[]string{"trigger", "add", "--rule", "x*,o"}, []string{"x*,oom"}},
		{[]string{"trigger", "edit", "--workload", ""}, []string{"a/b", "shop/web"}},
		{[]string{"events", "--severity", ""}, []string{"info", "warn", "error"}},
		{[]string{"work"}, []string{"workload"}},
		{[]string{"help", ""}, []string{"rule\tManage rules", "settings\toptions of", "command-line\tdocker logscan and"}},
		{[]string{"help", "rule", ""}, []string{"add\tAdd a rule"}},
		{[]string{"container", "show", ""}, []string{"web\n", "unknown-0123456789ab\n"}},
	} {
		var b strings.Builder
		c := &cli{in: strings.NewReader(""), out: &b, err: io.Discard, getenv: func(string) string { return "" }, plugin: true}
		code := c.run(t.Context(), append([]string{"__complete", "logscan", "--socket", p.socket}, tt.args...))
		for _, w := range tt.want {
			if code != 0 || !strings.Contains("\n"+b.String(), "\n"+w) {
				t.Errorf("%v: %d %q, want %s", tt.args, code, b.String(), w)
			}
		}
	}
}
