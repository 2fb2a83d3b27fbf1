package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

const pythonProgram = `import logging
def find(n):
    try:
        return {}[n]
    except KeyError as e:
        raise LookupError("no such item") from e
print("begun", flush=True)
for n in range(2):
    try:
        find(n)
    except LookupError:
        logging.exception("find %d failed", n)
find(42)
`

const javaProgram = `public class Shop {
	static void find(int n) {
		try {
			java.util.Optional.empty().orElseThrow();
		} catch (java.util.NoSuchElementException e) {
			throw new IllegalStateException("no such item: " + n, e);
		}
	}
	public static void main(String[] args) {
		System.out.println("begun");
		find(42);
	}
}
`

// TestRecords has programs throw that are written in Python and Java, if there are such
// here, and PostgreSQL refuse a query: each is one event, which has all that was
// written about it. The plugin is killed while a record may go on.
func TestRecords(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(append([]string{"LOGSCAN_ALLOW_TARGETS=127.0.0.1"}, unbounded...)...)
	c := control(t, e)
	image := programsImage(t, e)
	p := newPhone(t)
	url := strings.Replace(p.URL, "http://", "ntfy+http://", 1) + "/ops"
	if _, err := c.CreateTrigger(t.Context(), api.TriggerCreate{Name: "phone", ActionURL: url, TriggerFields: api.TriggerFields{"group_interval_seconds": 0}}); err != nil {
		t.Fatal(err)
	}
	makeRule(t, c, "exception", `(?:Exception|Error): `, api.RuleFields{"severity": "error"})
	makeRule(t, c, "chained", `(?s)(KeyError|NoSuchElementException).*no such item|no such item.*Caused by`, api.RuleFields{"record": true, "cooldown_seconds": 0})
	makeRule(t, c, "nowhere", `relation "nowhere" does not exist(?s:.*)STATEMENT:  select`, api.RuleFields{"record": true})

	dir := t.TempDir()
	for name, text := range map[string]string{"shop.py": pythonProgram, "Shop.java": javaProgram} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(name, program string, args ...string) bool {
		t.Helper()
		if _, err := os.Stat(program); err != nil {
			t.Logf("there is no %s here", program)
			return false
		}
		all := []string{"run", "--name", name, "--network", "none", "--log-driver", enginetest.Plugin, "-v", "/usr:/usr:ro", "-v", "/etc:/etc:ro", "-v", dir + ":/app:ro", image, program}
		if out, err := e.TryDocker(append(all, args...)...); err == nil {
			t.Fatalf("%s doesn't throw: %s", name, out)
		}
		return true
	}
	hitsOf := func(rule, container string, n int) (out []api.Event) {
		t.Helper()
		e.Eventually(time.Minute, rule+" in "+container, func() bool {
			out = nil
			for _, ev := range hits(t, c, rule) {
				if ev.Metadata["container_name"] == container {
					out = append(out, ev)
				}
			}
			return len(out) >= n
		})
		if len(out) != n {
			t.Errorf("%d hits of %s in %s, want %d", len(out), rule, container, n)
		}
		return out
	}
	record := func(ev api.Event) string { s, _ := ev.Metadata["record"].(string); return s }

	if run("python", "/usr/bin/python3", "/app/shop.py") {
		hitsOf("exception", "python", 3) // each once, however many of its lines match
		last := hitsOf("chained", "python", 3)
		first, second, third := record(last[0]), record(last[1]), record(last[2])
		if !strings.HasPrefix(first, "Traceback ") || !strings.HasSuffix(first, "\nLookupError: no such item") || strings.Count(first, "Traceback ") != 2 {
			t.Errorf("the first: %s", first)
		}
		if !strings.HasPrefix(second, "ERROR:root:find 1 failed\nTraceback ") || !strings.HasSuffix(second, "\nLookupError: no such item") {
			t.Errorf("the second: %s", second)
		}
		if !strings.HasPrefix(third, "Traceback ") || strings.Count(third, "Traceback ") != 2 {
			t.Errorf("the last: %s", third)
		}
		e.Eventually(time.Minute, "a message with the trace", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return slices.ContainsFunc(p.got, func(m map[string]any) bool {
				text, _ := m["message"].(string)
				return strings.Contains(text, "Traceback (most recent call last):\n") && strings.Contains(text, "\nLookupError: no such item")
			})
		})
	}
	if run("java", "/usr/bin/java", "/app/Shop.java") {
		for _, rule := range []string{"exception", "chained"} {
			ev := hitsOf(rule, "java", 1)[0]
			const head = `Exception in thread "main" java.lang.IllegalStateException: no such item: 42`
			if text := record(ev); ev.Message != head || !strings.HasPrefix(text, head+"\n\tat Shop.find(Shop.java:6)\n") || !strings.Contains(text, "\nCaused by: java.util.NoSuchElementException: ") {
				t.Errorf("%s: %s\n%s", rule, ev.Message, text)
			}
		}
	}

	// A record that may go on survives the plugin, and so does the rest that is written
	// while there is none.
	e.Docker("run", "-d", "--name", "killed", "--network", "none", "--log-driver", enginetest.Plugin, image,
		"sh", "-c", `echo 'panic: Error: half'; echo; echo 'goroutine 1 [running]:'; sleep 0.3; echo 'main.main()'; sleep 1000`)
	e.Eventually(time.Minute, "the rest of it", func() bool { out, _ := e.Logs("killed"); return strings.Contains(string(out), "goroutine") })
	e.KillPlugin()
	c = control(t, e)
	if text := record(hitsOf("exception", "killed", 1)[0]); !strings.HasPrefix(text, "panic: Error: half\n\ngoroutine 1 [running]:") {
		t.Errorf("across a kill: %s", text)
	}

	e.Docker("run", "-d", "--name", "postgres", "--network", "none", "--log-driver", enginetest.Plugin, "--user", "postgres", image, "sh", "-c", `initdb -N -D /tmp/db --locale=C >/dev/null && exec postgres -D /tmp/db -k /tmp -c fsync=off -c listen_addresses=`)
	psql := func(query string) string {
		out, _ := e.TryDocker("exec", "postgres", "psql", "-h", "/tmp", "-U", "postgres", "-d", "postgres", "-Atc", query)
		return out
	}
	e.Eventually(2*time.Minute, "postgres being ready", func() bool { return strings.TrimSpace(psql("select 40+2")) == "42" })
	psql("select *\nfrom nowhere\nwhere id = 1")
	ev := hitsOf("nowhere", "postgres", 1)[0]
	text := record(ev)
	if lines := strings.Split(text, "\n"); len(lines) != 4 || !strings.Contains(lines[0], `ERROR:  relation "nowhere" does not exist`) || ev.Message != lines[0] || lines[2] != "\tfrom nowhere" {
		t.Errorf("%s\n%s", ev.Message, text)
	}
}
