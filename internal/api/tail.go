package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/query"
)

const (
	tailPath = "/api/tail"
	// tailPatience is how long a client may take for what it is sent at once, as where
	// somebody has stopped its output for a while.
	tailPatience = 5 * time.Minute
	// lastUsual is how many lines come that were written before, where nothing is said.
	lastUsual = 10
)

type tailInput struct {
	LineFilter
	Last   string `query:"last" pattern:"^([0-9]{1,9}|all)$" doc:"How many lines come that were written before, of all containers together, or all; by default 10 or, with since, all"`
	Follow bool   `query:"follow" doc:"Whether to go on with lines as they are written, those of containers that start later too"`
	Fold   bool   `query:"fold" doc:"Whether of lines of a container in a row that say the same only the first comes, and a later one that says how many there were"`
	From   string `query:"from" maxLength:"256" doc:"Go on where a tail like this one was, as next said: all lines behind that come, whatever last is"`
}

// TailRecord is a line of the answer to a tail. It holds one thing: a line of a log; what
// was passed over; where the tail is, behind lines and at least each 15 seconds where it
// follows; or, as the last one, that it has shown all there is, or why it failed.
type TailRecord struct {
	Line    *TailLine    `json:"line,omitempty"`
	Skipped *TailSkipped `json:"skipped,omitempty"`
	Next    string       `json:"next,omitempty" doc:"Where a tail goes on, as from, after the lines that came so far"`
	End     bool         `json:"end,omitempty" doc:"That was all"`
	Error   string       `json:"error,omitempty" doc:"Why the tail failed"`
}

// TailLine is a line of a log.
type TailLine struct {
	FoundLine
	Marks []TailMark `json:"marks,omitempty" doc:"The rules that it matches by itself, as they are now"`
	Count int64      `json:"count" doc:"How many lines it stands for: more than one where it ends repeats that were folded, the first of which has come"`
}

// TailMark is a rule that a line matches.
type TailMark struct {
	RuleID   int64  `json:"rule_id"`
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Shadow   bool   `json:"shadow,omitempty" doc:"Whether the rule is in shadow, so that nobody is told"`
}

// TailSkipped is what a tail has passed over since it last said so.
type TailSkipped struct {
	Lines      int64 `json:"lines" doc:"Of logs, whether they match or not, since they weren't taken in time; chunks of long ones count as such"`
	Bytes      int64 `json:"bytes" doc:"That these take in the logs"`
	Removed    int64 `json:"removed" doc:"Bytes of logs that were removed before it was their turn, or can't be read"`
	Undecided  int64 `json:"undecided" doc:"Lines of which it takes too much work to find out whether they match"`
	Unreadable int   `json:"unreadable" doc:"Containers whose logs can't be opened at present"`
	Before     bool  `json:"before" doc:"Whether it took too long to look for lines that were written before, so that there may be more"`
}

func (s *server) tails(api huma.API) {
	op := operation(http.MethodGet, tailPath, "tail", "Show the last lines of logs, and those that are written", 200, 404, 422, 503)
	op.Description = "The answer is streamed: a line of JSON for each record. One that ends without end or an error was cut off. " +
		"Who takes less than is written is told of what was passed over, and who takes nothing for 5 minutes is cut off."
	registerLines[TailRecord](api, op, s.tail)
}

// tail answers a tail.
func (s *server) tail(api huma.API, hc huma.Context, in *tailInput) {
	a := s.answerLines(hc, tailPatience)
	err := s.Tail(hc.Context(), in.request(), query.TailOutput{
		Line:    func(l *query.TailLine) error { return a.record(TailRecord{Line: tailLineOut(l)}) },
		Skipped: func(s query.TailSkipped) error { return a.record(TailRecord{Skipped: tailSkippedOut(s)}) },
		Next:    func(token string) error { return a.record(TailRecord{Next: token}) },
		Wait:    a.flush,
	})
	s.endLines(api, hc, a, err, TailRecord{End: true}, TailRecord{Error: wentWrong})
}

