package docs

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestTopics compares the list of topics with the pages that there are.
func TestTopics(t *testing.T) {
	var files, named []string
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".md"); ok {
			files = append(files, name)
		}
	}
	for _, topic := range Topics() {
		named = append(named, topic.Name)
		text, ok := Page(topic.Name)
		if !ok || !strings.HasPrefix(text, "# "+topic.Title+"\n") || topic.Title == "" || topic.About == "" {
			t.Errorf("%s: it needs a page that begins with its title, and a line about it: %+v", topic.Name, topic)
		}
	}
	slices.Sort(named)
	if !slices.Equal(files, named) {
		t.Errorf("the pages are\n%v, the topics\n%v", files, named)
	}
	if _, ok := Page("nothing"); ok {
		t.Error("there is a page of nothing")
	}
}
