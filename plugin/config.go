package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"logscan/internal/api"
	"logscan/internal/config"
)

// fromFiles are the options of commands that read files.
type fromFiles struct {
	path   string
	source string
	prune  bool
}

func (f *fromFiles) options(cmd *cobra.Command, applied bool) {
	cmd.Flags().StringVarP(&f.path, "file", "f", "", `A YAML file, a directory of them, or "-" for standard input`)
	_ = cmd.MarkFlagRequired("file")
	if applied {
		cmd.Flags().StringVar(&f.source, "source", "", "What the files are called together: what was declared before under this name is theirs (default: the name of the file or directory)")
		cmd.Flags().BoolVar(&f.prune, "prune", false, "Remove what the source declared before and no longer does")
	}
}

// read reads the files.
func (f *fromFiles) read(c *cli) ([]config.File, error) {
	if f.path == "-" {
		one, err := config.Read("stdin", c.in)
		return []config.File{one}, err
	}
	return config.Load(f.path)
}

// request is what is sent of the files, after they were found to be right: with what their
// references stand for here.
func (f *fromFiles) request(c *cli) (api.ConfigApply, error) {
	files, err := f.read(c)
	if err != nil {
		return api.ConfigApply{}, err
	}
	out := api.ConfigApply{Source: f.source, Prune: f.prune, Secrets: map[string]string{}}
	dir := f.path
	if abs, err := filepath.Abs(f.path); err == nil && out.Source == "" {
		out.Source = filepath.Base(abs)
	}
	if f.path == "-" {
		dir = "."
		if f.source == "" {
			out.Source = "stdin"
		}
	} else if len(files) == 1 && filepath.Base(f.path) == files[0].Name {
		dir = filepath.Dir(f.path)
	}
	local := config.Local(dir)
	_, err = config.Parse(files, func(ref string) (string, error) {
		v, err := local(ref)
		if err == nil {
			out.Secrets[ref] = v
		}
		return v, err
	})
	for _, file := range files {
		out.Files = append(out.Files, api.ConfigFile{Name: file.Name, Text: string(file.Data)})
	}
	return out, err
}

// wrongFiles prints what is wrong with files, each thing with its place.
func (c *cli) wrongFiles(err error) error {
	var wrong *config.Problems
	var refused *api.Problem
	text := ""
	switch {
	case errors.As(err, &wrong):
		text = wrong.Error()
	case errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity:
		text = refused.Detail
	default:
		return err
	}
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprintln(c.err, clean(line))
	}
	return exitError(exitFailed)
}

func (c *cli) applyCommand() *cobra.Command {
	var f fromFiles
	var dry bool
	cmd := &cobra.Command{
		Use: "apply [OPTIONS]", Short: "Apply rules, triggers and silences that files declare", Args: args(0, 0),
		Long: `Apply rules, triggers and silences that files declare, all of it or nothing.

What files declare is theirs: it is changed and removed there alone. What was made with
the command line becomes a file's that declares it. With --prune, what the files declared
before and no longer do is removed.

Rules are tried on the lines that they have as tests first. What is wrong is told with its
place, and then nothing is changed.`,
		Example: `  docker logscan apply -f logscan.yaml
  docker logscan apply -f logscan.d --prune
  docker logscan apply -f logscan.yaml --dry-run`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.request(c)
			if err != nil {
				return c.wrongFiles(err)
			}
			req.DryRun = dry
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				plan, err := client.ApplyConfig(ctx, req)
				if err != nil {
					return c.wrongFiles(err)
				}
				c.printPlan(plan)
				return nil
			})
		},
	}
	f.options(cmd, true)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "Only say what would be changed")
	return cmd
}

func (c *cli) diffCommand() *cobra.Command {
	var f fromFiles
	cmd := &cobra.Command{
		Use: "diff [OPTIONS]", Short: "Show what applying files would change", Args: args(0, 0),
		Long: `Show what applying files would change. Exits with 3 if that is anything.`,
		Example: `  docker logscan diff -f logscan.yaml
  docker logscan diff -f logscan.d --prune`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req, err := f.request(c)
			if err != nil {
				return c.wrongFiles(err)
			}
			req.DryRun = true
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				plan, err := client.ApplyConfig(ctx, req)
				if err != nil {
					return c.wrongFiles(err)
				}
				c.printChanges(plan.Changes)
				if len(plan.Changes) > 0 {
					return exitError(exitNoMatch)
				}
				return nil
			})
		},
	}
	f.options(cmd, true)
	return cmd
}

