package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/api"
	frame "logscan/internal/entry"
	"logscan/internal/journal"
	"logscan/internal/query"
)

// logCommand writes a line into a container's log.
func (p *testPlugin) logCommand(args []string) error {
	if len(args) != 4 {
		return errors.New("usage: log CONTAINER WORKLOAD STREAM TEXT")
	}
	text, err := strconv.Unquote(`"` + strings.ReplaceAll(args[3], `"`, `\"`) + `"`)
	if err != nil {
		return fmt.Errorf("text: %w", err)
	}
	at := time.Date(2026, 1, 2, 15, 4, 5+p.lines, 0, time.UTC)
	p.lines++
	j, err := p.logs.Create(journal.Container{ID: fmt.Sprintf("%x", sha256.Sum256([]byte(args[0]))), Name: args[0], Workload: args[1], Scan: true})
	if err != nil {
		return err
	}
	defer j.Release()
	a := j.Attach(false)
	defer a.Detach()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if _, err := unix.Write(pipe[1], frame.Append(nil, &frame.Entry{Source: args[2], TimeNano: at.UnixNano(), Line: []byte(text)})); err != nil {
		return err
	}
	if _, err := a.Ingest(pipe[0], 1<<20); err != nil && !errors.Is(err, unix.EAGAIN) && err != io.EOF {
		return err
	}
	return nil
}

// The lines around hits are printed once, in the order of the log, whichever hits come
// first.
func TestSearchGroups(t *testing.T) {
	line := func(n int) api.SearchLine { return api.SearchLine{Text: fmt.Sprint("line ", n), Offset: int64(n)} }
	hit := func(container string, n, around int) api.SearchRecord {
		h := &api.SearchHit{FoundLine: api.FoundLine{ContainerID: container, Container: container, SearchLine: line(n)}}
		for k := n - around; k < n; k++ {
			h.Before = append(h.Before, line(k))
		}
		for k := n + 1; k <= n+around; k++ {
			h.After = append(h.After, line(k))
		}
		return api.SearchRecord{Hit: h}
	}
	record := func(container string, n, from, to int) api.SearchRecord {
		r := hit(container, n, 0)
		r.Hit.Spans = [][]int{{0, 4}}
		for k := from; k <= to; k++ {
			r.Hit.Record = append(r.Hit.Record, line(k))
		}
		r.Hit.Before = []api.SearchLine{line(from - 1)}
		return r
	}
	for _, tt := range []struct {
		hits []api.SearchRecord
		want string
	}{
		{[]api.SearchRecord{record("a", 9, 8, 10), record("a", 4, 4, 4)}, "a - line 7\na | line 8\na | line 9\na | line 10\n--\na - line 3\na | line 4\n"},
		{[]api.SearchRecord{hit("a", 9, 1), hit("a", 8, 1), hit("a", 2, 1)}, "a - line 7\na | line 8\na | line 9\na - line 10\n--\na - line 1\na | line 2\na - line 3\n"},
		{[]api.SearchRecord{hit("a", 2, 1), hit("a", 4, 1)}, "a - line 1\na | line 2\na - line 3\na | line 4\na - line 5\n"},
		{[]api.SearchRecord{hit("a", 2, 1), hit("b", 3, 1)}, "a - line 1\na | line 2\na - line 3\n--\nb - line 2\nb | line 3\nb - line 4\n"},
	} {
		var out strings.Builder
		flags := &searchFlags{}
		flags.Before = 1
		p, err := newSearchPrinter(&cli{out: &out, err: io.Discard}, flags)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range tt.hits {
			if err := p.record(h); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.end(); err != nil || out.String() != tt.want {
			t.Errorf("got\n%s%v; want\n%s", out.String(), err, tt.want)
		}
	}
}

// How far a search is stands on a terminal, and is gone when something else is printed.
func TestSearchProgress(t *testing.T) {
	for _, tty := range []bool{false, true} {
		var out, told strings.Builder
		p, err := newSearchPrinter(&cli{out: &out, err: &told, errTTY: tty}, &searchFlags{})
		if err != nil {
			t.Fatal(err)
		}
		p.startAt = time.Now().Add(-time.Second)
		for _, r := range []api.SearchRecord{
			{Progress: &api.SearchProgress{Bytes: 25, Total: 100, Hits: 7}},
			{Hit: &api.SearchHit{FoundLine: api.FoundLine{Container: "web", SearchLine: api.SearchLine{Text: "x"}}}},
		} {
			if err := p.record(r); err != nil {
				t.Fatal(err)
			}
		}
		text, shown := strings.CutSuffix(told.String(), "\r\x1b[K")
		if shown != tty || tty && (!strings.HasPrefix(text, "\r\x1b[K25 %, ") || !strings.Contains(text, ", 7 hits, ")) || out.String() != "web | x\n" {
			t.Errorf("on a terminal %v: %q, %q", tty, told.String(), out.String())
		}
	}
}

// A search that has no limit goes on until there is no more, and an interrupt ends it.
func TestSearchPages(t *testing.T) {
	p := newTestPlugin(t)
	for n := range 5 {
		if err := p.logCommand([]string{"web", "", "stdout", fmt.Sprint("line ", n)}); err != nil {
			t.Fatal(err)
		}
	}
	client := api.Dial(p.socket)
	defer client.Close()
	var out strings.Builder
	c := &cli{out: &out, err: io.Discard}
	flags := &searchFlags{SearchQuery: api.SearchQuery{Limit: query.MaxLimit + 3}}
	show, err := newSearchPrinter(c, flags)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.search(t.Context(), client, flags, show); err != nil || strings.Count(out.String(), "\n") != 5 {
		t.Errorf("%v: %s", err, out.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out.Reset()
	c = &cli{out: &out, err: &out, getenv: func(string) string { return "" }, plugin: true}
	if code := c.run(ctx, []string{"logscan", "--socket", p.socket, "search", "line"}); code != exitInterrupted {
		t.Errorf("interrupted: %d %s", code, out.String())
	}
}