func (in *tailInput) request() query.TailRequest {
	last := lastUsual
	switch n, err := strconv.Atoi(in.Last); {
	case err == nil:
		last = n
	case in.Last != "" || !in.Since.IsZero():
		last = query.All
	}
	return query.TailRequest{
		Pattern: in.Pattern, Fixed: in.Fixed, IgnoreCase: in.IgnoreCase, Invert: in.Invert, Where: in.Where, Stream: in.Stream,
		Since: in.Since, Containers: in.Container, Workload: in.Workload, Last: last, Follow: in.Follow, Fold: in.Fold, From: in.From,
	}
}

func tailLineOut(l *query.TailLine) *TailLine {
	out := &TailLine{FoundLine: foundLineOut(&l.Hit), Count: l.Count}
	for _, m := range l.Marks {
		out.Marks = append(out.Marks, TailMark{m.RuleID, m.Rule, string(m.Severity), m.Shadow})
	}
	return out
}

func tailSkippedOut(s query.TailSkipped) *TailSkipped {
	return &TailSkipped{Lines: s.Lines, Bytes: s.Bytes, Removed: s.Removed, Undecided: s.Undecided, Unreadable: s.Unreadable, Before: s.Before}
}

// TailQuery says which lines to show; zero values are what is usual, but for Last.
type TailQuery = query.TailRequest

// errTailCutOff is a tail whose answer isn't whole.
var errTailCutOff = errors.New("the tail was cut off, as when the plugin is restarted")

// Tail calls fn with each record of a tail but next and end. One that follows and is cut
// off is taken up where it was, within half a minute, after again was called; no line comes
// twice.
func (c *Client) Tail(ctx context.Context, q TailQuery, fn func(TailRecord) error, again func()) error {
	t := tailing{client: c, query: q, fn: fn, shown: map[linePlace]bool{}}
	connected := false
	return persist(ctx, func() (bool, error) {
		if connected {
			again()
		}
		ok, err := t.once(ctx)
		connected = connected || ok
		if errors.Is(err, errTailCutOff) && (!q.Follow || t.query.From == "") {
			err = &stopped{err} // it isn't known where to go on
		}
		return ok, err
	})
}

// linePlace is where a line lies.
type linePlace struct {
	container string
	offset    int64
}

// tailing is a tail as its client has it.
type tailing struct {
	client *Client
	query  TailQuery
	fn     func(TailRecord) error
	shown  map[linePlace]bool // lines that came since it was last told where the tail is
	again  map[linePlace]bool // lines that may come again
}

// once reads one answer; connected tells whether it got as far as a record.
func (t *tailing) once(ctx context.Context) (connected bool, err error) {
	resp, err := t.client.send(ctx, http.MethodGet, tailPath, tailValues(t.query), http.Header{"Accept": {ndjson}}, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	t.again, t.shown = t.shown, map[linePlace]bool{}
	dec := json.NewDecoder(resp.Body)
	for {
		var r TailRecord
		switch err := dec.Decode(&r); {
		case ctx.Err() != nil:
			return connected, ctx.Err()
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return connected, errTailCutOff
		case err != nil:
			return connected, fmt.Errorf("%w (%w)", errTailCutOff, err)
		}
		connected = true
		switch {
		case r.Error != "":
			return true, &stopped{errors.New(r.Error)}
		case r.End:
			return true, &stopped{}
		case r.Next != "":
			t.query.From = r.Next
			clear(t.shown)
			continue
		case r.Line != nil:
			at := linePlace{r.Line.ContainerID, r.Line.Offset}
			t.shown[at] = true
			if t.again[at] {
				continue
			}
		}
		if err := t.fn(r); err != nil {
			return true, &stopped{err}
		}
	}
}

func tailValues(q TailQuery) url.Values {
	last := strconv.Itoa(q.Last)
	if q.Last == query.All {
		last = "all"
	}
	return lineValues(
		map[string]string{"pattern": q.Pattern, "stream": q.Stream, "workload": q.Workload, "from": q.From, "last": last},
		map[string]bool{"fixed": q.Fixed, "ignore_case": q.IgnoreCase, "invert": q.Invert, "follow": q.Follow, "fold": q.Fold},
		nil,
		map[string]time.Time{"since": q.Since},
		map[string][]string{"where": q.Where, "container": q.Containers},
	)
}
