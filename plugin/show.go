package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"logscan/internal/api"
	"logscan/internal/rule"
)

// showCommand prints all that is known of each of some things: rows of a label
// and a value, or what a format makes of it. What names one, such as "rule".
func showCommand[T any](c *cli, what, short string, rows func(T) [][2]string, get func(context.Context, *api.Client) (func(ref string) (T, error), error)) *cobra.Command {
	var format string
	formats := `Output: "json" or a Go TEMPLATE`
	_, inYAML := any(*new(T)).(yamler)
	if inYAML {
		formats = `Output: "json", "yaml" or a Go TEMPLATE`
	}
	ref := strings.ToUpper(what)
	cmd := &cobra.Command{
		Use: fmt.Sprintf("show [OPTIONS] %s [%s...]", ref, ref), Aliases: []string{"inspect"}, Short: short, Args: args(1, -1),
		RunE: func(cmd *cobra.Command, refs []string) error {
			p, err := newPrinter(c, listing{format: format}, []column[T]{}, func(T) string { return "" })
			if err != nil {
				return err
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				find, err := get(ctx, client)
				if err != nil {
					return err
				}
				var errs []error
				shown := false
				for _, ref := range refs {
					it, err := find(ref)
					switch {
					case err != nil:
						errs = append(errs, err)
						continue
					case inYAML && format == "yaml":
						if shown {
							fmt.Fprintln(c.out, "---")
						}
						err = c.printYAML(any(it).(yamler))
					case format != "":
						err = p.one(it)
					default:
						if shown {
							fmt.Fprintln(c.out)
						}
						err = c.printRows(rows(it))
					}
					if err != nil {
						return err
					}
					shown = true
				}
				if len(errs) == 1 {
					return errs[0]
				}
				return errors.Join(errs...)
			})
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", formats)
	return cmd
}

// yamler is what there is as YAML, for people to keep in a file.
type yamler interface{ YAML() ([]byte, error) }

func (c *cli) printYAML(v yamler) error {
	b, err := v.YAML()
	if err != nil {
		return err
	}
	text := string(b)
	if c.tty {
		text = cleanText(text)
	}
	_, err = io.WriteString(c.out, text)
	return err
}

// printRows writes labels and values below each other.
func (c *cli) printRows(rows [][2]string) error {
	width := 0
	for _, row := range rows {
		width = max(width, len(row[0]))
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(c.out, "%-*s %s\n", width+1, row[0]+":", clean(row[1])); err != nil {
			return err
		}
	}
	return nil
}

// when is a time of this machine's, and how long ago that was.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime) + " (" + ago(t) + ")"
}

// ruleDetails is all that is known of a rule.
type ruleDetails struct {
	api.Rule
	Stats        api.RuleStats `json:"stats"`
	OverriddenBy []api.Rule    `json:"overridden_by"`
}

func (c *cli) ruleShow() *cobra.Command {
	cmd := showCommand(c, "rule", "Show all that is known of rules", ruleRows,
		func(ctx context.Context, client *api.Client) (func(string) (ruleDetails, error), error) {
			rules, err := client.Rules(ctx)
			if err != nil {
				return nil, err
			}
			stats, err := client.RuleStats(ctx)
			if err != nil {
				return nil, err
			}
			return func(ref string) (d ruleDetails, err error) {
				d.Rule, err = ruleIn(c, ref, rules)
				for _, s := range stats {
					if s.RuleID == d.ID {
						d.Stats = s
					}
				}
				d.OverriddenBy = []api.Rule{}
				for _, r := range rules {
					if r.OverridesID == d.ID && d.ID != 0 {
						d.OverriddenBy = append(d.OverriddenBy, r)
					}
				}
				return d, err
			}, nil
		})
	cmd.Long = `Show all that is known of rules, given by name or id: their fields, what overrides
them, and what became of their matches since the plugin's start. As YAML, a rule is as
"rule add --file" and "rule edit --file" take it.`
	cmd.Example = `  docker logscan rule show oom
  docker logscan rule show oom --format '{{.Stats.Hits}}'
  docker logscan rule show oom --format yaml >oom.yaml`
	cmd.ValidArgsFunction = c.completeRules
	return cmd
}

