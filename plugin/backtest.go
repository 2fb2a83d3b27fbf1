package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"logscan/internal/api"
)

// backtest tries a rule on the lines that are kept, and prints what it would have told.
func (c *cli) backtest(ctx context.Context, client *api.Client, req api.BacktestRequest, name string) error {
	b, err := client.Backtest(ctx, req)
	if err != nil {
		return err
	}
	for _, line := range backtestText(&b, name) {
		if _, err := fmt.Fprintln(c.out, line); err != nil {
			return err
		}
	}
	if b.Hits == 0 {
		return exitError(exitNoMatch)
	}
	return nil
}

// backtestText is a backtest for people.
func backtestText(b *api.Backtest, name string) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	rows := func(head string, all []string) {
		for i, row := range all {
			if i > 0 {
				head = ""
			}
			say("%-11s %s", head, row)
		}
	}
	span := b.Until.Sub(b.Since).Round(time.Second)
	if span >= time.Hour {
		span = span.Round(time.Minute)
	}
	say("%s, on %s of %s, %s up to %s:", clean(name), number(b.Lines, "line"), number(int64(len(b.Containers)), "container"), shortDuration(span), b.Until.Local().Format(time.DateTime))
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
		containers = append(containers, containerText(&v))
	}
	if more := len(b.Containers) - len(containers); more > 0 {
		containers = append(containers, fmt.Sprintf("and %d more", more))
	}
	rows("Containers", containers)
	for _, v := range b.Shapes[:min(len(b.Shapes), 5)] {
		shapes = append(shapes, fmt.Sprintf("%d × %s", v.Hits, clean(v.Shape)))
	}
	rows("Shapes", shapes)
	for _, v := range b.Samples[:min(len(b.Samples), 5)] {
		samples = append(samples, fmt.Sprintf("%s %s | %s", v.At.Local().Format(time.DateTime), clean(v.Container), clean(v.Message)))
	}
	rows("Last hits", samples)
	rows("Warnings", cleanAll(b.Warnings))
	if !b.Complete {
		rows("Incomplete", []string{"it ended at " + b.Until.Local().Format(time.DateTime) + ", since it took too long or found too much: ask for less, or for one workload"})
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
func containerText(v *api.BacktestContainer) string {
	text := fmt.Sprintf("%s: %s in %s", clean(v.Name), number(v.Hits, "hit"), number(v.Lines, "line"))
	if !v.Whole && v.Lines > 0 {
		text += fmt.Sprintf(", of the last %s: its log goes no further back", shortDuration(v.Last.Sub(v.First).Round(time.Second)))
	}
	if v.Unread > 0 {
		text += fmt.Sprintf("; %d bytes are gone or can't be read", v.Unread)
	}
	return text
}
