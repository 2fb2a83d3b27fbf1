package channel

import (
	"strings"
	"testing"
)

func TestMarkdown(t *testing.T) {
	for text, want := range map[string]string{
		"plain, 15:04:05 (x)":       "plain, 15:04:05 (x)",
		"**b** _i_ ~s~ `c` ||s||":   "\\*\\*b\\*\\* \\_i\\_ \\~s\\~ \\`c\\` \\|\\|s\\|\\|",
		"[a](https://h) ![a](b)":    `\[a\](https://h) \!\[a\](b)`,
		"@everyone <@1> <#2>":       "@\u200beveryone \\<@\u200b1\\> \\<\\#2\\>",
		"# h\n- i\n 1. n\n> q\n==":  "\\# h\n\u200b- i\n \u200b1. n\n\\> q\n\u200b==",
		":tada: :8ball: :100: :+1:": ":\u200btada: :\u200b8ball: :\u200b100: :\u200b+1:",
		"a\x00\u202eb\r\nc":         "ab\nc",
		`\*`:                        `\\\*`,
	} {
		if got := Markdown(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for _, lines := range []string{"", " \n", "```", "````\nx```y\n~~~", "`", "x``"} {
		got := Fence(lines)
		if inner := strings.TrimSuffix(strings.TrimPrefix(got, "```\n"), "\n```"); strings.Contains(inner, "``") || strings.TrimSpace(inner) == "" {
			t.Errorf("%q: %q", lines, got)
		}
	}
	if got := Link("a", "https://h/x) [b](y<z> "); got != "[a](https://h/x%29%20[b]%28y%3Cz%3E%20)" {
		t.Error(got)
	}
}
