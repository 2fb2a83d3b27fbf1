package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"logscan/internal/api"
)

// ago is "5 minutes ago", or "-" for never.
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	if d := time.Since(t); d >= 0 {
		return units.HumanDuration(d) + " ago"
	}
	return "in " + units.HumanDuration(time.Until(t))
}

var containerColumns = []column[api.Container]{
	{head: "CONTAINER ID", cell: func(ct api.Container) string { return shortID(ct.ID) }},
	{head: "NAME", cell: func(ct api.Container) string { return orDash(ct.Name) }},
	{head: "WORKLOAD", cell: func(ct api.Container) string { return orDash(ct.Workload) }},
	{head: "STATUS", cell: containerStatus},
	{head: "SCAN", cell: func(ct api.Container) string { return onOff(ct.Scan) }},
	{head: "SIZE", cell: func(ct api.Container) string { return units.HumanSize(float64(ct.Bytes)) }},
	{head: "LAG", cell: func(ct api.Container) string { return units.HumanSize(float64(ct.Lag)) }},
	{head: "LAST LINE", cell: func(ct api.Container) string { return ago(ct.Latest) }},
}

func containerStatus(ct api.Container) string {
	if ct.Running {
		return "attached"
	}
	return "stopped"
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// shortID is as docker shows it; ids that are not hex, of logs whose container
// is unknown, stay whole.
func shortID(id string) string {
	if len(id) == 64 && strings.Trim(id, "0123456789abcdef") == "" {
		return id[:12]
	}
	return id
}

func (c *cli) containerCommand() *cobra.Command {
	ls := listCommand(c, "List containers", containerColumns,
		func(ct api.Container) string { return shortID(ct.ID) },
		func(ctx context.Context, client *api.Client, _ *cobra.Command) ([]api.Container, error) {
			return client.Containers(ctx)
		})
	ls.Example = `  docker logscan container ls
  docker logscan container ls --format '{{.Name}} {{.Lag}}'`
	cmd := group("container", "Show containers whose logs are kept", ls, c.containerShow())
	cmd.Aliases = []string{"containers"}
	return cmd
}

func (c *cli) statsCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "stats [OPTIONS]", Short: "Show what logscan has carried, kept and found", Args: args(0, 0),
		Long: `Show what logscan has carried, kept and found since the plugin's start, how many
deliveries there are, and what is wrong, if anything is.`,
		Example: `  docker logscan stats
  docker logscan stats --format '{{.Scan.Lag}}'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newPrinter(c, listing{format: format}, []column[api.Stats]{}, func(api.Stats) string { return "" })
			if err != nil {
				return err
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				st, err := client.Stats(ctx)
				if err != nil {
					return err
				}
				if format != "" {
					return p.print([]api.Stats{st})
				}
				return c.showStats(st)
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "", `Output: "json" or a Go TEMPLATE`)
	return cmd
}

func (c *cli) showStats(st api.Stats) error {
	size := func(n int64) string { return units.HumanSize(float64(n)) }
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	losses := count(st.Journal.Losses)
	if reasons := slices.Sorted(maps.Keys(st.Journal.ByReason)); len(reasons) > 0 {
		var told []string
		for _, r := range reasons {
			told = append(told, fmt.Sprintf("%s %d", r, st.Journal.ByReason[r].Times))
		}
		losses += " (" + strings.Join(told, ", ") + ")"
	}
	rules := count(int64(st.Scan.Rules))
	if st.Scan.LeftOut > 0 {
		rules += fmt.Sprintf(" (%d not in use)", st.Scan.LeftOut)
	}
	rows := [][2]string{
		{"Version", st.Version},
		{"Started", ago(st.Started)},
		{"Restarts", restarts(st.Worker)},
		{"Attached", count(int64(st.Ingest.Attachments))},
		{"Taken in", size(st.Ingest.Bytes)},
		{"Retries", count(st.Ingest.Retries)},
		{"Containers", count(int64(st.Journal.Containers))},
		{"On disk", size(st.Journal.Bytes)},
		{"Losses", losses},
		{"Rules", rules},
		{"Lines", count(st.Scan.Lines)},
		{"Hits", count(st.Scan.Hits)},
		{"Suppressed", fmt.Sprintf("%d (cooldown %d, bucket %d)", st.Scan.Suppressed, st.Scan.Cooldown, st.Scan.Bucket)},
		{"Given up", count(st.Scan.GivenUp)},
		{"Truncated", count(st.Scan.Truncated)},
		{"Lag", size(st.Scan.Lag)},
		{"Deliveries", fmt.Sprintf("%d pending, %d delivered, %d dead", st.Deliveries.Pending, st.Deliveries.Delivered, st.Deliveries.Dead)},
	}
	for _, p := range st.Problems {
		rows = append(rows, [2]string{"Problem", p.Reason + ": " + p.Detail})
	}
	return c.printRows(rows)
}

// restarts says how often the plugin's worker had to be started again, and why.
func restarts(w api.WorkerStats) string {
	if w.Restarts == 0 {
		return "0"
	}
	return fmt.Sprintf("%d, the last %s (%s)", w.Restarts, ago(w.LastAt), w.LastExit)
}
