package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestLabels runs what the manual says of labels: its commands, and its compose files under
// docker-compose. Then it starts replicas with other labels, and containers whose labels are
// wrong.
func TestLabels(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	installCommand(t, e)
	e.InstallPlugin(unbounded...)
	importBusybox(t, e)
	c := control(t, e)
	pages := manual(t)
	at := slices.IndexFunc(pages, func(p page) bool { return filepath.Base(p.file) == "labels.md" })
	if at < 0 {
		t.Fatal("there is no page labels.md")
	}
	p := pages[at]
	r := &reader{Engine: e, pages: pages, shell: newTerminal(t, e.Env()), substitute: strings.NewReplacer()}
	for _, s := range p.steps(t) {
		r.do(t, p.file, s)
	}

	files := 0
	for _, b := range p.blocks {
		if b.language == "yaml" {
			files++
			composeUp(t, e, fmt.Sprint("doc", files), strings.Join(b.lines, "\n"))
		}
	}
	if files < 2 {
		t.Errorf("only %d compose files found", files)
	}
	told := func(rule string, n int) []string {
		t.Helper()
		var from []string
		for _, ev := range allHits(t, e, c, rule, n) {
			from = append(from, meta(ev, "workload_id")+" "+string(ev.Severity))
		}
		slices.Sort(from)
		return from
	}
	if got := told("oom", 1); !slices.Equal(got, []string{"doc1/web critical"}) {
		t.Errorf("hits of oom: %q", got)
	}
	if got := told("panic", 2); !slices.Equal(got, []string{"doc2/api critical", "doc2/worker critical"}) {
		t.Errorf("hits of panic: %q", got)
	}
	declared := rulesOf(t, c, "doc1/web")
	if len(declared) != 2 || declared["login"].By.String() != "$user" || declared["login"].WithinSeconds != 600 || declared["oom"].ManagedBy != "label:"+e.Docker("ps", "-a", "--filter", "label=com.docker.compose.project=doc1", "--format", "{{.Names}}") {
		t.Errorf("rules of doc1/web: %+v", declared)
	}
	silences, err := c.Silences(t.Context())
	if err != nil || len(silences) != 1 || !slices.Equal(silences[0].Matchers, []string{"workload=doc1/web"}) || silences[0].Cron != "0 3 * * *" {
		t.Errorf("silences: %+v, %v", silences, err)
	}
	if err := c.DeleteRule(t.Context(), declared["oom"].ID); err == nil || !strings.Contains(err.Error(), "managed by label:") {
		t.Errorf("a rule of labels is removed: %v", err)
	}

	// A rolling update: a newer replica says something else, and a line that was written
	// before it started made what it made.
	e.Docker("run", "-d", "--name", "old", "--log-driver", "logscan", "--label", "logscan.workload=roll", "--label", "logscan.rule.x.pattern=one", "busybox", "sh", "-c", "echo one; while sleep 1; do echo two; done")
	allHits(t, e, c, "x", 1)
	first := rulesOf(t, c, "roll")["x"]
	e.Docker("run", "--name", "new", "--log-driver", "logscan", "--label", "logscan.workload=roll", "--label", "logscan.rule.x.pattern=two", "--label", "logscan.rule.x.cooldown_seconds=1h", "busybox", "echo", "one")
	e.Eventually(time.Minute, "a hit of the older replica by the newer one's rule", func() bool {
		return slices.ContainsFunc(hits(t, c, "x"), func(ev api.Event) bool {
			return meta(ev, "container_name") == "old" && ev.Message == "two"
		})
	})
	if now := rulesOf(t, c, "roll")["x"]; now.ID != first.ID || now.Pattern != "two" || now.ManagedBy != "label:new" {
		t.Errorf("the rule is %+v, was %+v", now, first)
	}
	for _, ev := range hits(t, c, "x") {
		if meta(ev, "container_name") == "new" {
			t.Errorf("a hit by a rule that was no more: %+v", ev)
		}
	}

	// A restart of the plugin changes nothing.
	before := rulesOf(t, c, "roll")
	e.Docker("plugin", "disable", "-f", enginetest.Plugin)
	e.Docker("plugin", "enable", "--timeout", "0", enginetest.Plugin)
	c = control(t, e)
	if after := rulesOf(t, c, "roll"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("after a restart, the rules are %+v, not %+v", after, before)
	}
	e.Docker("rm", "-f", "old")

	// Whatever labels and log options say, the container starts.
	e.Docker("run", "--name", "wild", "--log-driver", "logscan", "--log-opt", "logscan.enable=perhaps", "--log-opt", "logscan.=x", "--label", "logscan.rule.=("+strings.Repeat("x", 20<<10),
		"--label", "logscan.rule.ok.pattern=hello", "--label", "logscan.rule.url.triggers=https://u:hunter2@example.com/", "busybox", "echo", "hello")
	allHits(t, e, c, "ok", 1)
	shown := e.Docker("logscan", "container", "show", "wild")
	for _, want := range []string{"logscan.enable: must be true or false", "1 labels are left out", "a label holds no URL", "Label rules: ok"} {
		if !strings.Contains(shown, want) {
			t.Errorf("container show doesn't say %q:\n%s", want, shown)
		}
	}
	if strings.Contains(shown, "hunter2") {
		t.Errorf("a secret is shown:\n%s", shown)
	}
	e.Docker("run", "--name", "unseen", "--log-driver", "logscan", "--label", "logscan.enable=false", "--label", "logscan.rule.unseen.pattern=hello", "busybox", "echo", "hello")
	if out := e.Docker("logscan", "container", "show", "unseen"); !strings.Contains(out, "not in effect: the container isn't scanned") {
		t.Errorf("container show says:\n%s", out)
	}
	if out, _ := e.Logs("unseen"); string(out) != "hello\n" {
		t.Errorf("its log is %q", out)
	}
}

// rulesOf are the rules that labels declare for a workload, by name.
func rulesOf(t testing.TB, c *api.Client, workload string) map[string]api.Rule {
	t.Helper()
	rules, err := c.Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]api.Rule{}
	for _, r := range rules {
		if r.WorkloadID == workload && strings.HasPrefix(r.ManagedBy, "label:") {
			out[r.Name] = r
		}
	}
	return out
}

// composeUp starts the services of a compose file as a project, without networks, and waits
// until their containers have ended.
func composeUp(t testing.TB, e *enginetest.Engine, project, file string) {
	t.Helper()
	var said map[string]any
	if err := yaml.Load([]byte(file), &said); err != nil {
		t.Fatal(err)
	}
	said["version"] = "3.4"
	for _, service := range said["services"].(map[string]any) {
		service.(map[string]any)["network_mode"] = "none"
	}
	b, err := yaml.Dump(said)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), project+".yml")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-compose", "-p", project, "-f", path, "up", "-d")
	cmd.Env = append(e.Env(), "COMPOSE_API_VERSION=auto")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("docker-compose up: %v\n%s\n%s", err, out, b)
	}
	ids := strings.Fields(e.Docker("ps", "-aq", "--filter", "label=com.docker.compose.project="+project))
	e.Docker(append([]string{"wait"}, ids...)...)
}
