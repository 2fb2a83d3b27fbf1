package channel

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestTemplates(t *testing.T) {
	m := samples()[0]
	for text, want := range map[string]string{
		"":                            "",
		"{{(index .Notices 0).Rule}}": "", // a chain
		"{{with index .Notices 0}}{{.Rule | upper}}{{end}}":     "OOM",
		"{{range .Notices}}{{.Severity}} {{end}}":               "error error ",
		"{{range $n := .Notices}}{{$n.Rule}},{{end}}":           "oom,oom,",
		"{{.Trigger}}: {{len .Notices}}":                        "sample: 2",
		`{{.At | time "15:04"}}`:                                "15:04",
		"{{with index .Notices 0}}{{.Text | cut 3}}{{end}}":     "Out",
		"{{range .Notices}}{{range .Actions}}x{{end}}{{end}}":   "xx",
		`{{if gt (len .Notices) 1}}many{{else}}one{{end}}`:      "many",
		"{{range .Notices}}{{.Container | or .Rule}} {{end}}":   "oom oom ",
		"{{range .Notices}}{{.Text | line 10}}{{break}}{{end}}": "Out of …",
	} {
		tmpl, err := ParseTemplate(text)
		if want == "" && text != "" {
			if err == nil {
				t.Errorf("%s is taken", text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := tmpl.Render(m); err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"{{range 20000000}}{{end}}": "may range over a field only", `{{define "x"}}{{end}}`: "must not define", `{{block "x" .}}{{end}}`: "must not define",
		`{{template "template" .}}`: "must not have", "{{.Nothing}}": "can't evaluate field Nothing", "{{": "unclosed action", "{{printf \"%1000000000d\" 1}}": "must not call printf",
		"{{range .Notices}}{{range $.Notices}}{{range $.Notices}}x{{end}}{{end}}{{end}}": "more than 2 ranges", "{{call .ID}}": "must not call call", "{{html .ID}}": "must not call html",
		"{{range (index .Notices 0).Before}}{{end}}": "", "{{index .Notices 9}}": "index out of range", "{{.Heading}}x{{.Text}}": "",
	} {
		_, err := ParseTemplate(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// What a template makes is bounded, whatever it is given.
func TestRenderedIsBounded(t *testing.T) {
	tmpl, err := ParseTemplate("{{range .Notices}}{{range $.Notices}}{{.Text}}{{end}}{{end}}")
	if err != nil {
		t.Fatal(err)
	}
	m := samples()[0]
	for range 48 {
		m.Notices = append(m.Notices, m.Notices[0])
	}
	for i := range m.Notices {
		m.Notices[i].Text = strings.Repeat("€", 1<<16)
	}
	if got, err := tmpl.Render(m); err != nil || len(got) > MaxRendered || !utf8.ValidString(got) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"{{.Trigger}}", "{{range .Notices}}{{.Text}}{{end}}", "{{with index .Notices 0}}{{.First | time \"x\"}}{{end}}", "{{or .ID .ID | cut 3}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1000 {
			return
		}
		tmpl, err := ParseTemplate(text)
		if err != nil {
			return
		}
		m := Sample("msg_x", "t", time.Unix(0, 0))
		if out, err := tmpl.Render(m); err == nil && len(out) > MaxRendered {
			t.Errorf("%d bytes", len(out))
		}
	})
}
