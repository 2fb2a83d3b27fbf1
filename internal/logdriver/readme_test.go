package logdriver

import (
	"testing"

	"github.com/docker/docker/daemon/logger"
)

// TestDefaultsOfOptions compares the defaults that Options names, from which the
// manual's table is made, with what comes of saying them.
func TestDefaultsOfOptions(t *testing.T) {
	bare, err := ParseLogOpts(logger.Info{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range Options {
		if o.Want == "" || o.Meaning == "" {
			t.Errorf("%s: not documented", o.Name)
		}
		if o.Default == "" {
			continue
		}
		said, err := ParseLogOpts(logger.Info{Config: map[string]string{o.Name: o.Default}})
		if err != nil || said.Options != bare.Options || said.Scan != bare.Scan {
			t.Errorf("%s is not the default of %s: %+v, %v", o.Default, o.Name, said.Options, err)
		}
	}
}
