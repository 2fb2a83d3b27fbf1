package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"logscan/internal/api"
	"logscan/internal/rule"
)

// Bounds of what is sent to be tested at once, well within the API's.
const (
	testLines = 500
	testBytes = 256 << 10
	// testLine is how long a single line may be; the rest is left out.
	testLine = 256 << 10
)

func (c *cli) ruleTest() *cobra.Command {
	var pattern, since, upTo, workload, against, file string
	var all, ignore, where []string
	var quiet, why bool
	cmd := &cobra.Command{
		Use:   "test [OPTIONS] [RULE] [LINE...]",
		Short: "Try a rule, a pattern or conditions on lines",
		Long: `Try a rule (by name or id), or a pattern or conditions before they become one, on
lines given as arguments or, without any, on standard input. Cooldown and stream don't
count. Lines that match are printed; with --why the others too, with what they don't
fulfil. Lines that belong together, such as a stack trace, are one record, which a rule hits
once. Exits with 3 if nothing matches.

A rule of another kind than line adds the lines up, as those of one container. A line that
begins with a time such as +90s was written so much later than the first; +2h alone has
time pass. To a rule of kind run, all lines are one run, that starts with the first line and
ends behind the last.

With --since, it is tried on the lines that are kept of the containers that it is for, by
all that runs live: cooldowns, incidents, silences and triggers count, and nobody is told
anything. It says what would have been told. The rule may be a stored one, one that
options change, one in a file, or conditions. With --against current, it is told what
differs from what the stored rule would have told.`,
		Example: `  docker logscan rule test oom 'Out of memory: Killed process 42'
  docker logs web 2>&1 | docker logscan rule test --pattern 'status=(?P<code>5\d\d)'
  docker logscan rule test --pattern 'status=5' --ignore /health --why 'GET /health status=503'
  docker logs web 2>&1 | docker logscan rule test --where 'status >= 500' --where 'path != /health'
  docker logscan rule test oom --since 7d
  docker logscan rule test oom --since 7d --cooldown 1h --against current
  docker logscan rule test -f oom.yaml --since 7d --against current
  docker logscan rule test --pattern 'timed out' --ignore probe --since 24h`,
		ValidArgsFunction: func(cmd *cobra.Command, a []string, s string) ([]string, cobra.ShellCompDirective) {
			if len(a) > 0 || file != "" || pattern != "" || len(where) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return c.completeRules(cmd, a, s)
		},
		RunE: func(cmd *cobra.Command, a []string) error {
			said, err := given[rule.Rule](c, cmd)
			if err != nil {
				return err
			}
			delete(said, "workload_id") // what --workload is here
			if cmd.Flags().Changed("since") {
				return c.runBacktest(cmd, a, backtestArgs{since, upTo, workload, against, file, conditions(said, pattern, all, ignore, where)})
			}
			if upTo != "" || workload != "" || against != "" || file != "" {
				return &usageError{cmd, errors.New("--up-to, --workload, --against and --file go with --since")}
			}
			if slices.ContainsFunc(backtestedFields, func(name string) bool { return said[name] != nil }) {
				return &usageError{cmd, errors.New("on single lines, cooldowns, streams and containers don't count: these options go with --since")}
			}
			hasOwn := cmd.Flags().Changed("pattern") || len(where) > 0 || cmd.Flags().Changed("step") || said["kind"] == rule.KindRun
			if !hasOwn && len(a) == 0 {
				return &usageError{cmd, errors.New("give a rule, --pattern or --where")}
			}
			if !hasOwn && len(all)+len(ignore) > 0 {
				return &usageError{cmd, errors.New("--all and --ignore go with --pattern or --where: a rule has its own")}
			}
			if kind := cmd.Flags().Changed("kind"); !hasOwn && len(said) > 0 {
				return &usageError{cmd, errors.New("these options go with --pattern or --where: a rule has its own")}
			} else if !kind && slices.ContainsFunc(testedFields, func(name string) bool { return said[name] != nil }) {
				return &usageError{cmd, errors.New("say of which --kind the rule is")}
			}
			return c.with(cmd, func(ctx context.Context, client *api.Client) error {
				req := api.RuleTest{Pattern: pattern, All: all, Ignore: ignore, Where: where}
				timed := false
				if said["kind"] != nil || said["record"] != nil || said["record_start"] != nil {
					req, timed = api.RuleTest{Rule: said}, said["kind"] != nil && said["kind"] != rule.KindLine || said["clear"] != nil
				}
				if !hasOwn {
					r, err := c.findRule(ctx, client, a[0])
					if err != nil {
						return err
					}
					req.RuleID, a, timed = r.ID, a[1:], r.Correlated()
				}
				t := &tester{c: c, client: client, req: req, quiet: quiet, why: why, timed: timed}
				if err := t.run(ctx, a); err != nil {
					return err
				}
				if !quiet {
					fmt.Fprintf(c.err, "%d of %d lines match\n", t.matched, t.lines)
					if t.givenUp > 0 {
						fmt.Fprintf(c.err, "%d lines would take too much work to check; the rule would give them up\n", t.givenUp)
					}
				}
				if t.matched == 0 && t.came == 0 {
					return exitError(exitNoMatch)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&pattern, "pattern", "p", "", "Try this pattern instead of a rule")
	cmd.Flags().StringArrayVar(&all, "all", nil, "With --pattern or --where: another pattern that lines have to match too")
	cmd.Flags().StringArrayVar(&ignore, "ignore", nil, "With --pattern or --where: lines that match this are no match")
	cmd.Flags().StringArrayVar(&where, "where", nil, "Try this condition on a field instead of a rule, such as 'status >= 500', with --pattern or without")
	addOptions[rule.Rule](c, cmd, true, append([]string{"record", "record_start"}, append(testedFields, backtestedFields...)...)...)
	cmd.Flags().StringVar(&since, "since", "", `Try it on the lines that are kept since then, e.g. "2026-01-02T15:04:05Z", "24h" or "7d"`)
	fileOption(cmd, &file)
	cmd.Flags().StringVar(&against, "against", "", `With --since: tell what differs from the stored rule: "current"`)
	complete(cmd, "against", current)
	cmd.Flags().StringVar(&upTo, "up-to", "", "With --since: only on lines of before then")
	cmd.Flags().StringVar(&workload, "workload", "", "With --since: only on lines of this workload's containers")
	c.completeWorkloads(cmd)
	cmd.Flags().BoolVar(&why, "why", false, "Print the lines that don't match too, and why")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Print nothing; the exit code tells")
	return cmd
}

// findRule finds a rule by name or id.
func (c *cli) findRule(ctx context.Context, client *api.Client, ref string) (api.Rule, error) {
	rules, err := client.Rules(ctx)
	if err != nil {
		return api.Rule{}, err
	}
	return ruleIn(c, ref, rules)
}

// conditions are the fields of a rule that is given by options.
func conditions(said api.RuleFields, pattern string, all, ignore, where []string) api.RuleFields {
	f := maps.Clone(said)
	for name, values := range map[string][]string{"all": all, "ignore": ignore, "where": where} {
		if len(values) > 0 {
			f[name] = values
		}
	}
	if pattern != "" {
		f["pattern"] = pattern
	}
	return f
}

// testedFields are what can be tried of a rule besides its conditions.
var testedFields = []string{"kind", "by", "at_least", "within_seconds", "distinct", "for_seconds", "at_most", "steps", "hit", "slower_than_seconds", "until", "field", "must", "must_not", "min_lines", "max_duration_seconds", "restarts", "of", "over", "window_seconds", "factor", "clear"}

// backtestedFields are what can be tried besides on the lines that are kept.
var backtestedFields = []string{"streams", "cooldown_seconds", "cooldown_by", "per", "grace_seconds", "arm", "when_stopped", "active", "on_stop", "forget_seconds"}

// tester sends lines in portions and prints what matches.
type tester struct {
	c              *cli
	client         *api.Client
	req            api.RuleTest
	quiet, why     bool
	lines, matched int
	givenUp        int
	came           int  // outcomes
	timed          bool // the rule's kind isn't line: all lines are tried together
}

func (t *tester) run(ctx context.Context, lines []string) error {
	if t.timed {
		return t.together(ctx, lines)
	}
	if len(lines) > 0 {
		for portion := range slices.Chunk(lines, testLines) {
			if err := t.portion(ctx, portion); err != nil {
				return err
			}
		}
		return nil
	}
	var portion []string
	size := 0
	r := bufio.NewReaderSize(t.c.in, 64<<10)
	for {
		line, err := readLine(r)
		if err != nil && err != io.EOF {
			return fmt.Errorf("standard input: %w", err)
		}
		end := err == io.EOF
		if !end || line != "" {
			portion, size = append(portion, line), size+len(line)
		}
		// The pattern is checked also where there are no lines. What is there
		// is answered at once when the input pauses, as with `docker logs -f`.
		if end && (len(portion) > 0 || t.lines == 0) || len(portion) >= testLines || size >= testBytes || len(portion) > 0 && r.Buffered() == 0 {
			if err := t.portion(ctx, portion); err != nil {
				return err
			}
			portion, size = nil, 0
		}
		if end {
			return nil
		}
	}
}

// maxTogether is how many lines a rule that adds them up is tried on, the API's bound.
const maxTogether = 1000

// together tries all lines at once, those of standard input where there are none. Each
// may begin with how much later than the first it was written.
func (t *tester) together(ctx context.Context, lines []string) error {
	if len(lines) == 0 {
		for r := bufio.NewReaderSize(t.c.in, 64<<10); len(lines) <= maxTogether; {
			line, err := readLine(r)
			if err != nil && err != io.EOF {
				return fmt.Errorf("standard input: %w", err)
			}
			if err == nil || line != "" {
				lines = append(lines, line)
			}
			if err == io.EOF {
				break
			}
		}
	}
	var texts []string
	var at float64
	for _, line := range lines {
		if later, text, timed := cutLater(line); timed {
			at, line = later.Seconds(), text
			if line == "" {
				t.req.Until = max(t.req.Until, at)
				continue
			}
		}
		texts, t.req.At = append(texts, line), append(t.req.At, at)
	}
	if len(texts) > maxTogether {
		return fmt.Errorf("a rule that adds lines up is tried on at most %d lines at once", maxTogether)
	}
	return t.portion(ctx, texts)
}

// cutLater cuts a time such as "+90s " off the beginning of a line.
func cutLater(line string) (later time.Duration, rest string, ok bool) {
	first, rest, _ := strings.Cut(line, " ")
	d, ok := strings.CutPrefix(first, "+")
	if !ok {
		return 0, line, false
	}
	later, err := time.ParseDuration(d)
	if err != nil {
		return 0, line, false
	}
	return later, rest, true
}

// readLine returns the next line without its end, at most testLine of it, and
// io.EOF with the last one if that has no newline.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if room := testLine - len(line); room > 0 {
			line = append(line, part[:min(room, len(part))]...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		return strings.TrimRight(string(line), "\r\n"), err
	}
}

func (t *tester) portion(ctx context.Context, lines []string) error {
	req := t.req
	req.Lines = append([]string{}, lines...)
	res, err := t.client.TestRule(ctx, req)
	if err != nil {
		return err
	}
	t.lines += len(lines)
	t.matched += res.Matched
	t.came += len(res.Outcomes)
	if t.quiet {
		return nil
	}
	for i, l := range res.Lines[:min(len(res.Lines), len(lines))] {
		if l.GivenUp {
			t.givenUp++
		}
		if !l.Matched {
			if t.why {
				if _, err := fmt.Fprintln(t.c.out, clean(lines[i])); err != nil {
					return err
				}
				if v, ok := verdictBehind(res.Lines, i); ok {
					fmt.Fprintf(t.c.out, "    no match: %s\n", reason(v))
				}
			}
			continue
		}
		if _, err := fmt.Fprintln(t.c.out, t.mark(lines[i], l.Spans)); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(l.Captures)) {
			fmt.Fprintf(t.c.out, "    %s = %s\n", clean(name), clean(l.Captures[name]))
		}
		if l.Part != "" {
			fmt.Fprintf(t.c.out, "    %s\n", clean(l.Part))
		}
		if l.Again {
			fmt.Fprintln(t.c.out, "    no hit of its own: it goes on with a record that is hit already")
		}
		t.outcomes(l.Outcomes)
	}
	t.outcomes(res.Outcomes)
	return nil
}

// verdictBehind is what is said behind a line that isn't matched: of a record that is
// looked at as a whole, what its first line says, behind the last one.
func verdictBehind(all []api.LineTest, i int) (v api.LineTest, ok bool) {
	silent := func(l api.LineTest) bool { return l.PartOf != nil && !l.Matched && !l.GivenUp && l.Failed == "" }
	if i+1 < len(all) && silent(all[i+1]) {
		return v, false
	}
	if v = all[i]; silent(v) && *v.PartOf < len(all) {
		v = all[*v.PartOf]
	}
	return v, true
}

// outcomes prints what lines, or time, make of a rule that adds lines up.
func (t *tester) outcomes(all []api.TestOutcome) {
	for _, o := range all {
		what := map[string]string{"held": "held back, since there are too many"}[o.What]
		what = cmp.Or(what, o.What)
		if o.By != "" && o.What == "end" { // the text of others says it
			what += " [" + clean(o.By) + "]"
		}
		fmt.Fprintf(t.c.out, "    +%s %s: %s\n", shortDuration(time.Duration(o.At*float64(time.Second)).Round(time.Millisecond)), what, clean(o.Text))
	}
}

// reason says why a line is no match.
func reason(l api.LineTest) string {
	switch {
	case l.GivenUp:
		return "it would take too much work to check"
	case l.Failed == "all":
		return "it doesn't match " + clean(l.By) + " too"
	case l.Failed == "ignore":
		return "ignored by " + clean(l.By)
	case l.Failed == "where" && l.Value == nil:
		return "it doesn't fulfil " + clean(l.By) + ": it has no " + clean(l.Field)
	case l.Failed == "where":
		return "it doesn't fulfil " + clean(l.By) + ": " + clean(l.Field) + " is " + clean(*l.Value)
	}
	if l.Failed == "" {
		return "it fulfils none of the rule's conditions"
	}
	return "it doesn't match the pattern"
}

// mark shows the matches in a line.
func (t *tester) mark(line string, spans []api.Span) string {
	if !t.c.color {
		return clean(line)
	}
	var b strings.Builder
	at := 0
	for _, s := range spans {
		if s.Start < at || s.End < s.Start || s.End > len(line) {
			continue
		}
		b.WriteString(clean(line[at:s.Start]))
		b.WriteString("\x1b[1;31m" + clean(line[s.Start:s.End]) + "\x1b[0m")
		at = s.End
	}
	b.WriteString(clean(line[at:]))
	return b.String()
}
