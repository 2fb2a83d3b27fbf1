package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
)

func (c *cli) ruleCommand() *cobra.Command {
	ls := listCommand(c, "List rules", ruleColumns, ruleID,
		func(ctx context.Context, client *api.Client, _ *cobra.Command) ([]api.Rule, error) {
			return client.Rules(ctx)
		})
	cmd := group("rule", "Manage rules: which lines matter",
		ls, c.ruleAdd(), c.ruleEdit(), c.ruleRemove(),
		c.ruleSwitch("enable", true), c.ruleSwitch("disable", false), c.ruleTest())
	cmd.Aliases = []string{"rules"}
	return cmd
}

var ruleColumns = []column[api.Rule]{
	{head: "ID", cell: func(r api.Rule) string { return strconv.FormatInt(r.ID, 10) }},
	{head: "NAME", cell: func(r api.Rule) string { return r.Name }},
	{head: "SEVERITY", cell: func(r api.Rule) string { return r.Severity }, paint: func(r api.Rule) string { return severityColor(r.Severity) }},
	{head: "STREAM", cell: func(r api.Rule) string { return r.Streams }},
	{head: "COOLDOWN", cell: func(r api.Rule) string { return cooldown(r.CooldownSeconds) }},
	{head: "WORKLOAD", cell: func(r api.Rule) string { return ruleScope(r) }},
	{head: "ENABLED", cell: func(r api.Rule) string { return yesNo(r.Enabled) }},
	{head: "PATTERN", cell: func(r api.Rule) string { return r.Pattern }, cut: true},
}

func cooldown(seconds int64) string {
	if seconds == 0 {
		return "none"
	}
	return shortDuration(time.Duration(seconds) * time.Second)
}

