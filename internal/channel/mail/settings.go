package mail

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"slices"
	"strings"

	"logscan/internal/channel"
)

// maxRecipients is how many a server has to take at once, by RFC 5321.
const maxRecipients = 100

// security is how a connection becomes TLS.
type security int

const (
	startTLS    security = iota // by STARTTLS, or not at all
	implicitTLS                 // from its first byte
	noTLS
)

// settings are what a URL says.
type settings struct {
	host, port     string
	security       security
	user, password string
	from           *mail.Address
	to             []*mail.Address
}

// hostport is the server that a URL names, with a port or without; it may lack.
func hostport(u *url.URL) string {
	if u.Scheme == "mailto" {
		return query(u).Get("server")
	}
	return u.Host
}

// target is the server, with its port.
func target(u *url.URL) string {
	host, port := split(u)
	if host == "" {
		return ""
	}
	return net.JoinHostPort(host, port)
}

func split(u *url.URL) (host, port string) {
	at := url.URL{Host: hostport(u)}
	host, port = at.Hostname(), at.Port()
	switch {
	case port != "":
	case u.Scheme == "smtps":
		port = "465"
	default:
		port = "587"
	}
	return host, port
}

// query has a + in an address mean itself.
func query(u *url.URL) url.Values {
	values, _ := url.ParseQuery(strings.ReplaceAll(u.RawQuery, "+", "%2B"))
	return values
}

func parse(u *url.URL, secret string) (s settings, err error) {
	values := query(u)
	known := []string{"from", "to", "tls"}
	s.user = u.User.Username()
	s.password, _ = u.User.Password()
	to := values.Get("to")
	if u.Scheme == "mailto" {
		known = []string{"from", "server", "user", "tls"}
		s.user = values.Get("user")
		if to, err = url.PathUnescape(u.Opaque); err != nil || to == "" {
			return s, errors.New("has no recipient; write mailto:ops@example.com?server=smtp.example.com:587, without slashes")
		}
	}
	for name := range values {
		if !slices.Contains(known, name) {
			return s, fmt.Errorf("has a parameter that e-mail doesn't know; it knows %s, and the password belongs into the secret", strings.Join(known, ", "))
		}
	}
	if s.host, s.port = split(u); s.host == "" {
		return s, errors.New("has no mail server; write smtp://smtp.example.com:587/?from=…&to=…, or mailto:…?server=smtp.example.com:587")
	}
	switch tls := values.Get("tls"); {
	case tls != "" && tls != "none":
		return s, errors.New("has a value of tls that e-mail doesn't know: none sends without TLS; without it, a connection is always TLS")
	case tls == "none" && u.Scheme == "smtps":
		return s, errors.New("has tls=none with smtps://; write smtp://")
	case tls == "none":
		s.security = noTLS
	case u.Scheme == "smtps" || s.port == "465":
		s.security = implicitTLS
	}

	if secret != "" {
		s.password = secret
	}
	if s.user == "" && s.password != "" {
		return s, errors.New("has a password, but no user; write the user before the server, as in smtp://user@smtp.example.com, or in mailto: as &user=")
	}
	if s.user != "" && s.password == "" {
		return s, channel.SecretError("is needed: the password of the URL's user")
	}
	if strings.ContainsAny(s.user+s.password, "\x00\r\n") {
		return s, errors.New("has a user or password with a line break")
	}
	from := values.Get("from")
	if from == "" && strings.Contains(s.user, "@") {
		from = s.user
	}
	if from == "" {
		return s, errors.New("has no sender; add from=logscan@example.com")
	}
	senders, err := addresses(from)
	if err != nil || len(senders) != 1 {
		return s, errors.New("has a sender (from) that is not one mail address such as logscan@example.com")
	}
	s.from = senders[0]
	if to == "" {
		return s, errors.New("has no recipient; add to=ops@example.com")
	}
	if s.to, err = addresses(to); err != nil {
		return s, errors.New("has a recipient that is not a mail address such as ops@example.com; several are separated by commas")
	}
	if len(s.to) > maxRecipients {
		return s, fmt.Errorf("has more than %d recipients", maxRecipients)
	}
	return s, nil
}

// addresses parses a list of addresses that any server takes: SMTP commands have
// them as they are.
func addresses(list string) ([]*mail.Address, error) {
	all, err := mail.ParseAddressList(list)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`<>"()[]\,;:`, r) }) {
			return nil, errors.New("an address with characters that not all servers take")
		}
	}
	return all, nil
}
