package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"logscan/internal/api"
)

// maxSecret bounds what is read of a secret's file.
const maxSecret = 4096

func (c *cli) triggerCommand() *cobra.Command {
	ls := listCommand(c, "List triggers", triggerColumns, triggerID,
		func(ctx context.Context, client *api.Client, _ *cobra.Command) ([]api.Trigger, error) {
			return client.Triggers(ctx)
		})
	cmd := group("trigger", "Manage triggers: who is told",
		ls, c.triggerAdd(), c.triggerEdit(), c.triggerRemove(),
		c.triggerSwitch("enable", true), c.triggerSwitch("disable", false), c.triggerTest())
	cmd.Aliases = []string{"triggers"}
	return cmd
}

var triggerColumns = []column[api.Trigger]{
	{head: "ID", cell: triggerID},
	{head: "NAME", cell: func(t api.Trigger) string { return t.Name }},
	{head: "ENABLED", cell: func(t api.Trigger) string { return yesNo(t.Enabled) }},
	{head: "SEVERITY", cell: func(t api.Trigger) string { return orAll(t.Severities) }},
	{head: "SOURCE", cell: func(t api.Trigger) string { return orAll(t.Sources) }},
	{head: "MATCH", cell: func(t api.Trigger) string { return orAll(t.MessageRegex) }, cut: true},
	{head: "SIGNED", cell: func(t api.Trigger) string { return yesNo(t.ActionSecret != "") }},
	{head: "URL", cell: func(t api.Trigger) string { return t.ActionURL }, cut: true},
}

func triggerID(t api.Trigger) string { return strconv.FormatInt(t.ID, 10) }

func orAll(s string) string {
	if s == "" {
		return "all"
	}
	return s
}

// triggerFlags are a trigger's fields as flags; only those given are sent.
type triggerFlags struct {
	name, url, secret, secretFile, match string
	severity, source                     []string
}

func (f *triggerFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.secret, "secret", "", `Sign what is sent with this secret; "-" reads it from standard input`)
	cmd.Flags().StringVar(&f.secretFile, "secret-file", "", "Read the secret from a file")
	cmd.Flags().StringSliceVar(&f.severity, "severity", nil, "Only events of these severities: info, warn, error (default all)")
	cmd.Flags().StringSliceVar(&f.source, "source", nil, "Only events of these sources: logscan (hits), system (default all)")
	cmd.Flags().StringVar(&f.match, "match", "", "Only events whose message matches this regular expression")
	complete(cmd, "severity", "info", "warn", "error")
	complete(cmd, "source", "logscan", "system")
}

func (f *triggerFlags) fields(c *cli, cmd *cobra.Command) (out api.TriggerFields, err error) {
	given := cmd.Flags().Changed
	for name, to := range map[string]struct {
		field *api.Field[string]
		value string
	}{
		"name": {&out.Name, f.name}, "url": {&out.ActionURL, f.url}, "match": {&out.MessageRegex, f.match},
		"severity": {&out.Severities, strings.Join(f.severity, ",")}, "source": {&out.Sources, strings.Join(f.source, ",")},
	} {
		if given(name) {
			*to.field = api.Set(to.value)
		}
	}
	if given("secret") && given("secret-file") {
		return out, &usageError{cmd, errors.New("either --secret or --secret-file, not both")}
	}
	switch {
	case given("secret-file"):
		s, err := c.readSecret("secret", f.secretFile)
		if err != nil {
			return out, err
		}
		out.ActionSecret = api.Set(s)
	case given("secret") && f.secret == "-":
		s, err := c.readSecret("secret", "-")
		if err != nil {
			return out, err
		}
		out.ActionSecret = api.Set(s)
	case given("secret"):
		out.ActionSecret = api.Set(f.secret)
	}
	return out, nil
}

// readSecret reads a secret, or a token, from a file, or standard input, up to
// the newline that editors and echo add.
func (c *cli) readSecret(what, path string) (string, error) {
	r, from := c.in, "standard input"
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", what, err)
		}
		defer f.Close()
		r, from = f, path
	}
	b, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	s := strings.TrimRight(string(b), "\r\n")
	switch {
	case len(b) > maxSecret:
		return "", fmt.Errorf("the %s in %s is longer than %d bytes", what, from, maxSecret)
	case s == "" && what == "secret":
		return "", advise(`--secret "" to send unsigned`, "there is no secret in %s", from)
	case s == "":
		return "", fmt.Errorf("there is no %s in %s", what, from)
	}
	return s, nil
}

