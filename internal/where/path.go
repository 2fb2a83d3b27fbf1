package where

import (
	"strconv"
	"strings"
)

// maxSegments is how deep a path may go.
const maxSegments = 16

// segment is a step of a path: a key of an object, or an index of an array.
type segment struct {
	key     string
	index   int
	isIndex bool
	quoted  bool
}

// path leads to a field.
type path []segment

func (p path) String() string {
	var b strings.Builder
	for i, s := range p {
		switch {
		case s.isIndex:
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
			continue
		case i > 0:
			b.WriteByte('.')
		}
		if s.quoted {
			b.WriteString(quote(s.key))
		} else {
			b.WriteString(s.key)
		}
	}
	return b.String()
}

// flat is the key that the whole path may be, if it has no index.
func (p path) flat() (string, bool) {
	keys := make([]string, len(p))
	for i, s := range p {
		if s.isIndex {
			return "", false
		}
		keys[i] = s.key
	}
	return strings.Join(keys, "."), true
}

// isLevel reports whether the path is the line's level rather than a field.
func (p path) isLevel() bool { return len(p) == 1 && p[0].key == "level" && !p[0].quoted }

var quoter = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// quote writes a text as conditions have it.
func quote(s string) string { return `"` + quoter.Replace(s) + `"` }
