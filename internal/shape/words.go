package shape

import "bytes"

// belongs reports whether p, right behind a parameter, is a part of it: a unit, a
// month, a zone, or two hexadecimal digits of a dump.
func belongs(p []byte) bool {
	for len(p) > 0 && !is(p[len(p)-1], letter) {
		p = p[:len(p)-1]
	}
	for len(p) > 0 && !is(p[0], letter) {
		p = p[1:]
	}
	return unit(p) || zone(p) || dayOrMonth(p) ||
		len(p) == 2 && p[0] >= 'a' && p[0] <= 'f' && p[1] >= 'a' && p[1] <= 'f'
}

func unit(p []byte) bool {
	switch string(p) {
	case "ns", "us", "µs", "μs", "ms", "s", "m", "h", "d", "usec", "msec", "msecs", "sec", "secs", "second", "seconds",
		"min", "mins", "minute", "minutes", "hour", "hours", "day", "days",
		"B", "b", "k", "K", "M", "G", "T", "kb", "mb", "gb", "kB", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB", "byte", "bytes",
		"Hz", "kHz", "MHz", "GHz":
		return true
	}
	return false
}

func zone(p []byte) bool {
	switch string(p) {
	case "Z", "UTC", "GMT", "CET", "CEST", "EST", "EDT", "CST", "CDT", "MST", "MDT", "PST", "PDT", "BST", "IST", "JST", "MSK",
		"AM", "PM", "am", "pm":
		return true
	}
	return false
}

// dayOrMonth reports whether p is a weekday or a month in three letters, and perhaps
// a join.
func dayOrMonth(p []byte) bool {
	if len(p) == 4 && is(p[3], join) {
		p = p[:3]
	}
	switch string(p) {
	case "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun":
		return true
	}
	return month(p)
}

func month(p []byte) bool {
	switch string(p) {
	case "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec":
		return true
	}
	return false
}

// dateFollows reports whether a digit or a month stands at line[i], with at most two
// separators before the one, and three before the other.
func dateFollows(line []byte, i int) bool {
	for k := 0; k < 3 && i < len(line); k++ {
		switch c := line[i]; c {
		case ' ', ',', '-', '/', '.':
			i++
			continue
		default:
			if is(c, digit) {
				return true
			}
		}
		break
	}
	return i+3 < len(line) && month(line[i:i+3])
}

// nameKey reports whether what follows this key and a = is a name. Of request.user
// and db_user, the last part counts.
func nameKey(p []byte) bool {
	switch string(p[bytes.LastIndexAny(p, "._-")+1:]) {
	case "user", "ruser", "username", "login", "host", "rhost", "hostname", "name", "id", "key", "client", "peer", "pod", "node",
		"tenant", "customer", "account", "email", "session", "file", "path", "addr":
		return true
	}
	return false
}

// method reports whether p begins a request in an access log.
func method(p []byte) bool {
	switch string(p) {
	case "GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "PROPFIND":
		return true
	}
	return false
}

// product reports whether p begins like a user agent: curl/8.5.0.
func product(p []byte) bool {
	k := 0
	for k < len(p) && (is(p[k], letter) || p[k] == '-') {
		k++
	}
	return k > 0 && k+1 < len(p) && p[k] == '/' && is(p[k+1], digit)
}

// accessUser reports whether line[i:j] is the user of an access log's line: it
// stands between "- " and " [02/".
func accessUser(line []byte, i, j int) bool {
	return i >= 2 && line[i-2] == '-' && line[i-1] == ' ' && j+5 < len(line) && follows(line, j, " [") &&
		is(line[j+2], digit) && is(line[j+3], digit) && line[j+4] == '/'
}

// trust is how far a last label is taken for that of a host.
type trust int

const (
	never   trust = iota
	letters       // where the name has letters alone: v1.app is none
	always
)

func topLevel(label []byte) trust {
	switch string(label) {
	case "com", "net", "org", "edu", "gov", "io", "local", "internal", "lan", "localdomain", "arpa",
		"de", "uk", "fr", "nl", "eu", "ru", "cn", "jp", "br":
		return always
	case "mil", "info", "biz", "dev", "app", "cloud",
		"hk", "tw", "kr", "us", "ca", "au", "ch", "at", "it", "es", "pl", "se":
		return letters
	}
	return never
}

// fold reports whether p is the word, which is in small letters, in any case.
func fold(p []byte, word string) bool {
	if len(p) != len(word) {
		return false
	}
	for i := range p {
		if p[i]|0x20 != word[i] {
			return false
		}
	}
	return true
}
