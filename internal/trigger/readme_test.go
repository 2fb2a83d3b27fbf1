package trigger

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"logscan/internal/store"
)

// TestPayloadIsDocumented compares the README's example of a webhook with what
// is sent: no member more and none less.
func TestPayloadIsDocumented(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(readme), "## Webhooks\n")
	_, example, ok2 := strings.Cut(section, "```json\n")
	example, prose, ok3 := strings.Cut(example, "```\n")
	if !ok || !ok2 || !ok3 {
		t.Fatal("README.md has no example of a webhook")
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(example)))
	dec.DisallowUnknownFields()
	var p payload
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("the example is none of ours: %v", err)
	}
	if p.Type != "logscan.hit" || p.Data.Source != store.SourceLogscan {
		t.Errorf("the example is of type %s and source %s", p.Type, p.Data.Source)
	}
	for _, of := range []reflect.Type{reflect.TypeFor[payload](), reflect.TypeFor[store.Event]()} {
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if name != "-" && !strings.Contains(example, `"`+name+`":`) && !strings.Contains(prose, "`\""+name+"\":") {
				t.Errorf("README.md, Webhooks: %q is missing", name)
			}
		}
	}
}
