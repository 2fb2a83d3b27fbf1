// Package transcript runs what a file shows of a command line: after each line
// "$ COMMAND" comes exactly what it prints, and [code] if its exit code isn't 0.
//
//	$ logscan rule add oom 'Out of memory'
//	1
//	$ logscan rule test oom 'all is well'
//	0 of 1 lines match
//	[3]
//
// "…" in the output stands for anything within a line, "<<< TEXT" behind a
// command is its standard input, and "$ # …" is a remark. Words are split as a
// shell does it, with quotes and $'…', and nothing else of a shell.
package transcript

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// update rewrites the files with what the commands print now:
// UPDATE=1 go test ./plugin -run TestTranscripts
var update = os.Getenv("UPDATE") != ""

// Command executes the words of a command and returns all that it prints, and
// [code] in a line of its own where that isn't 0.
type Command func(t *testing.T, words []string, stdin string) string

// Run runs a file as a test of its own.
func Run(t *testing.T, file string, start func(*testing.T) Command) {
	t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
		run := start(t)
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
			got := step(t, command, run)
			if fresh.Len() > 0 && !strings.HasSuffix(fresh.String(), "\n") {
				fresh.WriteByte('\n')
			}
			fresh.WriteString("$ " + command + "\n")
			if !same(want, got) && !update {
				t.Errorf("$ %s\ngot:\n%s\nwant:\n%s", command, got, want)
			}
			fresh.WriteString(keep(want, got))
		}
		if update {
			if err := os.WriteFile(file, []byte(fresh.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func step(t *testing.T, command string, run Command) string {
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
	return run(t, words, stdin)
}

// keep is got, but with the lines of want that stand for its own.
func keep(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if same(w[i], g[i]) {
			g[i] = w[i]
		}
	}
	return strings.Join(g, "\n")
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
