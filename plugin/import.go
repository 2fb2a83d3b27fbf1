package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"logscan/internal/importer"
)

func (c *cli) importCommand() *cobra.Command {
	var file string
	var o importer.Options
	cmd := &cobra.Command{
		Use: "import [OPTIONS] SOURCE FILE|DIR…", Args: args(2, -1),
		Short: "Make a file of rules from those of LoggiFly, Dozzle, logcheck or fail2ban",
		Long: `Make a file of rules, as "apply" takes it, from those of LoggiFly, Dozzle, logcheck or
fail2ban. It reads files alone, and needs no plugin.

What has no counterpart is a comment where it would stand, and is told on standard error
with file and line. Secrets don't come over: ${env:NAME} stands for each, and a comment says
what it is to be.`,
		Example: `  docker logscan import loggifly config.yaml
  docker logscan import dozzle data/notifications.yml -o rules.yaml
  docker logscan import logcheck --strip-syslog-head /etc/logcheck/ignore.d.server/postfix
  docker logscan import fail2ban /etc/fail2ban/filter.d/nginx-http-auth.conf`,
		ValidArgsFunction: func(_ *cobra.Command, a []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(a) == 0 {
				return importer.Sources, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, a []string) error {
			source := strings.ToLower(a[0])
			if !slices.Contains(importer.Sources, source) {
				return &usageError{cmd, fmt.Errorf("there is no source %q: it is one of %s", a[0], strings.Join(importer.Sources, ", "))}
			}
			if o.StripSyslogHead && source != "logcheck" {
				return &usageError{cmd, fmt.Errorf("--strip-syslog-head is for logcheck")}
			}
			r, err := importer.Import(source, a[1:], o)
			if err != nil {
				return err
			}
			if file == "" {
				_, err = c.out.Write(r.Document)
			} else {
				err = writeFile(file, r.Document)
			}
			if err == nil {
				c.tellImport(r)
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "Write to a file, which must not be there yet, instead of standard output")
	cmd.Flags().BoolVar(&o.StripSyslogHead, "strip-syslog-head", false, "Of logcheck: match lines without time, host and program too, as containers write them")
	_ = cmd.MarkFlagFilename("output", "yaml", "yml")
	return cmd
}

// writeFile makes a file, whole or not at all.
func writeFile(path string, data []byte) error {
	if _, err := os.Lstat(path); err == nil {
		return advise("name another file, or remove it", "%s is there already", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".import-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Link(f.Name(), path) // it fails where somebody made it meanwhile
}

// tellImport says what came over, and what did not.
func (c *cli) tellImport(r *importer.Result) {
	for _, l := range r.Left {
		what := "not over"
		if l.Part {
			what = "without"
		}
		fmt.Fprintf(c.err, "%s: %s %s: %s\n", clean(l.At), what, clean(l.What), clean(l.Why))
	}
	fmt.Fprintf(c.err, "%s of %s came over, as %s and %s\n", thousands(int64(r.Over)), count(r.Read, "rule"), count(r.Rules, "rule"), count(r.Triggers, "trigger"))
	if len(r.Secrets) > 0 {
		fmt.Fprintf(c.err, "to be set where the file is applied: %s\n", strings.Join(r.Secrets, ", "))
	}
}

// count is a number with what is counted.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return thousands(int64(n)) + " " + what
}
