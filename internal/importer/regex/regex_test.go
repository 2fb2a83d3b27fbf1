package regex

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// lines are what expressions are tried on.
var lines = []string{
	"", "a", "ab", "abc", "aab", "b", "ABC", "a b", "a\tb", "a.b", "a-b", "a]b", "a^b", `a\b`, "a{2}", "a{,2}", "aa", "aaa", "x=1, y=2",
	"user root from 192.0.2.7", "user a from b from c", "user a from", "user  from from x", " from ", "from", "fro m", " fr from x", "é", "aé", "müller", "ſ", "K",
	"evil:x", "evi:x", "e:x", "eviler:x", "good:x", "vil:x", "foo_bar", "foo bar", "(x)", "[x]", "[]", "$5", "100%", "the end", "7", "d", "t", "w+",
	"key refused: 192.0.2.7", "refused", "key refused", "GET /x HTTP/1.1", "aXb",
}

// TestPython compares expressions with Python's re, each on all lines. Blanks beyond ASCII
// aren't among them, nor digits: package regex says so.
func TestPython(t *testing.T) {
	patterns := []string{
		`a`, `^a`, `a$`, `^$`, `a.b`, `a|b`, `(a|b)c`, `(?:ab)+`, `a*?b`, `a{2}`, `a{,2}$`, `a{1,}`, `a{2}?`, `a{x}`, `a{`, `{`, `}`, `]`,
		`[abc]`, `[^abc]`, `[]a]`, `[^]a]`, `[a-c]`, `[a\-c]`, `[\w.]`, `[\d\s]`, `[a^]`, `[[a]`, `[a[:x]`, `[\]\[]`, `[\b]`, `[\s\S]`, `[\W]`, `[^\W]`, `[.*]`,
		`\w+`, `\W`, `^\w+$`, `\d`, `\D`, `\s`, `\S+$`, `\bfoo`, `foo\B`, `\Aa`, `b\Z`, `\x41`, `\u00e9`, `\t`, `\.`, `\\`, `\-`, `\ `, `\/`, `\"`, `\101`,
		`(?P<user>\w+) from`, `(?i)abc`, `(?i:A)b`, `(?s)a.b`, `(?#no)a`, `(?-i:a)`, `(?:)`, `()`, `a||b`, `(|a)b`, `(?i)k`, `x=(\d), y=(\d)`,
		`^user (?:(?! from ).)* from (\S+)$`, `^user (?:(?! from ).)*?$`, `(?:(?! from ).)*$`, `^(?:(?!from).)*from`, `^(?!evil)\S+:x`, `^(?!evil)[^ ]*:x`, `\[(?!x)[^\]]+\]`,
	}
	found := map[string][]bool{}
	in, err := json.Marshal(map[string]any{"patterns": patterns, "lines": lines})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", "-W", "ignore", "-c", "import json,re,sys\nx=json.load(sys.stdin)\nprint(json.dumps({p: [bool(re.search(p, l)) for l in x['lines']] for p in x['patterns']}))")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil || json.Unmarshal(out, &found) != nil {
		t.Fatalf("Python: %v: %s", err, out)
	}
	theirs := func(pattern string) []bool { return found[pattern] }
	compare(t, patterns, func(pattern string) (string, error) {
		n, err := Python(pattern)
		if err != nil {
			return "", err
		}
		n.Resolve()
		return n.String(), n.Check()
	}, theirs)
}

