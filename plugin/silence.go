package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
	"logscan/internal/silence"
)

var silenceColumns = []column[api.Silence]{
	{head: "ID", cell: silenceID},
	{head: "ACTIVE", cell: func(s api.Silence) string { return yesNo(s.Active) }},
	{head: "MATCHERS", cell: func(s api.Silence) string { return strings.Join(s.Matchers, " ") }, cut: true},
	{head: "WHEN", cell: silenceWhen},
	{head: "HELD BACK", cell: func(s api.Silence) string { return strconv.FormatInt(s.Notices, 10) }},
	{head: "BY", cell: func(s api.Silence) string { return orDash(s.CreatedBy) }},
	{head: "COMMENT", cell: func(s api.Silence) string { return orDash(s.Comment) }, cut: true},
}

func silenceID(s api.Silence) string { return strconv.FormatInt(s.ID, 10) }

func silenceWhen(s api.Silence) string {
	until := "until " + s.Ends.Local().Format("2006-01-02 15:04")
	if s.Cron != "" {
		return fmt.Sprintf("%s for %s, %s", s.Cron, shortDuration(time.Duration(s.For)*time.Second), until)
	}
	return until
}

func (c *cli) silenceCommand() *cobra.Command {
	var all bool
	ls := listCommand(c, "List silences", silenceColumns, silenceID,
		func(ctx context.Context, client *api.Client, _ *cobra.Command) ([]api.Silence, error) {
			silences, err := client.Silences(ctx)
			out := []api.Silence{}
			for _, s := range silences {
				if all || s.Ends.After(time.Now()) {
					out = append(out, s)
				}
			}
			return out, err
		})
	ls.Flags().BoolVarP(&all, "all", "a", false, "Those that have ended too")
	ls.Example = `  docker logscan silence ls --all`
	rm := &cobra.Command{
		Use: "rm SILENCE [SILENCE...]", Aliases: []string{"remove", "expire"}, Short: "End silences now", Args: args(1, -1),
		Long:    "End silences now. What one has held back is told by an event.",
		Example: `  docker logscan silence rm 3`,
		RunE: func(cmd *cobra.Command, refs []string) error {
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				return each(c, refs, func(ref string) error {
					id, err := strconv.ParseInt(ref, 10, 64)
					if err == nil {
						err = client.EndSilence(ctx, id)
					}
					if err != nil && (api.IsNotFound(err) || errors.Is(err, strconv.ErrSyntax)) {
						return advise(c.name()+" silence ls", "no silence %q", ref)
					}
					return err
				})
			})
		},
	}
	cmd := group("silence", "Hold back what you don't want to be told for a while", ls, c.silenceAdd(), rm)
	cmd.Aliases = []string{"silences"}
	return cmd
}

func (c *cli) silenceAdd() *cobra.Command {
	var within, until, from, cron, zone, comment string
	var preview bool
	cmd := &cobra.Command{
		Use: "add [OPTIONS] MATCHER [MATCHER...]", Aliases: []string{"create"}, Short: "Add a silence; prints its id", Args: args(1, silence.MaxMatchers),
		Long: `Add a silence. What all its MATCHERs fit is evaluated, recorded and folded into
incidents, but not told; at the end, one event says what was held back.

A MATCHER is FIELD=VALUE, FIELD!=VALUE, where * stands for anything, or FIELD~REGEX,
which has to match the whole. Fields: ` + strings.Join(silence.Fields, ", ") + `,
and label.NAME for a label of the container.

With --cron, --for is how long the silence holds each time that it begins, and it
goes on for a year unless --until says otherwise.`,
		Example: `  docker logscan silence add workload=shop/backup --for 1h --comment 'disk is being replaced'
  docker logscan silence add rule=slow-query severity!=critical --until monday
  docker logscan silence add workload=shop/backup --cron '0 3 * * *' --for 1h --time-zone Europe/Berlin
  docker logscan silence add 'rule=pg-*' --for 2h --preview`,
		RunE: func(cmd *cobra.Command, matchers []string) error {
			now := time.Now()
			s := api.SilenceCreate{Matchers: matchers, Comment: comment, CreatedBy: userName(), Cron: cron, Zone: zone}
			var err error
			if cron != "" {
				d, e := silence.Duration(within)
				if e != nil {
					return &usageError{cmd, fmt.Errorf("--cron needs --for, how long it holds each time: %w", e)}
				}
				s.For, within = int64(d/time.Second), ""
			}
			if s.Ends, err = endOf(cmd, within, until); err != nil {
				return err
			}
			switch {
			case from != "":
				if s.Starts, err = silence.Until(from, now); err != nil {
					return &usageError{cmd, fmt.Errorf("--from: %w", err)}
				}
				if within != "" {
					s.Ends = s.Ends.Add(s.Starts.Sub(now))
				}
			case s.Ends.IsZero() && cron == "" && !preview:
				return &usageError{cmd, errors.New("give an end: --for or --until")}
			}
			if s.Ends.IsZero() {
				s.Ends = now.AddDate(1, 0, 0)
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				if preview {
					p, err := client.PreviewSilence(ctx, s)
					if err != nil {
						return err
					}
					fmt.Fprintf(c.out, "In seven days it would have held back %d notices of %d incidents", p.Notices, p.Incidents)
					if len(p.Rules) > 0 {
						fmt.Fprintf(c.out, ", of the rules %s", clean(strings.Join(p.Rules, ", ")))
					}
					_, err = fmt.Fprintln(c.out, ".")
					return err
				}
				out, err := client.CreateSilence(ctx, s)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(c.out, out.ID)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&within, "for", "", "For so long: 90m, 2d")
	cmd.Flags().StringVar(&until, "until", "", "Until then: 08:00, monday, tomorrow, 2026-01-02 15:04")
	cmd.Flags().StringVar(&from, "from", "", "From then on (default now)")
	cmd.Flags().StringVar(&cron, "cron", "", `Again and again, when this says: five fields, such as "0 3 * * *"`)
	cmd.Flags().StringVar(&zone, "time-zone", "", "Of --cron, such as Europe/Berlin (default UTC)")
	cmd.Flags().StringVarP(&comment, "comment", "m", "", "Why")
	cmd.Flags().BoolVar(&preview, "preview", false, "Only tell what it would have held back in the last seven days")
	return cmd
}
