package integration

import (
	"bufio"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/enginetest"
)

// TestSearch looks for lines of a container that is removed, whose log was rotated and
// compressed, and of one that writes; and kills the plugin's worker during a search.
func TestSearch(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	installCommand(t, e)
	e.InstallPlugin(unbounded...)
	control(t, e)
	e.Docker("run", "-d", "--name", "gone", "--network", "none", "--log-driver", enginetest.Plugin, "--log-opt", "max-size=500k", "--log-opt", "max-file=20",
		enginetest.Image, "loggen", "-n", "30000", "-len", "100", "-mark", "1000")
	writer := e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "0", "-len", "40", "-mark", "100", "-duty", "5ms", "-idle", "95ms")
	e.Wait("gone")
	var marks, all []string
	for line := range strings.Lines(e.Docker("logs", "gone")) {
		line = strings.TrimSuffix(line, "\n")
		if all = append(all, line); strings.Contains(line, "MARK") {
			marks = append(marks, line)
		}
	}
	id := e.ContainerID("gone")
	e.Docker("rm", "gone")
	search := func(args ...string) []string {
		t.Helper()
		return strings.Split(e.Docker(append([]string{"logscan", "search", "--format", "{{.Text}}"}, args...)...), "\n")
	}
	compare := func() {
		t.Helper()
		if got := search("MARK", "gone", "--oldest"); len(marks) != 30 || !slices.Equal(got, marks) {
			t.Errorf("%d marks are found of %d", len(got), len(marks))
		}
		if got := search("", id[:12], "--oldest"); !slices.Equal(got, all) {
			t.Errorf("%d lines are found of %d", len(got), len(all))
		}
		if got := search("^0000029[0-9]+ MARK"); got[len(got)-1] != marks[29] {
			t.Errorf("found %q in all logs", got)
		}
	}
	compare()
	e.Eventually(2*time.Minute, "the removed container's log being compressed", func() bool {
		compressed, _ := filepath.Glob(filepath.Join(e.PluginData(), ".logscan/journal", id, "*.seg.zst"))
		raw, _ := filepath.Glob(filepath.Join(e.PluginData(), ".logscan/journal", id, "*.seg"))
		return len(compressed) >= 5 && len(raw) <= 1
	})
	compare()

	// Its answer isn't read, so that it is under way when the worker is killed.
	cmd := e.Command(t.Context(), "logscan", "search", "", "gone")
	var says strings.Builder
	cmd.Stderr = &says
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "gone | ") {
		t.Fatalf("%q %v", line, err)
	}
	e.KillWorker()
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(says.String(), "the search was cut off") || strings.Count(string(rest), "\n") >= len(all)-1 {
		t.Errorf("a search whose worker was killed: %v, %d lines, %s", err, strings.Count(string(rest), "\n"), says.String())
	}
	compare()
	e.Docker("kill", "-s", "TERM", writer)
	e.Wait(writer)
	want := 0
	for line := range strings.Lines(e.Docker("logs", writer)) {
		if strings.Contains(line, "MARK") {
			want++
		}
	}
	if got := search("MARK", e.ContainerID(writer)); want == 0 || len(got) != want {
		t.Errorf("%d marks are found of %d that the other container wrote meanwhile", len(got), want)
	}
}
