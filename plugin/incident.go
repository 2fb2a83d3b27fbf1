package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
	"logscan/internal/event"
	"logscan/internal/incident"
	"logscan/internal/silence"
)

var incidentColumns = []column[api.Incident]{
	{head: "ID", cell: incidentID},
	{head: "SEVERITY", cell: func(i api.Incident) string { return i.Severity }, paint: func(i api.Incident) string { return severityColor(i.Severity) }},
	{head: "STATE", cell: func(i api.Incident) string { return i.State }},
	{head: "RULE", cell: func(i api.Incident) string { return markShadow(i.Rule, i.Shadow) }},
	{head: "WORKLOAD", cell: func(i api.Incident) string { return orDash(i.Workload) }},
	{head: "COUNT", cell: func(i api.Incident) string { return strconv.FormatInt(i.Matches, 10) }},
	{head: "SINCE", cell: func(i api.Incident) string { return ago(i.First) }},
	{head: "LAST", cell: func(i api.Incident) string { return ago(i.Last) }},
	{head: "MESSAGE", cell: func(i api.Incident) string { return i.LastText }, cut: true},
}

func incidentID(i api.Incident) string { return strconv.FormatInt(i.ID, 10) }

func (c *cli) incidentCommand() *cobra.Command {
	var q api.IncidentQuery
	var all bool
	ls := listCommand(c, "List incidents, the newest first", incidentColumns, incidentID,
		func(ctx context.Context, client *api.Client, cmd *cobra.Command) ([]api.Incident, error) {
			if q.Limit <= 0 {
				return nil, &usageError{cmd, errors.New("--tail must be a number above 0")}
			}
			if all {
				q.State = "all"
			}
			return client.Incidents(ctx, q)
		})
	ls.Flags().BoolVarP(&all, "all", "a", false, "Those that are resolved too")
	ls.Flags().StringVar(&q.State, "state", "", "Only those open, acknowledged, snoozed or resolved; several with commas")
	ls.Flags().StringVar(&q.Severity, "severity", "", "Only of this severity or a worse one: "+event.OneOf(event.Severities()))
	ls.Flags().StringVar(&q.Rule, "rule", "", "Only of this rule, by its name")
	ls.Flags().StringVar(&q.Workload, "workload", "", "Only of this workload")
	ls.Flags().IntVarP(&q.Limit, "tail", "n", 50, "How many")
	complete(ls, "state", event.Names(incident.States())...)
	complete(ls, "severity", event.Names(event.Severities())...)
	ls.Long = "List incidents: hits of a rule that are the same trouble are one. Without --all or\n--state, those that are not resolved."
	ls.Example = `  docker logscan incident ls
  docker logscan incident ls --all --severity error -n 200`
	cmd := group("incident", "See what is wrong, and say that you know", ls, c.incidentShow(), c.incidentAcknowledge(), c.incidentSnooze(),
		c.incidentVerb("reopen", "Take an acknowledgement or a snooze back", nil),
		c.incidentVerb("resolve", "End incidents", nil))
	cmd.Aliases = []string{"incidents"}
	return cmd
}

func (c *cli) incidentShow() *cobra.Command {
	cmd := showCommand(c, "incident", "Show all that is known of incidents", incidentRows,
		func(ctx context.Context, client *api.Client) (func(string) (api.IncidentDetails, error), error) {
			return func(ref string) (api.IncidentDetails, error) {
				id, err := c.incidentRef(ref)
				if err != nil {
					return api.IncidentDetails{}, err
				}
				d, err := client.Incident(ctx, id)
				if api.IsNotFound(err) {
					err = advise(c.name()+" incident ls --all", "no incident %s", ref)
				}
				return d, err
			}, nil
		})
	cmd.Example = `  docker logscan incident show 42`
	return cmd
}

func (c *cli) incidentRef(ref string) (int64, error) {
	id, err := strconv.ParseInt(strings.TrimPrefix(ref, "#"), 10, 64)
	if err != nil || id <= 0 {
		return 0, advise(c.name()+" incident ls", "an incident is given by its number, not %q", ref)
	}
	return id, nil
}