func ruleRows(d ruleDetails) [][2]string {
	n := func(n int64) string { return strconv.FormatInt(n, 10) }
	rows := [][2]string{
		{"ID", n(d.ID)},
		{"Name", d.Name},
		{"Description", orDash(d.Description)},
		{"Pattern", orDash(d.Pattern)},
	}
	for _, of := range []struct {
		label string
		texts []string
	}{{"All", d.All}, {"Ignore", d.Ignore}, {"Where", d.Where}} {
		for _, text := range of.texts {
			rows = append(rows, [2]string{of.label, text})
		}
	}
	rows = append(rows, [][2]string{
		{"Kind", d.Sums()},
		{"Severity", string(d.Severity)},
		{"Stream", d.Streams},
		{"Cooldown", cooldown(d.CooldownSeconds)},
		{"Workload", orAll(d.WorkloadID)},
	}...)
	if d.OverridesID != 0 {
		rows = append(rows, [2]string{"Overrides", n(d.OverridesID)})
	}
	for _, r := range d.OverriddenBy {
		rows = append(rows, [2]string{"Overridden", fmt.Sprintf("in %s by %s (%d)", r.WorkloadID, r.Name, r.ID)})
	}
	rows = append(rows, [2]string{"State", d.State})
	if d.Elsewhere() {
		by := d.ManagedBy
		if d.DeclaredAt != "" {
			by += ", at " + d.DeclaredAt
		}
		rows = append(rows, [2]string{"Managed by", by})
	}
	if d.Stats.Error != "" {
		rows = append(rows, [2]string{"Not in use", d.Stats.Error})
	}
	if d.Kind == rule.KindSpike {
		rows = append(rows, [2]string{"Learning", fmt.Sprintf("%d matches came before it was known what is usual", d.Stats.Learning)})
	}
	if d.Stats.Late > 0 {
		rows = append(rows, [2]string{"Late", fmt.Sprintf("%d matches came when those of other containers had been added up without them", d.Stats.Late)})
	}
	return append(rows,
		[2]string{"Created", when(d.CreatedAt)},
		[2]string{"Changed", when(d.UpdatedAt)},
		[2]string{"Matches", n(d.Stats.Matches)},
		[2]string{"Hits", n(d.Stats.Hits)},
		[2]string{"Suppressed", fmt.Sprintf("%d (cooldown %d, bucket %d)", d.Stats.Cooldown+d.Stats.Bucket, d.Stats.Cooldown, d.Stats.Bucket)},
		[2]string{"Ignored", ignoredText(d.Stats)},
		[2]string{"Given up", n(d.Stats.GivenUp)},
		[2]string{"Forgotten", n(d.Stats.Forgotten)},
		[2]string{"Keys", n(d.Stats.Keys)},
		[2]string{"CPU", cpuText(d.Stats)},
		[2]string{"Open", n(d.Stats.Open)},
		[2]string{"Held", heldText(d.Stats)},
	)
}

// ignoredText is how many lines were no matches, and by which patterns.
func ignoredText(r api.RuleStats) string {
	return reasons(r.Ignored, r.IgnoredBy)
}

// heldText is how many notices of a rule triggers hold back, and why.
func heldText(r api.RuleStats) string {
	return reasons(held(r), r.Held)
}

// reasons is a number, and what it is made of.
func reasons(n int64, of map[string]int64) string {
	text := strconv.FormatInt(n, 10)
	var why []string
	for _, reason := range slices.Sorted(maps.Keys(of)) {
		why = append(why, fmt.Sprintf("%d %s", of[reason], clean(reason)))
	}
	if len(why) > 0 {
		text += " (" + strings.Join(why, ", ") + ")"
	}
	return text
}

func (c *cli) triggerShow() *cobra.Command {
	cmd := showCommand(c, "trigger", "Show all that is known of triggers", triggerRows,
		func(ctx context.Context, client *api.Client) (func(string) (api.Trigger, error), error) {
			triggers, err := client.Triggers(ctx)
			return func(ref string) (api.Trigger, error) {
				return triggerIn(c, ref, triggers)
			}, err
		})
	cmd.Example = `  docker logscan trigger show ops`
	cmd.ValidArgsFunction = c.completeTriggers
	return cmd
}

func triggerRows(t api.Trigger) [][2]string {
	return slices.Concat([][2]string{{"ID", triggerID(t)}}, rows(t), [][2]string{
		{"Signed", yesNo(t.ActionSecret != "")},
		{"Created", when(t.CreatedAt)},
		{"Changed", when(t.UpdatedAt)},
	})
}

