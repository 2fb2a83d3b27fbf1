package action

import (
	"strings"
	"testing"
	"time"
)

func TestTokens(t *testing.T) {
	key, now := []byte("a key of thirty-two bytes length"), time.Unix(1_800_000_000, 0).UTC()
	for _, v := range Verbs {
		a := Action{Incident: 42, Verb: v, Until: now.Add(Good)}
		token := Token(key, a)
		if got, err := Verify(key, token, now); err != nil || got != a {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := Verify(key, token, a.Until); err != ErrExpired {
			t.Errorf("at its end: %v", err)
		}
		if _, err := Verify([]byte("another key"), token, now); err != ErrForged {
			t.Errorf("by another key: %v", err)
		}
		for i := range token {
			for _, c := range []byte("AZaz09-_= ") {
				forged := token[:i] + string(c) + token[i+1:]
				if forged == token {
					continue
				}
				if got, err := Verify(key, forged, now); err == nil {
					t.Fatalf("%q is taken as %+v", forged, got)
				}
			}
		}
	}
	for _, token := range []string{"", "x", strings.Repeat("A", 44), strings.Repeat("A", 1<<16), "../../etc"} {
		if _, err := Verify(key, token, now); err != ErrForged {
			t.Errorf("%q: %v", token, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	key, now := []byte("key"), time.Unix(1_800_000_000, 0)
	good := Token(key, Action{1, Acknowledge, now.Add(time.Hour)})
	f.Add(good)
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := Verify(key, token, now); err == nil && token != good {
			t.Errorf("%q is taken", token)
		}
	})
}
