package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"logscan/internal/api"
)

var workloadColumns = []column[api.Workload]{
	{head: "WORKLOAD", cell: workloadID},
	{head: "CONTAINERS", cell: func(w api.Workload) string { return strconv.Itoa(w.Containers) }},
	{head: "RUNNING", cell: func(w api.Workload) string { return strconv.Itoa(w.Running) }},
	{head: "RULES", cell: func(w api.Workload) string { return strconv.Itoa(w.Rules) }},
	{head: "OVERRIDES", cell: func(w api.Workload) string { return strconv.Itoa(w.Overrides) }},
}

func workloadID(w api.Workload) string { return w.ID }

func (c *cli) workloadCommand() *cobra.Command {
	ls := listCommand(c, "List the workloads that containers or rules belong to", workloadColumns, workloadID,
		func(ctx context.Context, client *api.Client, _ *cobra.Command) ([]api.Workload, error) {
			return client.Workloads(ctx)
		})
	ls.Example = `  docker logscan workload ls`
	cmd := group("workload", "Show workloads: containers that do the same", ls, c.workloadRules())
	cmd.Aliases = []string{"workloads"}
	return cmd
}

func (c *cli) workloadRules() *cobra.Command {
	var l listing
	cmd := &cobra.Command{
		Use: "rules [OPTIONS] WORKLOAD", Short: "List the rules that hold for a workload", Args: args(1, 1),
		Long: `List the rules that lines of a workload's containers are checked with: the global
ones that it does not override, its overrides and its own. A container's workload
is the first of: the log-opt workload, the log-opt or label logscan.workload, the Swarm
service, the compose project/service, its name.`,
		Example: `  docker logscan workload rules shop/web`,
		ValidArgsFunction: func(cmd *cobra.Command, a []string, s string) ([]string, cobra.ShellCompDirective) {
			if len(a) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return c.workloadNames(cmd, a, s)
		},
		RunE: func(cmd *cobra.Command, a []string) error {
			p, err := newPrinter(c, l, ruleColumns, ruleID)
			if err != nil {
				return err
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				e, err := client.EffectiveRules(ctx, a[0])
				if err != nil {
					return err
				}
				for _, r := range e.LeftOut {
					fmt.Fprintf(c.err, "Not in use: rule %s (%d): %s\n", clean(r.Name), r.RuleID, clean(r.Reason))
				}
				return p.print(e.Items)
			})
		},
	}
	l.flags(cmd)
	return cmd
}

func (c *cli) workloadNames(cmd *cobra.Command, _ []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	_ = c.with(cmd, func(ctx context.Context, client *api.Client) error {
		workloads, err := client.Workloads(ctx)
		for _, w := range workloads {
			if clean(w.ID) == w.ID {
				out = append(out, w.ID)
			}
		}
		return err
	})
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeWorkloads offers the known workloads for --workload.
func (c *cli) completeWorkloads(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("workload", c.workloadNames)
}
