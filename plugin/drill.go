package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
	"logscan/internal/event"
	"logscan/internal/rule"
)

const (
	drillName     = "logscan-drill" // begins the names of what is made for one
	drillPoll     = 10 * time.Millisecond
	longestDrill  = 10 * time.Minute
	drillEnd      = 10 * time.Second // how long it may take to tidy up
	drillBy       = "drill"          // resolves its incident
	drillUntil    = "Of a drill that ends by "
	drillUntilEnd = "; the next drill removes it"
)

// drillStep is a part of a line's way.
type drillStep struct {
	Step    string    `json:"step"` // line, hit, incident, queued, answered, told; or waiting, held, silenced, unwanted, spared, unknown
	At      time.Time `json:"at,omitzero"`
	After   float64   `json:"after_ms"` // since the line was written; 0 where At is zero
	Trigger string    `json:"trigger,omitempty"`
	Text    string    `json:"text,omitempty"`
}

var drillColumns = []column[drillStep]{
	{head: "STEP", cell: func(s drillStep) string { return s.Step }, width: 8},
	{head: "AFTER", cell: func(s drillStep) string {
		if s.At.IsZero() {
			return "-"
		}
		return milliseconds(s.After)
	}, width: 9},
	{head: "TRIGGER", cell: func(s drillStep) string { return orDash(s.Trigger) }, width: 12},
	{head: "WHAT", cell: func(s drillStep) string { return s.Text }},
}

