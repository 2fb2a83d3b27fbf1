package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/entry"
	"logscan/internal/journal"
	"logscan/internal/query"
)

// logStart is the time of the first line of writeLog.
var logStart = time.Unix(1_700_000_000, 0)

// writeLog writes a container's lines, each a second after the one before, those that begin
// with an exclamation mark to stderr.
func writeLog(t testing.TB, dir *journal.Dir, c journal.Container, lines ...string) {
	t.Helper()
	writeLogAt(t, dir, c, logStart, lines...)
}

// writeLogAt writes lines of which the first one has a time.
func writeLogAt(t testing.TB, dir *journal.Dir, c journal.Container, at time.Time, lines ...string) {
	t.Helper()
	j, err := dir.Create(c)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	a := j.Attach(false)
	defer a.Detach()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	for i, l := range lines {
		e := entry.Entry{Source: "stdout", TimeNano: at.Add(time.Duration(i) * time.Second).UnixNano(), Line: []byte(l)}
		if l[0] == '!' {
			e.Source = "stderr"
		}
		if _, err := unix.Write(p[1], entry.Append(nil, &e)); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Ingest(p[0], 1<<20); err != nil && !errors.Is(err, unix.EAGAIN) && err != io.EOF {
			t.Fatal(err)
		}
	}
}

