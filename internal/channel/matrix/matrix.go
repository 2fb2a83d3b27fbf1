// Package matrix sends messages to unencrypted Matrix rooms
// (https://spec.matrix.org/latest/client-server-api/#sending-events-to-a-room).
package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

// Kind is Matrix's.
var Kind = channel.Kind{
	Scheme: "matrix", Plain: true, Title: "Matrix", Example: "matrix://matrix.example.com/!room:example.com",
	Secret: "access token of an account that is in the room", New: open,
}

// An event has 65,536 bytes at most, as JSON; maxPlain and maxHTML are what its two
// bodies may have of them.
const maxPlain, maxHTML = 16_000, 40_000

var roomForm = regexp.MustCompile(`^[!#][^\s\x00/]+$`)

type matrix struct {
	channel.Config
	base        *url.URL
	room, token string
}

func open(c channel.Config) (channel.Channel, error) {
	room := strings.TrimPrefix(c.URL.Path, "/")
	if alias := c.URL.Fragment; alias != "" && room == "" { // as people write it: matrix://host/#room:host
		room = "#" + alias
	}
	switch {
	case c.URL.Host == "":
		return nil, errors.New("has no host: it is your homeserver's, such as matrix://matrix.example.com/!room:example.com")
	case strings.EqualFold(c.URL.Hostname(), "matrix.to"):
		return nil, errors.New("leads to matrix.to, which has no rooms: write your homeserver instead, and the room's id or address behind it")
	case !roomForm.MatchString(room) || len(room) > 255:
		return nil, errors.New("needs a room behind the homeserver: its id, !room:example.com, or its address, #room:example.com")
	}
	token, err := channel.OneSecret(channel.UserInfo(c.URL), c.Secret, "is missing: the access token of an account that is in the room")
	return &matrix{c, channel.Base(c.URL), room, token}, err
}

type content struct {
	Type      string   `json:"msgtype"`
	Body      string   `json:"body"`
	Format    string   `json:"format"`
	Formatted string   `json:"formatted_body"`
	Mentions  struct{} `json:"m.mentions"` // empty: whatever the text holds, it mentions nobody
}

// rich has the tags that clients show.
var rich = channel.Style{
	Limit: maxHTML, Size: channel.JSONSize, Escape: html.EscapeString,
	Bold:  func(escaped string) string { return "<strong>" + escaped + "</strong>" },
	Block: func(lines string) string { return "<pre><code>" + html.EscapeString(lines) + "</code></pre>" },
	Link: func(escaped, url string) string {
		return `<a href="` + html.EscapeString(url) + `">` + escaped + "</a>"
	},
	Join: func(paragraphs []string) string {
		for i, p := range paragraphs {
			if !strings.HasPrefix(p, "<pre>") {
				paragraphs[i] = "<p>" + strings.ReplaceAll(p, "\n", "<br>") + "</p>"
			}
		}
		return strings.Join(paragraphs, "")
	},
}

// Send implements channel.Channel.
func (x *matrix) Send(ctx context.Context, m channel.Message) channel.Verdict {
	room := x.room
	if room[0] == '#' {
		a, err := x.ask(ctx, http.MethodGet, []string{"directory", "room", room}, nil)
		fields := channel.Fields(a)
		v := verdict(channel.Judge(a, err, nil), fields).Expect(json.Unmarshal(fields["room_id"], &room) == nil && roomForm.MatchString(room), "Matrix")
		if v.Reason != "" {
			return v
		}
	}
	title := m.Heading()
	out := content{
		Type: "m.text", Format: "org.matrix.custom.html",
		Body:      title + "\n\n" + m.Text(channel.Style{Limit: maxPlain, Size: channel.JSONSize}),
		Formatted: rich.Join([]string{rich.Bold(rich.Escape(title))}) + m.Text(rich),
	}
	a, err := x.ask(ctx, http.MethodPut, []string{"rooms", room, "send", "m.room.message", m.ID}, out)
	fields := channel.Fields(a)
	return verdict(channel.Judge(a, err, nil), fields).Expect(fields["event_id"] != nil, "Matrix")
}

// ask calls the client-server API.
func (x *matrix) ask(ctx context.Context, method string, path []string, body any) (egress.Answer, error) {
	for i, p := range path {
		path[i] = url.PathEscape(p)
	}
	to := x.base.String() + "/_matrix/client/v3/" + strings.Join(path, "/")
	if body != nil {
		return channel.SendJSON(ctx, x.Client, method, to, map[string]string{"Authorization": "Bearer " + x.token}, body)
	}
	req, err := http.NewRequestWithContext(ctx, method, to, nil)
	if err != nil {
		return egress.Answer{}, egress.Failure("the trigger's URL is not valid")
	}
	req.Header.Set("Authorization", "Bearer "+x.token)
	return x.Client.Do(req)
}

// verdict adds what only Matrix says.
func verdict(v channel.Verdict, fields map[string]json.RawMessage) channel.Verdict {
	var code string
	var wait float64
	json.Unmarshal(fields["errcode"], &code) // none: an answer that isn't Matrix's
	json.Unmarshal(fields["retry_after_ms"], &wait)
	switch {
	case v.Reason == "":
	case code == "M_LIMIT_EXCEEDED":
		v.Wait = max(v.Wait, channel.Seconds(wait/1000))
	case code == "M_UNKNOWN_TOKEN" || code == "M_MISSING_TOKEN":
		v.Reason += "; the access token doesn't hold (any more)"
	case code == "M_FORBIDDEN":
		v.Reason += "; is the account in the room, and may it write there?"
	case code == "M_NOT_FOUND":
		v.Reason += "; is there such a room?"
	}
	return v
}
