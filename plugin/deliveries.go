package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
)

var deliveryColumns = []column[api.Delivery]{
	{head: "ID", cell: deliveryID},
	{head: "EVENT", cell: func(d api.Delivery) string {
		if d.EventID == 0 { // it is a message about incidents
			return "-"
		}
		return strconv.FormatInt(d.EventID, 10)
	}},
	{head: "INCIDENT", cell: func(d api.Delivery) string {
		if d.IncidentID == 0 {
			return "-"
		}
		return strconv.FormatInt(d.IncidentID, 10)
	}},
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

// findTrigger finds a trigger by name or id.
func (c *cli) findTrigger(ctx context.Context, client *api.Client, ref string) (int64, error) {
	triggers, err := client.Triggers(ctx)
	if err != nil {
		return 0, err
	}
	t, err := triggerIn(c, ref, triggers)
	return t.ID, err
}

// redeliverAll sends a trigger's deliveries in a state again, and prints how many.
func redeliverAll(ctx context.Context, c *cli, cmd *cobra.Command, client *api.Client, ref, state string) error {
	id, err := c.findTrigger(ctx, client, ref)
	if err != nil {
		return err
	}
	n, err := client.RedeliverAll(ctx, id, state)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), n)
	return err
}

func (c *cli) deliveryCommand() *cobra.Command {
	var state, trigger string
	var limit int
	ls := listCommand(c, "List deliveries, the newest first", deliveryColumns, deliveryID,
		func(ctx context.Context, client *api.Client, cmd *cobra.Command) ([]api.Delivery, error) {
			if limit <= 0 {
				return nil, &usageError{cmd, fmt.Errorf("--tail must be a number above 0")}
			}
			q := api.DeliveryQuery{State: state, Limit: limit}
			if trigger != "" {
				var err error
				if q.Trigger, err = c.findTrigger(ctx, client, trigger); err != nil {
					return nil, err
				}
			}
			return client.Deliveries(ctx, q)
		})
	ls.Flags().StringVar(&state, "state", "", "Only those pending, delivered or dead")
	ls.Flags().StringVar(&trigger, "trigger", "", "Only those of this trigger, given by name or id")
	_ = ls.RegisterFlagCompletionFunc("trigger", c.completeTriggers)
	ls.Flags().IntVarP(&limit, "tail", "n", 50, "How many")
	ls.Example = `  docker logscan delivery ls --state dead
  docker logscan delivery ls --trigger ops --state pending
  docker logscan delivery ls -n 1000 --format '{{.ID}} {{.LastError}}'`
	complete(ls, "state", "pending", "delivered", "dead")
	var of, from string
	redeliver := &cobra.Command{
		Use: "redeliver DELIVERY [DELIVERY...] | --trigger TRIGGER", Short: "Send deliveries again",
		Args: func(cmd *cobra.Command, given []string) error {
			if of == "" {
				if cmd.Flags().Changed("state") {
					return &usageError{cmd, errors.New("--state goes with --trigger")}
				}
				return args(1, -1)(cmd, given)
			}
			return args(0, 0)(cmd, given)
		},
		Long: "Send deliveries again, under their old ids, as if they were new; dead ones above all.\n\nWith --trigger, all of a trigger's that are in a state, and print how many.",
		Example: `  docker logscan delivery redeliver msg_2KWPBgLlAfxdpx2AI54pPJ85f4W
  docker logscan delivery redeliver --trigger ops --state dead`,
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) (out []string, _ cobra.ShellCompDirective) {
			_ = c.with(cmd, func(ctx context.Context, client *api.Client) error {
				deliveries, err := client.Deliveries(ctx, api.DeliveryQuery{State: "dead"})
				for _, d := range deliveries {
					out = append(out, d.ID)
				}
				return err
			})
			return out, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, a []string) error {
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				if of != "" {
					return redeliverAll(ctx, c, cmd, client, of, from)
				}
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
	redeliver.Flags().StringVar(&of, "trigger", "", "All of this trigger, given by name or id")
	redeliver.Flags().StringVar(&from, "state", "dead", "With --trigger: those dead or delivered")
	complete(redeliver, "state", "dead", "delivered")
	cmd := group("delivery", "Manage what was sent, or is to be sent, to triggers", ls, redeliver)
	cmd.Aliases = []string{"deliveries"}
	return cmd
}
