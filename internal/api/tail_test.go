package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/journal"
	"logscan/internal/query"
)

// tailText shows what a tail gave.
func tailText(r TailRecord) string {
	switch {
	case r.Skipped != nil:
		return fmt.Sprintf("%+v", *r.Skipped)
	case r.Line == nil:
		return fmt.Sprintf("%+v", r)
	}
	text := r.Line.Container + " " + r.Line.Text
	for _, m := range r.Line.Marks {
		text += fmt.Sprintf(" [%s %s]", m.Severity, m.Rule)
	}
	for _, s := range r.Line.Spans {
		text += fmt.Sprintf(" <%s>", r.Line.Text[s[0]:s[1]])
	}
	if r.Line.Count != 1 {
		text += fmt.Sprintf(" ×%d", r.Line.Count)
	}
	return text
}

func TestTail(t *testing.T) {
	b, dir := newSearchBench(t)
	must[Rule](t)(b.CreateRule(t.Context(), RuleCreate{Name: "oom", Pattern: "memory"}))
	writeLog(t, dir, journal.Container{ID: strings.Repeat("c", 64), Name: "job", Scan: true}, "took 1 ms", "took 2 ms", "out of memory", "took 3 ms")
	for _, tt := range []struct {
		q    TailQuery
		want []string
	}{
		{TailQuery{Last: 2, Containers: []string{"job", "db"}}, []string{"job out of memory [warn oom]", "job took 3 ms"}},
		{TailQuery{Last: query.All, Containers: []string{"job"}, Fold: true}, []string{"job took 1 ms", "job took 2 ms ×2", "job out of memory [warn oom]", "job took 3 ms"}},
		{TailQuery{Last: query.All, Workload: "shop/web", Pattern: "MEMORY", IgnoreCase: true, Stream: "stderr"}, []string{"web !boom: Out of memory <memory>"}},
		{TailQuery{Last: 10, Where: []string{"status >= 500"}}, []string{"web GET /x 500 status=500"}},
		{TailQuery{Last: query.All, Pattern: "o", Invert: true, Containers: []string{"web"}}, []string{"web GET / 200", "web GET /x 500 status=500"}},
		{TailQuery{Last: query.All, Pattern: ".", Fixed: true, Since: logStart}, nil},
		{TailQuery{Last: 0}, nil},
	} {
		var got []string
		err := b.Tail(t.Context(), tt.q, func(r TailRecord) error { got = append(got, tailText(r)); return nil }, func() { t.Error("again") })
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %q %v; want %q", tt.q, got, err, tt.want)
		}
	}
	// What is usual.
	for params, want := range map[string]int{"": 10, "?since=2000-01-01T00:00:00Z": 10, "?last=all": 10, "?since=" + url.QueryEscape(logStart.Add(3*time.Second).Format(time.RFC3339)): 2, "?last=3": 3} {
		_, body := b.raw("GET", tailPath+params, "", "")
		lines := strings.Split(strings.TrimSpace(body), "\n")
		if len(lines) != want+1 || lines[want] != `{"end":true}` {
			t.Errorf("%s: %s", params, body)
		}
	}
}

// What can't be followed is refused, and it is said what is wrong.
func TestTailRefuses(t *testing.T) {
	b, _ := newSearchBench(t)
	for _, tt := range []struct {
		query  string
		status int
		says   string
	}{
		{"pattern=(", 422, "pattern: missing closing )"},
		{"last=-1", 422, "last: "},
		{"last=many", 422, "last: "},
		{"last=9999999", 422, "last: must be from 0 to 1000000, or all"},
		{"where=status+%3E", 422, "where: condition 1: "},
		{"stream=both", 422, "stream: "},
		{"since=yesterday", 422, "since: "},
		{"container=nosuch&follow=true", 404, `container "nosuch": no log is kept of it`},
		{"container=nosuch&last=0", 404, `container "nosuch": no log is kept of it`},
		{"from=%21%21&follow=true", 422, "from: is no place"},
		{"follow=perhaps", 422, "follow: "},
		{"until=2026-01-02T00:00:00Z", 422, "until"},
	} {
		resp, body := b.raw("GET", tailPath+"?"+tt.query, "", "")
		var p Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != tt.status || p.Status != tt.status || !strings.Contains(p.Detail, tt.says) {
			t.Errorf("%.100s: %d %s; want %d %s", tt.query, resp.StatusCode, body, tt.status, tt.says)
		}
	}
}

// A tail that follows is taken up where it was when its connection breaks; one too many is
// refused.
func TestTailGoesOn(t *testing.T) {
	b, dir := newSearchBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines, broke := make(chan string, 100), make(chan struct{}, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- b.Tail(ctx, TailQuery{Last: 1, Follow: true}, func(r TailRecord) error { lines <- tailText(r); return nil }, func() { broke <- struct{}{} })
	}()
	want := func(all ...string) {
		t.Helper()
		for _, text := range all {
			select {
			case got := <-lines:
				if got != text {
					t.Fatalf("%q; want %q", got, text)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%q doesn't come", text)
			}
		}
	}
	want("web out\uFFFD of\x1b memory")
	writeLogAt(t, dir, journal.Container{ID: strings.Repeat("d", 64), Name: "late"}, time.Now(), "one")
	want("late one")
	for range 3 {
		b.srv.CloseClientConnections()
		<-broke
		id := fmt.Sprint(len(dir.Containers()))
		writeLogAt(t, dir, journal.Container{ID: strings.Repeat(id, 64), Name: "c" + id, Workload: "late"}, time.Now(), "two")
		want("c" + id + " two")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var open []*http.Response
	for range query.DefaultQueries * query.TailsEach {
		resp, err := b.send(t.Context(), http.MethodGet, tailPath, url.Values{"follow": {"true"}}, nil, nil)
		if err != nil {
			var busy *Problem
			if errors.As(err, &busy) && busy.Status == 503 { // the server hasn't seen yet that the first one has left
				continue
			}
			t.Fatal(err)
		}
		defer resp.Body.Close()
		open = append(open, resp)
	}
	err := b.Tail(t.Context(), TailQuery{Follow: true}, func(TailRecord) error { return nil }, nil)
	var busy *Problem
	if !errors.As(err, &busy) || busy.Status != 503 || !strings.Contains(busy.Detail, query.Setting) || len(open) < query.DefaultQueries*query.TailsEach-query.TailsEach-1 {
		t.Errorf("one too many: %v; %d are open", err, len(open))
	}
}

// A client says so where the answer isn't whole.
func TestTailCutOff(t *testing.T) {
	b, dir := newSearchBench(t)
	writeLog(t, dir, journal.Container{ID: strings.Repeat("e", 64), Name: "much"}, slices.Repeat([]string{strings.Repeat("x", 1000)}, 2000)...)
	n := 0
	err := b.Tail(t.Context(), TailQuery{Last: query.All}, func(TailRecord) error {
		if n++; n == 1 {
			b.srv.CloseClientConnections()
		}
		return nil
	}, func() { t.Error("again") })
	if !errors.Is(err, errTailCutOff) || n == 0 || n > 2000 {
		t.Errorf("%d records: %v", n, err)
	}
}
