package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
)

// current is the stored rule, against which another one is tried.
const current = "current"

// backtestArgs are what is said of a backtest.
type backtestArgs struct {
	since, upTo, workload, against, file string
	said                                 api.RuleFields
}

// runBacktest tries a stored rule, one that options change, one in a file, or conditions, on
// the lines that are kept.
func (c *cli) runBacktest(cmd *cobra.Command, names []string, a backtestArgs) error {
	req, err := a.request(time.Now())
	switch {
	case err != nil:
		return &usageError{cmd, err}
	case len(names) > 1:
		return &usageError{cmd, errors.New("with --since, the lines that are kept are tried: give none")}
	case len(names) == 0 && len(a.said) == 0 && a.file == "":
		return &usageError{cmd, errors.New("give a rule, --file, --pattern or --where")}
	case a.against != "" && a.against != current:
		return &usageError{cmd, fmt.Errorf("--against is %s: the stored rule", current)}
	case a.against != "" && len(names) == 0 && a.file == "":
		return &usageError{cmd, errors.New("say against which rule: give its name")}
	}
	if a.file != "" {
		if req.Rule, err = c.withFile(a.file, req.Rule, nil); err != nil {
			return err
		}
		delete(req.Rule, "overrides_id")
	}
	return c.with(cmd, func(ctx context.Context, client *api.Client) error {
		name, ref := "These conditions", text(req.Rule, "name")
		if a.file != "" {
			name = "Rule " + ref + " in the file"
		}
		if len(names) > 0 {
			ref = names[0]
		}
		if len(names) > 0 && a.file == "" || a.against != "" {
			r, err := c.findRule(ctx, client, ref)
			if err != nil {
				return err
			}
			if a.against != "" {
				req.Against = r.ID
			}
			if a.file == "" {
				req.RuleID, name = r.ID, "Rule "+r.Name
			}
			if len(req.Rule) > 0 && a.file == "" {
				name += " as changed"
			}
		}
		return c.backtest(ctx, client, req, name)
	})
}

// request reads of which lines a backtest is, and what is said of the rule.
func (a *backtestArgs) request(now time.Time) (req api.BacktestRequest, err error) {
	req.Workload, req.Rule = a.workload, a.said
	if req.Since, err = parseTime(a.since, now); err != nil {
		return req, fmt.Errorf("--since: %w", err)
	}
	if req.Until, err = parseTime(a.upTo, now); err != nil {
		return req, fmt.Errorf("--up-to: %w", err)
	}
	return req, nil
}

// backtest tries a rule on the lines that are kept, and prints what it would have told.
func (c *cli) backtest(ctx context.Context, client *api.Client, req api.BacktestRequest, name string) error {
	b, err := client.Backtest(ctx, req)
	if err != nil {
		return err
	}
	asked := time.Since(req.Since)
	if !req.Until.IsZero() {
		asked = req.Until.Sub(req.Since)
	}
	texts := backtestText(&b, name, asked)
	if b.Against != nil {
		texts = againstText(&b, name)
	}
	for _, line := range texts {
		if _, err := fmt.Fprintln(c.out, line); err != nil {
			return err
		}
	}
	if b.Hits == 0 && b.Against == nil {
		return exitError(exitNoMatch)
	}
	return nil
}

// backtestText is a backtest for people.
func backtestText(b *api.Backtest, name string, asked time.Duration) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	rows := func(head string, all []string) {
		for i, row := range all {
			if i > 0 {
				head = ""
			}
			say("%-11s %s", head, row)
		}
	}
	say("%s, on %s:", clean(name), onWhat(b))
	rows("Hits", []string{fmt.Sprintf("%d (held back: %d by the cooldown, %d by the bound of hits; ignored: %d; given up: %d)", b.Hits, b.Cooldown, b.Bucket, b.Ignored, b.GivenUp)})
	rows("Incidents", []string{fmt.Sprint(b.Incidents) + counted(b.Notices)})
	if len(b.Messages) == 0 {
		rows("Messages", []string{"none: no trigger would have told of it"})
	}
	var messages []string
	for _, trigger := range slices.Sorted(maps.Keys(b.Messages)) {
		messages = append(messages, fmt.Sprintf("%d to %s", b.Messages[trigger], clean(trigger)))
	}
	rows("Messages", messages)
	rows("By hour", hourRows(b.Hours))
	var containers, shapes, samples []string
	for _, v := range b.Containers[:min(len(b.Containers), 10)] {
		containers = append(containers, containerText(&v, asked))
	}
	if more := len(b.Containers) - len(containers); more > 0 {
		containers = append(containers, fmt.Sprintf("and %d more", more))
	}
	rows("Containers", containers)
	if b.Lines > 0 {
		rows("Cost", []string{fmt.Sprintf("%d ns a line", b.NanosALine)})
	}
	for _, v := range b.Shapes[:min(len(b.Shapes), 5)] {
		shapes = append(shapes, fmt.Sprintf("%d × %s", v.Hits, clean(v.Shape)))
	}
	rows("Shapes", shapes)
	for _, v := range b.Samples[:min(len(b.Samples), 5)] {
		samples = append(samples, sampleText(&v))
		for _, line := range v.Before {
			samples = append(samples, "    "+clean(line))
		}
		if len(v.Before)+len(v.After) > 0 {
			samples = append(samples, "  > "+clean(v.Message))
		}
		for _, line := range v.After {
			samples = append(samples, "    "+clean(line))
		}
	}
	rows("Last hits", samples)
	rows("Warnings", cleanAll(b.Warnings))
	if !b.Complete {
		rows("Incomplete", []string{"it ended at " + b.Until.Local().Format(time.DateTime) + ", since it took too long or found too much: ask for less, or for one workload"})
	}
	return out
}

