package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
)

func (c *cli) whyCommand() *cobra.Command {
	var q api.WhyQuery
	var at, format string
	cmd := &cobra.Command{
		Use: "why [OPTIONS]", Short: "What became of a line, and why", Args: args(0, 0),
		Long: `Say what became of a line for each rule: whether it matched, what held it back, which
incident it is part of, and for each trigger whether it was told, what the receiver
answered, or why it was not. It goes by what is stored. Where that can't tell, as of a
match that a cooldown held back, the lines that are kept are evaluated again, by the rules
as they are now; it says so.

The line is given by a time, by its number in a container's log, or by an event.`,
		Example: `  docker logscan why --container web --at 10m
  docker logscan why --container web --line -1
  docker logscan why --event 42`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newPrinter(c, listing{format: format}, []column[api.Why]{}, func(api.Why) string { return "" })
			if err != nil {
				return err
			}
			if q.At, err = parseTime(at, time.Now()); err != nil {
				return &usageError{cmd, fmt.Errorf("--at: %w", err)}
			}
			f := cmd.Flags()
			given := 0
			for _, name := range []string{"at", "line", "event"} {
				if f.Changed(name) {
					given++
				}
			}
			switch {
			case given != 1:
				return &usageError{cmd, errors.New("give one of --at, --line and --event")}
			case f.Changed("line") && (q.Line == 0 || q.Container == ""):
				return &usageError{cmd, errors.New("--line is a number from 1 on, or from -1 on back from the last, and goes with --container")}
			case f.Changed("event") && (q.Event <= 0 || q.Container != ""):
				return &usageError{cmd, errors.New("--event is an event's number, and says the container")}
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				w, err := client.Why(ctx, q)
				switch {
				case q.Event != 0 && api.IsNotFound(err):
					return advise(c.name()+" events", "no event %d", q.Event)
				case err != nil:
					return err
				case format != "":
					return p.one(w)
				}
				return c.printLines(whyText(&w))
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Container, "container", "", "The container, by name, id or the beginning of an id")
	f.StringVar(&at, "at", "", `The first line since then, e.g. "2026-01-02T15:04:05Z" or "42m"`)
	f.Int64Var(&q.Line, "line", 0, "The n-th line of the container's log that is kept; -1 is the last")
	f.Int64Var(&q.Event, "event", 0, "The line that this event is about")
	f.BoolVar(&q.All, "all", false, "Show the rules whose pattern doesn't match, too")
	f.StringVar(&format, "format", "", `Output: "json" or a Go TEMPLATE`)
	_ = cmd.RegisterFlagCompletionFunc("container", c.completeContainers) // the flag is there
	return cmd
}

func (c *cli) printLines(lines []string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(c.out, line); err != nil {
			return err
		}
	}
	return nil
}

// telling is sentences for people.
type telling []string

func (t *telling) say(format string, args ...any) { *t = append(*t, fmt.Sprintf(format, args...)) }

// whyText is an answer for people.
func whyText(w *api.Why) []string {
	var t telling
	if l := w.Line; l != nil {
		t.say("%s %s %s | %s", clean(l.Container), l.Time.Local().Format("2006-01-02 15:04:05.000"), l.Stream, clean(l.Text))
		if l.Lines > 1 {
			t.say("It is one of %d lines that are a record.", l.Lines)
		}
	} else {
		t.say("Event %d: %s", w.Event.ID, clean(w.Event.Message))
		t.say("There is no line of it, or it is no longer kept.")
	}
	if w.Unscanned {
		t.say("Rules don't read this container's log: its log option scan is false.")
	}
	for i := range w.Rules {
		t.say("")
		t.rule(&w.Rules[i])
	}
	rest := telling{}
	if w.Unmatched > 0 {
		rest.say("and %s whose pattern doesn't match (--all shows them)", number(int64(w.Unmatched), "rule"))
	}
	if w.Elsewhere > 0 {
		rest.say("and %s for other containers", number(int64(w.Elsewhere), "rule"))
	}
	if len(rest) > 0 {
		t = append(append(t, ""), rest...)
	}
	if replayed(w) && !w.Whole {
		t.say("The log has not all lines since %s, which were evaluated again for this.", w.Replayed.Local().Format(time.DateTime))
	}
	return t
}