func (c *cli) triggerAdd() *cobra.Command {
	var f triggerFlags
	var disabled bool
	cmd := &cobra.Command{
		Use: "add [OPTIONS] NAME URL", Aliases: []string{"create"}, Short: "Add a trigger; prints its id", Args: args(2, 2),
		Long: `Add a trigger. From now on each event that all its filters select is POSTed to
URL as JSON, signed by the Standard Webhooks scheme if there is a secret, again
and again until the receiver has it. Prints the trigger's id.

A secret on the command line can be seen by other users of this machine and
stays in the shell's history: --secret-file, or --secret - for standard input,
keep it to yourself.`,
		Example: `  docker logscan trigger add ops https://hooks.example.com/logscan --severity error,warn --secret-file /root/ops.secret
  pass show ops | docker logscan trigger add ops https://hooks.example.com/logscan --secret -`,
		RunE: func(cmd *cobra.Command, a []string) error {
			fields, err := f.fields(c, cmd)
			if err != nil {
				return err
			}
			if disabled {
				fields.Enabled = api.Set(false)
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				t, err := client.CreateTrigger(ctx, api.TriggerCreate{Name: a[0], ActionURL: a[1], TriggerFields: fields})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(c.out, t.ID)
				return err
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&disabled, "disabled", false, "Keep it switched off")
	return cmd
}

func (c *cli) triggerEdit() *cobra.Command {
	var f triggerFlags
	cmd := &cobra.Command{
		Use: "edit [OPTIONS] TRIGGER", Aliases: []string{"update"}, Short: "Change a trigger", Args: args(1, 1),
		Long:              `Change a trigger, given by name or id. What isn't given stays as it is; --secret "" takes the secret away.`,
		Example:           `  docker logscan trigger edit ops --severity error`,
		ValidArgsFunction: c.completeTriggers,
		RunE: func(cmd *cobra.Command, a []string) error {
			fields, err := f.fields(c, cmd)
			if err != nil {
				return err
			}
			if fields == (api.TriggerFields{}) {
				return &usageError{cmd, errors.New("nothing to change: give at least one option")}
			}
			return c.eachTrigger(cmd, a, func(ctx context.Context, client *api.Client, t api.Trigger) error {
				_, err := client.UpdateTrigger(ctx, t.ID, fields)
				return err
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.name, "name", "", "New name")
	cmd.Flags().StringVar(&f.url, "url", "", "New URL")
	return cmd
}

func (c *cli) triggerRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm TRIGGER [TRIGGER...]", Aliases: []string{"remove"}, Short: "Remove triggers", Args: args(1, -1),
		ValidArgsFunction: c.completeTriggers,
		RunE: func(cmd *cobra.Command, a []string) error {
			return c.eachTrigger(cmd, a, func(ctx context.Context, client *api.Client, t api.Trigger) error {
				return client.DeleteTrigger(ctx, t.ID)
			})
		},
	}
}

func (c *cli) triggerSwitch(verb string, on bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " TRIGGER [TRIGGER...]", Short: map[bool]string{true: "Switch triggers on", false: "Switch triggers off, keeping them"}[on], Args: args(1, -1),
		ValidArgsFunction: c.completeTriggers,
		RunE: func(cmd *cobra.Command, a []string) error {
			return c.eachTrigger(cmd, a, func(ctx context.Context, client *api.Client, t api.Trigger) error {
				_, err := client.UpdateTrigger(ctx, t.ID, api.TriggerFields{Enabled: api.Set(on)})
				return err
			})
		},
	}
}

func (c *cli) triggerTest() *cobra.Command {
	return &cobra.Command{
		Use: "test TRIGGER [TRIGGER...]", Short: "Send a test to triggers' URLs", Args: args(1, -1),
		Long: `Send an event marked as a test to the URLs of triggers, switched on or off, now
and once, and tell the status of the answer and how long it took. Exits with 1
if one was not taken.`,
		Example:           `  docker logscan trigger test ops`,
		ValidArgsFunction: c.completeTriggers,
		RunE: func(cmd *cobra.Command, a []string) error {
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				triggers, err := client.Triggers(ctx)
				if err != nil {
					return err
				}
				var errs []error
				for _, ref := range a {
					t, err := find(c, "trigger", ref, triggers, func(t api.Trigger) int64 { return t.ID }, func(t api.Trigger) string { return t.Name })
					var r api.TriggerTestResult
					if err == nil {
						r, err = client.TestTrigger(ctx, t.ID)
					}
					switch {
					case err != nil:
						errs = append(errs, err)
					case !r.OK:
						errs = append(errs, fmt.Errorf("trigger %s: %s (after %d ms)", t.Name, r.Error, r.LatencyMS))
					default:
						fmt.Fprintf(c.out, "%s: taken with status %d in %d ms\n", clean(t.Name), r.Status, r.LatencyMS)
					}
				}
				if len(errs) == 1 {
					return errs[0]
				}
				return errors.Join(errs...)
			})
		},
	}
}

func (c *cli) eachTrigger(cmd *cobra.Command, refs []string, do func(context.Context, *api.Client, api.Trigger) error) error {
	return c.with(cmd, func(ctx context.Context, client *api.Client) error {
		triggers, err := client.Triggers(ctx)
		if err != nil {
			return err
		}
		return each(c, refs, func(ref string) error {
			t, err := find(c, "trigger", ref, triggers, func(t api.Trigger) int64 { return t.ID }, func(t api.Trigger) string { return t.Name })
			if err != nil {
				return err
			}
			return do(ctx, client, t)
		})
	})
}

func (c *cli) completeTriggers(cmd *cobra.Command, _ []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	_ = c.with(cmd, func(ctx context.Context, client *api.Client) error {
		triggers, err := client.Triggers(ctx)
		for _, t := range triggers {
			out = append(out, t.Name)
		}
		return err
	})
	return out, cobra.ShellCompDirectiveNoFileComp
}
