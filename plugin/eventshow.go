package main

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"logscan/internal/api"
	"logscan/internal/event"
)

func (c *cli) eventShow() *cobra.Command {
	cmd := showCommand(c, "event", "Show all that is known of events, with the lines around them", eventRows,
		func(ctx context.Context, client *api.Client) (func(string) (api.EventDetails, error), error) {
			return func(ref string) (d api.EventDetails, err error) {
				id, err := strconv.ParseInt(ref, 10, 64)
				if err != nil || id <= 0 {
					return d, advise(c.name()+" events", "an event is given by its number, not %q", ref)
				}
				if d, err = client.Event(ctx, id); api.IsNotFound(err) {
					err = advise(c.name()+" events", "no event %s", ref)
				}
				return d, err
			}, nil
		})
	cmd.Long = `Show all that is known of events, with the lines of the container around what each is
about. How many are kept, the rule says (--before, --after).`
	cmd.Example = `  docker logscan events show 42
  docker logscan events show 42 --format '{{range .Context}}{{.Text}}{{"\n"}}{{end}}'`
	return cmd
}

// shownElsewhere are the keys of an event's metadata that rows of their own have.
var shownElsewhere = []string{"container_name", "workload_id", "rule_name", "line_time", event.Record}

func eventRows(d api.EventDetails) [][2]string {
	e := d.Event
	text := func(key string) string {
		s, _ := e.Metadata[key].(string)
		return s
	}
	rows := [][2]string{
		{"ID", eventID(e)},
		{"Time", eventTime(e)},
		{"Source", e.Source},
		{"Severity", e.Severity},
		{"Container", eventContainer(e)},
		{"Workload", orDash(text("workload_id"))},
		{"Rule", eventRule(e)},
	}
	if e.Incident != 0 {
		rows = append(rows, [2]string{"Incident", strconv.FormatInt(e.Incident, 10)})
	}
	for _, key := range slices.Sorted(maps.Keys(e.Metadata)) {
		if slices.Contains(shownElsewhere, key) {
			continue
		}
		value, is := e.Metadata[key].(string)
		if !is {
			b, _ := json.Marshal(e.Metadata[key]) // it came as JSON
			value = string(b)
		}
		rows = append(rows, [2]string{key, value})
	}
	rows = append(rows, [2]string{"Message", e.Message})
	own := func(l api.ContextLine) bool { return l.Own }
	first := slices.IndexFunc(d.Context, own)
	if record := text(event.Record); first < 0 && record != "" {
		for line := range strings.SplitSeq(record, "\n") {
			rows = append(rows, [2]string{"Record", line})
		}
	}
	last := len(d.Context) - 1
	for last >= 0 && !d.Context[last].Own {
		last--
	}
	for n, l := range d.Context {
		label := "Line"
		switch {
		case l.Own:
		case n < first:
			label = "Before"
		case n > last:
			label = "After"
		default:
			label = "Between"
		}
		rows = append(rows, [2]string{label, contextText(l)})
	}
	for _, l := range d.Siblings {
		rows = append(rows, [2]string{"Sibling", clean(l.Container) + " | " + contextText(l.ContextLine)})
	}
	return rows
}

// contextText is a line with its time and stream.
func contextText(l api.ContextLine) string {
	text := l.Time.Local().Format("15:04:05.000") + " " + l.Stream + "  " + l.Text
	if l.Cut {
		text += "…"
	}
	return text
}
