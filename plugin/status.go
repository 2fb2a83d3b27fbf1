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
	{head: "STATUS", cell: func(ct api.Container) string {
		if ct.Running {
			return "attached"
		}
		return "stopped"
	}},
	{head: "SCAN", cell: func(ct api.Container) string { return map[bool]string{true: "on", false: "off"}[ct.Scan] }},
	{head: "SIZE", cell: func(ct api.Container) string { return units.HumanSize(float64(ct.Bytes)) }},
	{head: "LAG", cell: func(ct api.Container) string { return units.HumanSize(float64(ct.Lag)) }},
	{head: "LAST LINE", cell: func(ct api.Container) string { return ago(ct.Latest) }},
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
	cmd := group("container", "Show containers whose logs are kept", listCommand(c, "List containers", containerColumns,
		func(ct api.Container) string { return shortID(ct.ID) },
		func(ctx context.Context, client *api.Client, _ *cobra.Command) ([]api.Container, error) {
			return client.Containers(ctx)
		}))
	cmd.Aliases = []string{"containers"}
	return cmd
}

var deliveryColumns = []column[api.Delivery]{
	{head: "ID", cell: deliveryID},
	{head: "EVENT", cell: func(d api.Delivery) string { return strconv.FormatInt(d.EventID, 10) }},
	{head: "TRIGGER", cell: func(d api.Delivery) string { return strconv.FormatInt(d.TriggerID, 10) }},
	{head: "STATE", cell: func(d api.Delivery) string { return d.State }, paint: func(d api.Delivery) string {
		if d.State == "dead" {
			return severityColor("error")
		}
		return ""
	}},
	{head: "ATTEMPTS", cell: func(d api.Delivery) string { return strconv.Itoa(d.Attempts) }},
	{head: "CREATED", cell: func(d api.Delivery) string { return ago(d.CreatedAt) }},
	{head: "NEXT", cell: func(d api.Delivery) string {
		switch {
		case d.State != "pending":
			return "-"
		case d.NextAt.After(time.Now()):
			return ago(d.NextAt)
		}
		return "now"
	}},
	{head: "LAST ANSWER", cell: func(d api.Delivery) string {
		switch {
		case d.LastError != "":
			return d.LastError
		case d.LastStatus != 0:
			return strconv.Itoa(d.LastStatus)
		}
		return "-"
	}, cut: true},
}

func deliveryID(d api.Delivery) string { return d.ID }

func (c *cli) deliveryCommand() *cobra.Command {
	var state string
	var limit int
	ls := listCommand(c, "List deliveries, the newest first", deliveryColumns, deliveryID,
		func(ctx context.Context, client *api.Client, cmd *cobra.Command) ([]api.Delivery, error) {
			if limit <= 0 {
				return nil, &usageError{cmd, fmt.Errorf("--tail must be a number above 0")}
			}
			return client.Deliveries(ctx, state, limit)
		})
	ls.Flags().StringVar(&state, "state", "", "Only those pending, delivered or dead")
	ls.Flags().IntVarP(&limit, "tail", "n", 50, "How many")
	complete(ls, "state", "pending", "delivered", "dead")
	redeliver := &cobra.Command{
		Use: "redeliver DELIVERY [DELIVERY...]", Short: "Send deliveries again", Args: args(1, -1),
		Long: "Send deliveries again, under their old ids, as if they were new; dead ones above all.",
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) (out []string, _ cobra.ShellCompDirective) {
			_ = c.with(cmd, func(ctx context.Context, client *api.Client) error {
				deliveries, err := client.Deliveries(ctx, "dead", 0)
				for _, d := range deliveries {
					out = append(out, d.ID)
				}
				return err
			})
			return out, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, a []string) error {
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				return each(c, a, func(id string) error {
					_, err := client.Redeliver(ctx, id)
					if api.IsNotFound(err) {
						return advise(c.name()+" delivery ls", "no delivery %q", id)
					}
					return err
				})
			})
		},
	}
	cmd := group("delivery", "Manage what was sent, or is to be sent, to triggers", ls, redeliver)
	cmd.Aliases = []string{"deliveries"}
	return cmd
}

// listCommand is an ls that needs nothing but what it lists.
func listCommand[T any](c *cli, short string, columns []column[T], id func(T) string, get func(context.Context, *api.Client, *cobra.Command) ([]T, error)) *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use: "ls [OPTIONS]", Aliases: []string{"list"}, Short: short, Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newPrinter(c, l, columns, id)
			if err != nil {
				return err
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				items, err := get(ctx, client, cmd)
				if err != nil {
					return err
				}
				return p.print(items)
			})
		},
	}
	l.flags(cmd)
	return cmd
}

func (c *cli) statsCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "stats [OPTIONS]", Short: "Show what logscan has carried, kept and found", Args: args(0, 0),
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
		{"Held back", fmt.Sprintf("%d (cooldown %d, rate %d)", st.Scan.Suppressed, st.Scan.Cooldown, st.Scan.Bucket)},
		{"Cut lines", count(st.Scan.Truncated)},
		{"Lag", size(st.Scan.Lag)},
		{"Deliveries", fmt.Sprintf("%d pending, %d delivered, %d dead", st.Deliveries.Pending, st.Deliveries.Delivered, st.Deliveries.Dead)},
	}
	for _, p := range st.Problems {
		rows = append(rows, [2]string{"Problem", p.Reason + ": " + p.Detail})
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(c.out, "%-11s %s\n", row[0]+":", clean(row[1])); err != nil {
			return err
		}
	}
	return nil
}

// restarts says how often the plugin's worker had to be started again, and why.
func restarts(w api.WorkerStats) string {
	if w.Restarts == 0 {
		return "0"
	}
	return fmt.Sprintf("%d, the last %s (%s)", w.Restarts, ago(w.LastAt), w.LastExit)
}