// TestERE compares expressions with grep in the locale C, each on all lines that are
// ASCII: to grep there, other characters are several.
func TestERE(t *testing.T) {
	patterns := []string{
		`a`, `^a`, `a$`, `a.b`, `a|b`, `(a|b)c`, `(ab)+`, `a{2}`, `a{,2}$`, `a{1,}`, `a{x}`, `a{`, `{`, `}`, `]`, `a**b`, `a+?b`, `(|a)b`, `()`,
		`[abc]`, `[^abc]`, `[]a]`, `[^]a]`, `[a-c]`, `[a\c]`, `[a^]`, `[[a]`, `[[:alnum:]_]+$`, `[^[:space:]]+$`, `[[:digit:]]`, `[.*]`, `[a-]`, `[\d]`, `[\]`,
		`\w+ \w`, `\W`, `\bfoo`, `foo\B`, `\<foo`, `root\>`, `\s`, `\S$`, `\d`, `\t`, `\.`, `\\`, `\-`, `\/`, `\"`, `\:`, "\\`a", `b\'`, `a^b`, `x=[0-9], y`, `(GET|PUT) [^ ]+ HTTP`,
	}
	var ascii []string
	for _, line := range lines {
		if !strings.ContainsFunc(line, func(c rune) bool { return c > 0x7f }) {
			ascii = append(ascii, line)
		}
	}
	defer func(all []string) { lines = all }(lines)
	lines = ascii
	compare(t, patterns, func(pattern string) (string, error) {
		n, _, err := ERE(pattern)
		if err != nil {
			return "", err
		}
		return n.String(), n.Check()
	}, func(pattern string) []bool {
		file := filepath.Join(t.TempDir(), "pattern")
		if err := os.WriteFile(file, []byte(pattern+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("grep", "-E", "-n", "-f", file)
		cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
		cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
		out, err := cmd.Output()
		if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() > 1) {
			t.Fatalf("grep and %s: %v", pattern, err)
		}
		found := make([]bool, len(lines))
		for line := range bytes.Lines(out) {
			number, _, _ := bytes.Cut(line, []byte(":"))
			n, err := strconv.Atoi(string(number))
			if err != nil {
				t.Fatal(err)
			}
			found[n-1] = true
		}
		return found
	})
}

func compare(t *testing.T, patterns []string, translate func(string) (string, error), theirs func(string) []bool) {
	t.Helper()
	for _, p := range patterns {
		ours, err := translate(p)
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		re, err := regexp.Compile(ours)
		if err != nil {
			t.Errorf("%s became %s: %v", p, ours, err)
			continue
		}
		for i, want := range theirs(p) {
			if is := re.MatchString(lines[i]); is != want {
				t.Errorf("%s became %s, which matches %q: %v, and not %v", p, ours, lines[i], is, want)
			}
		}
	}
}

// TestRefused names what can't be translated, and where that is.
func TestRefused(t *testing.T) {
	python := func(s string) error {
		n, err := Python(s)
		if err == nil {
			n.Resolve()
			err = n.Check()
		}
		return err
	}
	ere := func(s string) error { _, _, err := ERE(s); return err }
	for _, row := range []struct {
		read          func(string) error
		pattern, want string
	}{
		{python, `a(?=b)`, LookAhead + ", at character 2"},
		{python, `a(?!bc)\w+`, LookAhead},
		{python, `(?<=a)b`, LookBehind},
		{python, `(a)\1`, Backref + ", at character 5"},
		{python, `(?P<x>a)(?P=x)`, Backref},
		{python, `(?P<x>a)?(?(x)b|c)`, Condition},
		{python, `(?>a)`, Atomic},
		{python, `a++`, Atomic},
		{python, `a**`, "repeats a repetition"},
		{python, `*a`, "nothing to repeat"},
		{python, `(a`, "a group without end"},
		{python, `a)`, "a ) too many"},
		{python, `[a`, "a bracket without end"},
		{python, `[z-a]`, "end comes before"},
		{python, `[a\W]`, `\W among others`},
		{python, `\q`, `\q`},
		{python, `a\`, "ends with a backslash"},
		{python, `(?x) a`, "the flag x"},
		{python, `a(?i)b`, "don't stand at its begin"},
		{python, `(?P<x>a)(?P<x>b)`, "the group x twice"},
		{ere, `(a)\1`, Backref},
		{ere, `[[.a.]]`, "by a language"},
		{ere, `[[:wrong:]]`, "isn't known"},
		{ere, `\<-`, `\< beside what may be no word`},
		{ere, `a|*b`, "nothing to repeat"},
		{ere, "\xff", "UTF-8"},
		{ere, strings.Repeat("x", maxPattern+1), "longer than"},
	} {
		if err := row.read(row.pattern); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%.40s: %v, and nothing of %q", row.pattern, err, row.want)
		}
	}
	if _, notes, err := ERE(`\d+`); err != nil || len(notes) != 1 || !strings.Contains(notes[0], "letter d") {
		t.Errorf("a stray backslash: %q, %v", notes, err)
	}
}

// FuzzRead has no expression panic, and each that is read be one of RE2 or too large.
func FuzzRead(f *testing.F) {
	for _, s := range []string{`^(?P<a>[\w.]+?)(?(a)b|c)$`, `(?:(?! from ).)*$`, `(?!ab)[^c]+c`, `^\w{3} [[:alnum:]]+\>`, `a{2,3}|(b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		check := func(n *Node, err error) {
			if err != nil || n.Check() != nil {
				return
			}
			if _, err := regexp.Compile(n.String()); err != nil && !strings.Contains(err.Error(), "repeat count") && !strings.Contains(err.Error(), "too large") && !strings.Contains(err.Error(), "nesting depth") && !strings.Contains(err.Error(), "UTF-8") {
				t.Errorf("%q became %q: %v", pattern, n.String(), err)
			}
		}
		n, err := Python(pattern)
		if err == nil {
			n.Resolve()
		}
		check(n, err)
		n, _, err = ERE(pattern)
		check(n, err)
	})
}