// shortDuration is 5m, where String would say 5m0s.
func shortDuration(d time.Duration) string {
	switch {
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

func ruleScope(r api.Rule) string {
	switch {
	case r.WorkloadID == "":
		return "all"
	case r.OverridesID != 0:
		return fmt.Sprintf("%s (for %d)", r.WorkloadID, r.OverridesID)
	}
	return r.WorkloadID
}

func ruleID(r api.Rule) string   { return strconv.FormatInt(r.ID, 10) }
func ruleName(r api.Rule) string { return r.Name }

// ruleFlags are a rule's fields as flags; only those given are sent.
type ruleFlags struct {
	name, pattern, severity, stream, workload, description, cooldown string
}

func (f *ruleFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.severity, "severity", "warn", "Severity of the events: info, warn or error")
	cmd.Flags().StringVar(&f.stream, "stream", "all", "Stream to watch: all, stdout or stderr")
	cmd.Flags().StringVar(&f.cooldown, "cooldown", "5m", "After a hit, only count further ones of that container for so long (0 for none)")
	cmd.Flags().StringVar(&f.workload, "workload", "", "Only for containers of this workload (default all)")
	cmd.Flags().StringVar(&f.description, "description", "", "What it means, for those who read the events")
	complete(cmd, "severity", "info", "warn", "error")
	complete(cmd, "stream", "all", "stdout", "stderr")
}

// complete offers fixed values for a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	// It fails for a flag that doesn't exist, which a test would show.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// fields returns what was given.
func (f *ruleFlags) fields(cmd *cobra.Command) (out api.RuleFields, err error) {
	for name, to := range map[string]struct {
		field *api.Field[string]
		value string
	}{
		"name": {&out.Name, f.name}, "pattern": {&out.Pattern, f.pattern},
		"severity": {&out.Severity, f.severity}, "stream": {&out.Streams, f.stream},
		"workload": {&out.WorkloadID, f.workload}, "description": {&out.Description, f.description},
	} {
		if cmd.Flags().Changed(name) {
			*to.field = api.Set(to.value)
		}
	}
	if cmd.Flags().Changed("cooldown") {
		s, err := seconds(f.cooldown)
		if err != nil {
			return out, &usageError{cmd, err}
		}
		out.CooldownSeconds = api.Set(s)
	}
	return out, nil
}

// seconds reads 90, 90s or 1h30m.
func seconds(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return n, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d%time.Second != 0 {
		return 0, fmt.Errorf("--cooldown %q is no duration in whole seconds, such as 90s, 5m, 1h or 0", s)
	}
	return int64(d / time.Second), nil
}

func (c *cli) ruleAdd() *cobra.Command {
	var f ruleFlags
	cmd := &cobra.Command{
		Use: "add [OPTIONS] NAME PATTERN", Aliases: []string{"create"}, Short: "Add a rule; prints its id", Args: args(2, 2),
		Long: "Add a rule. From now on each line that matches PATTERN, a regular expression (RE2 syntax), becomes an event. Prints the rule's id.",
		Example: `  docker logscan rule add oom 'Out of memory' --severity error
  docker logscan rule add http5xx '" 5\d\d ' --stream stdout --cooldown 1m --workload shop/web`,
		RunE: func(cmd *cobra.Command, a []string) error {
			fields, err := f.fields(cmd)
			if err != nil {
				return err
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				r, err := client.CreateRule(ctx, api.RuleCreate{Name: a[0], Pattern: a[1], RuleFields: fields})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(c.out, r.ID)
				return err
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (c *cli) ruleEdit() *cobra.Command {
	var f ruleFlags
	cmd := &cobra.Command{
		Use: "edit [OPTIONS] RULE", Aliases: []string{"update"}, Short: "Change a rule", Args: args(1, 1),
		Long:              "Change a rule, given by name or id. What isn't given stays as it is.",
		Example:           `  docker logscan rule edit oom --severity error --cooldown 0`,
		ValidArgsFunction: c.completeRules,
		RunE: func(cmd *cobra.Command, a []string) error {
			fields, err := f.fields(cmd)
			if err != nil {
				return err
			}
			if fields == (api.RuleFields{}) {
				return &usageError{cmd, errors.New("nothing to change: give at least one option")}
			}
			return c.eachRule(cmd, a, func(ctx context.Context, client *api.Client, r api.Rule) error {
				_, err := client.UpdateRule(ctx, r.ID, fields)
				return err
			})
		},
	}
	f.add(cmd)
	for _, name := range []string{"severity", "stream", "cooldown"} {
		cmd.Flags().Lookup(name).DefValue = "" // left alone, not set to that
	}
	cmd.Flags().StringVar(&f.name, "name", "", "New name")
	cmd.Flags().StringVar(&f.pattern, "pattern", "", "New pattern")
	return cmd
}

func (c *cli) ruleRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm RULE [RULE...]", Aliases: []string{"remove"}, Short: "Remove rules, and what overrides them", Args: args(1, -1),
		ValidArgsFunction: c.completeRules,
		RunE: func(cmd *cobra.Command, a []string) error {
			return c.eachRule(cmd, a, func(ctx context.Context, client *api.Client, r api.Rule) error {
				return client.DeleteRule(ctx, r.ID)
			})
		},
	}
}

func (c *cli) ruleSwitch(verb string, on bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " RULE [RULE...]", Short: map[bool]string{true: "Switch rules on", false: "Switch rules off, keeping them"}[on], Args: args(1, -1),
		ValidArgsFunction: c.completeRules,
		RunE: func(cmd *cobra.Command, a []string) error {
			return c.eachRule(cmd, a, func(ctx context.Context, client *api.Client, r api.Rule) error {
				_, err := client.UpdateRule(ctx, r.ID, api.RuleFields{Enabled: api.Set(on)})
				return err
			})
		},
	}
}

func (c *cli) eachRule(cmd *cobra.Command, refs []string, do func(context.Context, *api.Client, api.Rule) error) error {
	return c.with(cmd, func(ctx context.Context, client *api.Client) error {
		rules, err := client.Rules(ctx)
		if err != nil {
			return err
		}
		return each(c, refs, func(ref string) error {
			r, err := find(c, "rule", ref, rules, func(r api.Rule) int64 { return r.ID }, ruleName)
			if err != nil {
				return err
			}
			return do(ctx, client, r)
		})
	})
}

func (c *cli) completeRules(cmd *cobra.Command, _ []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	_ = c.with(cmd, func(ctx context.Context, client *api.Client) error {
		rules, err := client.Rules(ctx)
		for _, r := range rules {
			out = append(out, r.Name)
		}
		return err
	})
	return out, cobra.ShellCompDirectiveNoFileComp
}

// with connects, runs do, and explains why it failed.
func (c *cli) with(cmd *cobra.Command, do func(context.Context, *api.Client) error) error {
	client, err := c.client(cmd.Context())
	if err != nil {
		return err
	}
	return c.explain(do(cmd.Context(), client))
}

// find looks a thing up by id or by name.
func find[T any](c *cli, what, ref string, items []T, id func(T) int64, name func(T) string) (T, error) {
	var zero T
	if n, err := strconv.ParseInt(ref, 10, 64); err == nil {
		for _, it := range items {
			if id(it) == n {
				return it, nil
			}
		}
	}
	var found []T
	ids := ""
	for _, it := range items {
		if name(it) == ref {
			found = append(found, it)
			ids += fmt.Sprintf(" %d", id(it))
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return zero, advise(c.name()+" "+what+" ls", "no %s %q", what, ref)
	}
	return zero, advise("one of the ids"+ids, "there are %d %ss called %q", len(found), what, ref)
}

// each does something with every reference, going on after one that fails, and
// prints those that succeeded, as docker does.
func each(c *cli, refs []string, do func(string) error) error {
	var errs []error
	for _, ref := range refs {
		if err := do(ref); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(c.out, clean(ref))
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
