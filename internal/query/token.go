package query

import (
	"encoding/base64"
	"encoding/binary"

	"logscan/internal/journal"
)

// place is one in the order of all lines, oldest first.
type place struct {
	key int64 // a line's time, see the package's documentation
	id  string
	to  int64 // the offset behind it
}

func (p place) before(q place) bool {
	if p.key != q.key {
		return p.key < q.key
	}
	if p.id != q.id {
		return p.id < q.id
	}
	return p.to < q.to
}

// tokenVersion is the first byte of a token, and the second tells its order:
//
//	+---------+-------+-------------+------------+----+
//	| version | order | key (int64) | to (int64) | id |
//	+---------+-------+-------------+------------+----+
const (
	tokenVersion = 1
	tokenHead    = 18
)

// token is a place behind which a search goes on.
func token(p place, oldest bool) string {
	b := []byte{tokenVersion, 0}
	if oldest {
		b[1] = 1
	}
	b = binary.BigEndian.AppendUint64(b, uint64(p.key))
	b = binary.BigEndian.AppendUint64(b, uint64(p.to))
	return base64.RawURLEncoding.EncodeToString(append(b, p.id...))
}

// parseToken reads what token made.
func parseToken(text string, oldest bool) (p place, err error) {
	wrong := refuse("from", "is no place that a search gave as next")
	if len(text) > 256 {
		return p, wrong
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < tokenHead || b[0] != tokenVersion || b[1] > 1 {
		return p, wrong
	}
	p = place{int64(binary.BigEndian.Uint64(b[2:])), string(b[tokenHead:]), int64(binary.BigEndian.Uint64(b[10:]))}
	if p.id != "" && p.id != lastID && !journal.ValidID(p.id) {
		return p, wrong
	}
	if (b[1] == 1) != oldest {
		return p, refuse("from", "is of a search in the other order")
	}
	return p, nil
}

// lastID is behind those of all containers.
const lastID = "~"
