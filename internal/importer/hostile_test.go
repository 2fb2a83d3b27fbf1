package importer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHostile imports files that want too much, or are none: each gets an error, or a
// report, that says what is wrong, soon.
func TestHostile(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 10), ", "))
	}
	merges := "m0: &m0 {keyword: x}\n"
	for n := 1; n < 40; n++ {
		merges += fmt.Sprintf("m%d: &m%d {<<: [*m%d, *m%d]}\n", n, n, n-1, n-1)
	}
	many := "global_keywords:\n  keywords:\n" + strings.Repeat("  - x\n", maxRead+1)
	deep := strings.Repeat("(", 5000) + strings.Repeat(")", 5000)
	filter := "[Definition]\nfailregex = "
	for _, row := range []struct{ name, source, file, text, want string }{
		{"binary", "loggifly", "c.yaml", "a: \x00b", "NUL byte"},
		{"latin 1", "dozzle", "c.yaml", "a: \xe4", "UTF-8"},
		{"long", "loggifly", "c.yaml", strings.Repeat("# x\n", maxFile/4+1), "longer than"},
		{"no mapping", "loggifly", "c.yaml", "- a\n", "mapping"},
		{"no YAML", "dozzle", "c.yaml", "a: [\n", "c.yaml"},
		{"nothing", "dozzle", "c.yaml", "# nothing\n", "c.yaml"},
		{"other YAML", "dozzle", "c.yaml", "services: {}\n", "neither subscriptions nor dispatchers"},
		{"aliases", "loggifly", "c.yaml", bomb + "containers: {x: {keywords: *j}}\n", ""},
		{"merges", "loggifly", "c.yaml", merges + "containers: {x: {keywords: [*m39]}}\n", "aliases"},
		{"an alias of itself", "loggifly", "c.yaml", "containers: &c {x: *c, keywords: [y]}\n", ""},
		{"a merge of itself", "loggifly", "c.yaml", "containers: &c {x: &x {<<: *x, keywords: [y]}}\n", ""},
		{"many", "loggifly", "c.yaml", many, "more than"},
		{"deep expression", "dozzle", "c.yaml", "subscriptions: [{name: a, logExpression: '" + strings.Repeat("(", 5000) + "', containerExpression: 'true'}]\n", "too deep"},
		{"deep negation", "dozzle", "c.yaml", "subscriptions: [{name: a, logExpression: '" + strings.Repeat("!", 5000) + "true', containerExpression: 'true'}]\n", "too deep"},
		{"ways", "dozzle", "c.yaml", "subscriptions: [{name: a, logExpression: '" + strings.Repeat("(a.b == 1 || level == \"x\") && ", 30) + "true', containerExpression: 'true'}]\n", "ways"},
		{"deep groups", "logcheck", "x", deep + "\n", "deep"},
		{"repeats", "logcheck", "x", "((((a{1000}){1000}){1000}){1000}){1000}\n", "invalid repeat"},
		{"large", "logcheck", "x", strings.Repeat("(a|b){200}", 300) + "\n", "instructions"},
		{"no expression", "logcheck", "x", "# none\n", "no expression"},
		{"deep groups of Python", "fail2ban", "f.conf", filter + deep + "<HOST>\n", "deep"},
		{"no section", "fail2ban", "f.conf", "failregex = x\n", "before any [section]"},
		{"no INI", "fail2ban", "f.conf", "[Definition]\nnothing\n", "neither a [section] nor OPTION"},
		{"a cycle of includes", "fail2ban", "f.conf", "[INCLUDES]\nbefore = f.conf\n" + filter + "x <HOST>\n", ""},
		{"itself", "fail2ban", "f.conf", filter + "%(failregex)s\n", "deep"},
		{"a tag of itself", "fail2ban", "f.conf", filter + "<x> <HOST>\nx = <x><x>\n", "too much"},
		{"growth", "fail2ban", "f.conf", filter + "<HOST> " + strings.Repeat("%(a)s", 40) + "\na = " + strings.Repeat("%(b)s", 40) + "\nb = " + strings.Repeat("%(c)s", 40) + "\nc = " + strings.Repeat("x", 400) + "\n", "longer than"},
		{"unknown name", "fail2ban", "f.conf", filter + "%(what)s\n", "no option what"},
		{"a percent sign", "fail2ban", "f.conf", filter + "100% <HOST>\n", "neither % nor"},
		{"no address", "fail2ban", "f.conf", filter + "failed\n", "no address"},
		{"no time", "fail2ban", "jail.conf", "[a]\nenabled = true\nfindtime = soon\nfilter = f\n", "no time"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), row.file)
			if err := os.WriteFile(path, []byte(row.text), 0o600); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			r, err := Import(row.source, []string{path}, Options{})
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			said := ""
			if err != nil {
				said = err.Error()
			} else {
				said = fmt.Sprint(r.Left)
			}
			if !strings.Contains(said, row.want) || err == nil && len(r.Left) == 0 && r.Over == 0 {
				t.Errorf("it says %.300s, and nothing of %q", said, row.want)
			}
		})
	}
	if _, err := Import("loggifly", []string{t.TempDir()}, Options{}); err == nil {
		t.Error("an empty directory is imported")
	}
	if _, err := Import("loggifly", []string{"/dev/zero"}, Options{}); err == nil || !strings.Contains(err.Error(), "no file") {
		t.Errorf("a device: %v", err)
	}
}

// TestIncludes has files include each other deeper than is allowed.
func TestIncludes(t *testing.T) {
	dir := t.TempDir()
	for n := range maxIncludes + 5 {
		text := fmt.Sprintf("[INCLUDES]\nbefore = %d.conf\n[Definition]\nfailregex = x <HOST>\n", n+1)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.conf", n)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Import("fail2ban", []string{filepath.Join(dir, "0.conf")}, Options{}); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Errorf("it says %v", err)
	}
}

// FuzzImport has no file panic, whatever it is taken for, and what is made of it is
// right: Import says so itself.
func FuzzImport(f *testing.F) {
	for _, dir := range []string{"loggifly-1/config.yaml", "loggifly-2/config.yaml", "dozzle/notifications.yml", "fail2ban/jail.conf", "fail2ban/filter.d/gate.conf", "logcheck/ignore.d.server/doors"} {
		b, err := os.ReadFile(filepath.Join("testdata", dir))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		dir := t.TempDir()
		for _, source := range Sources {
			path := filepath.Join(dir, map[string]string{"loggifly": "c.yaml", "dozzle": "c.yaml", "logcheck": "rules", "fail2ban": "f.conf"}[source])
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Import(source, []string{path}, Options{}); err != nil && strings.Contains(err.Error(), "no file of logscan") {
				t.Error(err)
			}
		}
	})
}
