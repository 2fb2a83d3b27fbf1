package channel_test

import (
	"fmt"
	"html"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"logscan/internal/channel"
	"logscan/internal/channel/channeltest"
)

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "",
		"plain\ttext\n":                         "plain\ttext\n",
		"ünïcode 😀":                             "ünïcode 😀",
		"a\r\nb\rc\u2028d\u2029e\u0085f":        "a\nb\nc\nd\ne\nf",
		"\x1b[31mred\x1b[0m":                    "red",
		"\x1b]8;;http://x/\x07link\x1b]8;;\x07": "link",
		"\x1b]0;title\x1b\\x":                   "x",
		"\x1b(Bx\x1bM":                          "x",
		"\u009b31mred":                          "31mred",
		"a\x00b\x07c\x7fd\x1b":                  "abcd",
		"caf\xe9":                               "caf\uFFFD",
		"a\u202eb\u2066c\u200fd\u061ce":         "abcde",
		"\ufeffx\u200by\U000e0041z":             "xyz",
		"\x1b\x1b[0m[31mx":                      "[31mx",
	} {
		if got := channel.Clean(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"", 10, ""},
		{"  two\n\twords ", 10, "two words"},
		{"exactly10!", 10, "exactly10!"},
		{"more than10", 10, "more th…"},
		{"ääääää", 10, "äää…"},
		{"😀😀😀", 10, "😀…"},
		{"x\r\nBcc: y", 20, "x Bcc: y"},
		{"\xff\xff\xff\xff\xff\xff\xff\xff", 100, "\uFFFD"},
		{strings.Repeat("a", 1000), 3, "…"},
		{"long", 2, ""},
	} {
		if got := channel.Line(c.text, c.most); got != c.want {
			t.Errorf("%q, %d: %q, want %q", c.text, c.most, got, c.want)
		}
	}
}

func TestCut(t *testing.T) {
	for most, want := range map[int]string{-1: "", 0: "", 1: "a", 2: "a", 3: "aä", 4: "aä", 6: "aä", 7: "aä😀", 100: "aä😀"} {
		if got := channel.Cut("aä😀", most); got != want {
			t.Errorf("%d: %q, want %q", most, got, want)
		}
	}
}