func (c *cli) validateCommand() *cobra.Command {
	var f fromFiles
	cmd := &cobra.Command{
		Use: "validate [OPTIONS]", Short: "Check files, without the plugin", Args: args(0, 0),
		Long: `Check files that declare rules, triggers and silences, and try the rules on the lines that
they have as tests. It needs neither the plugin nor the secrets that are referred to.`,
		Example: `  docker logscan validate -f logscan.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := f.read(c)
			if err != nil {
				return err
			}
			set, err := config.Parse(files, config.Unknown)
			if err == nil {
				err = set.Test(cmd.Context(), nil)
			}
			if err != nil {
				return c.wrongFiles(err)
			}
			for _, name := range set.Elsewhere() {
				fmt.Fprintf(c.err, "Note: a rule names the trigger %s, which has to exist where this is applied\n", clean(name))
			}
			fmt.Fprintf(c.out, "%s is right: %s, %s, %s, %s\n", clean(f.path), several(len(set.Rules), "rule"), several(len(set.Triggers), "trigger"), several(len(set.Silences), "silence"), several(set.TestCount(), "test"))
			return nil
		},
	}
	f.options(cmd, false)
	return cmd
}

func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (c *cli) exportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "export", Short: "Print rules, triggers and silences as a file", Args: args(0, 0),
		Long: `Print rules, triggers and silences as a file that can be applied. No secret is in it: where
one is kept that isn't referred to, it says ${stored}, which leaves it as it is.`,
		Example: `  docker logscan export
  docker logscan export > logscan.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				out, err := client.ExportConfig(ctx)
				if err == nil {
					_, err = c.out.Write(out)
				}
				return err
			})
		},
	}
}

func (c *cli) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the files, for editors", Args: args(0, 0),
		Long:    `Print the JSON Schema of the files that apply takes, with which editors complete and check them.`,
		Example: `  docker logscan schema > ` + config.SchemaFile,
		RunE: func(*cobra.Command, []string) error {
			out, err := config.Schema()
			if err == nil {
				_, err = c.out.Write(out)
			}
			return err
		},
	}
}

// planned are the marks and words of a plan's actions, in their order.
var planned = []struct{ action, mark, color, word string }{
	{config.Add, "+", "32", "added"},
	{config.Change, "~", "33", "changed"},
	{config.Adopt, ">", "36", "taken over"},
	{config.Remove, "-", "31", "removed"},
}

// printPlan prints what was changed, or would be.
func (c *cli) printPlan(p api.ConfigPlan) {
	c.printChanges(p.Changes)
	count := map[string]int{}
	for _, ch := range p.Changes {
		count[ch.Action]++
	}
	var said []string
	for _, a := range planned {
		if n := count[a.action]; n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, a.word))
		}
	}
	switch {
	case len(said) == 0:
		fmt.Fprintln(c.err, "Nothing to change.")
	case p.Applied:
		fmt.Fprintf(c.err, "Applied: %s.\n", strings.Join(said, ", "))
	default:
		fmt.Fprintf(c.err, "Would be applied: %s.\n", strings.Join(said, ", "))
	}
}

// printChanges prints changes, and what fields become.
func (c *cli) printChanges(changes []api.ConfigChange) {
	for _, ch := range changes {
		for _, a := range planned {
			if a.action != ch.Action {
				continue
			}
			mark := a.mark
			if c.color {
				mark = "\x1b[" + a.color + "m" + mark + "\x1b[m"
			}
			why := ch.Why
			if ch.Action == config.Adopt {
				why = "was made by the API"
			}
			if why != "" {
				why = " (" + clean(why) + ")"
			}
			fmt.Fprintf(c.out, "%s %s %s%s\n", mark, ch.Kind, clean(ch.Key), why)
		}
		for _, f := range ch.Fields {
			fmt.Fprintf(c.out, "    %s: %s -> %s\n", f.Name, shownValue(f.From), shownValue(f.To))
		}
	}
}

// shownValue is a field's value in a line.
func shownValue(s string) string {
	if s == "" {
		return "none"
	}
	return clean(s)
}
