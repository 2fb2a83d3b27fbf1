package channeltest

import (
	"regexp"
	"strings"
	"testing"
)

var (
	code    = regexp.MustCompile("(?s)```\n.*?\n```")
	ours    = regexp.MustCompile(`\*\*(Rule|Workload|Containers?|Host):\*\*|\[(Open logscan|Acknowledge|Silence 1 h)\]\(https://logs\.example\.com/[^)]*\)|\[` + Mark + `\]`)
	bold    = regexp.MustCompile(`(?m)^\*\*(.*)\*\*$|\[(.*)\]\(https://logs\.example\.com/[^)]*\)`)
	escaped = regexp.MustCompile(`\\[[:punct:]]`)
	meaning = regexp.MustCompile("[][*_~`|<>#]|@[a-z0-9&!]|:[a-z_]+:|(?m:^[ \t]*([-+=]|[0-9]+[.)]))")
)

// Markdown checks that but what a channel itself writes means anything in a text of
// Markdown, which has blocks of code.
func Markdown(t testing.TB, text string) {
	t.Helper()
	rest := ours.ReplaceAllString(code.ReplaceAllString(text, "code"), "ours")
	rest = escaped.ReplaceAllString(bold.ReplaceAllString(rest, "$1$2"), "")
	if strings.Contains(rest, "```") || meaning.MatchString(rest) {
		at := meaning.FindStringIndex(rest)
		t.Errorf("interpreted: %.60q in %.300q", rest[at[0]:], rest)
	}
}
