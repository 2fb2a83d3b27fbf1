package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"logscan/internal/docs"
)

// TestReferenceIsFresh makes the manual's reference of the commands anew and
// compares it with the one that is committed.
func TestReferenceIsFresh(t *testing.T) {
	page, ok := docs.Page("command-line")
	if !ok {
		t.Fatal("there is no page about the command line")
	}
	fresh, err := docs.SetSection(page, "commands", reference())
	if err != nil {
		t.Fatal(err)
	}
	if fresh != page {
		t.Error("internal/docs/command-line.md is stale: run `go generate ./internal/docs`")
	}
}

// Each command says in a line what it does, and shows how it is used.
func TestCommandsAreDescribed(t *testing.T) {
	for _, docker := range []bool{true, false} {
		root := (&cli{plugin: docker}).root()
		eachCommand(root, func(cmd *cobra.Command) {
			if cmd.Short == "" || strings.ContainsAny(cmd.Short, "\n") || strings.HasSuffix(cmd.Short, ".") {
				t.Errorf("%s: its description is %q", cmd.CommandPath(), cmd.Short)
			}
			if cmd.Example == "" && cmd.Annotations[groupKey] == "" && cmd.Name() != "completion" && cmd.Root() != cmd && cmd.Parent().Name() != "completion" {
				t.Errorf("%s has no example", cmd.CommandPath())
			}
			for _, line := range strings.Split(cmd.Long, "\n") {
				if len(line) > 100 {
					t.Errorf("%s: a line of %d characters in its help: %s", cmd.CommandPath(), len(line), line)
				}
			}
			cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
				if !f.Hidden && (f.Usage == "" || strings.HasSuffix(f.Usage, ".")) {
					t.Errorf("%s: the description of --%s is %q", cmd.CommandPath(), f.Name, f.Usage)
				}
			})
		})
	}
}

// All lists take the options that docker's take.
func TestListsTakeTheSameOptions(t *testing.T) {
	n := 0
	eachCommand((&cli{plugin: true}).root(), func(cmd *cobra.Command) {
		if cmd.Name() != "ls" {
			return
		}
		n++
		for _, name := range []string{"format", "quiet", "no-trunc"} {
			if cmd.Flags().Lookup(name) == nil {
				t.Errorf("%s has no --%s", cmd.CommandPath(), name)
			}
		}
		if cmd.Flags().ShorthandLookup("q") == nil || !cmd.HasAlias("list") {
			t.Errorf("%s has no -q, or is not called list as well", cmd.CommandPath())
		}
	})
	if n < 6 {
		t.Errorf("there are %d lists only", n)
	}
}

// Each example is one of the command that it stands by, or of how to come to it,
// and has its flags and arguments.
func TestExamplesAreCommands(t *testing.T) {
	call := regexp.MustCompile(`(?:^|[(|= ])docker (logscan [^|>)]*)`)
	n := 0
	eachCommand((&cli{plugin: true}).root(), func(of *cobra.Command) {
		of.InitDefaultHelpFlag()
		if of.Example == "" {
			return
		}
		calls := 0
		for _, line := range strings.Split(of.Example, "\n") {
			if !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: its example is not indented: %q", of.CommandPath(), line)
			}
			for _, m := range call.FindAllStringSubmatch(maskQuoted(line), -1) {
				// A tree of its own: what is parsed is kept in the flags.
				cmd, rest, err := (&cli{plugin: true}).root().Find(strings.Fields(m[1]))
				if err == nil {
					err = cmd.ParseFlags(rest)
				}
				if err == nil {
					err = cmd.ValidateArgs(cmd.Flags().Args())
				}
				if err != nil || cmd.Annotations[groupKey] != "" {
					t.Errorf("%s: the example %q: %v", of.CommandPath(), m[1], err)
				}
				if cmd.CommandPath() == of.CommandPath() {
					calls++
				}
			}
		}
		if calls == 0 {
			t.Errorf("%s: no example calls it: %s", of.CommandPath(), of.Example)
		}
		n++
	})
	if n < 20 {
		t.Errorf("only %d commands have examples", n)
	}
}

// maskQuoted makes one word of each quoted argument, and of what is put in for a
// command.
func maskQuoted(line string) string {
	return regexp.MustCompile(`'[^']*'|"[^"]*"`).ReplaceAllString(line, "QUOTED")
}
