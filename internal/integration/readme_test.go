package integration

import (
	"bufio"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"logscan/internal/docs"
	"logscan/internal/enginetest"
	"logscan/internal/enginetest/private"
)

// page is the README, or a page of the manual.
type page struct {
	file   string // from the top of the clone
	text   string
	blocks []block
}

// block is a fenced block of a page.
type block struct {
	line     int // of the fence
	language string
	lines    []string
}

// step is a command of a page, with the output that it shows.
type step struct {
	line    int
	command string
	output  []string
	shown   bool // of a console block: the output is part of the page
}

var fence = regexp.MustCompile("^ *```(.*)$")

// manual reads the README and all pages, in the order of reading.
func manual(t testing.TB) (pages []page) {
	t.Helper()
	files := []string{"README.md"}
	for _, topic := range docs.Topics() {
		files = append(files, "internal/docs/"+topic.Name+".md")
	}
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(root(t), file))
		if err != nil {
			t.Fatal(err)
		}
		p := page{file: file, text: string(b)}
		p.findBlocks(t)
		pages = append(pages, p)
	}
	return pages
}

func (p *page) findBlocks(t testing.TB) {
	t.Helper()
	var open *block
	for i, line := range strings.Split(p.text, "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case m == nil && open != nil:
			open.lines = append(open.lines, line)
		case m != nil && open == nil:
			open = &block{line: i + 1, language: m[1]}
		case m != nil:
			p.blocks = append(p.blocks, *open)
			open = nil
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block has no end", p.file, open.line)
	}
}

// steps returns the commands of all blocks. What is no command has to look like
// none.
func (p *page) steps(t testing.TB) (all []step) {
	t.Helper()
	for _, b := range p.blocks {
		switch b.language {
		case "sh":
			for i, line := range b.lines {
				if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
					all = append(all, step{line: b.line + 1 + i, command: line})
				}
			}
		case "console":
			for i, line := range b.lines {
				if command, ok := strings.CutPrefix(line, "$ "); ok {
					all = append(all, step{line: b.line + 1 + i, command: command, shown: true})
				} else if i == 0 {
					t.Fatalf("%s:%d: a console block begins with a command", p.file, b.line)
				} else {
					last := &all[len(all)-1]
					last.output = append(last.output, line)
				}
			}
		case "json":
			if text := strings.Join(b.lines, "\n"); !json.Valid([]byte(text)) {
				t.Errorf("%s:%d: this is not JSON:\n%s", p.file, b.line, text)
			}
		case "yaml":
			var any any
			if err := yaml.Load([]byte(strings.Join(b.lines, "\n")), &any); err != nil {
				t.Errorf("%s:%d: this is not YAML: %v", p.file, b.line, err)
			}
			if name, named := strings.CutPrefix(b.lines[0], "# "); named && slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name)) {
				all = append(all, b.write(name))
			}
		case "text":
			for i, line := range b.lines {
				if regexp.MustCompile(`^\s*(\$|#|docker|make|go|curl)\s`).MatchString(line) {
					t.Errorf("%s:%d: a command in a block of language text would not be tested", p.file, b.line+1+i)
				}
			}
		default:
			t.Errorf("%s:%d: a block is sh, console or yaml, which are run, or json or text, not %q", p.file, b.line, b.language)
		}
	}
	return all
}

// write is the command that writes a block as the file that its first line names.
func (b *block) write(name string) step {
	return step{line: b.line + 1, command: "cat > " + name + " << 'end of the file'\n" + strings.Join(b.lines, "\n") + "\nend of the file"}
}

// terminal is one bash that runs the manual's commands one after the other, as a
// reader's terminal does.
type terminal struct {
	in    io.WriteCloser
	lines chan string
	file  string
}

const endOfCommand = "-- end of a command of the manual:"

