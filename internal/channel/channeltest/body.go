package channeltest

import (
	"encoding/json"
	"reflect"
	"testing"
)

// Body checks that a request's body is the same JSON as want, and no member more.
func Body(t testing.TB, r Request, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(r.Body), &g); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("the body is\n%s\nnot\n%s", r.Body, want)
	}
}

// In is what stands in a decoded JSON value at a path of names and indexes.
func In(t testing.TB, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%v: no object at %q: %v", path, p, v)
			}
			v = m[p]
		case int:
			l, ok := v.([]any)
			if !ok || p >= len(l) {
				t.Fatalf("%v: no item %d: %v", path, p, v)
			}
			v = l[p]
		}
	}
	return v
}
