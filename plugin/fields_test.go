package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/trigger"
)

// Each field of a rule or a trigger can be given when one is made and when it is
// changed, and an answer about it calls it as the command line does.
func TestFieldsAreOptions(t *testing.T) {
	c := &cli{}
	checkOptions[rule.Rule](t, c.ruleAdd(), c.ruleEdit())
	checkOptions[trigger.Trigger](t, c.triggerAdd(), c.triggerEdit())
}

func checkOptions[T fields.Defined[T]](t *testing.T, add, edit *cobra.Command) {
	t.Helper()
	what := fields.Of[T]().What
	for _, f := range fields.Of[T]().All {
		name := strings.ToLower(f.Flag)
		usage := f.Usage
		if usage == "" {
			usage = f.Description()
		}
		if f.IsArgument() {
			if !strings.Contains(add.Use, f.Flag) || argument[f.Name] != f.Flag {
				t.Errorf("%s is no argument of %q", f.Name, add.Use)
			}
		} else if fl := add.Flags().Lookup(name); fl == nil || !strings.HasPrefix(fl.Usage, usage) || argument[f.Name] != "--"+f.Flag {
			t.Errorf("%s is no option of %s add", f.Name, what)
		}
		none := map[fields.Kind]string{fields.Several: "[]", fields.Listed: "[]", fields.Count: "0"}[f.Kind] // pflag shows no such default
		if fl := edit.Flags().Lookup(name); f.Kind != fields.Switch && f.Kind != fields.Bool && (fl == nil || fl.DefValue != none) {
			t.Errorf("%s is no option of %s edit", f.Name, what)
		}
		for _, cmd := range []*cobra.Command{add, edit} {
			if f.Kind == fields.Secret && cmd.Flags().Lookup(name+"-file") == nil {
				t.Errorf("%s %s doesn't read %s from a file", what, cmd.Name(), f.Name)
			}
		}
	}
}
