package echo

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMarks(t *testing.T) {
	k, other := NewKey(), NewKey()
	at := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	rules := Rules(0).With(3).With(70)
	mark := k.Sign(at, rules)
	if mark != k.Sign(at, rules) || !strings.HasPrefix(mark, Prefix) || len(mark) != len(Prefix)+40 || strings.ToLower(mark) != mark {
		t.Fatalf("mark %q", mark)
	}
	flip := func(i int) string {
		b := []byte(mark)
		if b[i]++; b[i] > 'z' || b[i] == '8' {
			b[i] = 'a'
		}
		return string(b)
	}
	quoted, _ := json.Marshal(`{"message":"` + mark + `"}`)
	for name, tt := range map[string]struct {
		line string
		at   time.Time
		want bool
	}{
		"alone":                     {mark, at, true},
		"in a line":                 {"got [" + mark + "] Out of memory", at, true},
		"in letters":                {"x" + mark + "x", at, true},
		"in JSON in JSON":           {string(quoted), at, true},
		"behind other prefixes":     {strings.Repeat(Prefix, 20) + mark, at, true},
		"behind too many prefixes":  {strings.Repeat(Prefix, 100) + mark, at, false},
		"none":                      {"logscan-api.sock is listening since this morning", at, false},
		"empty":                     {"", at, false},
		"another key's":             {other.Sign(at, rules), at, false},
		"cut at its end":            {mark[:len(mark)-1], at, false},
		"cut at its beginning":      {mark[1:], at, false},
		"another time in it":        {flip(len(Prefix) + 6), at, false},
		"other rules in it":         {flip(len(Prefix) + 12), at, false},
		"another end":               {flip(len(mark) - 1), at, false},
		"in capitals":               {strings.ToUpper(mark), at, false},
		"as its life ends":          {mark, at.Add(Life - time.Second), true},
		"after its life":            {mark, at.Add(Life + time.Second), false},
		"with a clock set back":     {mark, at.Add(-59 * time.Minute), true},
		"long before it could be":   {mark, at.Add(-2 * time.Hour), false},
		"at a time beyond all time": {mark, time.Unix(0, -1<<63), false},
	} {
		want := Rules(0)
		if tt.want {
			want = rules
		}
		if got := k.Verify([]byte(tt.line), tt.at.UnixNano()); got != want {
			t.Errorf("%s: %x", name, got)
		}
	}
	var none *Key
	if none.Sign(at, rules) != "" || none.Verify([]byte(mark), at.UnixNano()) != 0 {
		t.Error("a key that is none marks")
	}

	// A mark is about its rules alone, and several are about all of theirs.
	if !rules.Has(3) || !rules.Has(70) || !rules.Has(6) || rules.Has(4) || rules.Has(7) || Rules(0).Has(0) {
		t.Errorf("rules %x", rules)
	}
	both := mark + k.Sign(at.Add(time.Minute), Rules(0).With(4)) + " " + other.Sign(at, Rules(0).With(5))
	if got := k.Verify([]byte(both), at.UnixNano()); got != rules.With(4) {
		t.Errorf("two marks: %x", got)
	}
}

// The key outlives the process, and a broken one is replaced.
func TestOpenKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	open := func() *Key {
		t.Helper()
		k, err := OpenKey(path)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := open()
	if again := open(); !bytes.Equal(first.secret, again.secret) || len(first.secret) != keyLen {
		t.Error("the key changes")
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := open()
	if bytes.Equal(first.secret, second.secret) || !bytes.Equal(second.secret, open().secret) {
		t.Error("a broken key was not replaced")
	}
	if _, err := OpenKey(filepath.Join(path, "no", "way")); err == nil {
		t.Error("no error where there is no directory")
	}
}

func FuzzVerify(f *testing.F) {
	k := NewKey()
	at := time.Unix(1_800_000_000, 0)
	f.Add([]byte("logscan-"+strings.Repeat("a", 40)), int64(0))
	f.Add([]byte(k.Sign(at, 1)[:47]), at.UnixNano())
	f.Fuzz(func(t *testing.T, line []byte, nano int64) {
		if k.Verify(line, nano) != 0 {
			t.Errorf("%q holds a mark", line)
		}
	})
}