func newTerminal(t testing.TB, env []string) *terminal {
	t.Helper()
	s := &terminal{lines: make(chan string, 1024), file: filepath.Join(t.TempDir(), "command")}
	cmd := exec.Command("bash", "--norc", "--noprofile")
	cmd.Dir, cmd.Env = root(t), env
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if s.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		defer close(s.lines)
		for in := bufio.NewReader(r); ; {
			line, err := in.ReadString('\n')
			if line != "" {
				s.lines <- strings.TrimSuffix(line, "\n")
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		s.in.Close()
		cmd.Process.Kill() // it may be inside a command that hangs
		cmd.Wait()
		r.Close()
	})
	return s
}

// run runs a command and returns its output and whether it succeeded.
func (s *terminal) run(t testing.TB, command string) (output []string, ok bool) {
	t.Helper()
	// In a file of its own, it can't swallow what follows it.
	if err := os.WriteFile(s.file, []byte(command+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(s.in, ". %s </dev/null\nprintf '\\n%s %%d\\n' $?\n", s.file, endOfCommand)
	deadline := time.After(20 * time.Minute) // some compile everything
	for {
		select {
		case line, open := <-s.lines:
			if !open {
				t.Fatalf("%s: the shell has ended; it said:\n%s", command, strings.Join(output, "\n"))
			}
			if code, ended := strings.CutPrefix(line, endOfCommand+" "); ended {
				// The newline before the mark ends a last line that has none.
				if n := len(output); n > 0 && output[n-1] == "" {
					output = output[:n-1]
				}
				return output, code == "0"
			}
			if line != noNetwork {
				output = append(output, line)
			}
		case <-deadline:
			t.Fatalf("%s: no end; it said:\n%s", command, strings.Join(output, "\n"))
		}
	}
}

var (
	clock  = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d`)
	blanks = regexp.MustCompile(`\s+`)
)

// plain is output without what differs from day to day, and from one width of
// a table's columns to another.
func plain(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(strings.TrimRight(blanks.ReplaceAllString(clock.ReplaceAllString(line, "TIME"), " "), " ") + "\n")
	}
	return b.String()
}

// noNetwork is what docker adds in an Engine without a bridge.
const noNetwork = "WARNING: IPv4 forwarding is disabled. Networking will not work."

// matches says whether output is what a page shows, where … stands for
// anything, and alone on a line for any lines.
func matches(output, shown []string) bool {
	pattern := regexp.QuoteMeta(plain(shown))
	pattern = regexp.MustCompile(`(?m)^…\n`).ReplaceAllString(pattern, `(?:[^\n]*\n)*`)
	pattern = strings.ReplaceAll(pattern, "…", `[^\n]*`)
	return regexp.MustCompile(`^` + pattern + `$`).MatchString(plain(output))
}

// again are commands that only look: what they show may come a moment later.
var again = regexp.MustCompile(`^docker (logs|logscan (events|stats|\w+ ls)) `)

// TestREADME runs every command of the README and of the manual, page by page in
// the order of reading, in one shell on one Engine, and compares what it prints with
// what the page shows. Nothing is left out but what is named here.
func TestREADME(t *testing.T) {
	t.Parallel()
	pages := manual(t)
	e := enginetest.Start(t, enginetest.Options{})
	importBusybox(t, e)
	registry := e.Registry()
	receiver := freeAddress(t)
	r := &reader{
		Engine: e,
		pages:  pages,
		shell:  newTerminal(t, readmeEnv(t, e)),
		// What the manual prints stands for something else here.
		substitute: strings.NewReplacer(
			"registry.example.com/", registry+"/", // a registry on loopback
			"127.0.0.1:8099", receiver, // a port that is free now
			"127.0.0.1:8414", freeAddress(t), // another one
		),
		// Commands for a machine on which nothing is installed yet: they run on
		// an Engine of their own.
		elsewhere: map[string]bool{
			"docker plugin install --alias logscan --grant-all-permissions registry.example.com/logscan:1.0": true,
		},
	}
	commands := 0
	for _, p := range pages {
		steps := p.steps(t)
		commands += len(steps)
		t.Run(filepath.Base(p.file), func(t *testing.T) {
			for _, s := range steps {
				r.do(t, p.file, s)
			}
		})
	}
	if commands < 20 {
		t.Errorf("only %d commands found", commands)
	}
	for command := range r.elsewhere {
		t.Errorf("not in the manual any more: %s", command)
	}
	if left := e.Docker("plugin", "ls", "-q"); left != "" {
		t.Errorf("at the manual's end, plugins are left: %s", left)
	}
}

// reader does what the manual says.
type reader struct {
	*enginetest.Engine
	pages      []page
	shell      *terminal
	substitute *strings.Replacer
	elsewhere  map[string]bool // commands that were not met yet
}

// do runs a command of a page and compares what it prints with what the page shows.
func (r *reader) do(t *testing.T, file string, s step) {
	t.Helper()
	at := fmt.Sprintf("%s:%d: %s", file, s.line, s.command)
	command := r.substitute.Replace(s.command)
	if r.elsewhere[s.command] {
		delete(r.elsewhere, s.command)
		t.Run("elsewhere", func(t *testing.T) {
			other := enginetest.Start(t, enginetest.Options{})
			if out, ok := newTerminal(t, readmeEnv(t, other)).run(t, command); !ok {
				t.Errorf("%s: it failed:\n%s", at, strings.Join(out, "\n"))
			}
			control(t, other)
		})
		return
	}
	shown := strings.Split(r.substitute.Replace(strings.Join(s.output, "\n")), "\n")
	if len(s.output) == 0 {
		shown = nil
	}
	settled(r.Engine)
	began := time.Now()
	out, ok := r.shell.run(t, command)
	if again.MatchString(command) {
		for deadline := time.Now().Add(20 * time.Second); !(ok && matches(out, shown)) && time.Now().Before(deadline); {
			out, ok = r.shell.run(t, command)
		}
	}
	t.Logf("%s (%s)", at, time.Since(began).Round(10*time.Millisecond))
	switch {
	case !ok:
		t.Fatalf("%s: it failed:\n%s", at, strings.Join(out, "\n"))
	case s.shown && !matches(out, shown):
		t.Errorf("%s: it printed\n%s\nand not\n%s", at, strings.Join(out, "\n"), strings.Join(s.output, "\n"))
	}
	check(t, r.Engine, s.command)
}

// check looks at what a command has done beyond its output.
func check(t *testing.T, e *enginetest.Engine, command string) {
	t.Helper()
	switch command {
	case "make install":
		documented(t, e)
	case "make arm64":
		f, err := elf.Open(filepath.Join(e.Dir, "build/arm64/plugin/rootfs/logscan"))
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if f.Machine != elf.EM_AARCH64 {
			t.Errorf("make arm64 builds for %s", f.Machine)
		}
		if libs, _ := f.ImportedLibraries(); len(libs) > 0 {
			t.Errorf("the arm64 binary is not static: %v", libs)
		}
	}
}

// settled waits until rules have seen all lines, as they have before a reader
// types the next command. Where no plugin runs there is nothing to wait for.
func settled(e *enginetest.Engine) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if lag, err := e.TryDocker("logscan", "stats", "--format", "{{.Scan.Lag}}"); err != nil || lag == "0" {
			return
		}
	}
}

// importBusybox gives the Engine the image that the manual uses.
func importBusybox(t testing.TB, e *enginetest.Engine) {
	t.Helper()
	image, err := private.Image(nil)
	if err != nil {
		t.Fatal(err)
	}
	cmd := e.Command(t.Context(), "import", "-", "busybox")
	cmd.Stdin = strings.NewReader(string(image))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("docker import: %v: %s", err, out)
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	addr, err := enginetest.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// readmeEnv is makeEnv with a home directory of its own, and the caches of Go
// where they are.
func readmeEnv(t testing.TB, e *enginetest.Engine) []string {
	t.Helper()
	home := filepath.Join(e.Dir, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	env := append(makeEnv(t, e), "HOME="+home)
	for _, name := range []string{"GOPATH", "GOCACHE", "GOMODCACHE"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(out)))
	}
	return env
}

// documented compares the manual's reference with the plugin as it runs: every
// path of the API, every field of rules, triggers and events, every command.
func documented(t *testing.T, e *enginetest.Engine) {
	t.Helper()
	var api struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct {
			Schemas map[string]struct{ Properties map[string]json.RawMessage }
		}
	}
	control(t, e)
	cmd := exec.CommandContext(t.Context(), "curl", "-sSf", "--unix-socket", e.ControlSocket(), "http://logscan/openapi.json")
	b, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &api); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for path, methods := range api.Paths {
		for _, m := range []string{"get", "post", "put", "patch", "delete"} {
			if methods[m] != nil {
				paths = append(paths, fmt.Sprintf("%s | `%s`", strings.ToUpper(m), path))
			}
		}
	}
	sameRows(t, "paths", firstCells(section(t, "api", "Operations"), 2), paths)
	for topic, schema := range map[string]string{"rules": "Rule", "triggers": "Trigger", "events": "Event"} {
		var fields []string
		for name := range api.Components.Schemas[schema].Properties {
			fields = append(fields, "`"+name+"`")
		}
		var rows []string
		for _, row := range firstCells(section(t, topic, "Fields"), 1) {
			rows = append(rows, strings.Split(row, ", ")...)
		}
		sameRows(t, schema+" fields", rows, fields)
	}

	reference, _ := docs.Page("command-line")
	var described []string
	for _, m := range regexp.MustCompile(`(?m)^### logscan (.+)$`).FindAllStringSubmatch(reference, -1) {
		described = append(described, m[1])
	}
	var commands []string
	for _, top := range subcommands(t, e) {
		below := subcommands(t, e, top)
		// One that holds others may do something itself, too.
		if len(below) == 0 || slices.Contains(described, top) {
			commands = append(commands, top)
		}
		for _, c := range below {
			commands = append(commands, top+" "+c)
		}
	}
	sameRows(t, "commands", described, commands)
}

// subcommands lists those that a command's help shows.
func subcommands(t *testing.T, e *enginetest.Engine, path ...string) (names []string) {
	t.Helper()
	help := e.Docker(append(append([]string{"logscan"}, path...), "--help")...)
	_, list, ok := strings.Cut(help, "\nCommands:\n")
	if !ok {
		return nil
	}
	for line := range strings.Lines(list) {
		if strings.TrimSpace(line) == "" {
			break
		}
		names = append(names, strings.Fields(line)[0])
	}
	return names
}

// section is a page's text under a heading, up to the next.
func section(t testing.TB, topic, title string) string {
	t.Helper()
	text, _ := docs.Page(topic)
	_, rest, ok := strings.Cut(text, "# "+title+"\n")
	if !ok {
		t.Fatalf("%s.md has no heading %q", topic, title)
	}
	if end := regexp.MustCompile(`(?m)^#+ `).FindStringIndex(rest); end != nil {
		rest = rest[:end[0]]
	}
	return rest
}

// firstCells returns the first n cells of the rows of the section's first
// table, without its head.
func firstCells(section string, n int) (rows []string) {
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "|") {
			if len(rows) > 0 {
				break
			}
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, strings.Join(cells[:min(n, len(cells))], " | "))
	}
	return rows[min(2, len(rows)):]
}

func sameRows(t testing.TB, what string, documented, real []string) {
	t.Helper()
	for _, r := range real {
		if !slices.Contains(documented, r) {
			t.Errorf("the manual, %s: %s is missing", what, r)
		}
	}
	for _, d := range documented {
		if !slices.Contains(real, d) {
			t.Errorf("the manual, %s: there is no %s", what, d)
		}
	}
	if len(real) == 0 {
		t.Errorf("no %s to compare with", what)
	}
}
