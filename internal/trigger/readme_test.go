package trigger

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"logscan/internal/docs"
	"logscan/internal/event"
)

// TestPayloadIsDocumented compares the manual's example of a webhook with what
// is sent: no member more and none less.
func TestPayloadIsDocumented(t *testing.T) {
	page, _ := docs.Page("webhooks")
	_, example, ok := strings.Cut(page, "```json\n")
	example, prose, ok2 := strings.Cut(example, "```\n")
	if !ok || !ok2 {
		t.Fatal("webhooks.md has no example of a webhook")
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(example)))
	dec.DisallowUnknownFields()
	var p payload
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("the example is none of ours: %v", err)
	}
	if p.Type != "logscan.hit" || p.Data.Source != string(event.Logscan) {
		t.Errorf("the example is of type %s and source %s", p.Type, p.Data.Source)
	}
	for _, of := range []reflect.Type{reflect.TypeFor[payload](), reflect.TypeFor[data]()} {
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if name != "-" && !strings.Contains(example, `"`+name+`":`) && !strings.Contains(prose, "`\""+name+"\":") {
				t.Errorf("webhooks.md: %q is missing", name)
			}
		}
	}
}