func incidentRows(d api.IncidentDetails) [][2]string {
	rows := [][2]string{
		{"ID", incidentID(d.Incident)},
		{"State", d.State},
		{"Severity", d.Severity},
		{"Rule", markShadow(d.Rule, d.Shadow)},
		{"Of", orDash(d.ByValues)},
		{"Workload", orDash(d.Workload)},
		{"Shape", orDash(d.Shape)},
		{"First", when(d.First)},
		{"Last", when(d.Last)},
		{"Count", fmt.Sprintf("%d (%d hits)", d.Matches, d.Hits)},
		{"Containers", containersOf(d.Incident)},
		{"First line", d.FirstText},
		{"Last line", d.LastText},
	}
	if a := d.Again; a != nil {
		rows = append(rows, [2]string{"Again", fmt.Sprintf("after incident %d, which ended %s; number %d in seven days", a.ID, when(a.Ended), a.Nth)})
	}
	if d.By != "" || d.Note != "" {
		rows = append(rows, [2]string{"By", strings.Trim(d.By+": "+d.Note, ": ")})
	}
	if s := d.Snooze; s != nil {
		rows = append(rows, [2]string{"Snoozed", snoozeText(*s)})
	}
	if !d.Ended.IsZero() {
		rows = append(rows, [2]string{"Ended", when(d.Ended) + ", " + d.EndedWhy})
	}
	for _, n := range d.Notices {
		text := n.At.Local().Format(time.DateTime) + " " + n.Kind
		if n.Reason != "" {
			text += ": " + n.Reason
		}
		if n.SilencedBy != 0 {
			text += fmt.Sprintf(" (held back by silence %d)", n.SilencedBy)
		}
		rows = append(rows, [2]string{"Notice", text})
		for _, f := range n.Triggers {
			if f.State != "silenced" { // said above, of all
				rows = append(rows, fateRow(f))
			}
		}
	}
	return rows
}

// fateRow is what became of a notice for a trigger.
func fateRow(f api.Fate) [2]string {
	label := "  Not told"
	switch f.State {
	case "told":
		label = "  Told"
	case "held":
		label = "  Held"
	}
	name := f.Trigger
	if name == "" {
		name = fmt.Sprintf("trigger %d, which has gone", f.TriggerID)
	}
	return [2]string{label, name + ": " + fateText(f)}
}

// fateText is fateRow's, of a trigger that is known.
func fateText(f api.Fate) string {
	switch f.State {
	case "told":
		if f.Delivery == nil {
			return f.DeliveryID + ", which is no longer kept"
		}
		return f.DeliveryID + " is " + deliveryText(*f.Delivery)
	case "held":
		return "until " + f.Until.Local().Format(time.DateTime) + ", " + f.Why
	case "unwanted":
		return unwantedText(f.Field)
	case "spared":
		return "somebody acknowledged the incident before it was due"
	}
	return cmp.Or(f.Why, "why isn't known")
}

// unwantedText says which field of a trigger leaves something out.
func unwantedText(field string) string {
	switch field {
	case "own_failure":
		return "it is about this trigger itself"
	case "shadow":
		return "left out: the rule was in shadow"
	case "triggers":
		return "the rule names other triggers"
	case "enabled":
		return "it is switched off"
	case "mode":
		return "it is told of each event instead (--mode events)"
	}
	return "left out by " + argument[field]
}

// deliveryText is what became of a delivery.
func deliveryText(d api.Delivery) string {
	text := d.State
	if d.LastError != "" {
		text += ": " + d.LastError
	} else if d.LastStatus != 0 {
		text += fmt.Sprintf(" with status %d", d.LastStatus)
	}
	if d.State == "pending" && d.Attempts > 0 {
		text += "; tried again at " + d.NextAt.Local().Format(time.TimeOnly)
	}
	return text
}

func containersOf(i api.Incident) string {
	if len(i.Containers) <= 1 {
		return orDash(i.Container)
	}
	return fmt.Sprintf("%d, the last: %s", len(i.Containers), i.Container)
}

func snoozeText(s api.Snooze) string {
	var parts []string
	if !s.Until.IsZero() {
		parts = append(parts, "until "+s.Until.Local().Format(time.DateTime))
	}
	if s.Hits > 0 {
		parts = append(parts, fmt.Sprintf("for %d matches", s.Hits))
	}
	if s.Times > 0 {
		parts = append(parts, fmt.Sprintf("up to %g times its rate", s.Times))
	}
	if s.Image {
		parts = append(parts, "until there is another image")
	}
	return strings.Join(parts, ", or ")
}