// replayed reports whether anything of an answer is by lines that were evaluated again.
func replayed(w *api.Why) bool {
	for i := range w.Rules {
		if w.Rules[i].Replayed {
			return true
		}
	}
	return false
}

// rule says what became of a line for a rule, and of what came of that.
func (t *telling) rule(v *api.WhyRule) {
	t.say("Rule %s: %s", clean(v.Rule), outcomeText(v))
	if v.Changed && v.Outcome != "later" {
		t.say("  The rule is what it is now only since %s.", v.Updated.Local().Format(time.DateTime))
	}
	if v.Replayed {
		t.say("  So say the lines that are kept, evaluated again by the rules as they are now.")
	}
	if v.ToldWithID != 0 {
		t.say("  Event %d tells that it was held back.", v.ToldWithID)
	}
	if i := v.Incident; i != nil {
		what := "It is part of"
		if v.Folded {
			what = "It counts in"
		}
		state := i.State
		if i.By != "" {
			state += " by " + clean(i.By)
		}
		if i.State == "resolved" {
			state += ": " + clean(i.EndedWhy)
		}
		t.say("  %s incident %d, which counts %d since %s and is %s.", what, i.ID, i.Matches, i.First.Local().Format(time.DateTime), state)
	}
	if v.Folded && len(v.Notices) > 0 {
		t.say("  It was worth no notice of its own. Around then, the incident was worth:")
	}
	for _, n := range v.Notices {
		reason := ""
		if n.Reason != "" {
			reason = ": " + clean(n.Reason)
		}
		t.say("  %s %s%s", n.At.Local().Format(time.DateTime), n.Kind, reason)
		if n.SilencedBy != 0 {
			t.say("    Silenced by %d: %s", n.SilencedBy, cmp.Or(clean(n.Silence), "it is no longer kept"))
		}
		for _, f := range n.Triggers {
			if f.State != "silenced" {
				t.fate("  ", f)
			}
		}
		if len(n.Triggers) == 0 && n.SilencedBy == 0 {
			t.say("    No trigger is told of incidents.")
		}
	}
	for _, f := range v.Each {
		t.fate("", f)
	}
}

func (t *telling) fate(indent string, f api.Fate) {
	row := fateRow(f)
	text := clean(row[1])
	if d := f.Delivery; d != nil && d.Attempts > 1 {
		text += fmt.Sprintf(", after %d attempts", d.Attempts)
	}
	t.say("%s%s %s", indent, row[0], text)
}

// outcomeText says in a sentence what became of a line for a rule.
func outcomeText(v *api.WhyRule) string {
	by := ""
	if v.By != "" {
		by = " (" + clean(v.By) + ")"
	}
	switch v.Outcome {
	case "hit":
		return fmt.Sprintf("a hit, event %d%s.", v.Event.ID, by) + shadowText(v)
	case "joined":
		if v.Sums != "" {
			return fmt.Sprintf("one of the matches of event %d%s.", v.Event.ID, by) + shadowText(v)
		}
		return fmt.Sprintf("part of a record that is event %d.", v.Event.ID) + shadowText(v)
	case "cooldown":
		behind := ""
		if v.BehindEventID != 0 {
			behind = fmt.Sprintf(", event %d", v.BehindEventID)
		}
		return fmt.Sprintf("held back by its cooldown until %s, since the hit of %s%s.", v.Until.Local().Format(time.DateTime), v.Behind.Local().Format(time.DateTime), behind)
	case "bucket":
		return "held back by the bound of the container's hits (LOGSCAN_BUCKET_BURST and LOGSCAN_BUCKET_REFILL)."
	case "counted":
		if v.AtLeast > 0 {
			return fmt.Sprintf("a match, %d of the %d that make a hit, since %s%s.", v.Matches, v.AtLeast, v.MatchesSince.Local().Format(time.DateTime), by)
		}
		what := "a match"
		if part := strings.Trim(strings.Join(v.Parts, ", "), ", "); part != "" {
			what = "it is " + clean(part)
		}
		if v.Sums == "" {
			return what + by + ", and no match."
		}
		return fmt.Sprintf("%s%s, of which no hit came (%s).", what, by, clean(v.Sums))
	case "off":
		return "it would match, but is switched off."
	case "later":
		return fmt.Sprintf("it would match, but was made, or switched on, only later; it is what it is since %s.", v.Updated.Local().Format(time.DateTime))
	case "unread":
		return "it matches; rules are behind, and have not seen the line yet."
	case "forgotten":
		return "it matches, but events of that time are no longer kept (LOGSCAN_EVENTS_MAX, LOGSCAN_EVENTS_AGE)."
	case "stream":
		return "it would match, but is for the other stream only."
	case "echo":
		return "hidden from it: the line repeats what logscan has sent."
	case "given_up":
		return "not found out: it takes too much work to check."
	case "unknown":
		return "it matches, but there is no event, and nothing that is kept says why."
	}
	return "no match: " + unmetText(v.Unmet) + "."
}

