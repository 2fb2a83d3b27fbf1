package main

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"logscan/internal/rule"
)

// What a container wrote can't play with a terminal, however it is shown; what
// is piped stays as it is.
func TestTerminalEscapes(t *testing.T) {
	const evil = "\x1b]0;title\x07\u009b31m\u202ex\xff\U000E0041"
	p := newTestPlugin(t)
	p.emit("error", "oom", evil, map[string]any{"captures": map[string]any{"x": evil}})
	const safe = `\x1b]0;title\x07\x9b31m\u202ex` + "\uFFFD" + `\ue0041`
	const encoded = `\u001b]0;title\u0007\u009b31m\u202ex` + "\uFFFD" + `\udb40\udc41`
	piped := strings.ReplaceAll(evil, "\xff", "\uFFFD") // the API speaks JSON
	for _, tt := range []struct {
		format, tty, piped string
	}{
		{"{{.Message}}", safe, piped},
		{"{{.Metadata.captures.x}}", safe, piped},
		{"{{.Metadata.captures}}", "map[x:" + safe + "]", "map[x:" + piped + "]"},
		{`{{printf "%.1s%.1s" .Message .Message}}`, `\x1b\x1b`, "\x1b\x1b"},
		{`{{if .Message}}{{with .Metadata}}{{range .captures}}{{.}}{{end}}{{end}}{{end}}`, safe, piped},
		{`{{define "m"}}{{.Message}}{{end}}{{template "m" .}}`, safe, piped},
		{"{{$m := .Message}}{{`\x1b[1m`}}{{$m}}{{`\n`}}", "\x1b[1m" + safe + "\n", "\x1b[1m" + piped + "\n"},
		{"{{.Metadata.nothing}}", "<no value>", "<no value>"},
		{"{{json .Message}}", `"` + encoded + `"`, ""},
		{"table {{.Message}}", "MESSAGE\n" + safe, "MESSAGE\n" + safe},
	} {
		for _, tty := range []bool{true, false} {
			want := tt.piped
			if tty {
				want = tt.tty
			}
			if want == "" {
				continue
			}
			var out strings.Builder
			code := p.runWith(&cli{in: os.Stdin, out: &out, err: io.Discard, tty: tty}, "events", "--format", tt.format)
			if out.String() != want+"\n" || code != exitOK {
				t.Errorf("%s, terminal %v: %d %q, want %q", tt.format, tty, code, out.String(), want+"\n")
			}
		}
	}
	for _, tty := range []bool{true, false} {
		var out strings.Builder
		p.runWith(&cli{in: os.Stdin, out: &out, err: io.Discard, tty: tty}, "events", "--format", "json")
		var ev struct{ Message string }
		if err := json.Unmarshal([]byte(out.String()), &ev); err != nil || ev.Message != piped {
			t.Errorf("terminal %v: JSON says %q (%v), want %q", tty, ev.Message, err, piped)
		}
		if got := strings.TrimSuffix(out.String(), "\n"); tty && clean(got) != got {
			t.Errorf("on a terminal: %q", got)
		}
	}
}

// A name that a shell can't show is completed by its id.
func TestCompletionOfUnprintableNames(t *testing.T) {
	p := newTestPlugin(t)
	for _, name := range []string{"good", "bad\x1b[2J", "two\tcells"} {
		if _, err := p.store.CreateRule(t.Context(), rule.Rule{Name: name, Pattern: "x", Severity: "warn", Streams: "all"}); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	c := &cli{in: os.Stdin, out: &out, err: io.Discard, getenv: func(string) string { return "" }, plugin: true}
	if code := c.run(t.Context(), []string{"__complete", "logscan", "--socket", p.socket, "rule", "rm", ""}); code != exitOK || !strings.HasPrefix(out.String(), "good\n2\n3\n:") {
		t.Errorf("%d %q", code, out.String())
	}
}

// A write that fails is an error, whatever was to be written.
func TestFullOutput(t *testing.T) {
	p := newTestPlugin(t)
	p.run("", "rule", "add", "oom", "x")
	p.emit("error", "oom", "x", nil)
	for _, args := range [][]string{
		{"events"}, {"events", "-q"}, {"events", "-f"}, {"events", "--format", "{{.ID}}"}, {"events", "--format", "table {{.ID}}"}, {"events", "--format", "json"},
		{"rule", "ls"}, {"rule", "disable", "oom"}, {"rule", "test", "oom", "x"}, {"stats"}, {"version"}, {"token"}, {"--help"}, {"rule"},
	} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		var told strings.Builder
		code := p.runWith(&cli{in: os.Stdin, out: full, err: &told}, args...)
		full.Close()
		if code != exitFailed || !strings.Contains(told.String(), "Error: write /dev/full: no space left on device\n") {
			t.Errorf("%v: %d %q", args, code, told.String())
		}
	}
}

