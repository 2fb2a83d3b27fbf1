package trigger

import (
	"fmt"
	"strings"
	"time"

	"logscan/internal/channel"
	"logscan/internal/incident"
)

// Summary is what there was in a time.
type Summary struct {
	From, To   time.Time
	Lines      []SummaryLine // the most frequent first
	More       int           // lines beyond those
	Incidents  int64         // with hits
	Matches    int64
	New        int64 // incidents of shapes that were not seen in the seven days before
	Open       int64 // incidents at its end
	Silenced   int64 // notices that silences held back
	Noisiest   Noisiest
	Silent     []SilentWorkload // by name
	MoreSilent int              // silent workloads beyond those
	Lost       Lost
}

// SummaryLine is one rule's in one workload.
type SummaryLine struct {
	Workload, Rule     string
	Incidents, Matches int64
}

// Noisiest is the rule with the most matches, and what it cost; the zero Noisiest where
// none had any.
type Noisiest struct {
	Rule     string
	Matches  int64
	Events   int64
	Bytes    int64 // of these events: lines and metadata
	Messages int64 // to all triggers, that are about it
}

// SilentWorkload wrote lines in the seven days before, and none since.
type SilentWorkload struct {
	Workload string
	Last     time.Time
}

// SilentAfter is for how long before a summary's time a workload must have written to be
// told as silent.
const SilentAfter = 7 * 24 * time.Hour

// Lost is how much of the logs was lost.
type Lost struct {
	Times, Bytes int64
	Entries      int64 // where that is known
	Containers   int64 // that are known
}

// Digests reports whether a trigger tells summaries.
func (p *Policy) Digests() bool { return p.digest != nil }

// NextDigest is when the next summary is told after a time.
func (p *Policy) NextDigest(after time.Time) time.Time { return p.digest.Next(after).UTC() }

// DigestMessage is a summary as a message.
func (p *Policy) DigestMessage(s Summary) channel.Message {
	var b strings.Builder
	for _, l := range s.Lines {
		where := l.Workload
		if where == "" {
			where = "-"
		}
		fmt.Fprintf(&b, "%s  %s: %d in %d incidents\n", where, l.Rule, l.Matches, l.Incidents)
	}
	if s.More > 0 {
		fmt.Fprintf(&b, "… and %d more rules and workloads\n", s.More)
	}
	if n := s.Noisiest; n.Matches > 0 {
		fmt.Fprintf(&b, "Noisiest rule: %s, %d of %d matches; %d bytes in %d events, %d messages\n", n.Rule, n.Matches, s.Matches, n.Bytes, n.Events, n.Messages)
	}
	for _, w := range s.Silent {
		fmt.Fprintf(&b, "Silent: %s, last line %s UTC\n", w.Workload, w.Last.UTC().Format("2006-01-02 15:04"))
	}
	if s.MoreSilent > 0 {
		fmt.Fprintf(&b, "… and %d more silent workloads\n", s.MoreSilent)
	}
	if l := s.Lost; l.Times > 0 {
		fmt.Fprintf(&b, "Lines lost: %d bytes", l.Bytes)
		if l.Entries > 0 {
			fmt.Fprintf(&b, ", %d entries that are known", l.Entries)
		}
		if l.Containers > 0 {
			fmt.Fprintf(&b, ", of %d containers", l.Containers)
		}
		fmt.Fprintf(&b, ", %d×\n", l.Times)
	}
	reason := fmt.Sprintf("%d matches in %d incidents, %d of them new; %d are open", s.Matches, s.Incidents, s.New, s.Open)
	if s.Silenced > 0 {
		reason += fmt.Sprintf("; silences held back %d notices", s.Silenced)
	}
	if s.Matches == 0 {
		reason = fmt.Sprintf("Nothing new; %d incidents are open", s.Open)
	}
	return channel.Message{
		At: s.To.UTC(), Trigger: p.Name,
		Notices: []channel.Notice{{
			Kind: channel.Digest, Key: "digest", Severity: "info", Rule: "Summary of " + incident.Span(s.To.Sub(s.From)), Text: strings.TrimSuffix(b.String(), "\n"),
			Reason: reason, First: s.From.UTC(), Last: s.To.UTC(),
		}},
	}
}
