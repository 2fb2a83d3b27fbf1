package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestSteps has rules follow what belongs together in what PostgreSQL writes: a
// checkpoint from its beginning to its end, a session that goes on for too long, and
// logins that fail until one succeeds. Another program says which version it is.
func TestSteps(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin("LOGSCAN_ALLOW_TARGETS=127.0.0.1")
	c := control(t, e)
	image := programsImage(t, e)
	sequence := func(steps []string, more api.RuleFields) api.RuleFields {
		f := api.RuleFields{"kind": "sequence", "steps": steps, "within_seconds": 5}
		for k, v := range more {
			f[k] = v
		}
		return f
	}
	create := func(name string, f api.RuleFields) {
		t.Helper()
		pattern, _ := f["pattern"].(string)
		if _, err := c.CreateRule(ctx, api.RuleCreate{Name: name, Pattern: pattern, RuleFields: f}); err != nil {
			t.Fatal(err)
		}
	}
	create("checkpoint", sequence([]string{"checkpoint starting: (?P<why>.*)", "checkpoint complete"}, api.RuleFields{"hit": "complete", "within_seconds": 3600}))
	create("session", sequence([]string{"connection authorized: user=(?P<user>\\w+)", "disconnection: .* user=$user "}, nil))
	create("login", api.RuleFields{"pattern": `authentication failed for user "(?P<user>[^"]*)"$`, "by": "$user", "clear": []string{"connection authorized: user=$user "}, "resolve_after_seconds": 0})
	create("version", api.RuleFields{"kind": "change", "pattern": `^version (?P<v>\S+)`, "field": "$v", "per": "workload"})

	e.Docker("run", "-d", "--name", "postgres", "--network", "none", "--log-driver", enginetest.Plugin, "--user", "postgres", image,
		"sh", "-c", `echo secret >/tmp/pw
initdb -N -D /tmp/db -A scram-sha-256 --pwfile=/tmp/pw --locale=C >/dev/null &&
exec postgres -D /tmp/db -k /tmp -c fsync=off -c listen_addresses= -c log_connections=on -c log_disconnections=on -c log_checkpoints=on`)
	psql := func(user, password, sql string) string {
		out, _ := e.TryDocker("exec", "postgres", "sh", "-c", "PGPASSWORD="+password+" psql -h /tmp -U "+user+" -d postgres -Atc '"+sql+"' 2>&1")
		return out
	}
	e.Eventually(2*time.Minute, "postgres being ready", func() bool { return psql("postgres", "secret", "select 40+2") == "42" })
	if out := psql("postgres", "secret", "create role eve login password $$x$$"); out != "CREATE ROLE" {
		t.Fatal(out)
	}
	of := func(rule string) []api.Incident {
		t.Helper()
		all, err := c.Incidents(ctx, api.IncidentQuery{State: "all", Rule: rule})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}

	psql("postgres", "secret", "checkpoint")
	e.Eventually(time.Minute, "a checkpoint", func() bool { return len(of("checkpoint")) == 1 })
	if h := hits(t, c, "checkpoint"); len(h) == 0 || !strings.HasPrefix(h[0].Message, "2 steps in ") || !strings.Contains(h[0].Message, "checkpoint complete: wrote ") {
		t.Errorf("%+v", h)
	}

	// eve stays for too long, and the plugin is killed while she does.
	slow := make(chan string, 1)
	go func() { slow <- psql("eve", "x", "select pg_sleep(9)") }()
	e.Eventually(time.Minute, "eve's session", func() bool {
		_, out := e.Logs("postgres")
		return strings.Contains(string(out), "connection authorized: user=eve")
	})
	e.KillPlugin()
	c = control(t, e)
	e.Eventually(time.Minute, "a session that is too long, and its end", func() bool {
		all := of("session")
		return len(all) == 1 && all[0].State == "resolved"
	})
	<-slow
	if i := of("session")[0]; i.ByValues != "user=eve" || i.Kind != "sequence" || !strings.HasPrefix(i.FirstText, "step 2 (disconnection: .* user=$user ) didn't come within 5 s (user=eve); the last: ") || !strings.HasPrefix(i.EndedWhy, "it was completed after all, in ") {
		t.Errorf("%+v", i)
	}

	for _, user := range []string{"eve", "postgres", "eve"} {
		psql(user, "wrong", "select 1")
	}
	e.Eventually(time.Minute, "failed logins of two", func() bool { return len(of("login")) == 2 })
	psql("eve", "x", "select 1")
	e.Eventually(time.Minute, "those of one being over", func() bool {
		for _, i := range of("login") {
			if i.ByValues == "user=eve" {
				return i.State == "resolved" && strings.HasPrefix(i.EndedWhy, "a line says so: ")
			}
		}
		return false
	})
	for _, i := range of("login") {
		if i.ByValues == "user=postgres" && i.State != "open" {
			t.Errorf("%+v", i)
		}
	}

	for _, v := range []string{"1.2", "1.2", "1.3"} {
		e.Docker("run", "--rm", "--network", "none", "--log-driver", enginetest.Plugin, "--log-opt", "workload=app", enginetest.Image, "echo", "version "+v)
	}
	e.Eventually(time.Minute, "another version", func() bool { return len(of("version")) == 1 })
	if i := of("version")[0]; i.FirstText != `$v is "1.3", and was "1.2": version 1.3` || i.Hits != 1 {
		t.Errorf("%+v", i)
	}
}
