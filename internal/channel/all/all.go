// Package all knows every channel there is.
package all

import (
	"errors"
	"slices"

	"logscan/internal/channel"
	"logscan/internal/channel/alertmanager"
	"logscan/internal/channel/apprise"
	"logscan/internal/channel/discord"
	"logscan/internal/channel/googlechat"
	"logscan/internal/channel/gotify"
	"logscan/internal/channel/mail"
	"logscan/internal/channel/matrix"
	"logscan/internal/channel/mattermost"
	"logscan/internal/channel/mqtt"
	"logscan/internal/channel/ntfy"
	"logscan/internal/channel/opsgenie"
	"logscan/internal/channel/pagerduty"
	"logscan/internal/channel/pushover"
	"logscan/internal/channel/slack"
	"logscan/internal/channel/teams"
	"logscan/internal/channel/telegram"
	"logscan/internal/channel/webhook"
	"logscan/internal/egress"
)

// Kinds are all kinds of channels, by the manual's order.
var Kinds = []channel.Kind{
	webhook.Kind,
	discord.Kind,
	slack.Kind,
	mattermost.Kind,
	teams.Kind,
	mail.Kind,
	ntfy.Kind,
	telegram.Kind,
	gotify.Kind,
	pushover.Kind,
	matrix.Kind,
	apprise.Kind,
	googlechat.Kind,
	pagerduty.Kind,
	opsgenie.Kind,
	alertmanager.Kind,
	mqtt.Kind,
}

// Find parses a URL and returns its kind. The error is a reason for users.
func Find(rawURL string) (channel.Kind, channel.Config, error) {
	u, err := egress.Parse(rawURL)
	if err != nil {
		return channel.Kind{}, channel.Config{}, err
	}
	i := slices.IndexFunc(Kinds, func(k channel.Kind) bool { return k.Has(u.Scheme) })
	if i < 0 {
		return channel.Kind{}, channel.Config{}, errors.New("must begin with http:// or https://, or with a channel's name, such as ntfy://: `docker logscan help channels` has all")
	}
	return Kinds[i], channel.Config{URL: u}, nil
}

// Open returns the channel that a URL and a secret stand for.
func Open(rawURL, secret string, client *egress.Client) (channel.Channel, error) {
	kind, c, err := Find(rawURL)
	if err != nil {
		return nil, err
	}
	c.Secret, c.Client = secret, client
	return kind.New(c)
}

// Validate says why a new URL and secret stand for no channel, by an ErrSecret where
// it is the secret. It sends nothing.
func Validate(rawURL, secret string) error {
	kind, c, err := Find(rawURL)
	if err != nil {
		return err
	}
	c.Secret = secret
	if _, err := kind.New(c); err != nil {
		return err
	}
	if kind.CheckSecret != nil {
		if err := kind.CheckSecret(secret); err != nil {
			return channel.SecretError(err.Error())
		}
	}
	return nil
}

// CheckTarget says why nothing may be sent to where a URL leads.
func CheckTarget(rawURL string, g *egress.Guard) error {
	kind, c, err := Find(rawURL)
	if err != nil {
		return err
	}
	host := c.URL.Host
	if kind.Target != nil {
		host = kind.Target(c.URL)
	}
	return g.Check(host)
}
