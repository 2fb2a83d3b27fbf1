package logdriver

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/daemon/logger"
)

// TestOptionsAreDocumented compares the README's table of log options with those
// that there are, and its defaults with what comes of saying them.
func TestOptionsAreDocumented(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(readme), "## Log options\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !ok {
		t.Fatal("README.md has no section Log options")
	}
	var names []string
	for _, m := range regexp.MustCompile("(?m)^\\| (`.*?`) \\| (?:`(.*?)`)? ?\\|").FindAllStringSubmatch(section, -1) {
		row := strings.Split(strings.ReplaceAll(m[1], "`", ""), ", ")
		names = append(names, row...)
		if m[2] == "" {
			continue
		}
		bare, err := ParseLogOpts(logger.Info{})
		if err != nil {
			t.Fatal(err)
		}
		said, err := ParseLogOpts(logger.Info{Config: map[string]string{row[0]: m[2]}})
		if err != nil || said.Options != bare.Options || said.Scan != bare.Scan {
			t.Errorf("README.md: %s is not the default of %s: %+v, %v", m[2], row[0], said.Options, err)
		}
	}
	slices.Sort(names)
	if want := slices.Sorted(maps.Keys(options)); !slices.Equal(names, want) {
		t.Errorf("README.md has the log options\n%v, there are\n%v", names, want)
	}
}
