// Package mark keeps logscan from answering itself: what it sends carries a
// mark, and a line that holds one is no news.
//
// A receiver that logs what it is sent may run in a container that is scanned
// itself, and its line may match the very rule that the message came from. No
// filter on containers or on texts could tell that line from others for sure;
// the mark does.
//
// What it promises:
//   - Only who has the key, which doesn't leave the plugin, can make a mark. A
//     line can't be hidden from the rules by what somebody makes up, only by
//     repeating a mark that logscan has sent, and only for Life after that.
//   - In is a pure function of key, line and the line's own time.
//   - Looking for marks costs next to nothing in lines that don't hold Prefix,
//     and a bounded time in any.
//
// # Format
//
//	logscan-xxxxxxxxxxxxxxxxxxxxxxxx
//
// Behind Prefix are 24 characters of base32 (a–z, 2–7) of 15 bytes: Unix seconds
// (5 bytes, big-endian) and the first 10 bytes of HMAC-SHA256(key, seconds).
package mark

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

const (
	// Prefix begins every mark.
	Prefix = "logscan-"
	// Life is how long after its time a mark counts: well beyond the time for
	// which a delivery is retried.
	Life = 7 * 24 * time.Hour
	// early is how much before its time a mark counts: clocks are set back.
	early = time.Hour

	keyLen   = 32
	timeLen  = 5
	macLen   = 10
	textLen  = (timeLen + macLen) * 8 / 5
	maxTries = 64 // candidates looked at in one line
)

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Marker makes and finds marks. A nil one makes empty marks and finds none. It
// is safe concurrently.
type Marker struct{ key []byte }

// New returns a marker with a key that is this process's alone.
func New() *Marker {
	key := make([]byte, keyLen)
	rand.Read(key) // never fails
	return &Marker{key}
}

// Open returns a marker with the key in a file, which is made where there is
// none. A file that holds no key is replaced: nothing is lost but that older
// marks no longer count.
func Open(path string) (*Marker, error) {
	key, err := os.ReadFile(path)
	if err == nil && len(key) == keyLen {
		return &Marker{key}, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the key for marks: %w", err)
	}
	m := New()
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, m.key, 0o600); err != nil {
		return nil, fmt.Errorf("keep the key for marks: %w", err)
	}
	return m, os.Rename(tmp, path)
}

// At returns the mark of what was made at a time. It is the same whenever it is
// asked for.
func (m *Marker) At(t time.Time) string {
	if m == nil {
		return ""
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(max(t.Unix(), 0)))
	stamp := b[8-timeLen:]
	return Prefix + encoding.EncodeToString(append(stamp, m.mac(stamp)...))
}

func (m *Marker) mac(stamp []byte) []byte {
	h := hmac.New(sha256.New, m.key)
	h.Write(stamp)
	return h.Sum(nil)[:macLen]
}

// In reports whether a line written at a time (Unix nanoseconds) holds a mark.
func (m *Marker) In(line []byte, nano int64) bool {
	if m == nil {
		return false
	}
	for range maxTries {
		i := bytes.Index(line, []byte(Prefix))
		if i < 0 || len(line) < i+len(Prefix)+textLen {
			return false
		}
		line = line[i+len(Prefix):]
		if m.valid(line[:textLen], nano) {
			return true
		}
	}
	return false
}

func (m *Marker) valid(text []byte, nano int64) bool {
	var b [timeLen + macLen]byte
	if _, err := encoding.Decode(b[:], text); err != nil {
		return false
	}
	stamp := b[:timeLen]
	var wide [8]byte
	copy(wide[8-timeLen:], stamp)
	age := time.Unix(0, nano).Sub(time.Unix(int64(binary.BigEndian.Uint64(wide[:])), 0))
	return age >= -early && age <= Life && hmac.Equal(m.mac(stamp), b[timeLen:])
}
