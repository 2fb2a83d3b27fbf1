package app

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"logscan/internal/docs"
)

// TestSettingsAreDocumented compares the settings that the code reads with those
// that config.json declares, without which they could not be set, and with the
// manual's table; and the defaults that each of the three names.
func TestSettingsAreDocumented(t *testing.T) {
	var read []string
	ConfigFromEnv(func(name string) string {
		// Directories are not for users: they are what the Engine says.
		if !strings.HasSuffix(name, "_DIR") && !slices.Contains(read, name) {
			read = append(read, name)
		}
		return ""
	})
	slices.Sort(read)

	b, err := os.ReadFile("../../config.json")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Env []struct {
			Name, Description, Value string
			Settable                 []string
		}
	}
	if err := json.Unmarshal(b, &config); err != nil {
		t.Fatal(err)
	}
	inConfig := map[string]string{}
	for _, s := range config.Env {
		m := regexp.MustCompile(`Default: (\w+)\b`).FindStringSubmatch(s.Description)
		if m == nil {
			t.Errorf("config.json doesn't say the default of %s", s.Name)
			continue
		}
		inConfig[s.Name] = m[1]
		if m[1] == "none" || m[1] == "generated" {
			inConfig[s.Name] = "" // not a value to set
		}
		if s.Value != "" || !slices.Equal(s.Settable, []string{"value"}) {
			t.Errorf("config.json: %s has the value %q, settable %v; defaults belong in the code", s.Name, s.Value, s.Settable)
		}
	}

	page, _ := docs.Page("settings")
	inPage := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(LOGSCAN_\\w+)` \\| (?:`(.*?)`|none|generated)[ :]").FindAllStringSubmatch(page, -1) {
		inPage[m[1]] = m[2]
	}

	defaults := ConfigFromEnv(func(string) string { return "" })
	for where, documented := range map[string]map[string]string{"config.json": inConfig, "settings.md": inPage} {
		if names := slices.Sorted(maps.Keys(documented)); !slices.Equal(names, read) {
			t.Errorf("%s has the settings\n%v, the code reads\n%v", where, names, read)
		}
		for name, value := range documented {
			c := ConfigFromEnv(func(n string) string {
				if n == name {
					return value
				}
				return ""
			})
			if !reflect.DeepEqual(c, defaults) {
				t.Errorf("%s: %q is not the default of %s", where, value, name)
			}
		}
	}
}
