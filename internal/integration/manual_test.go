package integration

import (
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestManualNames checks what the README and the manual say of the repository:
// tests, files, links to headings, formats, packages.
func TestManualNames(t *testing.T) {
	pages := manual(t)
	dir := root(t)
	out, err := exec.CommandContext(context.Background(), "grep", "-rhoE", `^func Test\w+`, "--include=*_test.go", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	tests := strings.Fields(string(out))
	named := 0
	anchors := map[string]bool{}
	for _, p := range pages {
		for _, m := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(p.text, -1) {
			named++
			if !slices.Contains(tests, m[1]) {
				t.Errorf("%s names %s, which there is not", p.file, m[1])
			}
		}
		for _, heading := range headings(p) {
			anchor := p.file + "#" + anchorOf(heading)
			if anchors[anchor] {
				t.Errorf("%s has the heading %q twice", p.file, heading)
			}
			anchors[anchor] = true
		}
	}
	if named < 10 {
		t.Errorf("only %d tests named", named)
	}
	for _, p := range pages {
		for _, m := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(p.text, -1) {
			if strings.HasPrefix(m[1], "https://") {
				continue
			}
			to, anchor, _ := strings.Cut(m[1], "#")
			if to == "" {
				to = p.file
			} else {
				to = path.Join(path.Dir(p.file), to)
			}
			if _, err := os.Stat(filepath.Join(dir, to)); err != nil || anchor != "" && !anchors[to+"#"+anchor] {
				t.Errorf("%s links to %s, which there is not", p.file, m[1])
			}
		}
	}
}

// TestREADMEIsShort keeps the README to what is read in five minutes.
func TestREADMEIsShort(t *testing.T) {
	const most = 10 << 10
	if size := len(manual(t)[0].text); size > most {
		t.Errorf("README.md has %d bytes, more than %d: what only some need belongs into internal/docs", size, most)
	}
}

// headings lists those of a page, outside blocks.
func headings(p page) (all []string) {
	inside := false
	for line := range strings.Lines(p.text) {
		line = strings.TrimSpace(line)
		if fence.MatchString(line) {
			inside = !inside
		}
		if hashes, title, ok := strings.Cut(line, " "); ok && !inside && hashes != "" && strings.Trim(hashes, "#") == "" {
			all = append(all, title)
		}
	}
	return all
}

// anchorOf is the name by which a link finds a heading, as GitHub makes it.
func anchorOf(heading string) string {
	kept := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(kept, " ", "-")
}

// TestFormatsAreDrawnOnce compares the pictures of formats with those of the
// packages' documentation.
func TestFormatsAreDrawnOnce(t *testing.T) {
	var doc []byte
	for _, name := range []string{"journal/doc.go", "journal/format.go", "journal/transfer.go", "blockfilter/doc.go"} {
		b, err := os.ReadFile(filepath.Join(root(t), "internal", name))
		if err != nil {
			t.Fatal(err)
		}
		doc = append(doc, b...)
	}
	pictures := 0
	for _, p := range manual(t) {
		for _, b := range p.blocks {
			for i, line := range b.lines {
				if path.Base(p.file) == "on-disk-format.md" && b.language == "text" && strings.ContainsAny(line, "+|") {
					pictures++
					if !strings.Contains(string(doc), strings.TrimSpace(line)) {
						t.Errorf("%s:%d: its package draws it otherwise: %s", p.file, b.line+1+i, line)
					}
				}
			}
		}
	}
	if pictures < 5 {
		t.Errorf("only %d lines of pictures found", pictures)
	}
}
