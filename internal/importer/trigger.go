package importer

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"logscan/internal/trigger"
)

// secret is a variable that stands for what doesn't come over.
type secret struct {
	name    string
	what    string // where it is found
	example string // of what it may be, for checks
}

// Examples of secrets, for checks.
const (
	someText  = "example"
	someToken = "123456789:AbC-dEfAbC-dEfAbC-dEfAbC-dEfAbC-dEf"
	someID    = "123456789"
)

// secret returns the reference to a new variable.
func (d *draft) secret(name, what, example string) string {
	var b strings.Builder
	for _, c := range strings.ToUpper(name) {
		if c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			c = '_'
		}
		b.WriteRune(c)
	}
	base := strings.Trim(b.String(), "_")
	name = base
	for n := 2; ; n++ {
		known := false
		for _, s := range d.secrets {
			if s.name == name && s.what == clean(what) {
				return "${env:" + name + "}"
			}
			known = known || s.name == name
		}
		if !known {
			break
		}
		name = fmt.Sprintf("%s_%d", base, n)
	}
	d.secrets = append(d.secrets, secret{name, clean(what), example})
	return "${env:" + name + "}"
}

var reference = regexp.MustCompile(`\$\{env:[A-Z0-9_]+\}`)

// example is what a variable may hold.
func (d *draft) example(ref string) string {
	for _, s := range d.secrets {
		if ref == "${env:"+s.name+"}" {
			return s.example
		}
	}
	return someText
}

// tells has rules tell some triggers, and no others.
func (d *draft) tells(rules, triggers []string) {
	for _, e := range d.rules {
		if slices.Contains(rules, e.name) {
			e.value.Triggers = append(e.value.Triggers, triggers...)
		}
	}
}

// trigger adds a trigger, under a name that is free, if logscan accepts it with some
// text for each reference; else it is lost.
func (d *draft) trigger(at, what string, t trigger.Trigger, notes []string) (name string, ok bool) {
	t.Name = d.free(t.Name)
	filled := t
	filled.ActionURL = reference.ReplaceAllStringFunc(t.ActionURL, d.example)
	filled.ActionSecret = reference.ReplaceAllStringFunc(t.ActionSecret, d.example)
	if err := trigger.Fields.Validate(filled); err != nil {
		d.lose(at, what, err.Error())
		return "", false
	}
	d.names[t.Name] = true
	notes = append([]string{"From " + clean(at) + "."}, notes...)
	d.triggers = append(d.triggers, &entry[trigger.Trigger]{t.Name, append(d.pending, notes...), t})
	d.pending = nil
	return t.Name, true
}

// webhook makes a trigger's URL of that of a webhook: that of a channel where the host
// is a service's that has one. What follows the host is a secret.
func (d *draft) webhook(address, name, at string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("it has no URL that begins with http:// or https:// and a host")
	}
	scheme, keep, like := u.Scheme, "", someText
	switch host := strings.ToLower(u.Hostname()); {
	case host == "hooks.slack.com":
		scheme, keep, like = "slack", "services/", "T0/B0/example"
	case (host == "discord.com" || host == "discordapp.com") && strings.HasPrefix(u.Path, "/api/webhooks/"):
		scheme, keep, like = "discord", "api/webhooks/", "123456789/example"
	case host == "ntfy.sh":
		scheme = "ntfy"
	case host == "chat.googleapis.com":
		scheme, keep, like = "googlechat", "v1/spaces/", "space/messages?key=k&token=t"
	case strings.HasSuffix(host, ".logic.azure.com"):
		scheme, like = "teams", "workflows/id/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=s"
	}
	rest := strings.TrimPrefix(u.EscapedPath(), "/")
	if u.RawQuery != "" {
		rest += "?"
	}
	head := scheme + "://" + u.Host + "/"
	if rest == "" && u.User == nil {
		return head, nil
	}
	if !strings.HasPrefix(rest, keep) {
		keep = ""
	}
	login := ""
	if u.User != nil {
		login = d.secret(name+"_LOGIN", fmt.Sprintf("what stands between // and @ in the URL in %s", at), "user:password") + "@"
	}
	if rest == "" {
		return scheme + "://" + login + u.Host + "/", nil
	}
	return scheme + "://" + login + u.Host + "/" + keep + d.secret(name+"_PATH", fmt.Sprintf("what follows %s://%s/%s in the URL in %s", u.Scheme, u.Host, keep, at), like), nil
}

// ntfy makes a trigger's URL of an address of ntfy and a topic.
func (d *draft) ntfy(address, name, at string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("its URL is none that begins with http:// or https:// and a host")
	}
	scheme := "ntfy"
	if u.Scheme == "http" {
		scheme = "ntfy+http"
	}
	path := strings.Trim(u.Path, "/")
	if path != "" {
		path += "/"
	}
	return scheme + "://" + u.Host + "/" + path + d.secret(name+"_TOPIC", "the topic in "+at, someText), nil
}
