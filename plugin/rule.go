package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
	"logscan/internal/packs"
	"logscan/internal/rule"
)

func (c *cli) ruleCommand() *cobra.Command {
	var workload string
	ls := listCommand(c, "List rules", ruleColumns, ruleID,
		func(ctx context.Context, client *api.Client, cmd *cobra.Command) ([]api.Rule, error) {
			rules, err := client.Rules(ctx)
			if err == nil && len(rules) == 0 && c.errTTY {
				c.printFirst()
			}
			if cmd.Flags().Changed("workload") {
				rules = slices.DeleteFunc(rules, func(r api.Rule) bool { return r.WorkloadID != workload })
			}
			return rules, err
		})
	ls.Flags().StringVar(&workload, "workload", "", `Only rules made for this workload ("" for the global ones); "workload rules" lists all that hold there`)
	c.completeWorkloads(ls)
	ls.Example = `  docker logscan rule ls
  docker logscan rule ls --workload shop/web -q
  docker logscan rule ls --format 'table {{.Name}}\t{{.Pattern}}'`
	var slowest int
	stats := listCommand(c, "Show what became of each rule's matches", ruleStatsColumns, func(r api.RuleStats) string { return strconv.FormatInt(r.RuleID, 10) },
		func(ctx context.Context, client *api.Client, cmd *cobra.Command) ([]api.RuleStats, error) {
			if cmd.Flags().Changed("slowest") && slowest < 1 {
				return nil, &usageError{cmd, errors.New("--slowest is at least 1")}
			}
			all, err := client.RuleStats(ctx)
			if slowest > 0 {
				slices.SortStableFunc(all, func(a, b api.RuleStats) int { return cmp.Compare(share(b), share(a)) })
				all = all[:min(slowest, len(all))]
			}
			return all, err
		})
	stats.Flags().IntVar(&slowest, "slowest", 0, "Only so many rules, those that take most of the processor's time")
	stats.Use, stats.Aliases = "stats [OPTIONS]", nil
	stats.Long = `Show what became of each rule's matches since the plugin's start, and what is open of
it now:

  MATCHES   lines that match
  HITS      matches that became events; of another kind than line, what they add up to
  COOLDOWN  matches that the rule's cooldown held back, or further ones in a record
  BUCKET    matches that the bound of a container's hits held back
  IGNORED   lines that match the pattern, and one of those to ignore too: no matches
  GIVEN UP  lines that would have taken too much work to check
  KEYS      values, or containers, for which matches are added up now
  CPU       of the time in which lines are matched, what is about this rule alone
  OPEN      incidents that are not resolved
  HELD      notices that triggers hold back, which "rule show" tells the reasons of
  ERROR     why a rule that is switched on is not in use

What COOLDOWN and BUCKET count is told by the rule's next event, and in its incidents.`
	stats.Example = `  docker logscan rule stats
  docker logscan rule stats --slowest 10
  docker logscan rule stats --format '{{.Name}} {{.Hits}} {{.Open}} {{json .Held}}'`
	cmd := group("rule", "Manage rules: which lines matter",
		ls, c.ruleShow(), c.ruleAdd(), c.ruleEdit(), c.ruleRemove(),
		c.ruleSwitch("enable", "Switch rules on", rule.On), c.ruleSwitch("disable", "Switch rules off, keeping them", rule.Off),
		c.ruleSwitch("shadow", "Have rules record what they find, and tell nobody", rule.Shadow), c.ruleTest(), c.ruleWhy(), c.ruleCoverage(), stats)
	cmd.Aliases = []string{"rules"}
	return cmd
}

// printFirst says how to begin where there is no rule.
func (c *cli) printFirst() {
	fmt.Fprintf(c.err, "There is no rule yet. What goes wrong in any program is in the pack %s:\n  %s pack add %s\nWhich packs are for what runs here:\n  %s pack suggest\n", packs.Common, c.name(), packs.Common, c.name())
}

var ruleColumns = []column[api.Rule]{
	{head: "ID", cell: func(r api.Rule) string { return strconv.FormatInt(r.ID, 10) }},
	{head: "NAME", cell: func(r api.Rule) string { return r.Name }},
	{head: "SEVERITY", cell: func(r api.Rule) string { return string(r.Severity) }, paint: func(r api.Rule) string { return severityColor(string(r.Severity)) }},
	{head: "STREAM", cell: func(r api.Rule) string { return r.Streams }},
	{head: "COOLDOWN", cell: func(r api.Rule) string { return cooldown(r.CooldownSeconds) }},
	{head: "WORKLOAD", cell: func(r api.Rule) string { return ruleScope(r) }},
	{head: "STATE", cell: func(r api.Rule) string { return r.State }},
	{head: "PATTERN", cell: ruleFinds, cut: true},
}