// searchable is a directory for logs, which tells watch of what is written.
func searchable(t testing.TB, watch *query.Watch) *journal.Dir {
	t.Helper()
	dir, err := journal.OpenDir(journal.Config{Root: t.TempDir(), OnAppend: watch.Notify, OnAttach: watch.Notify, OnDetach: watch.Notify})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

// newSearchBench is a bench with the logs of two containers.
func newSearchBench(t *testing.T) (*bench, *journal.Dir) {
	b := newBench(t)
	writeLog(t, b.journals, journal.Container{ID: strings.Repeat("a", 64), Name: "web", Workload: "shop/web"},
		"GET / 200", "!boom: Out of memory", "GET /x 500 status=500", "out\xff of\x1b memory")
	writeLog(t, b.journals, journal.Container{ID: strings.Repeat("b", 64), Name: "db"}, "ready", "out of disk")
	return b, b.journals
}

func TestSearch(t *testing.T) {
	b, _ := newSearchBench(t)
	search := func(q SearchQuery) (out []string, sum SearchSummary) {
		t.Helper()
		sum, err := b.Search(t.Context(), q, func(r SearchRecord) error {
			switch {
			case r.Hit != nil:
				text := r.Hit.Container + " " + r.Hit.Text
				for _, s := range r.Hit.Spans {
					text += fmt.Sprintf(" <%s>", r.Hit.Text[s[0]:s[1]])
				}
				for _, l := range r.Hit.Record {
					text += " |" + l.Text
				}
				for _, l := range r.Hit.Before {
					text += " -" + l.Text
				}
				for _, l := range r.Hit.After {
					text += " +" + l.Text
				}
				out = append(out, text)
			case r.Container != nil:
				out = append(out, fmt.Sprintf("%s %d", r.Container.Container, r.Container.Hits))
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		return out, sum
	}
	memory := []string{"web out\uFFFD of\x1b memory <memory>", "web !boom: Out of memory <memory>"}
	for _, tt := range []struct {
		q    SearchQuery
		want []string
	}{
		{SearchQuery{Pattern: "memory"}, memory},
		{SearchQuery{Pattern: "memory", Order: query.Oldest}, []string{memory[1], memory[0]}},
		{SearchQuery{Pattern: "^out", IgnoreCase: true}, []string{"web out\uFFFD of\x1b memory <out>", "db out of disk <out>"}},
		{SearchQuery{Pattern: "o", Containers: []string{"db"}}, []string{"db out of disk <o> <o>"}},
		{SearchQuery{Pattern: ".", Fixed: true}, nil},
		{SearchQuery{Pattern: "out|GET|Out", Invert: true}, []string{"db ready"}},
		{SearchQuery{Where: []string{"status >= 500"}}, []string{"web GET /x 500 status=500"}},
		{SearchQuery{Stream: "stderr"}, []string{"web !boom: Out of memory"}},
		{SearchQuery{Pattern: "boom", Before: 1, After: 2}, []string{"web !boom: Out of memory <boom> -GET / 200 +GET /x 500 status=500 +out\uFFFD of\x1b memory"}},
		{SearchQuery{Workload: "shop/web", Since: logStart.Add(3 * time.Second)}, []string{"web out\uFFFD of\x1b memory"}},
		{SearchQuery{Containers: []string{"bbb"}, Until: logStart.Add(time.Second)}, []string{"db ready"}},
		{SearchQuery{Pattern: "500", Records: true}, []string{"web GET /x 500 status=500 <500> <500> |GET /x 500 status=500"}},
		{SearchQuery{Pattern: "of", Show: query.Counts}, []string{"db 1", "web 2"}},
		{SearchQuery{Pattern: "GET", Show: query.Containers}, []string{"web 1"}},
	} {
		if got, sum := search(tt.q); !slices.Equal(got, tt.want) || sum.Next != "" || sum.Skipped != 0 {
			t.Errorf("%+v: %q %+v; want %q", tt.q, got, sum, tt.want)
		}
	}
	// Page by page.
	var pages []string
	q := SearchQuery{Limit: 1, Pattern: "memory"}
	for {
		got, sum := search(q)
		pages = append(pages, got...)
		if q.From = sum.Next; q.From == "" {
			break
		}
	}
	if !slices.Equal(pages, memory) {
		t.Errorf("page by page %q", pages)
	}
}

// What can't be searched for is refused, and it is said what is wrong.
func TestSearchRefuses(t *testing.T) {
	b, _ := newSearchBench(t)
	_, body := b.raw("GET", searchPath+"?limit=1", "", "")
	var last SearchRecord
	for line := range strings.Lines(body) {
		last = SearchRecord{}
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	if last.Summary == nil || last.Summary.Next == "" {
		t.Fatalf("%s", body)
	}
	for _, tt := range []struct {
		query  string
		status int
		says   string
	}{
		{"pattern=(", 422, "pattern: missing closing )"},
		{"pattern=" + url.QueryEscape(`\d{1000}{1000}`), 422, "pattern: "},
		{"pattern=" + strings.Repeat("x", 5000), 422, "pattern: is 5000 bytes long"},
		{"fixed=true&pattern=" + strings.Repeat("x", 5000), 422, "pattern: is 5000 bytes long"},
		{"pattern=%ff", 422, "pattern: invalid UTF-8"},
		{"where=status+%3E", 422, "where: condition 1: "},
		{"pattern=a&where=%24user+%3D+x", 422, "the pattern has no group $user"},
		{"where=a+exists" + strings.Repeat("&where=a+exists", 16), 422, "where: are 17 conditions"},
		{"stream=both", 422, "stream: "},
		{"since=yesterday", 422, "since: "},
		{"since=0001-01-02T00:00:00Z", 422, "since: is in the year 1"},
		{"since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", 422, "until: must be behind since"},
		{"limit=-1", 422, "limit: "},
		{"limit=99999999", 422, "limit: "},
		{"limit=99999999999999999999", 422, "limit: "},
		{"before=201", 422, "before: "},
		{"container=nosuch", 404, `container "nosuch": no log is kept of it`},
		{"workload=" + strings.Repeat("x", 129), 422, "workload: is 129 bytes long"},
		{"order=random", 422, "order: "},
		{"show=everything", 422, "show: "},
		{"show=counts&limit=3", 422, "show: must be lines"},
		{"from=%21%21", 422, "from: is no place"},
		{"from=AAAA", 422, "from: is no place"},
		{"from=" + strings.Repeat("A", 257), 422, "from: "},
		{"order=oldest&from=" + last.Summary.Next, 422, "from: is of a search in the other order"},
		{"patern=x", 422, "did you mean pattern?"},
	} {
		resp, body := b.raw("GET", searchPath+"?"+tt.query, "", "")
		var p Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != tt.status || p.Status != tt.status || !strings.Contains(p.Detail, tt.says) {
			t.Errorf("%.100s: %d %s; want %d %s", tt.query, resp.StatusCode, body, tt.status, tt.says)
		}
	}
}

// Hits come while the search runs; it ends with its client, and one too many is refused.
func TestSearchStreams(t *testing.T) {
	b, dir := newSearchBench(t)
	searcher := query.New(dir, query.NewPool(query.DefaultQueries), nil)
	waiting, goOn := make(chan struct{}), make(chan struct{})
	ended := make(chan error, query.DefaultQueries)
	b.search.Store(&searchFunc{func(ctx context.Context, r query.Request, out query.Output) (query.Summary, error) {
		hit := out.Hit
		out.Hit = func(h *query.Hit) error {
			err := errors.Join(hit(h), out.Wait())
			select {
			case waiting <- struct{}{}:
			case <-ctx.Done():
			}
			select {
			case <-goOn:
			case <-ctx.Done():
				err = ctx.Err()
			}
			return err
		}
		sum, err := searcher.Search(ctx, r, out)
		if !errors.Is(err, query.ErrBusy) {
			ended <- err
		}
		return sum, err
	}})
	var leave []context.CancelFunc
	var bodies []*bufio.Reader
	for range query.DefaultQueries {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		resp, err := b.send(ctx, http.MethodGet, searchPath, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		<-waiting
		leave = append(leave, cancel)
		bodies = append(bodies, bufio.NewReader(resp.Body))
	}
	for _, body := range bodies {
		if line, err := body.ReadString('\n'); err != nil || !strings.Contains(line, "memory") {
			t.Fatalf("%q %v", line, err)
		}
	}
	_, err := b.Search(t.Context(), SearchQuery{}, func(SearchRecord) error { return nil })
	var busy *Problem
	if !errors.As(err, &busy) || busy.Status != 503 || !strings.Contains(busy.Detail, "try again") {
		t.Fatalf("one too many: %v", err)
	}
	for _, cancel := range leave[1:] {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatalf("a client left: %v", err)
		}
	}
	goOn <- struct{}{}
	<-waiting
	// The first one is cut off, as when the plugin ends: its client is told.
	b.srv.CloseClientConnections()
	if _, err := io.ReadAll(bodies[0]); err == nil {
		t.Error("the answer looks whole")
	}
	<-ended
}

// A client says so where the answer isn't whole.
func TestSearchCutOff(t *testing.T) {
	b, _ := newSearchBench(t)
	b.search.Store(&searchFunc{func(_ context.Context, _ query.Request, out query.Output) (query.Summary, error) {
		h := &query.Hit{Container: &journal.Container{Name: "web"}}
		if err := errors.Join(out.Hit(h), out.Wait()); err != nil {
			return query.Summary{}, err
		}
		panic(http.ErrAbortHandler)
	}})
	n := 0
	_, err := b.Search(t.Context(), SearchQuery{}, func(SearchRecord) error { n++; return nil })
	if !errors.Is(err, errCutOff) || n != 1 {
		t.Errorf("%d records: %v", n, err)
	}
	b.search.Store(&searchFunc{func(_ context.Context, _ query.Request, out query.Output) (query.Summary, error) {
		h := &query.Hit{Container: &journal.Container{Name: "web"}}
		return query.Summary{}, errors.Join(out.Hit(h), errors.New("disk on fire"))
	}})
	if _, err = b.Search(t.Context(), SearchQuery{}, func(SearchRecord) error { return nil }); err == nil || !strings.Contains(err.Error(), "something went wrong inside logscan") || !strings.Contains(b.log.String(), "disk on fire") {
		t.Errorf("%v; log %s", err, b.log.String())
	}
}