func shadowText(v *api.WhyRule) string {
	if v.Event != nil && v.Event.Metadata["shadow"] == true {
		return " The rule was in shadow: nobody is told."
	}
	return ""
}

// unmetText says which condition a line doesn't fulfil.
func unmetText(u *api.WhyCondition) string {
	if u == nil {
		return "no line is meant by it"
	}
	l := api.LineTest{Failed: u.Field, By: u.Condition, Field: u.About}
	if !u.Missing {
		l.Value = &u.Value
	}
	text := reason(l)
	if u.Field == "pattern" {
		text += " " + clean(u.Condition)
	}
	if u.Part != "" {
		text = u.Part + ": " + text
	}
	return text
}

func (c *cli) ruleWhy() *cobra.Command {
	var since, format string
	cmd := &cobra.Command{
		Use: "why [OPTIONS] RULE", Short: "Why a rule made no hit", Args: args(1, 1), ValidArgsFunction: c.completeRules,
		Long: `Say why a rule (by name or id) made no hit in the last 24 hours: it is for no container
that wrote, its pattern nearly matches, a condition fails, matches are ignored, held back or
too few, or the rule is off, in shadow, or newer than the lines. The lines that are kept are
evaluated by the rule as it is now.`,
		Example: `  docker logscan rule why oom
  docker logscan rule why oom --since 1h`,
		RunE: func(cmd *cobra.Command, a []string) error {
			p, err := newPrinter(c, listing{format: format}, []column[api.RuleWhy]{}, func(api.RuleWhy) string { return "" })
			if err != nil {
				return err
			}
			from, err := parseTime(since, time.Now())
			if err != nil {
				return &usageError{cmd, fmt.Errorf("--since: %w", err)}
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				r, err := c.findRule(ctx, client, a[0])
				if err != nil {
					return err
				}
				w, err := client.WhyRule(ctx, r.ID, from)
				switch {
				case err != nil:
					return err
				case format != "":
					return p.one(w)
				}
				return c.printLines(ruleWhyText(&w, r.Name, c.name()))
			})
		},
	}
	cmd.Flags().StringVar(&since, "since", "24h", `Only lines since then, e.g. "2026-01-02T15:04:05Z" or "42m"`)
	cmd.Flags().StringVar(&format, "format", "", `Output: "json" or a Go TEMPLATE`)
	return cmd
}

