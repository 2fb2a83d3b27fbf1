package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	timetypes "github.com/docker/docker/api/types/time"
	"github.com/spf13/cobra"

	"logscan/internal/api"
	"logscan/internal/event"
)

var eventColumns = []column[api.Event]{
	{head: "ID", cell: eventID, width: 6},
	{head: "TIME", cell: eventTime, width: 19},
	{head: "SEVERITY", cell: func(e api.Event) string { return e.Severity }, width: 8, paint: func(e api.Event) string { return severityColor(e.Severity) }},
	{head: "CONTAINER", cell: eventContainer, width: 16},
	{head: "RULE", cell: eventRule, width: 12},
	{head: "MESSAGE", cell: eventMessage},
}

func eventID(e api.Event) string { return strconv.FormatInt(e.ID, 10) }

// eventTime is the line's own time, where there is a line, in local time.
func eventTime(e api.Event) string {
	t := e.CreatedAt
	if s, ok := e.Metadata["line_time"].(string); ok {
		if line, err := time.Parse(time.RFC3339Nano, s); err == nil {
			t = line
		}
	}
	return t.Local().Format(time.DateTime)
}

func eventContainer(e api.Event) string {
	if s, _ := e.Metadata["container_name"].(string); s != "" {
		return s
	}
	id, _ := e.Metadata["container_id"].(string)
	return orDash(id[:min(12, len(id))])
}

func eventRule(e api.Event) string {
	s, _ := e.Metadata["rule_name"].(string)
	if s == "" && e.Source != string(event.Logscan) {
		return e.Source
	}
	shadow, _ := e.Metadata[event.Shadow].(bool)
	if history, _ := e.Metadata[event.History].(bool); history {
		s += " (history)"
	}
	return orDash(markShadow(s, shadow))
}

// markShadow marks a rule that is in shadow, or was.
func markShadow(name string, shadow bool) string {
	if shadow {
		name += " (shadow)"
	}
	return name
}

// eventMessage tells how many matches were suppressed before this one.
func eventMessage(e api.Event) string {
	n, _ := e.Metadata["suppressed"].(float64)
	if n <= 0 {
		return e.Message
	}
	more := fmt.Sprintf("(+%.0f suppressed", n)
	if s, ok := e.Metadata["suppressed_since"].(string); ok {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			more += " since " + t.Local().Format(time.TimeOnly)
		}
	}
	return e.Message + " " + more + ")"
}

func (c *cli) eventsCommand() *cobra.Command {
	var l listing
	var follow bool
	var since, until, rule string
	var q api.EventQuery
	cmd := &cobra.Command{
		Use: "events [OPTIONS]", Aliases: []string{"event"}, Short: "Show events: hits, and what logscan says about itself", Args: args(0, 0),
		Long: `Show events, the oldest first: hits, which are lines that a rule found, and what
logscan says about itself, such as losses. All filters have to hold.`,
		Example: `  docker logscan events -f --severity error
  docker logscan events --since 24h --rule oom --format '{{json .}}'`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			now := time.Now()
			if q.Since, err = parseTime(since, now); err != nil {
				return &usageError{cmd, fmt.Errorf("--since: %w", err)}
			}
			if q.Until, err = parseTime(until, now); err != nil {
				return &usageError{cmd, fmt.Errorf("--until: %w", err)}
			}
			if q.Limit < 0 {
				return &usageError{cmd, fmt.Errorf("--tail must be a number above 0, or 0 for none")}
			}
			if follow && until != "" {
				return &usageError{cmd, fmt.Errorf("either --follow or --until, not both")}
			}
			q.Rule, q.RuleID = rule, 0
			if n, err := strconv.ParseInt(rule, 10, 64); err == nil && n > 0 {
				q.Rule, q.RuleID = "", n
			}
			p, err := newPrinter(c, l, eventColumns, eventID)
			if err != nil {
				return err
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				tail := q.Limit
				if cmd.Flags().Changed("since") && !cmd.Flags().Changed("tail") {
					tail = -1
				}
				return showEvents(ctx, client, p, q, tail, follow)
			})
		},
	}
	cmd.AddCommand(c.eventShow())
	l.flags(cmd)
	f := cmd.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "Go on with events as they come")
	f.StringVar(&since, "since", "", `Only events since then, e.g. "2026-01-02T15:04:05Z" or "42m"`)
	f.StringVar(&until, "until", "", "Only events before then")
	f.IntVarP(&q.Limit, "tail", "n", 50, "How many past events (with --since: all)")
	f.StringSliceVar(&q.Severities, "severity", nil, "Only these severities: "+event.OneOf(event.Severities()))
	f.StringVar(&q.Source, "source", "", "Only this source: logscan (hits) or system")
	f.StringVar(&q.Workload, "workload", "", "Only this workload")
	f.StringVar(&q.Container, "container", "", "Only this container, by name or id")
	f.StringVar(&rule, "rule", "", "Only events of this rule, by name or id")
	c.completeWorkloads(cmd)
	_ = cmd.RegisterFlagCompletionFunc("rule", c.completeRules)
	complete(cmd, "severity", event.Names(event.Severities())...)
	complete(cmd, "source", event.Names(event.Sources())...)
	return cmd
}

// parseTime reads what docker logs --since takes; empty is no time.
func parseTime(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if days, is := strings.CutSuffix(s, "d"); is {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	stamp, err := timetypes.GetTimestamp(s, now)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-01-02T15:04:05Z nor a duration such as 42m or 7d", s)
	}
	sec, nano, err := timetypes.ParseTimestamps(stamp, 0)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is no time", s)
	}
	return time.Unix(sec, nano), nil
}

// showEvents prints the newest tail events (all if negative), then, with
// follow, those that come, without a gap in between.
func showEvents(ctx context.Context, client *api.Client, p *printer[api.Event], q api.EventQuery, tail int, follow bool) error {
	past, err := pastEvents(ctx, client, q, tail)
	if err != nil {
		return err
	}
	if !follow {
		return p.print(past)
	}
	last := api.FromNow
	if len(past) > 0 {
		last = past[len(past)-1].ID
	} else if tail != 0 {
		last = 0 // nothing matched so far: whatever does from here on is new
	}
	if err := p.begin(past); err != nil {
		return err
	}
	return client.Follow(ctx, last, q, p.one)
}

func pastEvents(ctx context.Context, client *api.Client, q api.EventQuery, tail int) ([]api.Event, error) {
	if tail == 0 {
		return nil, nil
	}
	var pages [][]api.Event
	n := 0
	for tail < 0 || n < tail {
		q.Limit = pageSize
		if tail > 0 {
			q.Limit = min(pageSize, tail-n)
		}
		page, err := client.Events(ctx, q)
		if err != nil {
			return nil, err
		}
		pages = append(pages, page.Items)
		n += len(page.Items)
		if !page.More || len(page.Items) == 0 {
			break
		}
		q.Before = page.Items[0].ID
	}
	all := make([]api.Event, 0, n)
	for i := len(pages) - 1; i >= 0; i-- {
		all = append(all, pages[i]...)
	}
	return all, nil
}

// pageSize is how many events are asked for at once.
const pageSize = 500
