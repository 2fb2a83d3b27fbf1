// Package pushover sends messages to people by Pushover
// (https://pushover.net/api#messages).
package pushover

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"logscan/internal/channel"
)

// Kind is Pushover's.
var Kind = channel.Kind{
	Scheme: "pushover", Plain: true, Title: "Pushover", Example: "pushover://api.pushover.net",
	Secret: "USER_KEY:APP_TOKEN", Target: func(u *url.URL) string { return service(u).Host }, New: open,
}

const (
	maxText  = 1024 // characters
	maxTitle = 250
	maxLink  = 512
	retry    = 60   // seconds between two rings of an emergency
	expire   = 1800 // seconds for which it rings
)

var (
	keyForm    = regexp.MustCompile(`^[A-Za-z0-9]{30}$`)
	deviceForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,25}(,[A-Za-z0-9_-]{1,25})*$`)
)

// service is Pushover's own where a URL has no host.
func service(u *url.URL) *url.URL { return channel.BaseAt(u, "api.pushover.net") }

type pushover struct {
	channel.Config
	url  string
	form url.Values
	most int // priority
}

func open(c channel.Config) (channel.Channel, error) {
	const lacks = "is missing: USER_KEY:APP_TOKEN, the key from Pushover's first page, and the token of an application that you make there"
	keys, err := channel.OneSecret(channel.UserInfo(c.URL), c.Secret, lacks)
	if err != nil {
		return nil, err
	}
	user, token, _ := strings.Cut(keys, ":")
	if !keyForm.MatchString(user) || !keyForm.MatchString(token) {
		return nil, channel.SecretError("is not USER_KEY:APP_TOKEN, each of 30 letters and digits")
	}
	p := &pushover{c, service(c.URL).JoinPath("1/messages.json").String(), url.Values{"user": {user}, "token": {token}}, 2}
	if device := strings.Trim(c.URL.Path, "/"); device != "" {
		if !deviceForm.MatchString(device) {
			return nil, errors.New("has something behind the host that isn't the name of a device, or several with commas")
		}
		p.form.Set("device", device)
	}
	if most := c.URL.Query().Get("priority"); most != "" {
		if p.most, err = strconv.Atoi(most); err != nil || p.most < -2 || p.most > 2 {
			return nil, errors.New("has a priority that isn't from -2 to 2")
		}
	}
	return p, nil
}

var priorities = map[string]int{"CRITICAL": 2, "ERROR": 1, "WARN": 0, "INFO": -1, "ACKNOWLEDGED": -1, "RESOLVED": -1}

// Send implements channel.Channel.
func (p *pushover) Send(ctx context.Context, m channel.Message) channel.Verdict {
	form := url.Values{}
	for name, value := range p.form {
		form[name] = value
	}
	priority := min(priorities[m.Worst().Name()], p.most)
	form.Set("priority", strconv.Itoa(priority))
	if priority == 2 {
		form.Set("retry", strconv.Itoa(retry))
		form.Set("expire", strconv.Itoa(expire))
	}
	form.Set("timestamp", strconv.FormatInt(m.At.Unix(), 10))
	if pages, rest := m.Buttons(1); len(pages) > 0 && len(pages[0].URL) <= maxLink {
		m = rest
		form.Set("url", pages[0].URL)
		form.Set("url_title", pages[0].Label)
	}
	form.Set("title", channel.Line(m.Heading(), maxTitle))
	form.Set("message", m.Text(channel.Style{Limit: maxText, Size: utf8.RuneCountInString}))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, strings.NewReader(form.Encode()))
	if err != nil {
		return channel.Verdict{Reason: "the trigger's URL is not valid"}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a, err := p.Client.Do(req)
	v := channel.Judge(a, err, nil)
	if v.Status == http.StatusTooManyRequests {
		// The month's messages are used up: the answer says until when, in seconds
		// since 1970.
		if reset, err := strconv.ParseInt(a.Header.Get("X-Limit-App-Reset"), 10, 64); err == nil {
			v.Wait = max(v.Wait, channel.Seconds(float64(reset-a.At.Unix())))
		}
	}
	var status json.Number
	json.Unmarshal(channel.Fields(a)["status"], &status) // no number: not Pushover's answer
	return v.Expect(status == "1", "Pushover")
}
