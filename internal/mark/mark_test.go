package mark

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
	m, other := New(), New()
	at := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	mark := m.At(at)
	if mark != m.At(at) || !strings.HasPrefix(mark, Prefix) || len(mark) != len(Prefix)+24 || strings.ToLower(mark) != mark {
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
		"another key's":             {other.At(at), at, false},
		"cut at its end":            {mark[:len(mark)-1], at, false},
		"cut at its beginning":      {mark[1:], at, false},
		"another time in it":        {flip(len(Prefix) + 6), at, false},
		"another end":               {flip(len(mark) - 1), at, false},
		"in capitals":               {strings.ToUpper(mark), at, false},
		"as its life ends":          {mark, at.Add(Life - time.Second), true},
		"after its life":            {mark, at.Add(Life + time.Second), false},
		"with a clock set back":     {mark, at.Add(-59 * time.Minute), true},
		"long before it could be":   {mark, at.Add(-2 * time.Hour), false},
		"at a time beyond all time": {mark, time.Unix(0, -1<<63), false},
	} {
		if got := m.In([]byte(tt.line), tt.at.UnixNano()); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	var none *Marker
	if none.At(at) != "" || none.In([]byte(mark), at.UnixNano()) {
		t.Error("a marker that is none marks")
	}
}

// The key outlives the process, and a broken one is replaced.
func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	open := func() *Marker {
		t.Helper()
		m, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	first := open()
	if again := open(); !bytes.Equal(first.key, again.key) || len(first.key) != keyLen {
		t.Error("the key changes")
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := open()
	if bytes.Equal(first.key, second.key) || !bytes.Equal(second.key, open().key) {
		t.Error("a broken key was not replaced")
	}
	if _, err := Open(filepath.Join(path, "no", "way")); err == nil {
		t.Error("no error where there is no directory")
	}
}

func FuzzIn(f *testing.F) {
	m := New()
	at := time.Unix(1_800_000_000, 0)
	f.Add([]byte("logscan-"+strings.Repeat("a", 24)), int64(0))
	f.Add([]byte(m.At(at)[:31]), at.UnixNano())
	f.Fuzz(func(t *testing.T, line []byte, nano int64) {
		if m.In(line, nano) {
			t.Errorf("%q holds a mark", line)
		}
	})
}
