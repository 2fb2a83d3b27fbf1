package integration

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/enginetest"
)

// linesOf gathers what a command prints, by its first word.
type linesOf struct {
	mu   sync.Mutex // guards the rest
	rest string
	by   map[string][]string
	n    int
}

func (l *linesOf) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest += string(b)
	for {
		line, rest, ok := strings.Cut(l.rest, "\n")
		if !ok {
			return len(b), nil
		}
		name, text, _ := strings.Cut(line, " ")
		l.by[name] = append(l.by[name], text)
		l.rest = rest
		l.n++
	}
}

// of is what was printed of a container so far.
func (l *linesOf) of(name string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[name][:len(l.by[name]):len(l.by[name])]
}

// TestTail follows containers that write, one of which starts later, while the plugin's
// worker, then all of the plugin, is killed, and while it is upgraded: each line comes
// once, in order, with the marks of rules, and the tail says that it was cut off. A tail
// that doesn't follow ends instead.
func TestTail(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	installCommand(t, e)
	e.InstallPlugin(unbounded...)
	addRule(t, control(t, e), "marks", "MARK")
	start := func(name string, flags ...string) {
		e.Docker(append([]string{"run", "-d", "--name", name, "--network", "none", "--log-driver", enginetest.Plugin, enginetest.Image, "loggen", "-n", "0", "-len", "60", "-mark", "50"}, flags...)...)
	}
	start("early", "-rate", "100")
	tail := func(args ...string) (out *linesOf, says *strings.Builder, end func() error) {
		t.Helper()
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		cmd := e.Command(ctx, append([]string{"logscan", "tail", "-n", "all", "--format", "{{.Container}} {{range .Marks}}[{{.Severity}} {{.Rule}}] {{end}}{{.Text}}"}, args...)...)
		out, says = &linesOf{by: map[string][]string{}}, &strings.Builder{}
		cmd.Stdout, cmd.Stderr = out, says
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return out, says, func() error {
			cancel()
			return cmd.Wait()
		}
	}
	followed, says, end := tail("-f")
	folded, _, endFolded := tail("-f", "--fold")
	// grown waits until more lines of a container have come.
	grown := func(name string) {
		t.Helper()
		had := len(followed.of(name))
		e.Eventually(2*time.Minute, "lines of "+name, func() bool { return len(followed.of(name)) > had+50 })
	}
	grown("early")
	start("late", "-rate", "100")
	grown("late")
	e.KillWorker()
	grown("early")
	grown("late")
	e.KillPlugin()
	grown("early")
	remote := e.Registry() + "/logscan:next"
	e.PushPlugin(enginetest.VariantPlugin(t, enginetest.BuildPlugin(t), "next"), remote)
	e.DisablePlugin()
	e.UpgradePlugin(remote)
	e.EnablePlugin()
	grown("early")
	grown("late")
	for _, name := range []string{"early", "late"} {
		e.Docker("kill", "-s", "TERM", name)
		e.Wait(name)
		want := strings.Split(e.Docker("logs", name), "\n")
		e.Eventually(time.Minute, "all lines of "+name, func() bool { return len(followed.of(name)) >= len(want) })
		got := followed.of(name)
		marks := 0
		for n, text := range want {
			if strings.Contains(text, "MARK") {
				text = "[warn marks] " + text
				marks++
			}
			if n >= len(got) || got[n] != text {
				t.Fatalf("%s: line %d of %d is %q; want %q", name, n, len(got), got[min(n, len(got)-1)], text)
			}
		}
		if len(got) != len(want) || marks < 10 {
			t.Errorf("%s: %d lines came of %d, and %d marks", name, len(got), len(want), marks)
		}
	}
	if err := end(); err == nil {
		t.Error("the tail ended by itself")
	}
	_ = endFolded()
	if n := len(folded.of("early")); n < 2 || n > len(followed.of("early"))/10 {
		t.Errorf("folded, %d lines have come of %d", n, len(followed.of("early")))
	}
	if n := strings.Count(says.String(), "Warning: the tail was cut off, as when the plugin is restarted; it goes on where it was\n"); n < 3 {
		t.Errorf("it was cut off three times, and says\n%s", says)
	}

	// One that doesn't follow, and whose answer isn't read, so that it is under way.
	e.Docker("run", "--name", "much", "--network", "none", "--log-driver", enginetest.Plugin, enginetest.Image, "loggen", "-n", "100000", "-len", "100")
	cmd := e.Command(t.Context(), "logscan", "tail", "-n", "all", "much")
	var cut strings.Builder
	cmd.Stderr = &cut
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	e.KillWorker()
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(cut.String(), "the tail was cut off") || strings.Count(string(rest), "\n") >= 100000 {
		t.Errorf("a tail whose worker was killed: %v, %d lines, %s", err, strings.Count(string(rest), "\n"), cut.String())
	}
}
