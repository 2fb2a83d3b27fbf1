package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
	"logscan/internal/trigger"
)

func (c *cli) ruleCoverage() *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use: "coverage [OPTIONS]", Short: "Show rules and triggers that are there in vain", Args: args(0, 0),
		Long: `Show rules and triggers that are there in vain: rules that made no hit though lines that are
kept come near, with what these lack; rules of which another one, or a pack's, finds the
same; and triggers that no event can reach.`,
		Example: `  docker logscan rule coverage
  docker logscan rule coverage --since 168h`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var from time.Time
			if cmd.Flags().Changed("since") {
				var err error
				if from, err = parseTime(since, time.Now()); err != nil {
					return &usageError{cmd, fmt.Errorf("--since: %w", err)}
				}
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				out, err := client.Coverage(ctx, from)
				if err == nil {
					c.printCoverage(out)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&since, "since", "2160h", "Of rules without a hit, those that made none since then, such as 168h or a date")
	return cmd
}

func (c *cli) printCoverage(v api.Coverage) {
	for _, r := range v.Silent {
		fmt.Fprintf(c.out, "rule %s made no hit since %s: %s\n", clean(r.Name), v.Since.Local().Format("2006-01-02"), nearText(r))
		if r.Sample != "" {
			fmt.Fprintf(c.out, "    %s\n", clean(r.Sample))
		}
	}
	for _, r := range v.Repeated {
		switch {
		case r.Pack != "":
			fmt.Fprintf(c.out, "rule %s says what %s of the pack %s does, of all %d lines that this is tested on\n", clean(r.Name), clean(r.Other), clean(r.Pack), r.Lines)
		default:
			fmt.Fprintf(c.out, "rule %s (%d) finds what rule %s (%d) finds too\n", clean(r.Name), r.RuleID, clean(r.Other), r.OtherID)
		}
	}
	for _, t := range v.Unreached {
		why := "all that could reach it is left out, by " + flagOf(t.Why)
		switch t.Why {
		case trigger.Off:
			why = "it is switched off"
		case trigger.NotNamed:
			why = "the rules that could reach it name other triggers"
		}
		fmt.Fprintf(c.out, "trigger %s is told nothing: %s\n", clean(t.Name), why)
	}
	if len(v.Silent)+len(v.Repeated)+len(v.Unreached) == 0 {
		fmt.Fprintln(c.err, "No rule and no trigger is there in vain.")
	}
	if v.Quiet > 0 {
		fmt.Fprintf(c.err, "%s made no hit, and no line comes near.\n", several(v.Quiet, "more rule"))
	}
	if v.Unread > 0 {
		fmt.Fprintf(c.err, "%s made no hit, and there was no time to look into the logs.\n", several(v.Unread, "more rule"))
	}
}

// nearText says what lines that come near a rule lack.
func nearText(r api.SilentRule) string {
	n := several(int(r.Lines), "line")
	switch r.Why {
	case "condition":
		return fmt.Sprintf("%s with its pattern don't fulfil %s", n, clean(r.Text))
	case "pattern":
		return fmt.Sprintf("%s with %q don't match its pattern", n, clean(r.Text))
	case "stream":
		return n + " that match are of the other stream"
	case "cooldown":
		return n + " match now, and were written before it was what it is, or held back"
	}
	return n + " match, and add up to no hit"
}

// flagOf is the option of a trigger's field.
func flagOf(field string) string {
	for _, f := range trigger.Fields.All {
		if f.Name == field {
			return "--" + f.Flag
		}
	}
	return field
}
