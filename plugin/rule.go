package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
)

func (c *cli) ruleCommand() *cobra.Command {
	var workload string
	ls := listCommand(c, "List rules", ruleColumns, ruleID,
		func(ctx context.Context, client *api.Client, cmd *cobra.Command) ([]api.Rule, error) {
			rules, err := client.Rules(ctx)
			if cmd.Flags().Changed("workload") {
				rules = slices.DeleteFunc(rules, func(r api.Rule) bool { return r.WorkloadID != workload })
			}
			return rules, err
		})
	ls.Flags().StringVar(&workload, "workload", "", `Only rules made for this workload ("" for the global ones); "workload rules" lists all that hold there`)
	c.completeWorkloads(ls)
	stats := listCommand(c, "Show what became of each rule's matches", ruleStatsColumns, func(r api.RuleStats) string { return strconv.FormatInt(r.RuleID, 10) },
		func(ctx context.Context, client *api.Client, _ *cobra.Command) ([]api.RuleStats, error) {
			return client.RuleStats(ctx)
		})
	stats.Use, stats.Aliases = "stats [OPTIONS]", nil
	stats.Long = `Show, since the plugin's start, how many matches of each rule became events, and
how many its cooldown (COOLDOWN) or the bound of a container's hits (RATE) held
back. ERROR says why a rule that is switched on is not in use.`
	cmd := group("rule", "Manage rules: which lines matter",
		ls, c.ruleAdd(), c.ruleEdit(), c.ruleRemove(),
		c.ruleSwitch("enable", true), c.ruleSwitch("disable", false), c.ruleTest(), stats)
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

var ruleStatsColumns = []column[api.RuleStats]{
	{head: "ID", cell: func(r api.RuleStats) string { return strconv.FormatInt(r.RuleID, 10) }},
	{head: "NAME", cell: func(r api.RuleStats) string { return r.Name }},
	{head: "WORKLOAD", cell: func(r api.RuleStats) string { return orAll(r.WorkloadID) }},
	{head: "ENABLED", cell: func(r api.RuleStats) string { return yesNo(r.Enabled) }},
	{head: "HITS", cell: func(r api.RuleStats) string { return strconv.FormatInt(r.Hits, 10) }},
	{head: "COOLDOWN", cell: func(r api.RuleStats) string { return strconv.FormatInt(r.Cooldown, 10) }},
	{head: "RATE", cell: func(r api.RuleStats) string { return strconv.FormatInt(r.Bucket, 10) }},
	{head: "ERROR", cell: func(r api.RuleStats) string { return orDash(r.Error) }, cut: true, paint: func(r api.RuleStats) string {
		if r.Error != "" {
			return severityColor("error")
		}
		return ""
	}},
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
	name, pattern, severity, stream, workload, overrides, description, cooldown string
}

func (f *ruleFlags) add(c *cli, cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.severity, "severity", "warn", "Severity of the events: info, warn or error")
	cmd.Flags().StringVar(&f.stream, "stream", "all", "Stream to watch: all, stdout or stderr")
	cmd.Flags().StringVar(&f.cooldown, "cooldown", "5m", "After a hit, only count further ones of that container for so long (0 for none)")
	cmd.Flags().StringVar(&f.workload, "workload", "", "Only for containers of this workload (default all)")
	cmd.Flags().StringVar(&f.overrides, "overrides", "", "Replace this global rule, given by name or id, in the workload; switched off, it takes it away there")
	c.completeWorkloads(cmd)
	_ = cmd.RegisterFlagCompletionFunc("overrides", c.completeRules)
	cmd.Flags().StringVar(&f.description, "description", "", "What it means, for those who read the events")
	complete(cmd, "severity", "info", "warn", "error")
	complete(cmd, "stream", "all", "stdout", "stderr")
}

// complete offers fixed values for a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	// It fails for a flag that doesn't exist, which a test would show.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// override looks up the rule to be overridden.
func (f *ruleFlags) override(ctx context.Context, c *cli, cmd *cobra.Command, client *api.Client, out *api.RuleFields) error {
	switch {
	case !cmd.Flags().Changed("overrides"):
		return nil
	case f.overrides == "":
		out.OverridesID = api.Set[int64](0)
		return nil
	}
	rules, err := client.Rules(ctx)
	if err != nil {
		return err
	}
	globals := slices.DeleteFunc(slices.Clone(rules), func(r api.Rule) bool { return r.WorkloadID != "" })
	r, err := find(c, "rule", f.overrides, globals, func(r api.Rule) int64 { return r.ID }, ruleName)
	if err != nil {
		// One that is not global: the plugin says what is wrong with that.
		if any, e := find(c, "rule", f.overrides, rules, func(r api.Rule) int64 { return r.ID }, ruleName); e == nil {
			r, err = any, nil
		}
	}
	out.OverridesID = api.Set(r.ID)
	return err
}

// fields returns what was given; override adds what has to be looked up.
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
	var disabled bool
	cmd := &cobra.Command{
		Use: "add [OPTIONS] NAME PATTERN", Aliases: []string{"create"}, Short: "Add a rule; prints its id", Args: args(2, 2),
		Long: "Add a rule. From now on each line that matches PATTERN, a regular expression (RE2 syntax), becomes an event. Prints the rule's id.",
		Example: `  docker logscan rule add oom 'Out of memory' --severity error
  docker logscan rule add http5xx '" 5\d\d ' --stream stdout --cooldown 1m --workload shop/web
  docker logscan rule add oom-db 'out of memory' --workload shop/db --overrides oom`,
		RunE: func(cmd *cobra.Command, a []string) error {
			fields, err := f.fields(cmd)
			if err != nil {
				return err
			}
			if disabled {
				fields.Enabled = api.Set(false)
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				if err := f.override(ctx, c, cmd, client, &fields); err != nil {
					return err
				}
				r, err := client.CreateRule(ctx, api.RuleCreate{Name: a[0], Pattern: a[1], RuleFields: fields})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(c.out, r.ID)
				return err
			})
		},
	}
	f.add(c, cmd)
	cmd.Flags().BoolVar(&disabled, "disabled", false, "Keep it switched off; an override then takes the global rule away in its workload")
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
			if fields == (api.RuleFields{}) && !cmd.Flags().Changed("overrides") {
				return &usageError{cmd, errors.New("nothing to change: give at least one option")}
			}
			return c.eachRule(cmd, a, func(ctx context.Context, client *api.Client, r api.Rule) error {
				if err := f.override(ctx, c, cmd, client, &fields); err != nil {
					return err
				}
				_, err := client.UpdateRule(ctx, r.ID, fields)
				return err
			})
		},
	}
	f.add(c, cmd)
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
