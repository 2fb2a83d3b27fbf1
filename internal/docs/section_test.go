package docs

import (
	"slices"
	"testing"
)

func TestSetSection(t *testing.T) {
	page := "# Title\n<!-- begin generated: a -->\nold\n<!-- end generated: a -->\nText.\n<!-- begin generated: b-c -->\n<!-- end generated: b-c -->\n"
	if names := Sections(page); !slices.Equal(names, []string{"a", "b-c"}) {
		t.Errorf("sections: %q", names)
	}
	got, err := SetSection(page, "a", "new\n\n")
	want := "# Title\n<!-- begin generated: a -->\n\nnew\n\n<!-- end generated: a -->\nText.\n<!-- begin generated: b-c -->\n<!-- end generated: b-c -->\n"
	if err != nil || got != want {
		t.Errorf("got\n%s\n%v, want\n%s", got, err, want)
	}
	if again, err := SetSection(got, "a", "new"); err != nil || again != got {
		t.Errorf("set once more, it is another one:\n%s\n%v", again, err)
	}
	for name, page := range map[string]string{
		"none":   "# Title\n",
		"no end": "<!-- begin generated: a -->\n",
		"twice":  page + page,
	} {
		if got, err := SetSection(page, "a", "new"); err == nil {
			t.Errorf("%s: no error, but\n%s", name, got)
		}
	}
}
