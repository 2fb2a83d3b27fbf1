package integration

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// swarmAddress is a loopback address of this process's own: a swarm listens at
// fixed ports, and there may be another one on this machine.
func swarmAddress() string {
	return fmt.Sprintf("127.%d.%d.77", 1+os.Getpid()>>8%254, os.Getpid()%256)
}

// TestSwarm updates a service whose two tasks write all the time. Each task's log
// is whole, `docker service logs` has it, and all are replicas of one workload,
// the service.
func TestSwarm(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(unbounded...)
	client, c := engineClient(e), control(t, e)
	makeRule(t, c, "ends", `^end \d+$`, api.RuleFields{"workload_id": "web"})
	addr := swarmAddress()
	e.Docker("swarm", "init", "--listen-addr", addr, "--advertise-addr", addr)

	// Nodes pull a service's image before they look for it, so that it has to be
	// one that is nowhere else.
	const image = "127.0.0.1:1/box"
	e.Docker("tag", enginetest.Image, image)
	// Some hundred lines each: of more than about ten thousand, docker service logs
	// loses some and doesn't end, with json-file as well.
	e.Docker("service", "create", "--quiet", "--name", "web", "--replicas", "2", "--network", "host", "--no-resolve-image",
		"--restart-condition", "none", "--update-monitor", "1s", "--update-delay", "0s",
		"--log-driver", enginetest.Plugin, image,
		"loggen", "-n", "0", "-len", "40", "-rate", "20")
	tasks := func(flags ...string) []string {
		return strings.Fields(e.Docker(append([]string{"ps", "-q", "--no-trunc", "--filter", "label=com.docker.swarm.service.name=web"}, flags...)...))
	}
	before := tasks()
	if len(before) != 2 {
		t.Fatalf("tasks: %v", before)
	}
	e.Docker("service", "update", "--quiet", "--force", "--no-resolve-image", "web")
	after := tasks()
	if len(after) != 2 || slices.ContainsFunc(after, func(id string) bool { return slices.Contains(before, id) }) {
		t.Fatalf("tasks %v were updated to %v", before, after)
	}
	e.Docker(append([]string{"kill", "-s", "TERM"}, after...)...)
	e.Docker(append([]string{"wait"}, after...)...)

	all := tasks("-a")
	if len(all) != 4 {
		t.Fatalf("tasks, ended ones too: %v", all)
	}
	var want []int
	for _, id := range all {
		f := flow{e: e, client: client, name: id}
		lines, err := f.count(t)
		if err != nil {
			t.Errorf("docker logs of task %s: %v", id, err)
		}
		want = append(want, lines)
	}
	slices.Sort(want)
	if got := serviceLines(t, e.Docker("service", "logs", "web")); !slices.Equal(got, want) {
		t.Errorf("docker service logs has %d lines of each task, docker logs %d", got, want)
	}
	t.Logf("lines of each task: %d", want)

	ended := map[string]int{}
	for _, ev := range allHits(t, e, c, "ends", len(all)) {
		ended[meta(ev, "container_id")]++
		if w := meta(ev, "workload_id"); w != "web" {
			t.Errorf("a hit in workload %q", w)
		}
	}
	for _, id := range all {
		if ended[id] != 1 {
			t.Errorf("%d hits for the end of task %s", ended[id], id)
		}
	}
}

// serviceLines returns how many numbered lines `docker service logs` has of each
// task, in order of their number, and fails the test where one is missing.
func serviceLines(t *testing.T, out string) (lines []int) {
	t.Helper()
	next, done := map[string]int{}, map[string]bool{}
	for line := range strings.Lines(out) {
		task, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "| ")
		if !ok || done[task] {
			t.Fatalf("docker service logs: %q", line)
		}
		if total, ok := strings.CutPrefix(text, "end "); ok {
			if total != strconv.Itoa(next[task]) {
				t.Fatalf("%s: %d lines, then %q", task, next[task], text)
			}
			done[task] = true
			continue
		}
		if !strings.HasPrefix(text, fmt.Sprintf("%010d ", next[task])) {
			t.Fatalf("%s: %q instead of line %d", task, text, next[task])
		}
		next[task]++
	}
	if len(done) != len(next) {
		t.Errorf("%d of %d tasks have an end", len(done), len(next))
	}
	return slices.Sorted(maps.Values(next))
}
