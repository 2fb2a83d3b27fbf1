package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"logscan/internal/api"
	"logscan/internal/query"
	"logscan/internal/rule"
)

var searchColumns = []column[api.SearchHit]{
	{head: "TIME", cell: func(h api.SearchHit) string { return h.Time.Local().Format(time.DateTime) }, width: 19},
	{head: "CONTAINER", cell: searchName, width: 16},
	{head: "STREAM", cell: func(h api.SearchHit) string { return h.Stream }, width: 6},
	{head: "TEXT", cell: func(h api.SearchHit) string { return h.Text }},
}

// searchName is how the container of a hit is called.
func searchName(h api.SearchHit) string { return nameOr(h.Container, h.ContainerID) }

// nameOr is a container's name or, where it isn't known, the id.
func nameOr(name, id string) string {
	if name == "" {
		return shortID(id)
	}
	return name
}

// searchFlags are what a search is asked.
type searchFlags struct {
	api.SearchQuery
	since, until   string
	around         int
	newest, oldest bool
	count, list    bool
	times          bool
	format         string
}

func (c *cli) searchCommand() *cobra.Command {
	var s searchFlags
	cmd := &cobra.Command{
		Use: "search [OPTIONS] PATTERN [CONTAINER…]", Short: "Look for lines in all logs that are kept", Args: args(1, -1),
		Long: `Look for lines in all logs that are kept, those of removed containers too. The
pattern is a regular expression (RE2 syntax), as a rule's, or with -F a text; an
empty one matches all lines. Hits of several containers are merged by time, the
newest first. Containers are given by name, id or the beginning of an id.

The exit code is 0 where something was found, and 3 where nothing was.`,
		Example: `  docker logscan search -i 'out of memory' --since 24h
  docker logscan search -C 3 'timed out' web db
  docker logscan search '' web --where 'status >= 500' --limit 20 -t`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s.Pattern, s.Containers = args[0], args[1:]
			if err := s.settle(cmd, time.Now()); err != nil {
				return err
			}
			show, err := newSearchPrinter(c, &s)
			if err != nil {
				return err
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error { return c.search(ctx, client, &s, show) })
		},
		ValidArgsFunction: func(cmd *cobra.Command, given []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(given) == 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return c.completeContainers(cmd, given, typed)
		},
	}
	s.flags(cmd.Flags())
	c.completeWorkloads(cmd)
	complete(cmd, "stream", rule.Streams...)
	return cmd
}

// flags are named as grep's, but for -c and -l, which are docker's own everywhere, and so
// is --context.
func (s *searchFlags) flags(f *pflag.FlagSet) {
	f.BoolVarP(&s.IgnoreCase, "ignore-case", "i", false, "Letters match those of the other case")
	f.BoolVarP(&s.Fixed, "fixed-strings", "F", false, "The pattern is a text, not a regular expression")
	f.BoolVarP(&s.Invert, "invert-match", "v", false, "Look for lines that the pattern doesn't match")
	f.StringArrayVar(&s.Where, "where", nil, "Only lines that fulfil this condition on fields, such as 'status >= 500' (repeatable)")
	f.StringVar(&s.Stream, "stream", "", "Only lines of this stream: stdout or stderr")
	f.StringVar(&s.since, "since", "", `Only lines since then, e.g. "2026-01-02T15:04:05Z" or "42m"`)
	f.StringVar(&s.until, "until", "", "Only lines before then")
	f.StringVar(&s.Workload, "workload", "", "Only containers of this workload")
	f.BoolVar(&s.newest, "newest", false, "The newest hits first, as by default")
	f.BoolVar(&s.oldest, "oldest", false, "The oldest hits first")
	f.IntVar(&s.Limit, "limit", 0, "Stop after so many hits (0 for none)")
	f.IntVarP(&s.Before, "before", "B", 0, "Show so many lines before each hit")
	f.IntVarP(&s.After, "after", "A", 0, "Show so many lines behind each hit")
	f.IntVarP(&s.around, "around", "C", 0, "Show so many lines before each hit, and behind")
	f.BoolVar(&s.Records, "records", false, "A hit is the whole record that its line lies in, such as a stack trace")
	f.BoolVar(&s.count, "count", false, "Only print how many hits each container has")
	f.BoolVar(&s.list, "list", false, "Only print the containers that have one")
	f.BoolVarP(&s.times, "timestamps", "t", false, "Show the time of each line")
	f.StringVar(&s.format, "format", "", `Output: "table", "json", "table TEMPLATE" or a Go TEMPLATE`)
}

