package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/ingest"
	"logscan/internal/journal"
	"logscan/internal/scan"
	"logscan/internal/store"
)

// update rewrites the transcripts with what the commands print now:
// UPDATE=1 go test ./plugin -run TestTranscripts
var update = os.Getenv("UPDATE") != ""

type fakePlugin struct{}

func (fakePlugin) Attachments() []ingest.Attachment { return nil }
func (fakePlugin) Losses() int64                    { return 0 }
func (fakePlugin) Lag() map[string]int64            { return map[string]int64{strings.Repeat("ab", 32): 1500} }
func (fakePlugin) List() []journal.Info {
	return []journal.Info{
		{
			Container: journal.Container{ID: strings.Repeat("ab", 32), Name: "web", Image: "nginx", Workload: "shop/web", Scan: true},
			State:     journal.State{Attached: 1}, Bytes: 20_480_000, Latest: time.Now().Add(-3 * time.Second),
		},
		{Container: journal.Container{ID: "unknown-0123456789ab"}, Bytes: 12},
	}
}

type fakeIngest struct{ fakePlugin }

func (fakeIngest) Stats() ingest.Stats { return ingest.Stats{Attachments: 1, Bytes: 5_000_000_000} }

type fakeScanner struct{ fakePlugin }

func (fakeScanner) Stats() scan.Stats { return scan.Stats{} }

// testPlugin is the control socket of a plugin that isn't there, over a real
// store.
type testPlugin struct {
	t      *testing.T
	store  *store.Store
	socket string
}

func newTestPlugin(t *testing.T) *testPlugin {
	t.Helper()
	dir, err := os.MkdirTemp("", "cli") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	p := &testPlugin{t: t, socket: filepath.Join(dir, "s")}
	if p.store, err = store.Open(filepath.Join(dir, "logscan.db"), log); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(api.New(api.Config{
		Store: p.store, Scanner: fakeScanner{}, Ingest: fakeIngest{}, Journals: fakePlugin{},
		Reload: func(context.Context) error { return nil },
		CheckTarget: func(u string) error {
			if strings.Contains(u, "127.0.0.1") {
				return errors.New("loopback addresses are refused")
			}
			return nil
		},
		Version: "1.2.3", Logger: log,
	}))
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		p.store.Close()
		os.RemoveAll(dir)
	})
	return p
}

// emit puts a hit into the event log: severity rule message.
func (p *testPlugin) emit(severity, rule, message string, more map[string]any) {
	p.t.Helper()
	m := map[string]any{
		"rule_name": rule, "container_name": "web", "container_id": strings.Repeat("ab", 32), "workload_id": "shop/web",
		"line_time": "2026-01-02T15:04:05.123456789Z",
	}
	for k, v := range more {
		m[k] = v
	}
	ev := store.Event{Source: "logscan", Severity: severity, Message: message, Metadata: m}
	if _, err := p.store.Commit(p.t.Context(), store.Batch{Events: []store.Event{ev}}, func(store.Event) []int64 { return []int64{1} }); err != nil {
		p.t.Fatal(err)
	}
}

// run executes one command line; out holds what it printed to both.
func (p *testPlugin) run(stdin string, args ...string) (out string, code int) {
	var b strings.Builder
	c := &cli{in: strings.NewReader(stdin), out: &b, err: &b, getenv: func(string) string { return "" }, plugin: true}
	code = c.run(p.t.Context(), append([]string{"logscan", "--socket", p.socket}, args...))
	return b.String(), code
}

// TestTranscripts runs what testdata/*.txt show: after each line "$ logscan …"
// comes exactly what it prints, then [code] if that isn't 0. "$ … <<< text"
// gives standard input; "$ emit severity rule message" makes an event, and "…"
// in the output stands for anything within a line.
func TestTranscripts(t *testing.T) {
	t.Setenv("TZ", "UTC")
	time.Local = time.UTC
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			p := newTestPlugin(t)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var fresh strings.Builder
			blocks := strings.Split("\n"+string(b), "\n$ ")
			fresh.WriteString(strings.TrimPrefix(blocks[0], "\n"))
			for i, block := range blocks[1:] {
				command, want, _ := strings.Cut(block, "\n")
				if i < len(blocks)-2 && want != "" {
					want += "\n"
				}
				got := p.step(t, command)
				if fresh.Len() > 0 && !strings.HasSuffix(fresh.String(), "\n") {
					fresh.WriteByte('\n')
				}
				fresh.WriteString("$ " + command + "\n")
				if same(want, got) {
					got = want
				} else if !update {
					t.Errorf("$ %s\ngot:\n%s\nwant:\n%s", command, got, want)
				}
				fresh.WriteString(got)
			}
			if update {
				if err := os.WriteFile(file, []byte(fresh.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func (p *testPlugin) step(t *testing.T, command string) string {
	t.Helper()
	if strings.HasPrefix(command, "#") || strings.TrimSpace(command) == "" {
		return ""
	}
	command, stdin, redirected := strings.Cut(command, " <<< ")
	words, err := split(command)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	if redirected {
		s, err := split(stdin)
		if err != nil || len(s) != 1 {
			t.Fatalf("%s: standard input %q", command, stdin)
		}
		stdin = s[0]
	}
	switch words[0] {
	case "emit":
		more := map[string]any{}
		if len(words) > 4 {
			more["suppressed"], more["suppressed_since"] = 46, words[4]
		}
		p.emit(words[1], words[2], words[3], more)
		return ""
	case "logscan":
		out, code := p.run(stdin, words[1:]...)
		if code != 0 {
			out += fmt.Sprintf("[%d]\n", code)
		}
		return out
	}
	t.Fatalf("unknown command %q", command)
	return ""
}

// same compares line by line; "…" in want stands for anything.
func same(want, got string) bool {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	if len(w) != len(g) {
		return false
	}
	for i := range w {
		parts := strings.Split(w[i], "…")
		rest, ok := strings.CutPrefix(g[i], parts[0])
		if !ok {
			return false
		}
		for _, part := range parts[1:] {
			at := strings.LastIndex(rest, part)
			if at < 0 {
				return false
			}
			rest = rest[at+len(part):]
		}
		if rest != "" {
			return false
		}
	}
	return true
}

// split is a shell's idea of words, with quotes and $'…' for escapes.
func split(s string) (words []string, err error) {
	var word strings.Builder
	in, some := rune(0), false
	runes := []rune(s)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case in == '$' && r == '\\' && i+1 < len(runes):
			i++
			word.WriteString(map[rune]string{'n': "\n", 't': "\t", 'e': "\x1b", 'r': "\r"}[runes[i]])
		case in != 0 && (r == in || in == '$' && r == '\''):
			in = 0
		case in != 0:
			word.WriteRune(r)
		case r == '$' && i+1 < len(runes) && runes[i+1] == '\'':
			in, some = '$', true
			i++
		case r == '\'' || r == '"':
			in, some = r, true
		case r == ' ':
			if some {
				words, some = append(words, word.String()), false
				word.Reset()
			}
		default:
			some = true
			word.WriteRune(r)
		}
	}
	if in != 0 {
		return nil, errors.New("unbalanced quotes")
	}
	if some {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return words, nil
}
