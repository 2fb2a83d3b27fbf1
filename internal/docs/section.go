package docs

import (
	"fmt"
	"regexp"
	"strings"
)

// A generated section stands between two comments, each in a line of its own:
//
//	<!-- begin generated: NAME -->
//	<!-- end generated: NAME -->
var begin = regexp.MustCompile(`(?m)^<!-- begin generated: ([a-z-]+) -->\n`)

// Sections lists the names of a page's generated sections.
func Sections(text string) (names []string) {
	for _, m := range begin.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// SetSection returns a page's text with other content in one generated section. It
// fails where the page doesn't have that section exactly once.
func SetSection(text, name, content string) (string, error) {
	first, last := "<!-- begin generated: "+name+" -->\n", "<!-- end generated: "+name+" -->\n"
	head, rest, ok := strings.Cut(text, first)
	_, tail, ok2 := strings.Cut(rest, last)
	if !ok || !ok2 || strings.Contains(tail, first) {
		return "", fmt.Errorf("the page needs the lines %q and %q, once", first, last)
	}
	return head + first + "\n" + strings.Trim(content, "\n") + "\n\n" + last + tail, nil
}
