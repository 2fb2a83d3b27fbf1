package webhook

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"logscan/internal/docs"
)

// TestPayloadIsDocumented compares the manual's example of a message about incidents
// with what is sent: no member that isn't.
func TestPayloadIsDocumented(t *testing.T) {
	page, _ := docs.Page("webhooks")
	_, page, _ = strings.Cut(page, "\n## Incidents\n")
	_, example, ok := strings.Cut(page, "```json\n")
	example, _, ok2 := strings.Cut(example, "```\n")
	if !ok || !ok2 {
		t.Fatal("webhooks.md has no example of a message about incidents")
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(example)))
	dec.DisallowUnknownFields()
	var p Payload[data]
	if err := dec.Decode(&p); err != nil {
		t.Fatalf("the example is none of ours: %v", err)
	}
	if p.Type != "logscan.incident" || len(p.Data.Notices) != 1 || p.Data.Held.Notices == 0 || p.Data.Title == "" {
		t.Errorf("the example is %+v", p)
	}
	if want := p.Data.Notices[0]; want.Key == "" || want.Shape == "" || want.Count == 0 || len(want.Actions) != 1 {
		t.Errorf("the example's notice is %+v", want)
	}
}
