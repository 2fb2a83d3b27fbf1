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
	"logscan/internal/trigger"
)

// maxSecret bounds what is read of a secret's file.
const maxSecret = 4096

func (c *cli) triggerCommand() *cobra.Command {
	ls := listCommand(c, "List triggers", triggerColumns, triggerID,
		func(ctx context.Context, client *api.Client, _ *cobra.Command) ([]api.Trigger, error) {
			return client.Triggers(ctx)
		})
	ls.Example = `  docker logscan trigger ls
  docker logscan trigger ls --format '{{.Name}} {{.ActionURL}}'`
	cmd := group("trigger", "Manage triggers: who is told",
		ls, c.triggerShow(), c.triggerAdd(), c.triggerEdit(), c.triggerRemove(),
		c.triggerSwitch("enable", true), c.triggerSwitch("disable", false), c.triggerTest())
	cmd.Aliases = []string{"triggers"}
	return cmd
}

var triggerColumns = []column[api.Trigger]{
	{head: "ID", cell: triggerID},
	{head: "NAME", cell: func(t api.Trigger) string { return t.Name }},
	{head: "ENABLED", cell: func(t api.Trigger) string { return yesNo(t.Enabled) }},
	{head: "MODE", cell: func(t api.Trigger) string { return t.Mode }},
	{head: "SEVERITY", cell: func(t api.Trigger) string { return orAll(t.Severities.String()) }},
	{head: "SOURCE", cell: func(t api.Trigger) string { return orAll(t.Sources.String()) }},
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

// secretValue is what an option or argument gives, or the option that names a file;
// "-" is standard input.
func (c *cli) secretValue(cmd *cobra.Command, what, value string, given bool) (string, bool, error) {
	flag := strings.ToLower(what)
	file := cmd.Flags().Lookup(flag + "-file")
	var err error
	switch {
	case given && file.Changed:
		name := "--" + flag
		if cmd.Flags().Lookup(flag) == nil {
			name = what
		}
		err = &usageError{cmd, fmt.Errorf("either %s or --%s-file, not both", name, flag)}
	case file.Changed:
		value, err = c.readSecret(what, file.Value.String())
	case given && value == "-":
		value, err = c.readSecret(what, "-")
	}
	return value, given || file.Changed, err
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
	cmd := &cobra.Command{
		Use: "add [OPTIONS] NAME [URL]", Aliases: []string{"create"}, Short: "Add a trigger; prints its id", Args: args(1, 2),
		Long: `Add a trigger: somebody who is told of incidents that all its filters select, or
with --mode events of each event. URL says how: https:// is a webhook, which gets
JSON, signed by the Standard Webhooks scheme if there is a secret; ntfy://,
telegram://, slack://, mailto: and so on are the services of 'docker logscan help
channels', which has what each one needs. A message is sent again and again until
the receiver has it. Prints the trigger's id; 'trigger test' sends a sample.

What is on the command line can be seen by other users of this machine and stays
in the shell's history. --url-file, or - as URL for standard input, keep a URL
that is a secret to yourself; --secret-file, or --secret - for standard input,
the secret.`,
		Example: `  docker logscan trigger add phone ntfy://ntfy.sh/my-topic
  docker logscan trigger add mail 'mailto:ops@example.com?server=smtp.example.com:587&user=logscan@example.com' --secret-file /root/mail.secret
  docker logscan trigger add ops https://hooks.example.com/logscan --severity error,warn --secret-file /root/ops.secret
  docker logscan trigger add chat --url-file /root/chat.url
  pass show chat-url | docker logscan trigger add chat -`,
		RunE: func(cmd *cobra.Command, a []string) error {
			if len(a) < 2 && !cmd.Flags().Changed("url-file") {
				return &usageError{cmd, errors.New("give a URL, or --url-file")}
			}
			said, err := given[trigger.Trigger](c, cmd, a...)
			if err != nil {
				return err
			}
			to, _ := said["action_url"].(string)
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				t, err := client.CreateTrigger(ctx, api.TriggerCreate{Name: a[0], ActionURL: to, TriggerFields: said})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(c.out, t.ID)
				return err
			})
		},
	}
	addOptions[trigger.Trigger](c, cmd, false)
	c.completeFilters(cmd)
	return cmd
}