func (c *cli) incidentAcknowledge() *cobra.Command {
	cmd := c.incidentVerb("acknowledge", "Say that you know: incidents aren't told again unless they get worse", nil)
	cmd.Aliases = []string{"ack"}
	return cmd
}

func (c *cli) incidentSnooze() *cobra.Command {
	var until, within string
	var change api.IncidentChange
	cmd := c.incidentVerb("snooze", "Say that you know, for a while", func(cmd *cobra.Command, out *api.IncidentChange) error {
		end, err := endOf(cmd, within, until)
		if err != nil {
			return err
		}
		out.Snooze = change.Snooze
		out.Until = end
		if out.Snooze == (api.Snooze{}) {
			return &usageError{cmd, errors.New("give an end: --for, --until, --hits, --rate or --image")}
		}
		return nil
	})
	cmd.Long = "Say that you know of incidents, for a while: whatever comes first of the ends that are\ngiven. Then they are told again, if there is something to tell."
	cmd.Example = `  docker logscan incident snooze 42 --for 2h
  docker logscan incident snooze 42 43 --until monday --hits 1000 --image`
	cmd.Flags().StringVar(&within, "for", "", "For so long: 90m, 2d")
	cmd.Flags().StringVar(&until, "until", "", "Until then: 08:00, monday, tomorrow, 2026-01-02 15:04")
	cmd.Flags().Int64Var(&change.Hits, "hits", 0, "Until that many more")
	cmd.Flags().Float64Var(&change.Times, "rate", 0, "Until it comes that many times as often")
	cmd.Flags().BoolVar(&change.Image, "image", false, "Until it comes from another image")
	return cmd
}

// endOf is the time that --for and --until stand for; zero where neither is given.
func endOf(cmd *cobra.Command, within, until string) (time.Time, error) {
	switch {
	case within != "" && until != "":
		return time.Time{}, &usageError{cmd, errors.New("either --for or --until, not both")}
	case within != "":
		d, err := silence.Duration(within)
		if err != nil {
			return time.Time{}, &usageError{cmd, fmt.Errorf("--for: %w", err)}
		}
		return time.Now().Add(d), nil
	case until != "":
		end, err := silence.Until(until, time.Now())
		if err != nil {
			return time.Time{}, &usageError{cmd, fmt.Errorf("--until: %w", err)}
		}
		return end, nil
	}
	return time.Time{}, nil
}

// incidentVerb does to incidents what a verb of the API says; prepare adds to what is
// sent.
func (c *cli) incidentVerb(verb, short string, prepare func(*cobra.Command, *api.IncidentChange) error) *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use: verb + " [OPTIONS] INCIDENT [INCIDENT...]", Short: short, Args: args(1, -1),
		Example:           "  docker logscan incident " + verb + " 42",
		ValidArgsFunction: c.completeIncidents,
		RunE: func(cmd *cobra.Command, refs []string) error {
			change := api.IncidentChange{By: userName(), Note: note}
			if prepare != nil {
				if err := prepare(cmd, &change); err != nil {
					return err
				}
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				return each(c, refs, func(ref string) error {
					id, err := c.incidentRef(ref)
					if err != nil {
						return err
					}
					_, err = client.ChangeIncident(ctx, id, verb, change)
					if api.IsNotFound(err) {
						return advise(c.name()+" incident ls --all", "no incident %s", ref)
					}
					return err
				})
			})
		},
	}
	cmd.Flags().StringVarP(&note, "note", "m", "", "What to remember")
	return cmd
}

// userName is who runs this.
func userName() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

func (c *cli) completeIncidents(cmd *cobra.Command, _ []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	_ = c.with(cmd, func(ctx context.Context, client *api.Client) error {
		incidents, err := client.Incidents(ctx, api.IncidentQuery{})
		for _, i := range incidents {
			out = append(out, completion(i.ID, i.Rule+" "+i.Workload))
		}
		return err
	})
	return out, cobra.ShellCompDirectiveNoFileComp
}
