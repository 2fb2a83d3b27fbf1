package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
	"logscan/internal/config"
	"logscan/internal/event"
	"logscan/internal/fields"
	"logscan/internal/packs"
	"logscan/internal/rule"
)

func (c *cli) packCommand() *cobra.Command {
	ls := listCommand(c, "List packs", packColumns, func(p api.Pack) string { return p.Name },
		func(ctx context.Context, client *api.Client, _ *cobra.Command) ([]api.Pack, error) {
			return client.Packs(ctx)
		})
	ls.Long = `List the packs of rules that come with logscan. ADDED says for which containers a pack's
rules were added, and "outdated" where those are another version's: add it again.`
	ls.Example = `  docker logscan pack ls
  docker logscan pack ls --format '{{if .Added}}{{.Name}}{{end}}'`
	cmd := group("pack", "Manage packs: rules for programs that many run",
		ls, c.packShow(), c.packAdd(), c.packRemove(), c.packTest(), c.packSuggest())
	cmd.Aliases = []string{"packs"}
	return cmd
}

var packColumns = []column[api.Pack]{
	{head: "NAME", cell: func(p api.Pack) string { return p.Name }},
	{head: "RULES", cell: func(p api.Pack) string { return fmt.Sprint(p.Rules) }},
	{head: "ADDED", cell: packAdded},
	{head: "DESCRIPTION", cell: func(p api.Pack) string { return p.Description }, cut: true},
}

// packAdded says for which containers a pack was added.
func packAdded(p api.Pack) string {
	if !p.Added {
		return "-"
	}
	text := ruleScope(api.Rule{WorkloadID: p.Scope.Workload, Images: p.Scope.Images})
	if p.Outdated {
		text += ", outdated"
	}
	return text
}

func (c *cli) packShow() *cobra.Command {
	return &cobra.Command{
		Use: "show PACK", Short: "Print a pack as a file", Args: args(1, 1),
		Long: `Print a pack as a file that "apply" takes, with the lines on which its rules are tested:
to be read, or to begin a file of one's own with.`,
		Example:           `  docker logscan pack show nginx`,
		ValidArgsFunction: completePacks,
		RunE: func(cmd *cobra.Command, a []string) error {
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				p, err := client.Pack(ctx, a[0])
				if err != nil {
					return err
				}
				text := p.YAML
				if c.tty {
					text = cleanText(text)
				}
				_, err = io.WriteString(c.out, text)
				return err
			})
		},
	}
}

func (c *cli) packAdd() *cobra.Command {
	var workload string
	var images, triggers []string
	var dry bool
	cmd := &cobra.Command{
		Use: "add [OPTIONS] PACK [PACK...]", Short: "Add packs' rules, or bring them up to date", Args: args(1, -1),
		Long: `Add packs' rules. A pack's rules are its own: they are changed and removed with it alone.

Added again, as after an upgrade of logscan, a pack's rules become those that it has now,
for the containers and triggers that were named before, unless others are named; "" takes
such a bound away.`,
		Example: `  docker logscan pack add common
  docker logscan pack add nginx --workload shop/web --trigger ops
  docker logscan pack add postgresql --image 'postgres:*' --dry-run`,
		ValidArgsFunction: completePacks,
		RunE: func(cmd *cobra.Command, names []string) error {
			in := api.PackAdd{DryRun: dry}
			if cmd.Flags().Changed("workload") {
				in.Workload = &workload
			}
			if cmd.Flags().Changed("image") {
				in.Images = listed(images)
			}
			if cmd.Flags().Changed("trigger") {
				in.Triggers = listed(triggers)
			}
			return c.eachPack(cmd, names, func(ctx context.Context, client *api.Client, name string) (api.ConfigPlan, error) {
				return client.AddPack(ctx, name, in)
			})
		},
	}
	cmd.Flags().StringVar(&workload, "workload", "", "Only for this workload's containers")
	cmd.Flags().StringSliceVar(&images, "image", nil, "Only for containers of these images, as docker ps shows them, where * is any text")
	cmd.Flags().StringSliceVar(&triggers, "trigger", nil, "Tell only triggers with these names, as far as they are for it")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "Only say what would be changed")
	c.completeWorkloads(cmd)
	return cmd
}

func (c *cli) packRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm PACK [PACK...]", Aliases: []string{"remove"}, Short: "Remove packs' rules", Args: args(1, -1),
		Example:           `  docker logscan pack rm nginx`,
		ValidArgsFunction: completePacks,
		RunE: func(cmd *cobra.Command, names []string) error {
			return c.eachPack(cmd, names, func(ctx context.Context, client *api.Client, name string) (api.ConfigPlan, error) {
				return client.RemovePack(ctx, name)
			})
		},
	}
}

