package channel

import (
	"regexp"
	"strings"
)

// blank takes no room and parts what stands before it from what stands behind it.
const blank = "\u200b"

var (
	marks  = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "~", `\~`, "|", `\|`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`, "#", `\#`, "!", `\!`, "@", "@"+blank)
	starts = regexp.MustCompile(`(?m)^([ \t]*)([-+=]|[0-9]+[.)])`)
	emoji  = regexp.MustCompile(`:([A-Za-z_+-]|[0-9]+[A-Za-z_]|[0-9]{3,}:)`)
)

// Markdown escapes text for Markdown as chats have it: it has no format, no link
// but URLs that stand there, no emoji, and mentions nobody.
func Markdown(text string) string {
	text = marks.Replace(Clean(text))
	text = starts.ReplaceAllString(text, "$1"+blank+"$2")
	return emoji.ReplaceAllString(text, ":"+blank+"$1")
}

// Fence is a block of Markdown with lines as they are.
func Fence(lines string) string {
	if strings.TrimSpace(lines) == "" {
		lines = "(blank)"
	}
	return "```\n" + strings.ReplaceAll(lines, "``", "`"+blank+"`"+blank) + "\n```"
}

// Bold is bold text of Markdown.
func Bold(escaped string) string { return "**" + escaped + "**" }

// Link is a link of Markdown.
func Link(escaped, url string) string {
	return "[" + escaped + "](" + strings.NewReplacer("(", "%28", ")", "%29", "<", "%3C", ">", "%3E", " ", "%20").Replace(url) + ")"
}
