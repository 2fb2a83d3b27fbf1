package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestConfig has a plugin with a directory of files mounted: what they declare is live,
// changes are when they are whole, mistakes are told and change nothing, and a kill at any
// moment leaves one state or the other.
func TestConfig(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	installCommand(t, e)
	hook := newSink(t, answer(200))
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("hook.txt", hook.URL+"/T0KEN\n")
	write("triggers.yaml", "version: 1\ntriggers:\n  hook: {url: '${file:hook.txt}', mode: events, sources: logscan}\n  other: {url: '${file:hook.txt}', mode: events, sources: logscan}\n")
	write("rules.yaml", "version: 1\nrules:\n  disk:\n    pattern: No space left\n    cooldown: 0\n    triggers: [hook]\n    tests:\n      - hits: [No space left on device]\n")
	e.CreatePlugin(enginetest.BuildPlugin(t), "LOGSCAN_ALLOW_TARGETS=127.0.0.1", "config.source="+dir)
	e.EnablePlugin()
	c := control(t, e)
	names := func() (out []string) {
		rules, err := c.Rules(ctx)
		if err != nil {
			return nil
		}
		for _, r := range rules {
			out = append(out, r.Name)
		}
		return out
	}
	live := func(want ...string) {
		t.Helper()
		e.Eventually(time.Minute, fmt.Sprintf("the rules %v", want), func() bool { return fmt.Sprint(names()) == fmt.Sprint(want) })
	}
	live("disk")
	told := 0
	says := func(line string) {
		t.Helper()
		e.Docker("run", "--rm", "--log-driver", enginetest.Plugin, enginetest.Image, "echo", line)
		told++
		e.Eventually(time.Minute, "a message about "+line, func() bool { return len(hook.all()) == told })
		if got := hook.all()[told-1].message; got != line {
			t.Errorf("told %q", got)
		}
	}
	says("No space left on device") // once: the other trigger isn't named

	// What isn't right changes nothing, and is told.
	write("rules.yaml", "version: 1\nrules:\n  disk: {patern: x}\n")
	degraded := func() string {
		h, err := c.Health(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range h.Reasons {
			if r.Reason == "config" {
				return r.Detail
			}
		}
		return ""
	}
	e.Eventually(time.Minute, "what is wrong with the files in /healthz", func() bool {
		return strings.Contains(degraded(), "rules.yaml:3:10: rule disk: patern: unknown field; did you mean pattern?")
	})
	e.Eventually(time.Minute, "an event about it", func() bool {
		events, err := c.Events(ctx, api.EventQuery{Source: "system"})
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range events.Items {
			if ev.Metadata["about"] == "config" && strings.Contains(ev.Message, "rules.yaml:3:10") && !strings.Contains(ev.Message, "T0KEN") {
				return true
			}
		}
		return false
	})
	says("No space left again")

	// What a file declares is changed there alone, and is the file's after a restart.
	if out, err := e.TryDocker("logscan", "rule", "rm", "disk"); err == nil || !strings.Contains(out+err.Error(), "rule disk is managed by file:config, at rules.yaml:3: change it there") {
		t.Errorf("%s, %v", out, err)
	}
	write("rules.yaml", "version: 1\nrules:\n  disk: {pattern: No space, cooldown: 0, triggers: [hook]}\n  fire: {pattern: burns, cooldown: 0, triggers: [hook]}\n")
	live("disk", "fire")
	e.Eventually(time.Minute, "all being well", func() bool { return degraded() == "" })
	says("it burns")
	e.KillPlugin()
	c = control(t, e)
	live("disk", "fire")
	says("it burns still")

	// Killed at any moment, the rules are of one file or of the other.
	var sets [2]string
	for k := range sets {
		sets[k] = "version: 1\nrules:\n"
		for n := range 40 {
			sets[k] += fmt.Sprintf("  %c%02d: {pattern: 'x%d y'}\n", 'a'+k, n, n)
		}
	}
	seen := map[byte]bool{}
	for round := range 12 {
		write("rules.yaml", sets[round%2])
		time.Sleep(time.Duration(700+round*130) * time.Millisecond) // about when they are applied
		e.KillWorker()
		e.Eventually(time.Minute, "an answer", func() bool { return names() != nil })
		is := names()
		if len(is) == 2 { // the file before
			continue
		}
		for _, name := range is {
			seen[name[0]] = true
			if name[0] != is[0][0] || len(is) != 40 {
				t.Fatalf("a mixture: %v", is)
			}
		}
		if round%3 == 2 {
			e.Eventually(time.Minute, "the rules of the file", func() bool { is := names(); return len(is) == 40 && is[0][0] == byte('a'+round%2) })
		}
	}
	if !seen['a'] || !seen['b'] {
		t.Errorf("seen: %v", seen)
	}

	// A directory without files, such as one that isn't mounted, takes nothing away.
	if err := os.Rename(filepath.Join(dir, "rules.yaml"), filepath.Join(dir, "rules")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "triggers.yaml"), filepath.Join(dir, "triggers")); err != nil {
		t.Fatal(err)
	}
	e.Eventually(time.Minute, "that there is no file in /healthz", func() bool { return strings.Contains(degraded(), "there is no file called *.yaml") })
	if len(names()) != 40 {
		t.Errorf("left: %v", names())
	}
	write("rules.yaml", "version: 1\n")
	live()
}