func (c *cli) triggerEdit() *cobra.Command {
	cmd := &cobra.Command{
		Use: "edit [OPTIONS] TRIGGER", Aliases: []string{"update"}, Short: "Change a trigger", Args: args(1, 1),
		Long:              "Change a trigger, given by name or id. What isn't given stays as it is; --secret \"\"\ntakes the secret away.",
		Example:           `  docker logscan trigger edit ops --severity error`,
		ValidArgsFunction: c.completeTriggers,
		RunE: func(cmd *cobra.Command, a []string) error {
			said, err := given[trigger.Trigger](c, cmd)
			if err != nil {
				return err
			}
			if len(said) == 0 {
				return &usageError{cmd, errors.New("nothing to change: give at least one option")}
			}
			return c.eachTrigger(cmd, a, func(ctx context.Context, client *api.Client, t api.Trigger) error {
				_, err := client.UpdateTrigger(ctx, t.ID, said)
				return err
			})
		},
	}
	addOptions[trigger.Trigger](c, cmd, true)
	c.completeFilters(cmd)
	return cmd
}

func (c *cli) triggerRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm TRIGGER [TRIGGER...]", Aliases: []string{"remove"}, Short: "Remove triggers", Args: args(1, -1),
		Example:           `  docker logscan trigger rm ops`,
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
		Example:           "  docker logscan trigger " + verb + " ops",
		ValidArgsFunction: c.completeTriggers,
		RunE: func(cmd *cobra.Command, a []string) error {
			return c.eachTrigger(cmd, a, func(ctx context.Context, client *api.Client, t api.Trigger) error {
				_, err := client.UpdateTrigger(ctx, t.ID, api.TriggerFields{"enabled": on})
				return err
			})
		},
	}
}

func (c *cli) triggerTest() *cobra.Command {
	return &cobra.Command{
		Use: "test TRIGGER [TRIGGER...]", Short: "Send a test to triggers' URLs", Args: args(1, -1),
		Long: `Send a sample incident, marked as a test, to the URLs of triggers, switched on or
off, now and once; or a sample event, to webhooks that are told of each event. Tell
the status of the answer, how long it took, and the beginning of what the receiver
said, without the trigger's URL and secret. Exits with 1 if one was not taken.`,
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
					t, err := triggerIn(c, ref, triggers)
					var r api.TriggerTestResult
					if err == nil {
						r, err = client.TestTrigger(ctx, t.ID)
					}
					switch {
					case err != nil:
						errs = append(errs, err)
					case !r.OK:
						errs = append(errs, fmt.Errorf("trigger %s: %s (after %d ms)%s", t.Name, r.Error, r.LatencyMS, saying(r)))
					default:
						status := ""
						if r.Status != 0 {
							status = fmt.Sprintf(" with status %d", r.Status)
						}
						fmt.Fprintln(c.out, clean(fmt.Sprintf("%s: taken%s in %d ms%s", t.Name, status, r.LatencyMS, saying(r))))
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

// saying is what a receiver answered, behind what became of a test.
func saying(r api.TriggerTestResult) string {
	if r.Said == "" {
		return ""
	}
	return "; it said: " + r.Said
}

func (c *cli) eachTrigger(cmd *cobra.Command, refs []string, do func(context.Context, *api.Client, api.Trigger) error) error {
	return c.with(cmd, func(ctx context.Context, client *api.Client) error {
		triggers, err := client.Triggers(ctx)
		if err != nil {
			return err
		}
		return each(c, refs, func(ref string) error {
			t, err := triggerIn(c, ref, triggers)
			if err != nil {
				return err
			}
			return do(ctx, client, t)
		})
	})
}

// completeFilters offers what a trigger's lists of rules and workloads may have, behind
// what such a list has already.
func (c *cli) completeFilters(cmd *cobra.Command) {
	behind := func(names cobra.CompletionFunc) cobra.CompletionFunc {
		return func(cmd *cobra.Command, a []string, typed string) ([]string, cobra.ShellCompDirective) {
			out, how := names(cmd, a, typed)
			before := typed[:strings.LastIndexByte(typed, ',')+1]
			for i := range out {
				out[i] = before + out[i]
			}
			return out, how
		}
	}
	_ = cmd.RegisterFlagCompletionFunc("rule", behind(c.ruleNames))
	_ = cmd.RegisterFlagCompletionFunc("workload", behind(c.workloadNames))
}

func (c *cli) completeTriggers(cmd *cobra.Command, _ []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	_ = c.with(cmd, func(ctx context.Context, client *api.Client) error {
		triggers, err := client.Triggers(ctx)
		for _, t := range triggers {
			out = append(out, completion(t.ID, t.Name))
		}
		return err
	})
	return out, cobra.ShellCompDirectiveNoFileComp
}