var ruleStatsColumns = []column[api.RuleStats]{
	{head: "ID", cell: func(r api.RuleStats) string { return strconv.FormatInt(r.RuleID, 10) }},
	{head: "NAME", cell: func(r api.RuleStats) string { return r.Name }},
	{head: "WORKLOAD", cell: func(r api.RuleStats) string { return orAll(r.WorkloadID) }},
	{head: "STATE", cell: func(r api.RuleStats) string { return r.State }},
	{head: "MATCHES", cell: func(r api.RuleStats) string { return strconv.FormatInt(r.Matches, 10) }},
	{head: "HITS", cell: func(r api.RuleStats) string { return strconv.FormatInt(r.Hits, 10) }},
	{head: "COOLDOWN", cell: func(r api.RuleStats) string { return strconv.FormatInt(r.Cooldown, 10) }},
	{head: "BUCKET", cell: func(r api.RuleStats) string { return strconv.FormatInt(r.Bucket, 10) }},
	{head: "IGNORED", cell: func(r api.RuleStats) string { return strconv.FormatInt(r.Ignored, 10) }},
	{head: "GIVEN UP", cell: func(r api.RuleStats) string { return strconv.FormatInt(r.GivenUp, 10) }},
	{head: "KEYS", cell: func(r api.RuleStats) string { return strconv.FormatInt(r.Keys, 10) }},
	{head: "CPU", cell: cpuText},
	{head: "OPEN", cell: func(r api.RuleStats) string { return strconv.FormatInt(r.Open, 10) }},
	{head: "HELD", cell: func(r api.RuleStats) string { return strconv.FormatInt(held(r), 10) }},
	{head: "ERROR", cell: func(r api.RuleStats) string { return orDash(r.Error) }, cut: true, paint: func(r api.RuleStats) string {
		if r.Error != "" {
			return severityColor("error")
		}
		return ""
	}},
}

// share is a rule's share of the time in which lines are matched; -1 while it isn't known.
func share(r api.RuleStats) float64 {
	if r.CPUShare == nil {
		return -1
	}
	return *r.CPUShare
}

func cpuText(r api.RuleStats) string {
	if r.CPUShare == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100**r.CPUShare)
}

// held is how many notices of a rule triggers hold back.
func held(r api.RuleStats) (n int64) {
	for _, of := range r.Held {
		n += of
	}
	return n
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
	scope := r.WorkloadID
	if r.OverridesID != 0 {
		scope += fmt.Sprintf(" (for %d)", r.OverridesID)
	}
	for _, of := range []struct{ what, names string }{{"image", r.Images.String()}, {"container", r.Names.String()}, {"label", r.Labels.String()}} {
		if of.names != "" {
			scope += " " + of.what + "=" + of.names
		}
	}
	return orAll(strings.TrimSpace(scope))
}

// ruleFinds is the rule's pattern, or what takes its place.
func ruleFinds(r api.Rule) string {
	if r.Pattern != "" {
		return r.Pattern
	}
	return strings.Join(append(slices.Clone(r.All), r.Conditions()...), ", ")
}

func ruleID(r api.Rule) string   { return strconv.FormatInt(r.ID, 10) }
func ruleName(r api.Rule) string { return r.Name }

// complete offers fixed values for a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	// It fails for a flag that doesn't exist, which a test would show.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

func (c *cli) ruleAdd() *cobra.Command {
	var file, since string
	cmd := &cobra.Command{
		Use: "add [OPTIONS] NAME [PATTERN]", Aliases: []string{"create"}, Short: "Add a rule; prints its id",
		Args: func(cmd *cobra.Command, a []string) error {
			if file != "" {
				return args(0, 2)(cmd, a)
			}
			return args(1, 2)(cmd, a)
		},
		Long: `Add a rule. From now on each line that matches PATTERN, a regular expression
(RE2 syntax), and fulfils the conditions of --where becomes an event, unless the
rule's cooldown runs in that container. A rule with --where or --all needs no PATTERN.
Prints the rule's id; on a terminal also which share of the lines of the last hour the
rule matches.

With --since, what the rule would have told of the lines since then is taken into the event
log as history, exactly once and up to 5,000 events: nobody is told, and it is part of no
incident. The rule goes on behind these lines.

With --file, NAME and PATTERN may be in the file. "rule show --format yaml" prints one.`,
		Example: `  docker logscan rule add oom 'Out of memory' --severity error
  docker logscan rule add http5xx '" 5\d\d ' --stream stdout --cooldown 1m --workload shop/web
  docker logscan rule add 5xx --where 'status >= 500' --where 'path != /health'
  docker logscan rule add oom-db 'out of memory' --workload shop/db --overrides oom
  docker logscan rule add -f oom.yaml --state shadow
  docker logscan rule add oom 'Out of memory' --since 7d`,
		RunE: func(cmd *cobra.Command, a []string) error {
			fields, err := given[rule.Rule](c, cmd)
			if err != nil {
				return err
			}
			from, err := parseTime(since, time.Now())
			if err != nil {
				return &usageError{cmd, fmt.Errorf("--since: %w", err)}
			}
			for k, name := range []string{"name", "pattern"}[:len(a)] {
				fields[name] = a[k]
			}
			if file != "" {
				if fields, err = c.withFile(file, fields, nil); err != nil {
					return err
				}
			}
			for _, f := range rule.Fields.All {
				if _, said := fields[f.Name]; f.Default == nil && !said {
					return &usageError{cmd, fmt.Errorf("the rule has no %s: put it into the file, or give it as an argument", f.Name)}
				}
			}
			if text(fields, "pattern") == "" && fields["all"] == nil && fields["where"] == nil && fields["kind"] != rule.KindNew && fields["kind"] != rule.KindRun {
				return &usageError{cmd, errors.New("say which lines: give a PATTERN or --where")}
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				if err := override(ctx, c, client, fields); err != nil {
					return err
				}
				r, err := client.AddRule(ctx, api.RuleCreate{Name: text(fields, "name"), Pattern: text(fields, "pattern"), RuleFields: fields}, c.errTTY, from)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(c.out, r.ID)
				c.printHint(r.Hint)
				return err
			})
		},
	}
	addOptions[rule.Rule](c, cmd, false)
	fileOption(cmd, &file)
	cmd.Flags().StringVar(&since, "since", "", `Take what it would have told since then into the event log as history, e.g. "24h" or "7d"`)
	return cmd
}