// ruleWhyText is an answer for people.
func ruleWhyText(w *api.RuleWhy, name, command string) []string {
	var t telling
	stamp := func(at time.Time) string { return at.Local().Format(time.DateTime) }
	if w.Error != "" {
		t.say("Rule %s can't be used: %s", clean(name), clean(w.Error))
		return t
	}
	t.say("Rule %s, on %s of %s since %s:", clean(name), number(w.Lines, "line"), number(int64(w.Containers), "container"), stamp(w.Since))
	switch w.State {
	case "off":
		t.say("It is switched off, since %s. What follows is what it would say.", stamp(w.Updated))
	case "shadow":
		t.say("It is in shadow: its hits are events, of which nobody is told.")
	}
	if w.Events > 0 {
		t.say("It did hit: it made %s. Whom the last one was told says %s why --event %d", number(w.Events, "event"), command, w.Last.ID)
	} else if w.Last != nil {
		t.say("It made no event since then; the last one is %d, of %s.", w.Last.ID, eventTime(*w.Last))
	} else {
		t.say("It made no event.")
	}
	if w.Containers == 0 {
		t.say("It is for none of the containers that wrote since then: %d wrote that it isn't for.", w.Others)
	}
	if w.Unscanned > 0 {
		t.say("The logs of %s are not read by rules: their log option scan is false.", number(int64(w.Unscanned), "container"))
	}
	if w.Overridden > 0 {
		t.say("In the workload of %s, another rule takes its place.", number(int64(w.Overridden), "container"))
	}
	if w.Containers == 0 {
		return t
	}
	t.say("%s its conditions.", do(w.Matches, "fulfils", "fulfil"))
	if w.Before > 0 {
		t.say("%s of them before the rule was what it is now, since %s.", countOf(w.Before, w.Matches), stamp(w.Updated))
	}
	t.held(w)
	for _, u := range w.Unmet[:min(len(w.Unmet), 5)] {
		what, too := "but not the condition ", ""
		switch u.Field {
		case "ignore":
			what = "but also a pattern to ignore, "
		case "all":
			what, too = "but not ", " too"
		}
		t.say("%s its pattern, %s%s%s. The last: %s", do(u.Lines, "fulfils", "fulfil"), what, clean(u.Condition), too, clean(u.Sample))
	}
	if w.Stream > 0 {
		t.say("%s its pattern on the other stream, which it isn't for.", do(w.Stream, "fulfils", "fulfil"))
	}
	if w.Hidden > 0 {
		t.say("%s hidden from it, repeating what logscan has sent.", do(w.Hidden, "is", "are"))
	}
	if w.GivenUp > 0 {
		t.say("%s too much work to check.", do(w.GivenUp, "takes", "take"))
	}
	var quoted []string
	for _, text := range w.Rarest[:min(len(w.Rarest), 5)] {
		quoted = append(quoted, strconv.Quote(text))
	}
	if w.Near > 0 {
		t.say("%s %s, in capitals or small letters, but no match. The last: %s", do(w.Near, "has", "have"), strings.Join(quoted, " or "), clean(w.NearLine))
	} else if w.Matches == 0 && len(w.Unmet) == 0 && w.Stream == 0 && len(quoted) > 0 && len(quoted) == len(w.Rarest) {
		t.say("No line has %s; each match would.", strings.Join(quoted, " or "))
	}
	if !w.Whole {
		t.say("Not all lines of that time are kept.")
	}
	return t
}

// held says what became of lines that fulfil a rule's conditions.
func (t *telling) held(w *api.RuleWhy) {
	if w.Kind == "line" {
		if w.Matches > 0 {
			t.say("As the rule is now, %s of them would be hits; the cooldown holds back %d, and the bound of a container's hits %d.", countOf(w.Hits, w.Matches), w.Cooldown, w.Bucket)
		}
		return
	}
	for _, p := range w.Parts {
		if p.Part != "" {
			t.say("%s %s.", do(p.Lines, "is", "are"), clean(p.Part))
		}
	}
	if w.AtLeast > 0 {
		at, by := "", ""
		if w.Most > 0 {
			at = ", at " + w.MostAt.Local().Format(time.DateTime)
		}
		if w.MostBy != "" {
			by = " of " + clean(w.MostBy)
		}
		t.say("A hit takes %d within %s; the most%s was %d%s.", w.AtLeast, shortDuration(time.Duration(w.Within)*time.Second), by, w.Most, at)
	}
}

// do says that so many lines do something.
func do(n int64, one, many string) string {
	switch n {
	case 0:
		return "No line " + one
	case 1:
		return "1 line " + one
	}
	return fmt.Sprintf("%d lines %s", n, many)
}

// countOf is so many of some, or all.
func countOf(n, of int64) string {
	if n == of {
		return "all"
	}
	return strconv.FormatInt(n, 10)
}
