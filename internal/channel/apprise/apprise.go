// Package apprise has an Apprise API server tell people, through any of the services
// that it knows (https://github.com/caronc/apprise-api#api-details).
package apprise

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"path"
	"regexp"
	"strings"

	"logscan/internal/channel"
)

// Kind is the Apprise API's.
var Kind = channel.Kind{
	Scheme: "apprise", Plain: true, Title: "Apprise API", Example: "apprise://apprise.example.com/notify/KEY",
	Secret: "the services' own URLs, where the server stores none under a key", New: open,
}

// maxText is what most of the services take, since Apprise leaves it to them what to
// do with more.
const maxText = 1800 // UTF-16 code units

var keyForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

type apprise struct {
	channel.Config
	url, authorization, tags string
}

func open(c channel.Config) (channel.Channel, error) {
	dir, key := path.Split(strings.TrimSuffix(c.URL.Path, "/"))
	dir = strings.TrimSuffix(strings.TrimSuffix(dir, "/"), "/notify")
	if key == "notify" {
		key = ""
	}
	switch {
	case c.URL.Host == "":
		return nil, errors.New("has no host: it is your Apprise API server's, such as apprise://apprise.example.com/notify/KEY")
	case key == "" && c.Secret == "":
		return nil, errors.New("needs the key of a configuration behind the host, such as apprise://apprise.example.com/notify/KEY, or services' URLs as the secret")
	case key != "" && c.Secret != "":
		return nil, errors.New("has a key, and there is a secret too: the server takes services' URLs either from the key's configuration or from the secret")
	case key != "" && !keyForm.MatchString(key):
		return nil, errors.New("has a key that isn't of A–Z, a–z, 0–9, - and _")
	case c.Secret != "" && !strings.Contains(c.Secret, "://"):
		return nil, channel.SecretError("has no URL of a service, such as discord://…")
	}
	a := &apprise{Config: c, tags: c.URL.Query().Get("tags")}
	base := channel.Base(c.URL)
	base.Path = dir
	a.url = base.JoinPath("notify", key).String()
	if user := c.URL.User; user != nil {
		password, _ := user.Password()
		a.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
	}
	return a, nil
}

type message struct {
	Title  string `json:"title"`
	Body   string `json:"body"`
	Type   string `json:"type"`
	Format string `json:"format"`
	Tag    string `json:"tag,omitempty"`
	URLs   string `json:"urls,omitempty"`
}

var types = map[string]string{"CRITICAL": "failure", "ERROR": "failure", "WARN": "warning", "INFO": "info", "ACKNOWLEDGED": "info", "RESOLVED": "success"}

// quiet keeps text from mentioning anybody at the services that look for that in
// plain text.
var quiet = strings.NewReplacer("@", "@\u200b", "<!", "<\u200b!").Replace

// Send implements channel.Channel.
func (p *apprise) Send(ctx context.Context, m channel.Message) channel.Verdict {
	out := message{
		Title: quiet(m.Heading()), Body: m.Text(channel.Style{Limit: maxText, Size: channel.UTF16, Escape: quiet}),
		Type: types[m.Worst().Name()], Format: "text", Tag: p.tags, URLs: p.Secret,
	}
	headers := map[string]string{}
	if p.authorization != "" {
		headers["Authorization"] = p.authorization
	}
	a, err := channel.PostJSON(ctx, p.Client, p.url, headers, out)
	v := channel.Judge(a, err, nil)
	switch v.Status {
	case http.StatusNoContent:
		v.Reason = "the receiver answered 204: it has no services under this key"
	case http.StatusFailedDependency:
		v.Reason += ": some of its services could not be told, or none has these tags"
	}
	return v
}
