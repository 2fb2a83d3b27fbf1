package query

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/rule"
	"logscan/internal/rule/match"
)

// maxNearMisses is of how many lines it is found out why they are no match.
const maxNearMisses = 1000

// nearMisses is lines that a rule could be meant for, and doesn't match.
type nearMisses struct {
	lines   int64
	stopped map[string]int // by what: of the first maxNearMisses
	looked  int
}

// sayWhyNothing says of a rule that no line matches how many of the lines have the text that
// its pattern asks for and is rarest, and what keeps them from being matches.
func (b *backtest) sayWhyNothing(ctx context.Context, cfg BacktestConfig, snapshot *rule.Snapshot, r *rule.Rule) error {
	required := rule.Rarest(r.Pattern)
	if required == nil || !required.Telling() {
		return nil
	}
	near := nearMisses{stopped: map[string]int{}}
	for _, info := range cfg.Journals.List() {
		set := snapshot.ForContainer(rule.Container{Workload: info.Workload, Name: info.Name, Image: info.Image, Labels: info.Labels})
		if !info.Scan || !b.query.wants(info) || len(set.Rules()) == 0 {
			continue
		}
		if err := near.read(ctx, cfg.Journals, cfg.Pool, info.ID, &b.query, required, set, r); err != nil {
			return err
		}
	}
	if near.lines > 0 {
		b.out.Warnings = append(b.out.Warnings, near.text(required))
	}
	return nil
}

// read reads a container's log.
func (m *nearMisses) read(ctx context.Context, journals *journal.Dir, pool *Pool, id string, q *BacktestQuery, required *match.Required, set *rule.Set, r *rule.Rule) error {
	_, err := pool.eachLine(ctx, journals, id, q.Since.UnixNano(), func(_ *lines.Source, l *lines.Line) {
		if l.TimeNano >= q.Until.UnixNano() || !required.Near(l.Text) {
			return
		}
		if m.lines++; m.looked < maxNearMisses {
			m.looked++
			m.stopped[stoppedBy(l, set, r)]++
		}
	})
	return err
}

// stoppedBy says what keeps a line from being a match.
func stoppedBy(l *lines.Line, set *rule.Set, r *rule.Rule) string {
	if r.Streams != "all" && l.Stream != r.Streams {
		return "of stream " + l.Stream
	}
	all, _ := set.Verdicts(r.ID, l.Text, 0)
	for _, v := range all {
		switch {
		case v.Met || v.Part.Role != rule.Main:
		case v.GivenUp:
			return "too dear to check"
		case v.Field == "pattern":
			return "without the rest of the pattern"
		case v.Field == "ignore":
			return "ignored by " + v.Pattern
		default:
			return "without " + v.Pattern
		}
	}
	return "part of something else" // such as a record
}

// text says it in a sentence.
func (m *nearMisses) text(required *match.Required) string {
	out := fmt.Sprintf("no line matches; lines with %q", required.Texts[0])
	for _, text := range required.Texts[1:min(len(required.Texts), 3)] {
		out += fmt.Sprintf(" or %q", text)
	}
	out += fmt.Sprintf(": %d", m.lines)
	why := slices.SortedFunc(maps.Keys(m.stopped), func(x, y string) int {
		return cmp.Or(cmp.Compare(m.stopped[y], m.stopped[x]), cmp.Compare(x, y))
	})
	of := ", of which"
	if int64(m.looked) < m.lines {
		of = fmt.Sprintf(", of the first %d of which", m.looked)
	}
	for _, text := range why[:min(len(why), 3)] {
		out += fmt.Sprintf("%s %d %s", of, m.stopped[text], text)
		of = ","
	}
	return out
}
