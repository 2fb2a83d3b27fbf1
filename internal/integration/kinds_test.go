package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestKinds has rules add up what programs write: failed logins of one user at
// PostgreSQL and errors that it had not before, a heartbeat that stops, and a program that
// never says a word. The plugin is killed, and disabled for longer than a heartbeat may be
// away, and says nothing about that.
func TestKinds(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin("LOGSCAN_ALLOW_TARGETS=127.0.0.1")
	c := control(t, e)
	image := programsImage(t, e)
	p := newPhone(t)
	url := strings.Replace(p.URL, "http://", "ntfy+http://", 1) + "/ops"
	if _, err := c.CreateTrigger(ctx, api.TriggerCreate{Name: "phone", ActionURL: url, TriggerFields: api.TriggerFields{"group_interval_seconds": 0, "kinds": "absent"}}); err != nil {
		t.Fatal(err)
	}
	makeRule(t, c, "logins", `password authentication failed for user "(?P<user>[^"]*)"$`, api.RuleFields{"kind": "count", "by": "$user", "at_least": 3, "within_seconds": 600, "severity": "error"})
	makeRule(t, c, "heartbeat", `^beat (?P<n>\d+)$`, api.RuleFields{"kind": "absent", "for_seconds": 8, "workload_id": "beat", "severity": "critical"})
	makeRule(t, c, "mute", `^ready$`, api.RuleFields{"kind": "absent", "for_seconds": 5, "grace_seconds": 1, "arm": "start", "workload_id": "mute"})

	e.Docker("run", "-d", "--name", "beat", "--network", "none", "--log-driver", enginetest.Plugin, image,
		"sh", "-c", `echo x >/tmp/go; n=0; while :; do if [ -s /tmp/go ]; then echo beat $n; n=$((n+1)); fi; sleep 0.5; done`)
	e.Docker("run", "-d", "--name", "mute", "--network", "none", "--log-driver", enginetest.Plugin, image, "sleep", "1000")
	e.Docker("run", "-d", "--name", "postgres", "--network", "none", "--log-driver", enginetest.Plugin, "--user", "postgres", image,
		"sh", "-c", `echo secret >/tmp/pw
initdb -N -D /tmp/db -A scram-sha-256 --pwfile=/tmp/pw --locale=C >/dev/null &&
exec postgres -D /tmp/db -k /tmp -c fsync=off -c listen_addresses=`)
	psql := func(user, password string) string {
		out, _ := e.TryDocker("exec", "postgres", "sh", "-c", "PGPASSWORD="+password+" psql -h /tmp -U "+user+" -d postgres -Atc 'select 40+2' 2>&1")
		return out
	}
	e.Eventually(2*time.Minute, "postgres being ready", func() bool { return psql("postgres", "secret") == "42" })
	of := func(rule string) []api.Incident {
		t.Helper()
		all, err := c.Incidents(ctx, api.IncidentQuery{State: "all", Rule: rule})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}

	for _, user := range []string{"alice", "bob", "alice", "postgres"} {
		psql(user, "wrong")
	}
	e.KillPlugin() // in the middle of a window
	c = control(t, e)
	for range 2 {
		psql("alice", "wrong")
	}
	e.Eventually(time.Minute, "an incident of alice's logins", func() bool {
		all := of("logins")
		return len(all) == 1 && all[0].Matches == 4
	})
	if i := of("logins")[0]; i.ByValues != "user=alice" || i.Kind != "count" || i.Hits != 1 || i.Severity != "error" || !strings.HasPrefix(i.FirstText, "3 matches in ") || !strings.Contains(i.FirstText, "(user=alice): ") {
		t.Errorf("%+v", i)
	}
	if h := hits(t, c, "logins"); len(h) != 1 || h[0].Metadata["matches"] != 3.0 || h[0].Metadata["by"] != "user=alice" || h[0].Metadata["container_name"] != "postgres" {
		t.Errorf("%+v", h)
	}

	// What was there before the rule isn't new, be it of a container that is gone.
	query := func(sql string) {
		_, _ = e.TryDocker("exec", "postgres", "sh", "-c", `PGPASSWORD=secret psql -h /tmp -U postgres -d postgres -c "`+sql+`"`)
	}
	query("select * from nowhere")
	caughtUp(t, e, c)
	if _, err := c.CreateRule(ctx, api.RuleCreate{Name: "new errors", RuleFields: api.RuleFields{"kind": "new", "workload_id": "postgres"}}); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"select * from nowhere", "select 1/0", "select 2/0", "select * from nowhere"} {
		query(sql)
	}
	e.Eventually(time.Minute, "an error that is new", func() bool { return len(of("new errors")) == 1 && of("new errors")[0].Matches == 2 })
	if i := of("new errors")[0]; !strings.HasSuffix(i.FirstText, "ERROR:  division by zero") || i.Kind != "new" {
		t.Errorf("%+v", i)
	}

	e.Eventually(time.Minute, "the mute one being missed", func() bool { return len(of("mute")) == 1 })
	if i := of("mute")[0]; i.State != "open" || i.FirstText != "no match for 5 s" || i.Container != "mute" {
		t.Errorf("%+v", i)
	}

	// Away for longer than the heartbeat may be: it isn't missed.
	e.DisablePlugin()
	time.Sleep(12 * time.Second) // what is tested is that so long a time gives nothing
	e.EnablePlugin()
	c = control(t, e)
	beats := func() int {
		out, _ := e.Logs("beat")
		return strings.Count(string(out), "beat ")
	}
	n := beats()
	e.Eventually(time.Minute, "beats again", func() bool { return beats() >= n+40 }) // for longer than time stands still after a start
	if all := of("heartbeat"); len(all) != 0 {
		t.Fatalf("missed although it was there: %+v", all)
	}
	e.Docker("exec", "beat", "sh", "-c", ": >/tmp/go")
	e.Eventually(2*time.Minute, "the heartbeat being missed", func() bool { return len(of("heartbeat")) == 1 })
	if i := of("heartbeat")[0]; i.State != "open" || i.Hits != 1 || !strings.HasPrefix(i.FirstText, "no match for 8 s; the last: beat ") || i.Severity != "critical" {
		t.Errorf("%+v", i)
	}
	e.KillPlugin()
	c = control(t, e)
	e.Docker("exec", "beat", "sh", "-c", "echo x >/tmp/go")
	e.Eventually(time.Minute, "the heartbeat being back", func() bool { return of("heartbeat")[0].State == "resolved" })
	if i := of("heartbeat")[0]; !strings.HasPrefix(i.EndedWhy, "there was a match again, after ") {
		t.Errorf("%+v", i)
	}
	e.Eventually(time.Minute, "both told", func() bool { return len(p.said()) >= 3 })
	said := strings.Join(p.said(), "\n")
	for _, want := range []string{"[CRITICAL] heartbeat", "[RESOLVED] heartbeat", "[WARN] mute"} {
		if strings.Count(said, want) != 1 {
			t.Errorf("%q is told %d times: %s", want, strings.Count(said, want), said)
		}
	}
	if strings.Contains(said, "logins") {
		t.Errorf("told of another kind: %s", said)
	}

	// A rule that is gone waits for nothing.
	e.Docker("stop", "-t", "0", "mute")
	e.Eventually(time.Minute, "nothing to be missed of what was stopped", func() bool { return of("mute")[0].State == "resolved" })
}
