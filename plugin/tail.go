package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"logscan/internal/api"
	"logscan/internal/event"
	"logscan/internal/query"
	"logscan/internal/rule"
)

var tailColumns = []column[api.TailLine]{
	{head: "TIME", cell: func(l api.TailLine) string { return l.Time.Local().Format(time.DateTime) }, width: 19},
	{head: "CONTAINER", cell: tailName, width: 16},
	{head: "STREAM", cell: func(l api.TailLine) string { return l.Stream }, width: 6},
	{head: "MARKS", cell: func(l api.TailLine) string { return orDash(marksText(l)) }, width: 16},
	{head: "TEXT", cell: func(l api.TailLine) string { return countText(l) + l.Text }},
}

func tailName(l api.TailLine) string { return nameOr(l.Container, l.ContainerID) }

// marksText names the rules that a line matches.
func marksText(l api.TailLine) string {
	var all []string
	for _, m := range l.Marks {
		all = append(all, m.Severity+" "+markShadow(m.Rule, m.Shadow))
	}
	return strings.Join(all, ", ")
}

// countText says how many lines one stands for.
func countText(l api.TailLine) string {
	if l.Count < 2 {
		return ""
	}
	return fmt.Sprintf("×%d ", l.Count)
}

// tailFlags are what a tail is asked.
type tailFlags struct {
	api.TailQuery
	since, last string
	all         bool
	times       bool
	format      string
}

func (c *cli) tailCommand() *cobra.Command {
	var t tailFlags
	cmd := &cobra.Command{
		Use: "tail [OPTIONS] [CONTAINER…] [PATTERN]", Short: "Show the last lines of many containers, and those that are written", Args: args(0, -1),
		Long: `Show the last lines of containers' logs and, with -f, those that are written, of
all containers or of those that are named, in the order of their times. A line
that a rule matches has the rule's severity and name before it.

The last argument is a pattern, as search has it, where it is no container whose
log is kept, nor behind --all or --workload; -e says for sure which is which.
With -f, containers that start later are followed too.`,
		Example: `  docker logscan tail -f
  docker logscan tail -f --fold web db
  docker logscan tail -f --all -i 'timed out'
  docker logscan tail --workload shop/web --since 10m -t`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.settle(cmd, args, time.Now()); err != nil {
				return err
			}
			show, err := newTailPrinter(c, &t)
			if err != nil {
				return err
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error { return c.tail(ctx, client, &t, show) })
		},
		ValidArgsFunction: c.completeContainers,
	}
	t.flags(cmd.Flags())
	c.completeWorkloads(cmd)
	complete(cmd, "stream", rule.Streams...)
	return cmd
}

func (t *tailFlags) flags(f *pflag.FlagSet) {
	f.BoolVarP(&t.Follow, "follow", "f", false, "Go on with lines as they are written")
	f.StringVarP(&t.last, "tail", "n", "10", "How many lines from before, of all containers together, or all (with --since: all)")
	f.BoolVar(&t.Fold, "fold", false, "Of lines in a row that say the same, show the first, and how many there were")
	f.BoolVar(&t.all, "all", false, "All containers, as where none is named: an argument is a pattern")
	f.StringVar(&t.Workload, "workload", "", "Only containers of this workload: an argument is a pattern")
	f.StringVarP(&t.Pattern, "regexp", "e", "", "Only lines that match this pattern: all arguments are containers")
	f.BoolVarP(&t.IgnoreCase, "ignore-case", "i", false, "Letters of the pattern match those of the other case")
	f.BoolVarP(&t.Fixed, "fixed-strings", "F", false, "The pattern is a text, not a regular expression")
	f.BoolVarP(&t.Invert, "invert-match", "v", false, "Show lines that the pattern doesn't match")
	f.StringArrayVar(&t.Where, "where", nil, "Only lines that fulfil this condition on fields, such as 'status >= 500' (repeatable)")
	f.StringVar(&t.Stream, "stream", "", "Only lines of this stream: stdout or stderr")
	f.StringVar(&t.since, "since", "", `Only lines since then, e.g. "2026-01-02T15:04:05Z" or "42m"`)
	f.BoolVarP(&t.times, "timestamps", "t", false, "Show the time of each line")
	f.StringVar(&t.format, "format", "", `Output: "table", "json", "table TEMPLATE" or a Go TEMPLATE`)
}

