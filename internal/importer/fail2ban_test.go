package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/rule"
)

// tools is where `make deps` unpacks programs of Debian.
const tools = "../../build/tools"

// TestFail2ban compares all of Debian's filters with fail2ban itself: what they refer to,
// and which of its own sample lines, and variations of them, each expression that comes
// over finds.
func TestFail2ban(t *testing.T) {
	packages := filepath.Join(tools, "usr/lib/python3/dist-packages")
	config := filepath.Join(tools, "etc/fail2ban")
	if !exists(packages+"/fail2ban") || !exists(config) {
		t.Fatal("fail2ban is not here: make deps unpacks it")
	}
	filters, err := filepath.Glob(config + "/filter.d/*.conf")
	if err != nil || len(filters) < 50 {
		t.Fatalf("%d filters: %v", len(filters), err)
	}
	logs, err := filepath.Glob(packages + "/fail2ban/tests/files/logs/*")
	if err != nil || len(logs) < 50 {
		t.Fatalf("%d logs: %v", len(logs), err)
	}
	own, sample := map[string][]string{}, []string{}
	n := 0
	for _, log := range logs {
		if info, err := os.Stat(log); err != nil || info.IsDir() {
			continue
		}
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(strings.ToValidUTF8(string(b), "")) {
			line = strings.TrimRight(line, "\r\n")
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if n++; n%11 == 0 {
				sample = append(sample, line)
			}
			own[filepath.Base(log)] = append(own[filepath.Base(log)], line)
		}
	}
	ask := map[string][]string{}
	for _, f := range filters {
		name := strings.TrimSuffix(filepath.Base(f), ".conf")
		for _, line := range own[name] {
			ask[name] = append(ask[name], line)
			ask[name] = append(ask[name], variations(line)...)
		}
		ask[name] = append(ask[name], sample...)
	}
	in, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", "testdata/fail2ban.py", packages, config)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	began := time.Now()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("fail2ban has looked for %v", time.Since(began).Round(time.Millisecond))
	var theirs map[string]struct {
		Error        string
		Fail, Ignore []string
		Prefix       string
		Found        [][]int
		Composed     [][]int // in one with the prefix
	}
	if err := json.Unmarshal(out, &theirs); err != nil {
		t.Fatal(err)
	}
	f := &fail2ban{newDraft("fail2ban", nil)}
	expressions, over, compared, hits, more, elsewhere := 0, 0, 0, 0, 0, 0
	for _, path := range filters {
		name := strings.TrimSuffix(filepath.Base(path), ".conf")
		their := theirs[name]
		def, err := f.define(jail{filter: path})
		if their.Error != "" {
			if err == nil {
				t.Errorf("%s: fail2ban doesn't read it: %s", name, their.Error)
			}
			continue
		}
		if errors.Is(err, errDates) {
			expressions += len(def.fail)
			err = nil
			def.fail, their.Found = nil, nil
			their.Fail = nil
		}
		if err != nil || !slices.Equal(def.fail, their.Fail) || !slices.Equal(def.ignore, their.Ignore) || def.prefix != their.Prefix {
			t.Errorf("%s: it was read as\n%q\n%q\n%q\n%v\nand is\n%q\n%q\n%q", name, def.fail, def.ignore, def.prefix, err, their.Fail, their.Ignore, their.Prefix)
			continue
		}
		var ignore []*regexp.Regexp
		for _, text := range def.ignore {
			pattern, err := def.ignoring(text)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			ignore = append(ignore, regexp.MustCompile(pattern))
		}
		for i, text := range def.fail {
			expressions++
			ways, err := def.failing(text)
			if err != nil {
				continue
			}
			over++
			for k, line := range ask[name] {
				compared++
				is := slices.ContainsFunc(ways, func(w way) bool { return finds(t, w, line) }) && !slices.ContainsFunc(ignore, func(r *regexp.Regexp) bool { return r.MatchString(line) })
				want := slices.Contains(their.Found[i], k)
				if want {
					hits++
				}
				if is && !want && slices.Contains(their.Composed[i], k) {
					more++
				} else if !is && want && !atBegin.MatchString(line) {
					elsewhere++
				} else if is != want {
					t.Errorf("%s, expression %d finds %v, and in fail2ban %v: %q", name, i+1, is, want, line)
				}
			}
		}
	}
	t.Logf("of %d expressions %d come over; %d lines × expressions, %d of them failures; %d more without a head, %d fewer with a time in the midst", expressions, over, compared, hits, more, elsewhere)
	if over < 150 || hits < 1000 {
		t.Error("that is too few to say anything")
	}
}

// atBegin is a line whose time stands at its begin, or that has none.
var atBegin = regexp.MustCompile(`^\W*` + usualTime + `|^[^:]*$`)

var compiled = map[string]*regexp.Regexp{}

// finds reports whether a rule of these expressions finds a line.
func finds(t *testing.T, w way, line string) bool {
	t.Helper()
	match := func(pattern string) bool {
		if compiled[pattern] == nil {
			if err := rule.CheckPattern(pattern); err != nil {
				t.Fatalf("%v: %s", err, pattern)
			}
			compiled[pattern] = regexp.MustCompile(pattern)
		}
		return compiled[pattern].MatchString(line)
	}
	return match(w.pattern) && !slices.ContainsFunc(w.all, func(p string) bool { return !match(p) }) && !slices.ContainsFunc(w.ignore, match)
}

// variations are lines near to one.
func variations(line string) (all []string) {
	words := strings.Fields(line)
	middle := len(words) / 2
	all = append(all,
		line[:len(line)-1],
		line+" ",
		line+" from 192.0.2.7",
		strings.ToUpper(line),
		strings.Replace(line, " ", "  ", 1),
		strings.Join(words[min(1, len(words)-1):], " "),
		strings.Join(words[min(3, len(words)-1):], " "),
		strings.Join(words[min(4, len(words)-1):], " "),
		strings.Join(slices.Delete(slices.Clone(words), middle, middle+1), " "),
		strings.Replace(line, words[middle], words[middle]+"é", 1),
		strings.Replace(line, words[len(words)-1], "user from 192.0.2.9", 1),
	)
	return all
}