func milliseconds(ms float64) string {
	if ms < 10 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// drill is a line that a container is run to write, followed to whom it reaches.
type drill struct {
	c        *cli
	client   *api.Client
	p        *printer[drillStep]
	deadline time.Time

	token     string
	line      string
	stderr    bool // the line goes there
	workload  string
	labels    []string // KEY=VALUE, the container's
	container string
	image     string

	rule      api.Rule
	temporary bool        // the rule is made for the drill
	only      api.Trigger // that is followed; zero for all
	triggers  []api.Trigger

	at       time.Time // of the line, by the Engine
	left     bool      // the container may not have gone
	incident int64     // that the line opened; 0 for none
	shown    map[shownStep]bool
}

// shownStep is what tells a step from others.
type shownStep struct {
	step, trigger string
	at            int64
}

func (c *cli) drillCommand() *cobra.Command {
	var ref, image, workload, severity, format string
	var labels []string
	var within time.Duration
	cmd := &cobra.Command{
		Use: "drill [OPTIONS] TRIGGER | --rule RULE [LINE]", Short: "Have a container write a line, and time its way to the receiver",
		Long: `Run a container that writes one line, which says that it is a drill, and follow it to
the receiver's answer: when the line was written, the hit stored, the incident opened,
the message queued and answered. Exits with 1 if nobody was told, and says where it
stopped.

With TRIGGER, by name or id, a rule is made for the line that the trigger's filters
accept, and removed at the end. With --rule, LINE, or a line made from the rule's
pattern, is written where that rule holds, and all triggers are followed.

The container is of an image with a shell that is there already, has no network, and
goes away. At the end the drill resolves its incident, unless other lines joined it.`,
		Example: `  docker logscan drill ops
  docker logscan drill --rule oom
  docker logscan drill --rule oom --workload shop/web 'java: Out of memory'`,
		Args: func(cmd *cobra.Command, given []string) error {
			if cmd.Flags().Changed("rule") {
				return args(0, 1)(cmd, given)
			}
			return args(1, 1)(cmd, given)
		},
		ValidArgsFunction: func(cmd *cobra.Command, a []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(a) > 0 || cmd.Flags().Changed("rule") {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return c.completeTriggers(cmd, a, typed)
		},
		RunE: func(cmd *cobra.Command, a []string) error {
			if within < time.Second || within > longestDrill {
				return &usageError{cmd, fmt.Errorf("--timeout must be from 1s to %s", shortDuration(longestDrill))}
			}
			if ref != "" && severity != "" {
				return &usageError{cmd, errors.New("--severity is for the drill of a trigger: a rule has its own")}
			}
			p, err := newPrinter(c, listing{format: format}, drillColumns, func(s drillStep) string { return s.Step })
			if err != nil {
				return err
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				var token [8]byte
				rand.Read(token[:])
				d := &drill{c: c, client: client, p: p, token: hex.EncodeToString(token[:]), container: drillName + "-" + hex.EncodeToString(token[:]), workload: workload, labels: labels, deadline: time.Now().Add(within), shown: map[shownStep]bool{}}
				if d.triggers, err = client.Triggers(ctx); err != nil {
					return err
				}
				if ref != "" {
					err = d.ofRule(ctx, ref, a)
				} else {
					err = d.ofTrigger(a[0], event.Severity(severity))
				}
				if err != nil {
					return err
				}
				if d.image, err = c.findImage(ctx, image); err != nil {
					return err
				}
				if err := d.inScope(); err != nil {
					return err
				}
				return d.run(ctx)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&ref, "rule", "", "Drill a rule, by name or id, and all triggers with it")
	f.StringVar(&image, "image", "", "Image of the container, which needs a shell (default: what is there of "+strings.Join(drillImages, ", ")+")")
	f.StringVar(&workload, "workload", "", "Workload of the container (default: one that the trigger is for, or where the rule holds)")
	f.StringArrayVar(&labels, "label", nil, "Label of the container, KEY=VALUE (default: those that the trigger is for)")
	f.StringVar(&severity, "severity", "", "Of the drill's rule: "+event.OneOf(event.Severities())+" (default: the least that the trigger is for)")
	f.DurationVar(&within, "timeout", 30*time.Second, "How long it may take")
	f.StringVar(&format, "format", "", `Output: "table", "json", "table TEMPLATE" or a Go TEMPLATE`)
	_ = cmd.RegisterFlagCompletionFunc("rule", c.completeRules)
	c.completeWorkloads(cmd)
	complete(cmd, "severity", event.Names(event.Severities())...)
	return cmd
}

// ofTrigger prepares the drill of a trigger: a line, and a rule for it, that the
// trigger's filters accept, as far as there is one.
func (d *drill) ofTrigger(ref string, severity event.Severity) error {
	t, err := find(d.c, "trigger", ref, d.triggers, func(t api.Trigger) int64 { return t.ID }, func(t api.Trigger) string { return t.Name })
	if err != nil {
		return err
	}
	if !t.Enabled {
		return advise(d.c.name()+" trigger enable "+t.Name, "trigger %s is switched off: it tells nobody", t.Name)
	}
	d.only = t
	if severity == "" {
		for _, s := range slices.Backward(event.Severities()) {
			if (t.MinSeverity == "" || s.Compare(t.MinSeverity) >= 0) && (len(t.Severities) == 0 || slices.Contains(t.Severities, s)) {
				severity = s
			}
		}
	}
	if severity == "" {
		return advise(d.c.name()+" trigger show "+t.Name, "trigger %s tells nobody of anything: none of its severities is %s or worse", t.Name, t.MinSeverity)
	}
	d.temporary = true
	if d.workload == "" {
		d.workload = fitting(t.Workloads, drillName+"-*", d.token)
	}
	if len(d.labels) == 0 {
		for _, l := range t.Labels {
			d.labels = append(d.labels, fitting([]string{l}, "", d.token))
		}
	}
	name := fitting(t.Rules, drillName+"-*", d.token)
	var ok bool
	if d.line, ok = drillLine(d.token, t.MessageRegex); !ok || !strings.Contains(d.line, d.token) {
		return advise(d.c.name()+" drill --rule RULE LINE", "no line that says that it is a drill matches the trigger's --match %s", t.MessageRegex)
	}
	d.rule = api.Rule{
		Name: name, Pattern: "logscan drill " + d.token, Severity: severity, WorkloadID: d.workload, Streams: "all", Enabled: true,
		Description: drillUntil + d.deadline.UTC().Format(time.RFC3339) + drillUntilEnd,
	}
	return nil
}

// ofRule prepares the drill of a rule; given is a line, or nothing.
func (d *drill) ofRule(ctx context.Context, ref string, given []string) error {
	rules, err := d.client.Rules(ctx)
	if err != nil {
		return err
	}
	r, err := find(d.c, "rule", ref, rules, func(r api.Rule) int64 { return r.ID }, ruleName)
	if err != nil {
		return err
	}
	switch {
	case !r.Enabled:
		return advise(d.c.name()+" rule enable "+r.Name, "rule %s is switched off: it finds nothing", r.Name)
	case r.State == rule.Shadow:
		return advise(d.c.name()+" rule enable "+r.Name, "rule %s is in shadow: nobody is told of what it finds", r.Name)
	case r.Correlated() && !(r.Kind == rule.KindNew || r.Kind == rule.KindCount && r.AtLeast == 1):
		return advise(d.c.name()+" rule test "+r.Name+" LINE +90s LINE", "rule %s is hit by more than a line (%s), and a drill writes one", r.Name, r.Sums())
	case r.WorkloadID != "" && d.workload != "" && d.workload != r.WorkloadID:
		return advise("--workload "+r.WorkloadID+", or none", "rule %s holds in the workload %s alone", r.Name, r.WorkloadID)
	}
	d.rule, d.stderr, d.workload = r, r.Streams == "stderr", cmp.Or(r.WorkloadID, d.workload, fitting(nil, drillName+"-*", d.token))
	e, err := d.client.EffectiveRules(ctx, d.workload)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(e.Items, func(in api.Rule) bool { return in.ID == r.ID }) {
		for _, left := range e.LeftOut {
			if left.RuleID == r.ID {
				return advise(d.c.name()+" rule edit "+r.Name+" --pattern …", "rule %s is not in use: %s", r.Name, left.Reason)
			}
		}
		return advise(d.c.name()+" workload rules "+d.workload, "rule %s is overridden in the workload %s", r.Name, d.workload)
	}
	if len(d.labels) == 0 {
		for _, l := range r.Labels {
			d.labels = append(d.labels, fitting([]string{l}, "", d.token))
		}
	}
	if len(r.Names) > 0 {
		d.container = fitting(r.Names, "", d.token)
	}
	var ok bool
	if len(given) > 0 {
		d.line, ok = given[0], !strings.ContainsAny(given[0], "\n\r")
		if !ok {
			return &usageError{err: errors.New("LINE must be one line")}
		}
	} else if d.line, ok = rule.ExampleOf(r, drillSays(d.token)); !ok {
		return advise(d.c.name()+" drill --rule "+r.Name+" LINE", "no line could be made of what the rule looks for: give one")
	}
	tried, err := d.client.TestRule(ctx, api.RuleTest{RuleID: r.ID, Lines: []string{d.line}})
	if err == nil && tried.Matched == 0 {
		return advise(d.c.name()+" rule test "+r.Name+" LINE", "rule %s doesn't match the line %q", r.Name, d.line)
	}
	return err
}

// inScope says why the rule isn't for the drill's container.
func (d *drill) inScope() error {
	c := rule.Container{Workload: d.workload, Name: d.container, Image: d.image, Labels: d.labelled()}
	if d.rule.Holds(c) {
		return nil
	}
	return advise("--image, or --label", "rule %s is for %s alone: the drill's container is of the image %s", d.rule.Name, ruleScope(d.rule), d.image)
}

// labelled are the container's labels by name.
func (d *drill) labelled() map[string]string {
	out := map[string]string{}
	for _, l := range d.labels {
		key, value, _ := strings.Cut(l, "=")
		out[key] = value
	}
	return out
}

// fitting is a text that one of a trigger's globs accepts, or another one where it has
// none. It differs from drill to drill where it can: what one was told of isn't grouped
// with the next one.
func fitting(globs []string, other, token string) string {
	if len(globs) == 0 {
		globs = []string{other}
	}
	return strings.NewReplacer("*", token[:8], "?", "x").Replace(globs[0])
}

// drillSays is what says that a line is a drill's.
func drillSays(token string) string {
	return "logscan drill " + token + ": this is a test; nothing is wrong"
}

// drillLine is a line that says that it is a drill, by its token, and that a pattern
// matches; "" matches all. Where there is none, it is one that says nothing else. It
// reports whether it has found any.
func drillLine(token, pattern string) (string, bool) {
	return rule.ExampleOf(rule.Rule{Pattern: cmp.Or(pattern, "(?:)")}, drillSays(token))
}