// eachPack prints what becomes of each pack's rules.
func (c *cli) eachPack(cmd *cobra.Command, names []string, do func(context.Context, *api.Client, string) (api.ConfigPlan, error)) error {
	return c.with(cmd, func(ctx context.Context, client *api.Client) error {
		var errs []error
		for _, name := range names {
			plan, err := do(ctx, client, name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			c.printPlan(plan)
		}
		if len(errs) == 1 {
			return errs[0]
		}
		return errors.Join(errs...)
	})
}

// packTried is what a rule of a pack would have told.
type packTried struct {
	Rule      string
	Hits      int64
	Incidents int64
	Messages  int64
	At        time.Time
	Container string
	Last      string
	Complete  bool
}

var packTriedColumns = []column[packTried]{
	{head: "RULE", cell: func(r packTried) string { return r.Rule }},
	{head: "HITS", cell: func(r packTried) string { return fmt.Sprint(r.Hits) }},
	{head: "INCIDENTS", cell: func(r packTried) string { return fmt.Sprint(r.Incidents) }},
	{head: "MESSAGES", cell: func(r packTried) string { return fmt.Sprint(r.Messages) }},
	{head: "LAST", cell: func(r packTried) string {
		if r.Hits == 0 {
			return "-"
		}
		return ago(r.At) + " " + r.Container + " | " + r.Last
	}, cut: true},
}

func (c *cli) packTest() *cobra.Command {
	var l listing
	var since, workload string
	cmd := &cobra.Command{
		Use: "test [OPTIONS] PACK", Short: "Show what a pack would have told of the lines that are kept", Args: args(1, 1),
		Long: `Show what each rule of a pack would have told of the lines that are kept, added or not.
MESSAGES are those that all triggers would have got. Exits with 3 if there are no hits.`,
		Example: `  docker logscan pack test nginx
  docker logscan pack test nginx --since 24h --workload shop/web`,
		ValidArgsFunction: completePacks,
		RunE: func(cmd *cobra.Command, a []string) error {
			p, err := newPrinter(c, l, packTriedColumns, func(r packTried) string { return r.Rule })
			if err != nil {
				return err
			}
			from, err := parseTime(since, time.Now())
			if err != nil {
				return &usageError{cmd, fmt.Errorf("--since: %w", err)}
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				all, err := packTest(ctx, client, a[0], api.BacktestRequest{Since: from, Workload: workload})
				if err != nil {
					return err
				}
				if err := p.print(all); err != nil {
					return err
				}
				if slices.ContainsFunc(all, func(r packTried) bool { return !r.Complete }) {
					fmt.Fprintln(c.err, "Incomplete: it took too long or found too much. Ask for less, or for one workload.")
				}
				if !slices.ContainsFunc(all, func(r packTried) bool { return r.Hits > 0 }) {
					return exitError(exitNoMatch)
				}
				return nil
			})
		},
	}
	l.flags(cmd)
	cmd.Flags().StringVar(&since, "since", "7d", `Lines since then, e.g. "2026-01-02T15:04:05Z", "42m" or "7d"`)
	cmd.Flags().StringVar(&workload, "workload", "", "Only lines of this workload's containers")
	c.completeWorkloads(cmd)
	return cmd
}

// packTest runs a backtest of each rule of a pack.
func packTest(ctx context.Context, client *api.Client, name string, req api.BacktestRequest) (out []packTried, err error) {
	p, err := client.Pack(ctx, name)
	if err != nil {
		return nil, err
	}
	set, err := config.Parse([]config.File{{Name: name + ".yaml", Data: []byte(p.YAML)}}, config.Unknown)
	if err != nil {
		return nil, advise("use the command of the plugin's version", "the plugin's pack %s isn't understood: %v", name, err)
	}
	for _, r := range set.Rules {
		req.Rule = api.RuleFields{}
		for _, f := range rule.Fields.All {
			req.Rule[f.Name] = f.Value(r.Value)
		}
		b, err := client.Backtest(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Key, err)
		}
		tried := packTried{Rule: r.Key, Hits: b.Hits, Incidents: b.Incidents, Complete: b.Complete}
		for _, n := range b.Messages {
			tried.Messages += n
		}
		if len(b.Samples) > 0 {
			last := b.Samples[0]
			tried.At, tried.Container, tried.Last = last.At, last.Container, last.Message
		}
		out = append(out, tried)
	}
	return out, nil
}

