package channel

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"logscan/internal/egress"
)

// What a receiver that logs its messages needs stands first, whatever the text is
// made of and however little fits.
func TestMark(t *testing.T) {
	n := Notice{Rule: "oom", Workload: "web", Container: "web", Text: strings.Repeat("*out* of memory\n", 100)}
	mark := "logscan-abcdefghijklmnopqrstuvwxyz234567abcdefgh"
	escape := strings.NewReplacer("*", `\*`, "-", `\-`, "[", `\[`).Replace
	for name, m := range map[string]Message{
		"notice":   {Mark: mark, Notices: []Notice{n}},
		"notices":  {Mark: mark, Notices: []Notice{n, n, n}},
		"template": {Mark: mark, Notices: []Notice{n}, Body: strings.Repeat("*body* ", 1000)},
	} {
		for _, limit := range []int{0, 10000, 200, 100} {
			text := m.Text(Style{Limit: limit, Escape: escape})
			if !strings.HasPrefix(text, "["+mark+"]\n") || strings.Count(text, mark) != 1 {
				t.Errorf("%s, %d bytes: %q", name, limit, text)
			}
			if limit > 0 && len(text) > limit {
				t.Errorf("%s: %d bytes of %d", name, len(text), limit)
			}
			if strings.Contains(text, `\\`) {
				t.Errorf("%s, %d bytes: escaped twice: %q", name, limit, text)
			}
		}
	}
}

func TestParts(t *testing.T) {
	m := Message{Mark: "logscan-x", Notices: []Notice{{Rule: "o\x00\x01om", Text: "a\x00b\n\x01c", Kind: Resolved}}}
	want := []Part{{Text: "[logscan-x]"}, {Text: "Rule: oom"}, {Text: "ab\nc", Code: true}, {Text: "Resolved"}}
	if got := m.Parts(0, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	m.Body = "\x01body\x00 of it"
	want = []Part{{Text: "[logscan-x]"}, {Text: "body of it"}}
	if got := m.Parts(0, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestButtons(t *testing.T) {
	actions := []Action{{"Acknowledge", "https://h/a"}, {"Snooze", "javascript:1"}}
	m := Message{URL: "http://h/", Notices: []Notice{{Rule: "oom", Actions: actions}}}
	page := Action{"Open logscan", "http://h/"}
	if got, rest := m.Buttons(5); !reflect.DeepEqual(got, []Action{actions[0], page}) || rest.URL != "" || rest.Notices[0].Actions != nil {
		t.Errorf("one notice: %v, %+v", got, rest)
	}
	if got, rest := m.Buttons(2); !reflect.DeepEqual(got, []Action{page}) || len(rest.Notices[0].Actions) != 2 {
		t.Errorf("too many: %v, %+v", got, rest)
	}
	m.Notices = append(m.Notices, m.Notices[0])
	if got, rest := m.Buttons(5); !reflect.DeepEqual(got, []Action{page}) || len(rest.Notices[0].Actions) != 2 {
		t.Errorf("two notices: %v, %+v", got, rest)
	}
	if m.URL == "" || len(m.Notices[0].Actions) != 2 {
		t.Errorf("the message was changed: %+v", m)
	}
}

func TestFit(t *testing.T) {
	double := func(s string) string { return strings.ReplaceAll(s, "*", `\*`) }
	for text, want := range map[string]string{
		"a b": "a b", " a\n b ": "a b", "*****": `\*\*\*\*\*`, "": "",
		"******": `\*\*\*\*…`, "😀😀😀😀😀": "😀😀😀😀😀", "😀😀😀😀😀😀": "😀😀😀😀…",
	} {
		if got := Fit(text, 10, double); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := Fit(strings.Repeat("*", 1<<20), 256, double); UTF16(got) > 256 || UTF16(got) < 200 {
		t.Errorf("%d", UTF16(got))
	}
}

// A template that comes out empty is none: services refuse messages without text.
func TestEmptyTemplate(t *testing.T) {
	m := Message{Title: "\x00 ", Body: "\u200b\n", Notices: []Notice{{Rule: "oom", Severity: "error"}}}
	if m.Heading() != "[ERROR] oom" || m.Text(Style{}) != "Rule: oom" {
		t.Errorf("%q, %q", m.Heading(), m.Text(Style{}))
	}
}

func TestKey(t *testing.T) {
	const hashed = 64
	for key, want := range map[string]string{"": "msg_1", "inc_7": "inc_7", "a.b:c-d": "a.b:c-d"} {
		if got := (Message{ID: "msg_1", Notices: []Notice{{Key: key}}}).Key(20); got != want {
			t.Errorf("%q: %q", key, got)
		}
	}
	for _, key := range []string{"..", "a/b", "a b", "ü", strings.Repeat("a", 21), "a\nb"} {
		if got := (Message{Notices: []Notice{{Key: key}}}).Key(20); len(got) != hashed {
			t.Errorf("%q: %q", key, got)
		}
	}
}

func TestFields(t *testing.T) {
	for body, want := range map[string]int{`{"ok":true,"a":[1,{}]}`: 2, `{"ok":true,"message":{"text":"cut`: 1, `{"o`: 0, `{}`: 0} {
		if got := Fields(egress.Answer{Body: []byte(body)}); got == nil || len(got) != want {
			t.Errorf("%s: %s", body, got)
		}
	}
	for _, body := range []string{"", "ok", "<html>", "[1]", "null", "\xff"} {
		if got := Fields(egress.Answer{Body: []byte(body)}); got != nil {
			t.Errorf("%s: %s", body, got)
		}
	}
	for s, want := range map[float64]time.Duration{-1: 0, 1.5: 1500 * time.Millisecond, 1e300: 24 * time.Hour} {
		if got := Seconds(s); got != want {
			t.Errorf("%v: %v", s, got)
		}
	}
}