func TestUTF16(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a": 1, "ä": 1, "€": 1, "😀": 2, "a😀b": 4} {
		if got := channel.UTF16(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestHeading(t *testing.T) {
	hit := channeltest.Line("x")
	test := channeltest.Message()
	test.Test = true
	bare := channel.Message{Notices: []channel.Notice{{Severity: "info", Rule: "logscan", Kind: channel.System}}}
	fleet := channeltest.Message()
	fleet.Notices[0].Containers, fleet.Notices[0].Container, fleet.Notices[0].Host = 3, "shop-db-9", ""
	rule := channeltest.Line("x")
	rule.Notices[0].Rule = "a\r\nb\u202e\x1b[31m" + strings.Repeat("long ", 100)
	for _, c := range []struct {
		name string
		m    channel.Message
		want string
	}{
		{"hit", hit, "[CRITICAL] oom: shop/shop-db-1 on node-1"},
		{"opened", channeltest.Message(), "[CRITICAL] oom: shop/shop-db-1 on node-1 (×3)"},
		{"resolved", channeltest.Resolved(), "[RESOLVED] oom: shop/shop-db-1 on node-1 (×3)"},
		{"acknowledged", channeltest.Acknowledged(), "[ACKNOWLEDGED] oom: shop/shop-db-1 on node-1 (×3)"},
		{"test", test, "Test: [CRITICAL] oom: shop/shop-db-1 on node-1 (×3)"},
		{"group", channeltest.Group(), "[CRITICAL] 3 incidents, the worst: oom: shop/shop-db-1 on node-1"},
		{"of logscan itself", bare, "[INFO] logscan"},
		{"of several containers", fleet, "[CRITICAL] oom: shop (×3)"},
		{"template", channeltest.Template("A\nB", ""), "A B"},
	} {
		if got := c.m.Heading(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := rule.Heading(); len(got) > 200 || !strings.HasPrefix(got, "[CRITICAL] a blong long") || !strings.HasSuffix(got, "…") {
		t.Errorf("%q", got)
	}
}

func TestText(t *testing.T) {
	got := channeltest.Message().Text(channel.Style{})
	want := `[` + channeltest.Mark + `]

Rule: oom
Workload: shop
Container: shop-db-1
Host: node-1

Out of memory: Killed process 4711 (postgres)
  total-vm:812kB

3 times since 2026-01-02 15:03:05 UTC, the last at 2026-01-02 15:04:04 UTC

Before:

checkpoint starting

After:

all processes terminated

Acknowledge: https://logs.example.com/a/ack-t0ken  Silence 1 h: https://logs.example.com/a/silence-t0ken

Open logscan: https://logs.example.com/`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	group := channeltest.Group().Text(channel.Style{})
	for _, part := range []string{
		"[CRITICAL] oom: shop/shop-db-1 on node-1", "[WARN] slow: shop", "[RESOLVED] oom", "\n\nResolved; 3 times",
		"2 more were held back since 2026-01-02 14:04:05 UTC (over the budget of 40/h).",
	} {
		if !strings.Contains(group, part) {
			t.Errorf("the group lacks %q:\n%s", part, group)
		}
	}
	if got := channeltest.Template("", "<b>\x1b[31mred").Text(channel.Style{Escape: html.EscapeString}); got != "["+channeltest.Mark+"]\n\n&lt;b&gt;red" {
		t.Errorf("template: %q", got)
	}
}

// What a text lacks, it says.
func TestTextIsCut(t *testing.T) {
	lines := channeltest.Line(strings.Repeat("a line\n", 100))
	for limit, want := range map[int]string{0: "a line\n… 40 lines more", 450: "a line\n… 60 lines more", 290: "a line\n… 90 lines more", 190: "a line\n… 97 lines more"} {
		if got := lines.Text(channel.Style{Limit: limit}); !strings.Contains(got, want) {
			t.Errorf("%d: %q isn't in\n%s", limit, want, got)
		}
	}
	if got := channeltest.Line(strings.Repeat("x", 5000)).Text(channel.Style{}); !strings.Contains(got, "x… 3000 bytes more") {
		t.Errorf("%s", got)
	}
	group := channeltest.Group()
	for range 60 {
		group.Notices = append(group.Notices, group.Notices[1])
	}
	if got := group.Text(channel.Style{}); !strings.Contains(got, "… 13 incidents more") {
		t.Errorf("%.300s", got)
	}
	if got := group.Text(channel.Style{Limit: 1500}); !strings.Contains(got, "incidents more") || strings.Count(got, "[WARN]") == 0 {
		t.Errorf("%s", got)
	}
}

// What is no web page is no link, and what doesn't fit whole is none either.
func TestLinks(t *testing.T) {
	m := channeltest.Message()
	m.Notices[0].Actions = append(m.Notices[0].Actions, channel.Action{Label: "bad", URL: "javascript:alert(1)"}, channel.Action{Label: "none"})
	if got := m.Text(channel.Style{}); strings.Contains(got, "javascript") || strings.Contains(got, "none") || strings.Count(got, "https://") != 3 {
		t.Errorf("%s", got)
	}
	for limit := 100; limit < 300; limit += 10 {
		if got := m.Text(channel.Style{Limit: limit}); strings.Count(got, "https://") != strings.Count(got, "t0ken")+strings.Count(got, ".com/\n")+strings.Count(got+"$", ".com/$") {
			t.Errorf("a link is cut:\n%s", got)
		}
	}
}

// styles are ones of all sorts: no service's, but each that a channel may have.
var styles = map[string]channel.Style{
	"plain":  {},
	"UTF-16": {Size: channel.UTF16},
	"runes":  {Size: utf8.RuneCountInString, Join: func(p []string) string { return strings.Join(p, "\n") }},
	"HTML": {
		Escape: html.EscapeString,
		Bold:   func(s string) string { return "<b>" + s + "</b>" },
		Block:  func(s string) string { return "<pre>" + html.EscapeString(s) + "</pre>" },
		Link:   func(label, url string) string { return `<a href="` + html.EscapeString(url) + `">` + label + "</a>" },
		Join:   func(p []string) string { return "<p>" + strings.Join(p, "</p><p>") + "</p>" },
		Facts: func(pairs [][2]string) string {
			var b strings.Builder
			for _, p := range pairs {
				fmt.Fprintf(&b, "<tr><th>%s</th><td>%s</td></tr>", html.EscapeString(p[0]), html.EscapeString(p[1]))
			}
			return "<table>" + b.String() + "</table>"
		},
	},
	"Markdown": {
		Escape: channel.Markdown, Bold: channel.Bold, Block: channel.Fence, Link: channel.Link,
	},
}

// A text fits its limit, whatever it is, and is one that shows as it stands.
func TestTextFits(t *testing.T) {
	messages := map[string]channel.Message{"message": channeltest.Message(), "group": channeltest.Group(), "template": channeltest.Template("t", channeltest.Hostile["markdown"])}
	for name, line := range channeltest.Hostile {
		m := channeltest.Message()
		m.Notices[0].Text, m.Notices[0].Rule = channel.Cut(line, 20_000), line
		messages[name] = m
	}
	for style, s := range styles {
		size := s.Size
		if size == nil {
			size = func(s string) int { return len(s) }
		}
		for name, m := range messages {
			for limit := 10; limit <= 5000; limit += 1 + limit/4 {
				s.Limit = limit
				got := m.Text(s)
				if n := size(got); n > limit {
					t.Errorf("%s, %s: %d is more than %d", style, name, n, limit)
				}
				if marked := strings.Contains(got, "["+channeltest.Mark+"]"); marked != (limit >= 60) && (limit < 50 || limit >= 70) {
					t.Errorf("%s, %s, %d: the mark is there: %v", style, name, limit, marked)
				}
				checkClean(t, got)
			}
		}
	}
}

func checkClean(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("not UTF-8: %.100q", text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
	}); i >= 0 {
		t.Errorf("%q in %.100q", text[i:min(len(text), i+8)], text)
	}
}

func FuzzText(f *testing.F) {
	for _, line := range channeltest.Hostile {
		f.Add(channel.Cut(line, 1000), uint16(300))
	}
	f.Fuzz(func(t *testing.T, line string, limit uint16) {
		clean := channel.Clean(line)
		checkClean(t, clean)
		if again := channel.Clean(clean); again != clean {
			t.Errorf("%q, cleaned again: %q", clean, again)
		}
		most := int(limit) % 500
		if one := channel.Line(line, most); len(one) > most || strings.ContainsAny(one, "\n\t\r") {
			t.Errorf("%q isn't a line of %d bytes", one, most)
		}
		m := channeltest.Message()
		n := &m.Notices[0]
		n.Text, n.Rule, n.Before, n.Reason = line, line, []string{line}, line
		s := styles["HTML"]
		s.Limit = 10 + int(limit)%5000
		got := m.Text(s)
		checkClean(t, got)
		if len(got) > s.Limit {
			t.Errorf("%d is more than %d", len(got), s.Limit)
		}
		// Only the style's own tags are there.
		rest := got
		for _, tag := range []string{"p", "b", "pre", "table", "tr", "th", "td", "a"} {
			rest = strings.NewReplacer("<"+tag+">", "", "</"+tag+">", "").Replace(rest)
		}
		for _, a := range append(n.Actions, channel.Action{URL: m.URL}) {
			rest = strings.ReplaceAll(rest, `<a href="`+a.URL+`">`, "")
		}
		if strings.ContainsAny(rest, `<>"`) {
			t.Errorf("%q", rest)
		}
	})
}

// What somebody has in hand, or is over, is not what a message is about as long as
// there is something else.
func TestWorst(t *testing.T) {
	m := channeltest.Group()
	m.Notices[0].Kind = channel.Acknowledged
	if got := m.Worst(); got.Incident != 8 || !m.Notices[0].Calm() || got.Calm() {
		t.Errorf("%+v", got)
	}
	m.Notices[1].Kind = channel.Resolved
	if got := m.Worst(); got.Incident != 7 {
		t.Errorf("%+v", got)
	}
	if text := channeltest.Acknowledged().Text(channel.Style{}); !strings.Contains(text, "\n\nAcknowledged; by alice: disk is on its way; 3 times since") {
		t.Errorf("%s", text)
	}
}