// Whoever reads only the beginning has had enough, and wants to hear nothing.
func TestBrokenPipe(t *testing.T) {
	p := newTestPlugin(t)
	p.emit("error", "oom", "x", nil)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	var told strings.Builder
	if code := p.runWith(&cli{in: os.Stdin, out: w, err: &told}, "events"); code != exitBrokenPipe || told.String() != "" {
		t.Errorf("%d %q", code, told.String())
	}
}

// TestExitCodes: 2 tells a script that it is wrong itself, and that nothing was
// tried; 1 that what it wanted was not possible.
func TestExitCodes(t *testing.T) {
	p := newTestPlugin(t)
	tests := []struct {
		args string
		code int
	}{
		{"rule ls", exitOK},
		{"rule ls --format {{.Name}}", exitOK},
		{"--help", exitOK},
		{"rule", exitOK},

		{"nosuch", exitUsage},
		{"rule nosuch", exitUsage},
		{"rule ls extra", exitUsage},
		{"rule rm", exitUsage},
		{"rule ls --nosuch", exitUsage},
		{"rule edit oom", exitUsage},
		{"rule test", exitUsage},
		{"rule ls --format {{.Nosuch}}", exitUsage},
		{"rule ls --format {{", exitUsage},
		{"rule ls --format {{nosuch}}", exitUsage},
		{"stats --format {{.Nosuch}}", exitUsage},
		{"rule add a b --cooldown soon", exitUsage},
		{"events -n -1", exitUsage},
		{"events --since yesterday", exitUsage},
		{"events -f --until 1m", exitUsage},
		{"delivery ls -n 0", exitUsage},
		{"trigger add a http://h.example.com/ --secret a --secret-file b", exitUsage},
		{"--api tcp://127.0.0.1:1 rule ls", exitUsage}, // with the test's own --socket
		{"--socket= --api ftp://h rule ls", exitUsage},
		{"--socket= --api tcp://h rule ls", exitUsage},
		{"--socket= -H unix:///a -H unix:///b rule ls", exitUsage},
		{"--socket= -H unix:///a -c b rule ls", exitUsage},

		{"rule rm nosuch", exitFailed},
		{"rule add oom (", exitFailed},
		{"delivery redeliver nosuch", exitFailed},
		{"trigger add a http://h.example.com/ --secret-file nosuch", exitFailed},
		{"--socket= -H unix:///nosuch rule ls", exitFailed},
		{"--socket=/nosuch rule ls", exitFailed},

		{"search", exitUsage},
		{"search x --since yesterday", exitUsage},
		{"search x -C 201", exitUsage},
		{"search x --limit -1", exitUsage},
		{"search x --format {{.Nosuch}}", exitUsage},
		{"search x nosuch", exitFailed},
		{"tail -n -1", exitUsage},
		{"tail -n some", exitUsage},
		{"tail --since yesterday", exitUsage},
		{"tail --all x y", exitUsage},
		{"tail --all --workload x", exitUsage},
		{"tail --format {{.Nosuch}}", exitUsage},
		{"tail -e x nosuch", exitFailed},
		{"tail nosuch neither", exitFailed},
		{"tail nosuch", exitOK},

		{"rule test -p x y", exitNoMatch},
		{"search x", exitNoMatch},
	}
	for _, tt := range tests {
		out, code := p.run("", strings.Fields(tt.args)...)
		if code != tt.code {
			t.Errorf("%s: exit code %d, want %d: %s", tt.args, code, tt.code, out)
		}
		if usage := strings.Contains(out, "\nUsage: docker "); usage != (code == exitUsage) {
			t.Errorf("%s: exit code %d says %q", tt.args, code, out)
		}
	}
}

// Columns stand below each other whatever their cells are written in.
func TestWideCharacters(t *testing.T) {
	p := newTestPlugin(t)
	for _, name := range []string{"ascii", "内存不足", "e\u0301te\u0301"} {
		if out, code := p.run("", "rule", "add", name, strings.Repeat("存", 30)); code != exitOK {
			t.Fatal(out)
		}
	}
	want := "NAME       ENABLED   PATTERN\nascii      true      " + strings.Repeat("存", 30) + "\n内存不足   true      "
	if out, _ := p.run("", "rule", "ls", "--format", `table {{.Name}}\t{{.Enabled}}\t{{.Pattern}}`); !strings.HasPrefix(out, want) {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	if out, _ := p.run("", "rule", "ls"); !strings.Contains(out, "   "+strings.Repeat("存", 23)+"…\n") {
		t.Errorf("a pattern of 30 wide characters is cut to 48 columns: %s", out)
	}
}