// settle makes a request of what was given, in which all arguments are containers where it
// isn't known better yet.
func (t *tailFlags) settle(cmd *cobra.Command, args []string, now time.Time) (err error) {
	wrong := func(format string, args ...any) error { return &usageError{cmd, fmt.Errorf(format, args...)} }
	if t.TailQuery.Since, err = parseTime(t.since, now); err != nil {
		return wrong("--since: %w", err)
	}
	f := cmd.Flags()
	switch n, err := strconv.Atoi(t.last); {
	case t.last == "all", t.since != "" && !f.Changed("tail"):
		t.Last = query.All
	case err != nil || n < 0 || n > query.MaxLast:
		return wrong("--tail must be a number from 0 to %d, or all", query.MaxLast)
	default:
		t.Last = n
	}
	if t.Containers = args; !t.all && t.Workload == "" {
		if last := len(args) - 1; last >= 0 && !f.Changed("regexp") && !looksLikeName.MatchString(args[last]) {
			t.Pattern, t.Containers = args[last], args[:last]
		}
		if slices.Contains(t.Containers, "") {
			return wrong("a container's name is empty")
		}
		return nil
	}
	switch {
	case t.all && t.Workload != "":
		return wrong("either --all or --workload, not both")
	case len(args) > 1, len(args) == 1 && f.Changed("regexp"):
		return wrong("with --all or --workload there is one pattern, and no container")
	case len(args) == 1:
		t.Pattern = args[0]
	}
	t.Containers = nil
	return nil
}

// looksLikeName matches what a container may be called.
var looksLikeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$`)

// tail shows lines. Where only the last container isn't there, it is a pattern.
func (c *cli) tail(ctx context.Context, client *api.Client, t *tailFlags, show *tailPrinter) error {
	again := func() { c.warn("the tail was cut off, as when the plugin is restarted; it goes on where it was") }
	err := client.Tail(ctx, t.TailQuery, show.record, again)
	var refused *api.Problem
	if last := len(t.Containers) - 1; last >= 0 && t.Pattern == "" && errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		name := t.Containers[last]
		if !strings.HasPrefix(refused.Detail, fmt.Sprintf("container %q: ", name)) {
			return err
		}
		c.warn(fmt.Sprintf("no log is kept of a container %s, so it is taken for a pattern", name))
		t.Pattern, t.Containers = name, t.Containers[:last]
		err = client.Tail(ctx, t.TailQuery, show.record, again)
	}
	if ended := show.end(); err == nil {
		err = ended
	}
	return err
}

// tailPrinter shows lines as docker compose logs does, or as a format says.
type tailPrinter struct {
	logPrinter
	times bool
	rows  *printer[api.TailLine] // nil without a format
	begun bool
}

func newTailPrinter(c *cli, t *tailFlags) (p *tailPrinter, err error) {
	p = &tailPrinter{logPrinter: newLogPrinter(c), times: t.times}
	if t.format != "" {
		p.rows, err = newPrinter(c, listing{format: t.format}, tailColumns, tailName)
	}
	return p, err
}

// record shows one record of the answer.
func (p *tailPrinter) record(r api.TailRecord) error {
	switch {
	case r.Skipped != nil:
		p.skipped(*r.Skipped)
		return nil
	case r.Line == nil:
		return nil // of a newer plugin
	case p.rows != nil:
		if err := p.end(); err != nil {
			return err
		}
		return p.rows.one(*r.Line)
	}
	return p.line(*r.Line)
}

// line prints a line of a log.
func (p *tailPrinter) line(l api.TailLine) error {
	var b strings.Builder
	b.WriteString(p.prefix(tailName(l), l.ContainerID, "|"))
	if p.times {
		b.WriteString(p.time(l.SearchLine))
	}
	b.WriteString(countText(l))
	if len(l.Marks) > 0 {
		worst := slices.MaxFunc(l.Marks, func(a, b api.TailMark) int {
			return event.Severity(a.Severity).Compare(event.Severity(b.Severity))
		})
		b.WriteString(p.paint(severityColor(worst.Severity), "["+clean(marksText(l))+"]") + " ")
	}
	b.WriteString(p.matched(l.SearchLine, l.Spans))
	_, err := fmt.Fprintln(p.out, b.String())
	return err
}

// skipped tells what was passed over.
func (p *tailPrinter) skipped(s api.TailSkipped) {
	if s.Before {
		p.warn("it took too long to look for the last lines, so that there may be more; give --since, or -n 0")
	}
	if s.Lines > 0 {
		p.warn(fmt.Sprintf("%d lines (%s of logs) were passed over: they were written faster than they are taken here", s.Lines, units.HumanSize(float64(s.Bytes))))
	}
	p.warnUnseen(s.Removed, s.Unreadable, s.Undecided)
}

// end prints a table's head, once.
func (p *tailPrinter) end() error {
	if p.rows == nil || p.begun || !p.rows.table {
		return nil
	}
	p.begun = true
	return p.rows.begin(nil)
}