func (c *cli) ruleEdit() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "edit [OPTIONS] RULE", Aliases: []string{"update"}, Short: "Change a rule", Args: args(1, 1),
		Long: `Change a rule, given by name or id. What isn't given stays as it is; but with --file,
the file is all of the rule, and what isn't in it gets its default.`,
		Example: `  docker logscan rule edit oom --severity error --cooldown 0
  docker logscan rule show oom --format yaml >oom.yaml
  docker logscan rule edit oom -f oom.yaml`,
		ValidArgsFunction: c.completeRules,
		RunE: func(cmd *cobra.Command, a []string) error {
			said, err := given[rule.Rule](c, cmd)
			if err != nil {
				return err
			}
			if len(said) == 0 && file == "" {
				return &usageError{cmd, errors.New("nothing to change: give at least one option")}
			}
			return c.eachRule(cmd, a, func(ctx context.Context, client *api.Client, r api.Rule) error {
				if file != "" {
					if said, err = c.withFile(file, said, &r); err != nil {
						return err
					}
				}
				if err := override(ctx, c, client, said); err != nil {
					return err
				}
				saved, err := client.EditRule(ctx, r.ID, said, c.errTTY)
				c.printHint(saved.Hint)
				return err
			})
		},
	}
	addOptions[rule.Rule](c, cmd, true)
	fileOption(cmd, &file)
	return cmd
}

func (c *cli) ruleRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm RULE [RULE...]", Aliases: []string{"remove"}, Short: "Remove rules, and what overrides them", Args: args(1, -1),
		Example:           `  docker logscan rule rm oom http5xx`,
		ValidArgsFunction: c.completeRules,
		RunE: func(cmd *cobra.Command, a []string) error {
			return c.eachRule(cmd, a, func(ctx context.Context, client *api.Client, r api.Rule) error {
				return client.DeleteRule(ctx, r.ID)
			})
		},
	}
}

// ruleSwitch gives rules a state.
func (c *cli) ruleSwitch(verb, short, state string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " RULE [RULE...]", Short: short, Args: args(1, -1),
		Example:           "  docker logscan rule " + verb + " oom",
		ValidArgsFunction: c.completeRules,
		RunE: func(cmd *cobra.Command, a []string) error {
			return c.eachRule(cmd, a, func(ctx context.Context, client *api.Client, r api.Rule) error {
				_, err := client.UpdateRule(ctx, r.ID, api.RuleFields{"state": state})
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
			r, err := ruleIn(c, ref, rules)
			if err != nil {
				return err
			}
			return do(ctx, client, r)
		})
	})
}

// ruleNames offers the rules that can be given by name alone.
func (c *cli) ruleNames(cmd *cobra.Command, _ []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	_ = c.with(cmd, func(ctx context.Context, client *api.Client) error {
		rules, err := client.Rules(ctx)
		for _, r := range rules {
			if clean(r.Name) == r.Name {
				out = append(out, r.Name)
			}
		}
		return err
	})
	return out, cobra.ShellCompDirectiveNoFileComp
}

func (c *cli) completeRules(cmd *cobra.Command, _ []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	_ = c.with(cmd, func(ctx context.Context, client *api.Client) error {
		rules, err := client.Rules(ctx)
		for _, r := range rules {
			out = append(out, completion(r.ID, r.Name))
		}
		return err
	})
	return out, cobra.ShellCompDirectiveNoFileComp
}
