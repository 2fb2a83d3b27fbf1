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
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/query"
)

const (
	searchPath = "/api/search"
	// searchPatience is how long a client may take for what it is sent at once.
	searchPatience = 30 * time.Second
)

// LineFilter says which lines of logs are meant; package query has the bounds that schemas
// can't say.
type LineFilter struct {
	Pattern    string    `query:"pattern" doc:"A regular expression (RE2 syntax) that matches anywhere in a line, as a rule's; without one, all lines match"`
	Fixed      bool      `query:"fixed" doc:"Whether the pattern is a text"`
	IgnoreCase bool      `query:"ignore_case" doc:"Whether the pattern's letters match those of the other case"`
	Invert     bool      `query:"invert" doc:"Whether lines are looked for that the pattern doesn't match"`
	Where      []string  `query:"where,explode" doc:"Conditions on fields of the line, as a rule's, all of which it has to fulfil; repeat the parameter for several"`
	Stream     string    `query:"stream" enum:"all,stdout,stderr" doc:"Only lines of this stream"`
	Since      time.Time `query:"since" doc:"Written then or later"`
	Container  []string  `query:"container,explode" doc:"Only these containers, by name, id or the beginning of an id; repeat the parameter for several"`
	Workload   string    `query:"workload" doc:"Only containers of this workload"`
}

type searchInput struct {
	LineFilter
	Until   time.Time `query:"until" doc:"Written before then"`
	Order   string    `query:"order" enum:"newest,oldest" doc:"Which hits come first; by default the newest"`
	Show    string    `query:"show" enum:"lines,counts,containers" doc:"What is given: lines that match, or by container how many there are, or the containers that have one; by default lines"`
	Limit   int       `query:"limit" minimum:"0" maximum:"1000000" doc:"How many hits at most; 0 is the most there can be"`
	Before  int       `query:"before" minimum:"0" maximum:"200" doc:"How many lines of the container's log are given with a hit that stand before it"`
	After   int       `query:"after" minimum:"0" maximum:"200" doc:"How many that stand behind it"`
	Records bool      `query:"records" doc:"Whether a hit is the whole record that its line lies in, as a stack trace, once for each record"`
	From    string    `query:"from" maxLength:"256" doc:"Go on where the summary of a search like this one said, in next"`
}

// SearchRecord is a line of the answer to a search. It holds one thing: a hit or a
// container, as they are found; how far the search is, about each second; or, as the
// last one, what it has done or why it failed.
type SearchRecord struct {
	Hit       *SearchHit       `json:"hit,omitempty"`
	Container *SearchContainer `json:"container,omitempty"`
	Progress  *SearchProgress  `json:"progress,omitempty"`
	Summary   *SearchSummary   `json:"summary,omitempty"`
	Error     string           `json:"error,omitempty" doc:"Why the search failed; what came before is right, but not all"`
}

// SearchLine is a line of a container's log.
type SearchLine struct {
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
	Text   string    `json:"text" doc:"Valid UTF-8: what isn't is replaced by U+FFFD"`
	Cut    bool      `json:"cut,omitempty" doc:"Whether there is more of it than the text: of a hit beyond 1 MiB, of a line around it beyond 8 KiB"`
	Offset int64     `json:"offset" doc:"Where it begins in the container's log"`
}

// FoundLine is a line that was looked for.
type FoundLine struct {
	ContainerID string `json:"container_id"`
	Container   string `json:"container" doc:"The container's name"`
	Workload    string `json:"workload"`
	SearchLine
	Spans [][]int `json:"spans,omitempty" doc:"Where the pattern matches, in bytes of the text: pairs of from and to"`
}

// SearchHit is a line that was looked for, with lines around it.
type SearchHit struct {
	FoundLine
	Record []SearchLine `json:"record,omitempty" doc:"The lines of the record that it lies in, where records are looked for"`
	Before []SearchLine `json:"before,omitempty" doc:"Lines of the log before it"`
	After  []SearchLine `json:"after,omitempty" doc:"Lines of the log behind it"`
}

// SearchContainer is a container that has lines that were looked for.
type SearchContainer struct {
	ContainerID string `json:"container_id"`
	Container   string `json:"container" doc:"The container's name"`
	Workload    string `json:"workload"`
	Hits        int64  `json:"hits" doc:"How many lines; 1 where they aren't counted"`
}

// SearchProgress is how far a search is.
type SearchProgress struct {
	Bytes int64 `json:"bytes" doc:"Of logs, uncompressed, looked at or passed over"`
	Total int64 `json:"total" doc:"Of those in question"`
	Hits  int64 `json:"hits"`
}

// SearchSummary is what a search has done.
type SearchSummary struct {
	Containers int    `json:"containers" doc:"That it was about"`
	Lines      int64  `json:"lines" doc:"That were looked at"`
	Bytes      int64  `json:"bytes" doc:"Of logs, uncompressed, that were read for it"`
	Hits       int64  `json:"hits"`
	Skipped    int64  `json:"skipped" doc:"Bytes of logs that were removed meanwhile, or can't be read"`
	Unreadable int    `json:"unreadable" doc:"Containers whose logs can't be opened at present"`
	Undecided  int64  `json:"undecided" doc:"Lines of which it takes too much work to find out whether they match"`
	OutOfTime  bool   `json:"out_of_time" doc:"Whether it took too long, so that not all was looked at"`
	Next       string `json:"next,omitempty" doc:"Where the next search goes on, as from; missing where there is no more"`
}

func (s *server) searches(api huma.API) {
	op := operation(http.MethodGet, searchPath, "search", "Look for lines in all logs that are kept", 200, 404, 422, 503)
	op.Description = "The answer is streamed: a line of JSON for each record. One that ends without a summary or an error was cut off."
	registerLines[SearchRecord](api, op, s.search)
}

