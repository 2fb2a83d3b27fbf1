// Package echo keeps logscan from answering itself: what it sends carries a
// mark, and a line that repeats it is no news.
//
// A receiver that logs what it is sent may run in a container that is scanned
// itself, and its line may match the very rule that the message came from. No
// filter on containers or on texts could tell that line from others for sure;
// the mark does.
//
// What it promises:
//   - Only who has the key, which doesn't leave the plugin, can make a mark.
//   - A mark hides a line from the rules that it names, and from no other: those
//     that match what was sent with it. So who has read a message and copies its
//     mark can hide lines from these rules, for Life, and from no others. Hidden
//     lines are counted, by container.
//   - Verify is a pure function of key, line and the line's own time.
//   - Looking for marks costs next to nothing in lines that don't hold Prefix,
//     and a bounded time in any.
//
// # Format
//
//	logscan-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
//
// Behind Prefix are 40 characters of base32 (a–z, 2–7) of 25 bytes:
//
//	+----------------------+---------------------+----------------------------+
//	| Unix seconds (5,     | Rules (8,           | the first 12 bytes of      |
//	| big-endian)          | big-endian)         | HMAC-SHA256(key, both)     |
//	+----------------------+---------------------+----------------------------+
package echo

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
	rulesLen = 8
	macLen   = 12
	saidLen  = timeLen + rulesLen
	textLen  = (saidLen + macLen) * 8 / 5
	maxTries = 64 // candidates looked at in one line
)

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Rules is a set of rules, by their ids modulo 64. Where there are more than 64
// rules, some pass for others.
type Rules uint64

// With returns the set with one more rule in it.
func (r Rules) With(id int64) Rules { return r | 1<<(uint64(id)%64) }

// Has reports whether a rule is in the set, or passes for one that is.
func (r Rules) Has(id int64) bool { return r>>(uint64(id)%64)&1 != 0 }

// Key signs and verifies marks. A nil one makes empty marks and finds none. It is
// safe concurrently.
type Key struct{ secret []byte }

// NewKey returns a key that is this process's alone.
func NewKey() *Key {
	secret := make([]byte, keyLen)
	rand.Read(secret) // never fails
	return &Key{secret}
}

// OpenKey returns the key in a file, which is made where there is none. A file
// that holds no key is replaced: nothing is lost but that older marks no longer
// count.
func OpenKey(path string) (*Key, error) {
	secret, err := os.ReadFile(path)
	if err == nil && len(secret) == keyLen {
		return &Key{secret}, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the key for marks: %w", err)
	}
	k := NewKey()
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, k.secret, 0o600); err != nil {
		return nil, fmt.Errorf("keep the key for marks: %w", err)
	}
	return k, os.Rename(tmp, path)
}

// Sign returns the mark of what was made at a time and hides its echoes from
// rules. It is the same whenever it is asked for.
func (k *Key) Sign(t time.Time, rules Rules) string {
	if k == nil {
		return ""
	}
	b := make([]byte, 8, 8+rulesLen+macLen)
	binary.BigEndian.PutUint64(b, uint64(max(t.Unix(), 0)))
	b = binary.BigEndian.AppendUint64(b, uint64(rules))
	b = b[8-timeLen:]
	return Prefix + encoding.EncodeToString(append(b, k.mac(b)...))
}

// Derive returns a key for another purpose.
func (k *Key) Derive(purpose string) []byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write([]byte("logscan key for " + purpose))
	return h.Sum(nil)
}

func (k *Key) mac(said []byte) []byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write(said)
	return h.Sum(nil)[:macLen]
}

// Verify returns the rules from which the marks in a line hide it, where it was
// written at a time (Unix nanoseconds).
func (k *Key) Verify(line []byte, nano int64) Rules {
	if k == nil {
		return 0
	}
	var rules Rules
	for range maxTries {
		i := bytes.Index(line, []byte(Prefix))
		if i < 0 || len(line) < i+len(Prefix)+textLen {
			break
		}
		line = line[i+len(Prefix):]
		rules |= k.verify(line[:textLen], nano)
	}
	return rules
}

func (k *Key) verify(text []byte, nano int64) Rules {
	var b [saidLen + macLen]byte
	if _, err := encoding.Decode(b[:], text); err != nil {
		return 0
	}
	var wide [8]byte
	copy(wide[8-timeLen:], b[:timeLen])
	age := time.Unix(0, nano).Sub(time.Unix(int64(binary.BigEndian.Uint64(wide[:])), 0))
	if age < -early || age > Life || !hmac.Equal(k.mac(b[:saidLen]), b[saidLen:]) {
		return 0
	}
	return Rules(binary.BigEndian.Uint64(b[timeLen:]))
}