// settle makes a request of what was given.
func (s *searchFlags) settle(cmd *cobra.Command, now time.Time) (err error) {
	wrong := func(format string, args ...any) error { return &usageError{cmd, fmt.Errorf(format, args...)} }
	if s.SearchQuery.Since, err = parseTime(s.since, now); err != nil {
		return wrong("--since: %w", err)
	}
	if s.SearchQuery.Until, err = parseTime(s.until, now); err != nil {
		return wrong("--until: %w", err)
	}
	f := cmd.Flags()
	if f.Changed("around") {
		if !f.Changed("before") {
			s.Before = s.around
		}
		if !f.Changed("after") {
			s.After = s.around
		}
	}
	if most := query.MaxContext; min(s.Before, s.After) < 0 || max(s.Before, s.After) > most {
		return wrong("lines before and behind a hit must be from 0 to %d", most)
	}
	s.Order = query.Newest
	switch {
	case s.Limit < 0:
		return wrong("--limit must be a number above 0, or 0 for none")
	case s.newest && s.oldest:
		return wrong("either --newest or --oldest, not both")
	case s.oldest:
		s.Order = query.Oldest
	}
	if slices.Contains(s.Containers, "") {
		return wrong("a container's name is empty")
	}
	switch {
	case s.count && s.list:
		return wrong("either --count or --list, not both")
	case (s.count || s.list) && (s.Limit > 0 || s.Before+s.After > 0 || s.Records || s.format != "" || s.times):
		return wrong("--count and --list show no lines: leave out --limit, --records, --format, --timestamps and lines of context")
	case s.count:
		s.Show = query.Counts
	case s.list:
		s.Show = query.Containers
	}
	return nil
}

// search shows what is found, page by page.
func (c *cli) search(ctx context.Context, client *api.Client, s *searchFlags, show *searchPrinter) error {
	q := s.SearchQuery
	var hits, skipped, undecided int64
	unreadable := 0
	for more := true; more; {
		if s.Limit > 0 {
			q.Limit = min(query.MaxLimit, s.Limit-int(hits))
		}
		sum, err := client.Search(ctx, q, show.record)
		if ended := show.end(); err == nil {
			err = ended
		}
		if err != nil {
			return err
		}
		hits, skipped, undecided = hits+sum.Hits, skipped+sum.Skipped, undecided+sum.Undecided
		unreadable = max(unreadable, sum.Unreadable)
		if sum.OutOfTime && sum.Next == "" {
			return errors.New("the search took too long, and not all containers were counted; give --since, or name containers")
		}
		q.From = sum.Next
		more = q.From != "" && (s.Limit == 0 || hits < int64(s.Limit))
	}
	c.warnUnseen(skipped, unreadable, undecided)
	if hits == 0 {
		return exitError(exitNoMatch)
	}
	return nil
}

// warnUnseen tells of logs that weren't looked at: bytes of them, containers, and lines.
func (c *cli) warnUnseen(removed int64, unreadable int, undecided int64) {
	if removed > 0 {
		c.warn(units.HumanSize(float64(removed)) + " of logs were removed before they were looked at, or can't be read")
	}
	if unreadable > 0 {
		c.warn(fmt.Sprintf("the logs of %d containers can't be opened at present; the plugin's log says why", unreadable))
	}
	if undecided > 0 {
		c.warn(fmt.Sprintf("of %d lines it takes too much work to find out whether they match", undecided))
	}
}
