package main

import (
	"regexp"
	"strings"
	"testing"

	"logscan/internal/docs"
)

func TestRenderMarkdown(t *testing.T) {
	const page = `# Title
<!-- begin generated: x -->

A paragraph with ` + "`some code`" + `, **bold text**, a [link](https://example.com/a),
a [page](rules.md#workloads), [here](#title) and a \*star.

- one item that is longer than a line of it may be
- two

1. first

| a | b |
|---|---|
| ` + "`x\\|y`" + ` | a cell that is wider than there is room for |
| 内存 | |

` + "```console\n$ do it\n\nan output that is wider than any line may be\n```\n" + `
    indented
<!-- end generated: x -->
`
	const plain = "# Title\n\n" +
		"A paragraph with `some code`, bold text,\na link (https://example.com/a), a page\n(help rules), here and a *star.\n\n" +
		"- one item that is longer than a line of\n  it may be\n- two\n\n" +
		"1. first\n\n" +
		"a       b\n`x|y`   a cell that is wider than there\n        is room for\n内存\n\n" +
		"    $ do it\n\n    an output that is wider than any line may be\n\n" +
		"    indented\n"
	if got := renderMarkdown(page, 40, false); got != plain {
		t.Errorf("plain:\n%s\nwant:\n%s", got, plain)
	}
	colored := renderMarkdown(page, 40, true)
	for _, want := range []string{"\x1b[1mTitle\x1b[0m\n", "\x1b[36msome\x1b[0m \x1b[36mcode\x1b[0m, \x1b[1mbold\x1b[0m", "$ \x1b[1mdo it\x1b[0m"} {
		if !strings.Contains(colored, want) {
			t.Errorf("no %q in %q", want, colored)
		}
	}
	// Looks take no room.
	uncolored := sgr.ReplaceAllString(colored, "")
	if want := strings.NewReplacer("# Title", "Title", "`", "").Replace(plain); strings.Join(strings.Fields(uncolored), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("with colours:\n%s\nwant:\n%s", uncolored, want)
	}
}

// Every page fits a terminal of 80 columns, code and tables of figures aside, and
// none of its words is lost.
func TestPagesFitATerminal(t *testing.T) {
	for _, topic := range docs.Topics() {
		page, _ := docs.Page(topic.Name)
		for _, line := range strings.Split(renderMarkdown(page, 80, true), "\n") {
			bare := sgr.ReplaceAllString(line, "")
			if columns(bare) > 80 && !strings.HasPrefix(bare, "    ") && strings.Contains(bare, " ") && !strings.Contains(bare, "   ") {
				t.Errorf("%s: %d columns: %s", topic.Name, columns(bare), bare)
			}
		}
		rendered := renderMarkdown(page, 1<<20, false)
		for _, mark := range []string{"](", "\n<!--", "\n|", "\n```"} {
			if strings.Contains(rendered, mark) {
				t.Errorf("%s: shows %q", topic.Name, mark)
			}
		}
		left := wordCounts(rendered)
		for word, n := range wordCounts(regexp.MustCompile("(?m)^<!--.*-->$").ReplaceAllString(page, "")) {
			if left[word] < n {
				t.Errorf("%s: %d of %d words %q are left", topic.Name, left[word], n, word)
			}
		}
	}
}

// wordCounts counts the words of letters alone.
func wordCounts(s string) map[string]int {
	counts := map[string]int{}
	for _, w := range strings.Fields(s) {
		if len(w) > 3 && strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") == "" {
			counts[w]++
		}
	}
	return counts
}
