package trigger

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"logscan/internal/channel"
)

// leastPart is how long a part of a URL is that is taken for a secret by itself, in
// bytes; shorter ones are words of the answer more often.
const leastPart = 4

// redact takes the trigger's URL and secret, and what they are made of, out of what a
// receiver answered: it may quote what it was sent.
func (t Trigger) redact(said string) string {
	secrets := t.secrets()
	if said == "" || len(secrets) == 0 {
		return said
	}
	quoted := make([]string, len(secrets))
	for i, s := range secrets {
		quoted[i] = regexp.QuoteMeta(s)
	}
	if re, err := regexp.Compile("(?i)" + strings.Join(quoted, "|")); err == nil {
		said = re.ReplaceAllLiteralString(said, Placeholder)
	} else {
		return Placeholder
	}
	// The answer may have been cut within a secret.
	whole, cut := strings.CutSuffix(said, "…")
	for _, s := range secrets {
		for n := min(len(s)-1, len(whole)); n >= leastPart; n-- {
			if rest := whole[len(whole)-n:]; strings.EqualFold(rest, s[:n]) {
				whole, cut = whole[:len(whole)-n]+Placeholder, true
				break
			}
		}
	}
	if cut {
		return whole + "…"
	}
	return said
}

// secrets are the texts that must not be shown of a trigger, in the forms in which
// receivers may quote them, the longest first.
func (t Trigger) secrets() []string {
	parts := []string{t.ActionSecret, strings.TrimPrefix(t.ActionSecret, "whsec_")}
	user, password := "", t.ActionSecret
	addPart := func(s string) {
		if len(s) >= leastPart {
			parts = append(parts, s)
		}
	}
	if u, err := url.Parse(t.ActionURL); err != nil {
		addPart(t.ActionURL)
	} else {
		shown := shownHost(u)
		add := func(s string) {
			for _, p := range append(strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("/,:;&=", r) }), s, strings.Trim(s, "/")) {
				if !strings.EqualFold(p, shown) && !strings.HasPrefix(strings.ToLower(shown), strings.ToLower(p)+":") {
					addPart(p)
				}
			}
		}
		addPart(t.ActionURL)
		addPart(u.RequestURI())
		for _, s := range []string{u.Path, u.EscapedPath(), u.Opaque, u.RawQuery, u.Fragment} {
			add(s)
		}
		for _, values := range u.Query() {
			for _, v := range values {
				add(v)
			}
		}
		if u.User != nil {
			user = u.User.Username()
			add(u.User.String())
			add(user)
			if p, ok := u.User.Password(); ok {
				password = p
				parts = append(parts, p)
			}
		}
		user = cmp.Or(user, u.Query().Get("user"))
	}
	if user != "" || password != "" {
		parts = append(parts, base64.StdEncoding.EncodeToString([]byte(user+":"+password))) // HTTP's basic authentication
	}
	var out []string
	for _, p := range parts {
		for _, form := range []string{
			p, channel.Line(p, len(p)), url.PathEscape(p), url.QueryEscape(p), html.EscapeString(p), asJSON(p, true), asJSON(p, false),
			base64.StdEncoding.EncodeToString([]byte(p)), base64.RawURLEncoding.EncodeToString([]byte(p)),
		} {
			if form = strings.TrimSpace(strings.ToValidUTF8(form, "")); form != "" {
				out = append(out, form)
			}
		}
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) })
	return slices.Compact(out)
}

// asJSON is how a text stands in JSON, without quotes.
func asJSON(s string, escapeHTML bool) string {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(escapeHTML)
	_ = enc.Encode(s) // a string can always be encoded
	return strings.TrimSuffix(strings.TrimPrefix(out.String(), `"`), "\"\n")
}
