package integration

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"logscan/internal/enginetest"
)

// TestCompose runs services that name the plugin in their compose file, services
// that use it because it is the Engine's default, and one that uses another
// driver.
func TestCompose(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{LogDriver: enginetest.Plugin})
	e.InstallPlugin(unbounded...)
	c := control(t, e)
	addRule(t, c, "last", `^0000000099 `)
	dir := t.TempDir()
	up := func(project, file string, flags ...string) {
		t.Helper()
		path := filepath.Join(dir, project+".yml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("docker-compose", append([]string{"-p", project, "-f", path, "up", "-d"}, flags...)...)
		cmd.Env = append(e.Env(), "COMPOSE_API_VERSION=auto") // version 1 goes by the file's, which newer Engines refuse
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("docker-compose up: %v\n%s", err, out)
		}
	}
	up("shop", `version: "3.4"
services:
  web:
    image: box
    network_mode: none
    command: loggen -n 100
    logging:
      driver: logscan
      options:
        max-file: "2"
        tag: "{{.Name}}"
  named:
    image: box
    network_mode: none
    command: loggen -n 100
    logging:
      driver: logscan
      options:
        workload: checkout
  other:
    image: box
    network_mode: none
    command: loggen -n 100
    logging:
      driver: json-file
`, "--scale", "web=2")
	up("blog", `version: "3.4"
services:
  front:
    image: box
    network_mode: none
    command: loggen -n 100
`)
	ids := strings.Fields(e.Docker("ps", "-aq", "--no-trunc"))
	if len(ids) != 5 {
		t.Fatalf("containers: %v", ids)
	}
	e.Docker(append([]string{"wait"}, ids...)...)
	for _, id := range ids {
		stdout, _ := e.Logs(id)
		if n := strings.Count(string(stdout), "\n"); n != 100 || !strings.HasPrefix(string(stdout), "0000000000 ") {
			t.Errorf("docker logs of %s has %d lines", id, n)
		}
	}
	got := map[string]int{}
	for _, ev := range allHits(t, e, c, "last", 4) {
		got[meta(ev, "workload_id")]++
	}
	if want := map[string]int{"shop/web": 2, "checkout": 1, "blog/front": 1}; !maps.Equal(got, want) {
		t.Errorf("hits by workload: %v, want %v", got, want)
	}
	workloads, err := c.Workloads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, w := range workloads {
		names = append(names, w.ID)
	}
	if slices.Sort(names); !slices.Equal(names, []string{"blog/front", "checkout", "shop/web"}) {
		t.Errorf("workloads: %v", names)
	}
}
