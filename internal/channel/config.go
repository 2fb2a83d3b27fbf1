package channel

import (
	"net/url"
	"strings"
)

// Address is Base with the URL's path and query.
func Address(u *url.URL) *url.URL {
	a := Base(u)
	a.Path, a.RawPath, a.RawQuery = u.Path, u.RawPath, u.RawQuery
	return a
}

// OneSecret returns what stands either in a URL or beside it. Its error is a reason
// for users; lacks says what is missing where neither has it, and where that is
// found. What it returns can stand in a header.
func OneSecret(inURL, beside, lacks string) (string, error) {
	secret := inURL + beside
	switch {
	case secret == "":
		return "", SecretError(lacks)
	case inURL != "" && beside != "":
		return "", SecretError("stands in the URL already: leave it out of one of the two")
	case strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", SecretError("has a space, a line break or a character beyond ASCII; was more copied than it?")
	}
	return secret, nil
}

// UserInfo is what stands before a URL's host: "name:password", or one of the two.
func UserInfo(u *url.URL) string {
	password, _ := u.User.Password()
	return join(u.User.Username(), ":", password)
}
