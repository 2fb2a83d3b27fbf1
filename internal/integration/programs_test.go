package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// programsImage imports Debian's nginx, redis and PostgreSQL, which
// internal/scripts/programs.sh unpacks once.
func programsImage(t *testing.T, e *enginetest.Engine) string {
	t.Helper()
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(string(root))
	build := filepath.Join(dir, "build")
	cmd := exec.Command(filepath.Join(dir, "internal/scripts/programs.sh"))
	cmd.Env = append(os.Environ(), "BUILD="+build)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("programs.sh: %v: %s", err, out)
	}
	e.Docker("import", filepath.Join(build, "programs.tar"), "programs")
	return "programs"
}

const nginxConfig = `daemon off;
user www-data;
error_log stderr;
pid /tmp/nginx.pid;
events {}
http {
	access_log /dev/stdout combined;
	server {
		listen 127.0.0.1:80;
		location / { return 200 "well\n"; }
		location /missing { return 404; }
		location /app { proxy_pass http://127.0.0.1:81; }
		location /busy { return 503; }
	}
}
`

// TestRealPrograms has nginx, redis and PostgreSQL write their own logs, and
// watches them with rules that somebody who runs them would write.
func TestRealPrograms(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(unbounded...)
	c := control(t, e)
	image := programsImage(t, e)
	run := func(name string, flags []string, script string) {
		t.Helper()
		args := slices.Concat([]string{"run", "-d", "--name", name, "--network", "none", "--log-driver", enginetest.Plugin}, flags,
			[]string{image, "sh", "-c", script})
		e.Docker(args...)
	}
	rule := func(name, pattern string, f api.RuleFields) { makeRule(t, c, name, pattern, f) }
	only := func(workload, streams string) api.RuleFields {
		return api.RuleFields{"workload_id": workload, "streams": streams}
	}
	rule("5xx", `" (?P<status>5\d\d) \d+ "`, only("nginx", "stdout"))
	rule("upstream down", `\[error\] .* connect\(\) failed \((?P<errno>\d+): (?P<reason>[^)]+)\) while connecting to upstream`, only("nginx", "stderr"))
	rule("save failed", `# (?:Background saving error|Failed opening the temp RDB file .*: (?P<reason>.+))$`, only("redis", "all"))
	rule("saves fail", "# Background saving error", api.RuleFields{"workload_id": "redis", "kind": "count", "at_least": 2, "within_seconds": 600})
	rule("small maxmemory", `# WARNING.* maxmemory value that is less than 1MB`, only("redis", "all"))
	rule("refused for memory", `^OOM command not allowed`, only("client", "all"))
	rule("failed login", `FATAL:  password authentication failed for user "(?P<user>[^"]*)"$`, only("postgres", "stderr"))
	rule("out of shared memory", `ERROR:  out of shared memory$`, only("postgres", "stderr"))
	rule("any error", `\b(?:ERROR|FATAL|PANIC):`, only("postgres", "all"))

	run("nginx", nil, "cat >/tmp/nginx.conf <<'END'\n"+nginxConfig+"END\nexec nginx -c /tmp/nginx.conf")
	// The directory it would save to is not its own to write to.
	run("redis", []string{"--user", "www-data", "-w", "/usr"}, "exec redis-server --port 0 --unixsocket /tmp/redis.sock --maxmemory 1 --save ''")
	run("postgres", []string{"--user", "postgres"}, `echo secret >/tmp/pw
initdb -N -D /tmp/db -A scram-sha-256 --pwfile=/tmp/pw --locale=C >/dev/null &&
exec postgres -D /tmp/db -k /tmp -c fsync=off -c listen_addresses= -c max_locks_per_transaction=10`)

	try := func(name string, command ...string) string {
		out, err := e.TryDocker(append([]string{"exec", name}, command...)...)
		if err != nil {
			out += err.Error()
		}
		return out
	}
	ready := func(name, says string, command ...string) {
		t.Helper()
		e.Eventually(time.Minute, name+" being ready", func() bool { return strings.Contains(try(name, command...), says) })
	}
	ready("nginx", "well", "wget", "-qO-", "http://127.0.0.1/ready")
	for range 3 {
		try("nginx", "wget", "-qO-", "http://127.0.0.1/app")
	}
	for _, path := range []string{"/busy", "/missing", "/missing", "/?q=\"%20500%20", "/500"} {
		try("nginx", "wget", "-qO-", "http://127.0.0.1"+path)
	}

	redis := []string{"redis-cli", "-s", "/tmp/redis.sock"}
	ready("redis", "PONG", append(redis, "ping")...)
	for n := range 2 {
		try("redis", append(redis, "bgsave")...)
		// The child says why, and its parent that.
		e.Eventually(time.Minute, "a save that failed", func() bool { return len(hits(t, c, "save failed")) == 2*(n+1) })
	}
	// What redis refuses it doesn't log; who asked for it does.
	e.Docker("run", "--name", "client", "--network", "none", "--log-driver", enginetest.Plugin, image,
		"sh", "-c", "redis-server --port 7000 --maxmemory 1 --save '' --daemonize yes >/dev/null; until redis-cli -p 7000 ping | grep -q PONG; do sleep 0.1; done; for i in 1 2 3 4 5; do redis-cli -p 7000 set key$i value; redis-cli -p 7000 get key$i; done")

	psql := func(user, password, query string) string {
		return try("postgres", "sh", "-c", fmt.Sprintf("PGPASSWORD=%s psql -h /tmp -U %s -d postgres -Atc \"%s\" 2>&1", password, user, query))
	}
	e.Eventually(2*time.Minute, "postgres being ready", func() bool { return psql("postgres", "secret", "select 40+2") == "42" })
	before := len(hits(t, c, "any error")) // "the database system is starting up"
	for _, user := range []string{"postgres", "alice", "alice"} {
		if out := psql(user, "wrong", "select 1"); !strings.Contains(out, "password authentication failed") {
			t.Errorf("psql: %s", out)
		}
	}
	for _, query := range []string{"select 'ERROR'", "select * from nowhere", "select count(pg_advisory_lock(i)) from generate_series(1,1000000) i"} {
		psql("postgres", "secret", query)
	}

	for _, name := range []string{"nginx", "redis", "postgres"} {
		e.Docker("stop", name)
	}
	caughtUp(t, e, c)
	captured := func(rule, key string) string {
		var out []string
		for _, ev := range hits(t, c, rule) {
			captures, _ := ev.Metadata["captures"].(map[string]any)
			out = append(out, fmt.Sprint(captures[key]))
		}
		return strings.Join(out, " ")
	}
	for _, want := range []struct{ rule, key, captures string }{
		{"5xx", "status", "502 502 502 503"},
		{"upstream down", "reason", "Connection refused Connection refused Connection refused"},
		{"save failed", "reason", "Permission denied <nil> Permission denied <nil>"},
		{"small maxmemory", "", "<nil>"},
		{"refused for memory", "", "<nil> <nil> <nil> <nil> <nil>"},
		{"failed login", "user", "postgres alice alice"},
		{"out of shared memory", "", "<nil>"},
	} {
		if got := captured(want.rule, want.key); got != want.captures {
			t.Errorf("%s: %s, want %s", want.rule, got, want.captures)
		}
	}
	if got := hits(t, c, "saves fail"); len(got) != 1 || got[0].Metadata["matches"] != 2.0 {
		t.Errorf("saves that fail: %+v", got)
	}
	// A rule that is made now is told which share of those lines it would match.
	stdout, stderr := e.Logs("client")
	lines := int64(bytes.Count(stdout, []byte("\n")) + bytes.Count(stderr, []byte("\n")))
	saved, err := c.AddRule(context.Background(), api.RuleCreate{Name: "hinted", Pattern: "^OOM command", RuleFields: only("client", "all")}, true, time.Time{})
	if err != nil || saved.Hint == nil || saved.Hint.Matched != 5 || saved.Hint.Lines != lines {
		t.Errorf("of %d lines, 5 match: %+v, %v", lines, saved.Hint, err)
	}
	if n := len(hits(t, c, "any error")) - before; n != 5 {
		t.Errorf("%d errors of PostgreSQL, want 5", n)
	}
	if t.Failed() {
		for _, name := range []string{"nginx", "redis", "client", "postgres"} {
			out, errOut := e.Logs(name)
			t.Logf("%s:\n%s%s", name, out, errOut)
		}
	}
	for _, ev := range allEvents(t, c, api.EventQuery{Source: "system"}) {
		t.Errorf("an event about logscan: %v", ev)
	}
}