// search answers a search.
func (s *server) search(api huma.API, hc huma.Context, in *searchInput) {
	a := s.answerLines(hc, searchPatience)
	sum, err := s.Search(hc.Context(), in.request(), query.Output{
		Hit:   func(h *query.Hit) error { return a.record(SearchRecord{Hit: hitOut(h)}) },
		Found: func(f query.Found) error { return a.record(SearchRecord{Container: foundOut(f)}) },
		Progress: func(p query.Progress) error {
			return errors.Join(a.record(SearchRecord{Progress: &SearchProgress{p.Bytes, p.Total, p.Hits}}), a.flush())
		},
		Wait: a.flush,
	})
	s.endLines(api, hc, a, err, SearchRecord{Summary: summaryOut(sum)}, SearchRecord{Error: wentWrong})
}
func (in *searchInput) request() query.Request {
	return query.Request{
		Pattern: in.Pattern, Fixed: in.Fixed, IgnoreCase: in.IgnoreCase, Invert: in.Invert, Where: in.Where, Stream: in.Stream,
		Since: in.Since, Until: in.Until, Containers: in.Container, Workload: in.Workload,
		Order: in.Order, Show: in.Show, Limit: in.Limit, Before: in.Before, After: in.After, Records: in.Records, From: in.From,
	}
}

func lineOut(l *query.Line) SearchLine {
	return SearchLine{Stream: l.Stream, Time: time.Unix(0, l.TimeNano).UTC(), Text: strings.ToValidUTF8(string(l.Text), "\uFFFD"), Cut: l.Cut, Offset: l.From}
}

func linesOut(lines []query.Line) (out []SearchLine) {
	for i := range lines {
		out = append(out, lineOut(&lines[i]))
	}
	return out
}

func hitOut(h *query.Hit) *SearchHit {
	return &SearchHit{FoundLine: foundLineOut(h), Record: linesOut(h.Record), Before: linesOut(h.Before), After: linesOut(h.After)}
}

func foundLineOut(h *query.Hit) FoundLine {
	out := FoundLine{ContainerID: h.Container.ID, Container: h.Container.Name, Workload: h.Container.Workload, SearchLine: lineOut(&h.Line)}
	if len(h.Spans) == 0 {
		return out
	}
	// Places are those in the text as it is given.
	var b strings.Builder
	at := 0
	upTo := func(end int) int {
		b.WriteString(strings.ToValidUTF8(string(h.Text[at:end]), "\uFFFD"))
		at = end
		return b.Len()
	}
	for _, span := range h.Spans {
		out.Spans = append(out.Spans, []int{upTo(span[0]), upTo(span[1])})
	}
	upTo(len(h.Text))
	out.Text = b.String()
	return out
}

func foundOut(f query.Found) *SearchContainer {
	return &SearchContainer{ContainerID: f.Container.ID, Container: f.Container.Name, Workload: f.Container.Workload, Hits: f.Hits}
}

func summaryOut(s query.Summary) *SearchSummary {
	return &SearchSummary{
		Containers: s.Containers, Lines: s.Lines, Bytes: s.Bytes, Hits: s.Hits, Skipped: s.Skipped,
		Unreadable: s.Unreadable, Undecided: s.Undecided, OutOfTime: s.OutOfTime, Next: s.Next,
	}
}

// SearchQuery says what to look for; zero values are what is usual.
type SearchQuery = query.Request

// errCutOff is a search whose answer isn't whole.
var errCutOff = errors.New("the search was cut off, as when the plugin is restarted: what was found so far isn't all; search again")

// Search calls fn with each record of a search but the summary, which it returns.
func (c *Client) Search(ctx context.Context, q SearchQuery, fn func(SearchRecord) error) (SearchSummary, error) {
	resp, err := c.send(ctx, http.MethodGet, searchPath, searchValues(q), http.Header{"Accept": {ndjson}}, nil)
	if err != nil {
		return SearchSummary{}, err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var r SearchRecord
		switch err := dec.Decode(&r); {
		case ctx.Err() != nil:
			return SearchSummary{}, ctx.Err()
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return SearchSummary{}, errCutOff
		case err != nil:
			return SearchSummary{}, fmt.Errorf("%w (%w)", errCutOff, err)
		case r.Error != "":
			return SearchSummary{}, errors.New(r.Error)
		case r.Summary != nil:
			return *r.Summary, nil
		}
		if err := fn(r); err != nil {
			return SearchSummary{}, err
		}
	}
}

func searchValues(q SearchQuery) url.Values {
	return lineValues(
		map[string]string{"pattern": q.Pattern, "stream": q.Stream, "workload": q.Workload, "order": q.Order, "show": q.Show, "from": q.From},
		map[string]bool{"fixed": q.Fixed, "ignore_case": q.IgnoreCase, "invert": q.Invert, "records": q.Records},
		map[string]int{"limit": q.Limit, "before": q.Before, "after": q.After},
		map[string]time.Time{"since": q.Since, "until": q.Until},
		map[string][]string{"where": q.Where, "container": q.Containers},
	)
}

// lineValues are parameters of a query, without those that are zero.
func lineValues(texts map[string]string, is map[string]bool, numbers map[string]int, times map[string]time.Time, lists map[string][]string) url.Values {
	v := url.Values{}
	for name, text := range texts {
		if text != "" {
			v.Set(name, text)
		}
	}
	for name, is := range is {
		if is {
			v.Set(name, "true")
		}
	}
	for name, n := range numbers {
		if n != 0 {
			v.Set(name, strconv.Itoa(n))
		}
	}
	for name, t := range times {
		if !t.IsZero() {
			v.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	for name, all := range lists {
		v[name] = all
	}
	return v
}
