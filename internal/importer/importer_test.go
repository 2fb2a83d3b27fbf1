package importer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamples imports files that are as the programs' documentation has them, and
// compares with what is to come of it. UPDATE=1 writes that anew.
func TestExamples(t *testing.T) {
	for _, row := range []struct {
		name, source string
		paths        []string
		options      Options
	}{
		{name: "loggifly-1", source: "loggifly", paths: []string{"loggifly-1/config.yaml"}},
		{name: "loggifly-2", source: "loggifly", paths: []string{"loggifly-2"}},
		{name: "dozzle", source: "dozzle", paths: []string{"dozzle/notifications.yml"}},
		{name: "logcheck", source: "logcheck", paths: []string{"logcheck"}},
		{name: "logcheck-strip", source: "logcheck", paths: []string{"logcheck"}, options: Options{StripSyslogHead: true}},
		{name: "fail2ban", source: "fail2ban", paths: []string{"fail2ban"}},
		{name: "fail2ban-filter", source: "fail2ban", paths: []string{"fail2ban/filter.d/gate.conf"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Chdir("testdata")
			r, err := Import(row.source, row.paths, row.options)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			b.Write(r.Document)
			fmt.Fprintf(&b, "---\n# read %d, over %d, rules %d, triggers %d, secrets %v\n", r.Read, r.Over, r.Rules, r.Triggers, r.Secrets)
			for _, l := range r.Left {
				fmt.Fprintf(&b, "# part %v: %s\n", l.Part, l)
			}
			golden := filepath.Join("golden", row.name+".yaml")
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("it became\n%s\nand not\n%s", b.String(), want)
			}
			for _, secret := range []string{"s3cr3t", "tk_abcdefgh", "wh-tOkEn", "homelab", "vault-alerts", "AAbb", "k3y", "tOkEn", "pa55"} {
				if strings.Contains(b.String(), secret) {
					t.Errorf("%q came over", secret)
				}
			}
		})
	}
}
