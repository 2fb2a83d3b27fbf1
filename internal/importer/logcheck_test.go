package importer

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"logscan/internal/importer/regex"
	"logscan/internal/rule"
)

// grep is the numbers of the lines in which grep finds one of some expressions.
func grep(t *testing.T, patterns, lines []string) map[int]bool {
	t.Helper()
	file := filepath.Join(t.TempDir(), "patterns")
	if err := os.WriteFile(file, []byte(strings.Join(patterns, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("grep", "-E", "--text", "-n", "-f", file)
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() > 1) {
		t.Fatalf("grep: %v", err)
	}
	found := map[int]bool{}
	for line := range bytes.Lines(out) {
		number, _, _ := bytes.Cut(line, []byte(":"))
		n, err := strconv.Atoi(string(number))
		if err != nil {
			t.Fatalf("grep printed %q", line)
		}
		found[n-1] = true
	}
	return found
}

// TestLogcheck compares all of Debian's logcheck-database with grep: each expression by
// itself, on lines that are made from all of its file and on variations of them; and
// what the whole leaves for somebody to look at.
func TestLogcheck(t *testing.T) {
	dir := filepath.Join(tools, "etc/logcheck")
	if !exists(dir) {
		t.Fatal("logcheck-database is not here: make deps unpacks it")
	}
	r, err := Import("logcheck", []string{dir}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("of %d expressions %d come over, as %d rules, in %d bytes", r.Read, r.Over, r.Rules, len(r.Document))
	for _, l := range r.Left {
		if !strings.Contains(l.Why, regex.Backref) {
			t.Errorf("%s", l)
		}
	}
	files, err := filepath.Glob(dir + "/*/*")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	compared, hits, expressions, without := 0, 0, 0, 0
	var all, known []string // lines; expressions
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var patterns, lines []string
		var ours []*regexp.Regexp
		for text := range strings.Lines(string(b)) {
			text = strings.TrimRight(text, "\n")
			node, _, err := regex.ERE(text)
			if strings.TrimSpace(text) == "" || text[0] == '#' || err != nil {
				continue
			}
			re := regexp.MustCompile(node.String())
			example, ok := rule.Example(node.String())
			patterns, ours = append(patterns, text), append(ours, re)
			if !ok {
				without++ // such as one with \` in its midst
				continue
			}
			lines = append(append(lines, example), variations(example)[:5]...)
		}
		for i, p := range patterns {
			expressions++
			theirs := grep(t, []string{p}, lines)
			for k, line := range lines {
				compared++
				is := ours[i].MatchString(line)
				if is {
					hits++
				}
				if is != theirs[k] {
					t.Errorf("%s: %s finds %v, and for grep %v: %q", filepath.Base(file), p, is, theirs[k], line)
				}
			}
		}
		all = append(all, lines...)
		if kind := filepath.Base(filepath.Dir(file)); kind != "violations.ignore.d" && kind != "cracking.ignore.d" {
			known = append(known, patterns...)
		}
	}
	t.Logf("%d expressions, %d lines × expressions compared, of which they match %d", expressions, compared, hits)
	if expressions < 1500 || hits < expressions-without || without > 5 {
		t.Error("that is too few to say anything")
	}

	d := newDraft("logcheck", nil)
	if err := d.logcheck([]string{dir}, Options{}); err != nil {
		t.Fatal(err)
	}
	var look []func(string) bool
	for _, e := range d.rules {
		if e.value.State == rule.Shadow {
			look = append(look, looks(t, e.value))
		}
	}
	var some []string // of all it would take minutes
	for k := 0; k < len(all); k += 5 {
		some = append(some, all[k])
	}
	all = some
	theirs := grep(t, known, all)
	left := 0
	for k, line := range all {
		is := slices.ContainsFunc(look, func(finds func(string) bool) bool { return finds(line) })
		if is {
			left++
		}
		if is == theirs[k] {
			t.Errorf("known to grep is %v, and left by the rules %v: %q", theirs[k], is, line)
		}
	}
	t.Logf("of %d lines, %d are left to look at", len(all), left)
	if left == 0 || left == len(all) {
		t.Error("that says nothing")
	}
}

// looks is what a rule finds, with its conditions on the line.
func looks(t *testing.T, r rule.Rule) func(string) bool {
	t.Helper()
	pattern := regexp.MustCompile(r.Pattern)
	var ignore []*regexp.Regexp
	for _, p := range r.Ignore {
		ignore = append(ignore, regexp.MustCompile(p))
	}
	for _, w := range r.Where {
		text, ok := strings.CutPrefix(w, `$line !~ "`)
		if !ok {
			t.Fatalf("the condition is %s", w)
		}
		ignore = append(ignore, regexp.MustCompile(strings.ReplaceAll(strings.TrimSuffix(text, `"`), `\"`, `"`)))
	}
	return func(line string) bool {
		return pattern.MatchString(line) && !slices.ContainsFunc(ignore, func(i *regexp.Regexp) bool { return i.MatchString(line) })
	}
}