// onWhat says of which lines a backtest is.
func onWhat(b *api.Backtest) string {
	return fmt.Sprintf("%s of %s, %s up to %s", number(b.Lines, "line"), number(int64(len(b.Containers)), "container"), spanText(b.Until.Sub(b.Since)), b.Until.Local().Format(time.DateTime))
}

// spanText is a span such as 3d4h, to the minute where it is long.
func spanText(d time.Duration) string {
	unit := time.Second
	if d >= time.Hour {
		unit = time.Minute
	}
	d = d.Round(unit)
	out := ""
	for _, of := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if of.name == "d" && d < 2*of.length {
			continue
		}
		if n := d / of.length; n > 0 {
			out += fmt.Sprint(int64(n), of.name)
			d -= n * of.length
		}
	}
	return cmp.Or(out, "0s")
}

func sampleText(v *api.BacktestSample) string {
	return fmt.Sprintf("%s %s | %s", v.At.Local().Format(time.DateTime), clean(v.Container), clean(v.Message))
}

// againstText is what differs from another rule, for people.
func againstText(b *api.Backtest, name string) (out []string) {
	d := b.Against
	say := func(head, format string, args ...any) {
		out = append(out, fmt.Sprintf("%-11s ", head)+fmt.Sprintf(format, args...))
	}
	out = append(out, fmt.Sprintf("%s, against rule %s as it is stored, on %s:", clean(name), clean(d.Rule), onWhat(b)))
	say("Hits", "%d, not %d", b.Hits, d.Hits)
	say("Incidents", "%d, not %d", b.Incidents, d.Incidents)
	triggers := maps.Clone(b.Messages)
	maps.Copy(triggers, d.Messages)
	for _, trigger := range slices.Sorted(maps.Keys(triggers)) {
		say("Messages", "%d to %s, not %d", b.Messages[trigger], clean(trigger), d.Messages[trigger])
	}
	for _, side := range []struct {
		head string
		*api.BacktestSide
	}{{"More", &d.Added}, {"Fewer", &d.Gone}} {
		say(side.head, "%s", number(side.Hits, "hit"))
		for _, row := range hourRows(side.Hours) {
			say("", "%s", row)
		}
		for _, v := range side.Samples[:min(len(side.Samples), 5)] {
			say("", "%s", sampleText(&v))
		}
	}
	for _, w := range b.Warnings {
		say("Warnings", "%s", clean(w))
	}
	if !b.Complete {
		say("Incomplete", "it ended at %s, since it took too long or found too much: ask for less, or for one workload", b.Until.Local().Format(time.DateTime))
	}
	return out
}

func cleanAll(all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = clean(s)
	}
	return out
}

// number is so many of something.
func number(n int64, of string) string {
	if n != 1 {
		of += "s"
	}
	return fmt.Sprint(n, " ", of)
}

// counted says how many there are of each kind; "" for none.
func counted(of map[string]int64) string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(of)) {
		all = append(all, fmt.Sprintf("%d %s", of[kind], kind))
	}
	if len(all) == 0 {
		return ""
	}
	return " (notices: " + strings.Join(all, ", ") + ")"
}

// hourRows are the hours in which there were hits, 24 at most, with bars.
func hourRows(hours []api.BacktestHour) (out []string) {
	left := max(0, len(hours)-24)
	most := int64(1)
	for _, h := range hours[left:] {
		most = max(most, h.Hits)
	}
	for _, h := range hours[left:] {
		bar := strings.Repeat("#", int(max(1, (h.Hits*30+most-1)/most)))
		out = append(out, fmt.Sprintf("%s %6d %s", h.At.Local().Format("2006-01-02 15:04"), h.Hits, bar))
	}
	if left > 0 {
		out = append(out, fmt.Sprintf("and %d hours before", left))
	}
	return out
}

// containerText says what there was of a container.
func containerText(v *api.BacktestContainer, asked time.Duration) string {
	text := fmt.Sprintf("%s: %s in %s", clean(v.Name), number(v.Hits, "hit"), number(v.Lines, "line"))
	if !v.Whole && v.Lines > 0 {
		text += fmt.Sprintf("; asked for %s, it has %s", spanText(asked), spanText(v.Last.Sub(v.First)))
	}
	if v.Unread > 0 {
		text += fmt.Sprintf("; %d bytes are gone or can't be read", v.Unread)
	}
	return text
}