func (c *cli) containerShow() *cobra.Command {
	cmd := showCommand(c, "container", "Show all that is known of containers", containerRows,
		func(ctx context.Context, client *api.Client) (func(string) (api.ContainerDetails, error), error) {
			containers, err := client.Containers(ctx)
			return func(ref string) (d api.ContainerDetails, err error) {
				ct, err := c.findContainer(containers, ref)
				if err != nil {
					return d, err
				}
				return client.Container(ctx, ct.ID)
			}, err
		})
	cmd.Long = `Show all that is known of containers whose logs are kept, given by name, id or the
beginning of an id. Where a run ended within 10 s of its start, or one of its last lines
looks like an error, its last lines, at most 50, are kept longer than its log: those of
the latest such run are shown, and --format json has those of 16 runs. What its labels say
to logscan is shown too, and which of them are wrong, and why (docker logscan help labels).`
	cmd.Example = `  docker logscan container show web
  docker logscan container show web --format '{{range .Runs}}{{.Started}} {{.Ended}}{{"\n"}}{{end}}'`
	cmd.ValidArgsFunction = c.completeContainers
	return cmd
}

func containerRows(ct api.ContainerDetails) [][2]string {
	rows := [][2]string{
		{"ID", ct.ID},
		{"Name", orDash(ct.Name)},
		{"Image", orDash(ct.Image)},
		{"Workload", orDash(ct.Workload)},
		{"Status", containerStatus(ct.Container)},
		{"Scan", onOff(ct.Scan)},
		{"Size", units.HumanSize(float64(ct.Bytes))},
		{"Lag", units.HumanSize(float64(ct.Lag))},
		{"Started", when(ct.Started)},
		{"Last line", when(ct.Latest)},
		{"Runs", strconv.Itoa(len(ct.Runs))},
	}
	rows = append(rows, labelRows(ct.Labels)...)
	at := slices.IndexFunc(ct.Runs, func(r api.ContainerRun) bool { return len(r.LastWords) > 0 })
	if at < 0 {
		return rows
	}
	r := ct.Runs[at]
	rows = append(rows, [2]string{"Last words", fmt.Sprintf("of the run that ended %s, after %s", when(r.Ended), shortDuration(r.Ended.Sub(r.Started).Round(time.Millisecond)))})
	for _, l := range r.LastWords {
		rows = append(rows, [2]string{"Line", contextText(l)})
	}
	return rows
}

// labelRows are what a container's labels say to logscan; none where they say nothing.
func labelRows(l *api.ContainerLabels) (rows [][2]string) {
	if l == nil {
		return nil
	}
	add := func(name, value string) { rows = append(rows, [2]string{name, clean(value)}) }
	if len(l.Rules) > 0 {
		add("Label rules", strings.Join(l.Rules, ", "))
	}
	if len(l.Packs) > 0 {
		add("Label packs", strings.Join(l.Packs, ", "))
	}
	if len(l.Silences) > 0 {
		add("Label silences", strings.Join(l.Silences, ", "))
	}
	switch {
	case l.Newest != "":
		add("Labels", "not in effect: those of "+l.Newest+" are, the newest container of the workload")
	case !l.Counts:
		add("Labels", "not in effect: the container isn't scanned")
	}
	for _, p := range l.Problems {
		add("Wrong label", p.String())
	}
	return rows
}

// findContainer looks a container up by its name, its id or the beginning of
// its id, as docker does.
func (c *cli) findContainer(containers []api.Container, ref string) (api.Container, error) {
	var found []api.Container
	for _, ct := range containers {
		switch {
		case ct.ID == ref:
			return ct, nil
		case ct.Name == ref || ref != "" && strings.HasPrefix(ct.ID, ref):
			found = append(found, ct)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return api.Container{}, advise(c.name()+" container ls", "there is no log of a container %q", ref)
	}
	ids := "one of the ids"
	for _, ct := range found {
		ids += " " + shortID(ct.ID)
	}
	return api.Container{}, advise(ids, "%q are %d containers", ref, len(found))
}

func (c *cli) completeContainers(cmd *cobra.Command, _ []string, _ string) (out []string, _ cobra.ShellCompDirective) {
	_ = c.with(cmd, func(ctx context.Context, client *api.Client) error {
		containers, err := client.Containers(ctx)
		for _, ct := range containers {
			name := ct.Name
			if name == "" || clean(name) != name {
				name = shortID(ct.ID)
			}
			out = append(out, name)
		}
		return err
	})
	return out, cobra.ShellCompDirectiveNoFileComp
}