var suggestionColumns = []column[api.PackSuggestion]{
	{head: "PACK", cell: func(s api.PackSuggestion) string { return s.Pack }},
	{head: "WORKLOAD", cell: func(s api.PackSuggestion) string { return orAll(s.Workload) }},
	{head: "INCIDENTS", cell: func(s api.PackSuggestion) string { return fmt.Sprint(s.Incidents) }},
}

func (c *cli) packSuggest() *cobra.Command {
	var l listing
	var since string
	cmd := &cobra.Command{
		Use: "suggest [OPTIONS]", Short: "Say which packs are for what runs, and what they would have told", Args: args(0, 0),
		Long: `Say which packs are for what runs: by the image, or by what a container has written. Each
is tried on the lines that are kept. Packs that are added are left out. Nothing is added:
the command that does that is printed.`,
		Example: `  docker logscan pack suggest
  docker logscan pack suggest --since 24h
  docker logscan pack suggest --format '{{.Pack}} {{.Workload}} {{.Incidents}}'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newPrinter(c, l, suggestionColumns, func(s api.PackSuggestion) string { return s.Pack })
			if err != nil {
				return err
			}
			from, err := parseTime(since, time.Now())
			if err != nil {
				return &usageError{cmd, fmt.Errorf("--since: %w", err)}
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				s, err := client.SuggestPacks(ctx, from)
				if err != nil {
					return err
				}
				if l.quiet || l.format != "" {
					return p.print(s.Items)
				}
				for _, line := range c.suggestionTexts(s) {
					if _, err := fmt.Fprintln(c.out, line); err != nil {
						return err
					}
				}
				if !s.Complete {
					fmt.Fprintln(c.err, "There was no time to read all of it: it may be more often. Ask for less by --since.")
				}
				return nil
			})
		},
	}
	l.flags(cmd)
	cmd.Flags().StringVar(&since, "since", "7d", `What packs would have told since then, e.g. "2026-01-02T15:04:05Z", "42m" or "7d"`)
	return cmd
}

// suggestionTexts are suggestions for people, each with the command that follows it.
func (c *cli) suggestionTexts(s api.PackSuggestions) (out []string) {
	say := func(format string, args ...any) { out = append(out, clean(fmt.Sprintf(format, args...))) }
	workloads := map[string]int{}
	for _, v := range s.Items {
		workloads[v.Pack]++
	}
	span := spanText(s.Until.Sub(s.Since))
	if days := s.Until.Sub(s.Since).Round(time.Minute); days%(24*time.Hour) == 0 && days > 24*time.Hour {
		span = fmt.Sprintf("%d days", days/(24*time.Hour))
	}
	for _, v := range s.Items {
		told := fmt.Sprintf("the pack would have told you %s in %s", times(v.Incidents), span)
		command := c.name() + " pack add " + shellQuote(v.Pack)
		switch {
		case v.Workload == "":
			say("Any program: the pack %s %s", v.Pack, strings.TrimPrefix(told, "the pack "))
		case v.Image != "":
			say("%s looks like %s (image %s): %s", v.Workload, v.Pack, v.Image, told)
		default:
			say("%s looks like %s (%s of its lines): %s", v.Workload, v.Pack, several(v.Shapes, "kind"), told)
		}
		if v.Workload != "" && workloads[v.Pack] == 1 { // a pack is added once
			command += " --workload " + shellQuote(v.Workload)
		}
		for _, r := range v.Rules[:min(len(v.Rules), 3)] {
			say("    %s %s, last by %s: %s", r.Rule, times(r.Incidents), r.From, cutText(r.Last))
		}
		if more := len(v.Rules) - 3; more > 0 {
			say("    and %s more", several(more, "rule"))
		}
		say("    %s", command)
	}
	if len(out) == 0 {
		say("Every pack that is for what runs is added.")
	}
	return out
}

// cutText is the begin of a line.
func cutText(s string) string {
	if r := []rune(s); len(r) > 100 {
		return string(r[:99]) + "…"
	}
	return s
}

// times says how often something would have been.
func times(n int64) string {
	switch n {
	case 0:
		return "nothing"
	case 1:
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func completePacks(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return packs.Names(), cobra.ShellCompDirectiveNoFileComp
}

// listed is the value of an option that was given, once or several times.
func listed(given []string) *fields.List[string] {
	all := fields.List[string](event.Split[string](strings.Join(given, ",")))
	return &all
}
