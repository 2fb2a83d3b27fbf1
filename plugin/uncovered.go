package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"logscan/internal/api"
)

var uncoveredColumns = []column[api.UncoveredError]{
	{head: "COUNT", cell: func(e api.UncoveredError) string { return strconv.FormatInt(e.Count, 10) }},
	{head: "LAST", cell: func(e api.UncoveredError) string { return ago(e.Last) }},
	{head: "WORKLOAD", cell: func(e api.UncoveredError) string { return e.Workload }},
	{head: "LINE", cell: func(e api.UncoveredError) string { return e.Sample }, cut: true},
}

func (c *cli) uncoveredCommand() *cobra.Command {
	var l listing
	var since, workload string
	var limit int
	var commands bool
	cmd := &cobra.Command{
		Use: "uncovered [OPTIONS]", Short: "List errors in the logs that no rule matches", Args: args(0, 0),
		Long: `List what looks like an error in the logs that are kept, and no rule matches: lines
whose level is error or worse, and, of lines without a level, those that have a word such
as "failed" or "panic". Lines of one shape in one workload are counted together, the most
frequent first. Rules that are switched on count, those in shadow too.

With --commands, print for each the command that makes a rule of it, to be looked at before
it is run.`,
		Example: `  docker logscan uncovered
  docker logscan uncovered --since 168h --workload shop/web
  docker logscan uncovered -n 5 --commands`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newPrinter(c, l, uncoveredColumns, func(e api.UncoveredError) string { return e.Shape })
			if err != nil {
				return err
			}
			from, err := parseTime(since, time.Now())
			if err != nil {
				return &usageError{cmd, fmt.Errorf("--since: %w", err)}
			}
			if limit < 1 || limit > 1000 {
				return &usageError{cmd, fmt.Errorf("--limit must be from 1 to 1000")}
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				u, err := client.Uncovered(ctx, api.UncoveredQuery{Since: from, Workload: workload, Limit: limit})
				if err != nil {
					return err
				}
				if commands {
					err = c.uncoveredRules(u.Items)
				} else {
					err = p.print(u.Items)
				}
				if err == nil && !l.quiet && l.format == "" {
					fmt.Fprintln(c.err, uncoveredSummary(u))
				}
				return err
			})
		},
	}
	l.flags(cmd)
	cmd.Flags().StringVar(&since, "since", "24h", `Only lines since then, e.g. "2026-01-02T15:04:05Z" or "42m"`)
	cmd.Flags().StringVar(&workload, "workload", "", "Only lines of this workload's containers")
	cmd.Flags().IntVarP(&limit, "limit", "n", 50, "How many shapes")
	cmd.Flags().BoolVar(&commands, "commands", false, "Print commands that make rules of them")
	c.completeWorkloads(cmd)
	return cmd
}

// uncoveredSummary says how much there is.
func uncoveredSummary(u api.UncoveredErrors) string {
	text := fmt.Sprintf("%d of %d errors in %d lines are matched by no rule", u.Missed, u.Errors, u.Lines)
	if u.More > 0 {
		text += fmt.Sprintf("; %d shapes more", u.More)
	}
	if u.Others > 0 {
		text += fmt.Sprintf("; %d errors are of shapes that there was no room for", u.Others)
	}
	if u.Unread > 0 {
		text += fmt.Sprintf("; %d bytes of the logs are gone or can't be read", u.Unread)
	}
	return text
}

// uncoveredRules prints the commands that make rules of errors.
func (c *cli) uncoveredRules(all []api.UncoveredError) error {
	names := map[string]int{}
	for _, e := range all {
		what := "# no pattern was found for it"
		if e.Pattern != "" {
			name := ruleNameOf(e.Pattern)
			if names[name]++; names[name] > 1 {
				name += "-" + strconv.Itoa(names[name])
			}
			what = c.name() + " rule add " + name + " " + shellQuote(e.Pattern) + " --workload " + shellQuote(e.Workload)
		}
		if strings.IndexFunc(what, unicode.IsControl) >= 0 {
			what = "# it has control characters"
		}
		if _, err := fmt.Fprintf(c.out, "# %d×, last %s: %s\n%s\n", e.Count, ago(e.Last), clean(e.Sample), what); err != nil {
			return err
		}
	}
	return nil
}

// ruleNameOf is a name for a rule: the first words of its pattern.
func ruleNameOf(pattern string) string {
	words := strings.FieldsFunc(strings.ToLower(strings.ReplaceAll(pattern, `\S+`, " ")), func(r rune) bool { return r < 'a' || r > 'z' })
	name := strings.Join(words[:min(len(words), 4)], "-")
	if name == "" {
		return "error"
	}
	return name[:min(len(name), 40)]
}

// shellQuote quotes a word for a shell, where it has to be.
func shellQuote(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+=,", r))
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
