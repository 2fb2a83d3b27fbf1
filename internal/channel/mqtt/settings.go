package mqtt

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/url"
	"strings"
	"unicode/utf8"

	"logscan/internal/channel"
)

// The versions of MQTT, as its packets say them.
const (
	version311 = 4
	version5   = 5
)

// settings are what a URL says.
type settings struct {
	host, port     string
	secure         bool
	user, password string
	version        byte
	prefix         string // of all topics
	discovery      string // Home Assistant's prefix; "" for none
	device         string // an id, by broker and prefix
}

func target(u *url.URL) string {
	if u.Hostname() == "" {
		return ""
	}
	return net.JoinHostPort(u.Hostname(), port(u))
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "mqtts":
		return "8883"
	}
	return "1883"
}

func parse(u *url.URL, secret string) (settings, error) {
	s := settings{host: u.Hostname(), port: port(u), secure: u.Scheme == "mqtts", user: u.User.Username(), version: version5, prefix: "logscan"}
	s.password, _ = u.User.Password()
	if s.host == "" {
		return s, errors.New("has no broker; write mqtt://broker.lan:1883/logscan")
	}
	if secret != "" && s.password != "" {
		return s, channel.SecretError("stands in the URL already: leave it out of one of the two")
	}
	s.password += secret
	if s.user == "" && s.password != "" {
		return s, errors.New("has a password, but no user; write the user before the broker, as in mqtt://user@broker.lan")
	}
	if len(s.user) > 1000 || len(s.password) > 1000 || !isText(s.user) || !isText(s.password) {
		return s, channel.SecretError("is no password that MQTT can send: more than 1000 bytes, or with a line break")
	}
	if p := strings.Trim(u.Path, "/"); p != "" {
		s.prefix = p
	}
	for name, values := range u.Query() {
		switch value := values[0]; {
		case name == "version" && value == "3.1.1":
			s.version = version311
		case name == "version" && value == "5":
		case name == "version":
			return s, errors.New("has a version of MQTT that is neither 5 nor 3.1.1")
		case name == "discovery" && value != "":
			s.discovery = strings.Trim(value, "/")
		default:
			return s, errors.New("has a parameter that MQTT doesn't know; it knows version=3.1.1 and discovery=homeassistant")
		}
	}
	for _, topic := range []string{s.prefix, s.discovery} {
		if len(topic) > 200 || !isText(topic) || strings.ContainsAny(topic, "+#") || strings.HasPrefix(topic, "$") {
			return s, errors.New("has a topic that can't be published to: at most 200 bytes, without + and #, and not beginning with $")
		}
	}
	sum := sha256.Sum256([]byte(s.host + "\x00" + s.prefix))
	s.device = "logscan_" + hex.EncodeToString(sum[:4])
	return s, nil
}

// isText reports whether MQTT takes a string.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}
