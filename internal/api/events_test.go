package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/store"
)

func numbers(events []Event) (out []int) {
	for _, e := range events {
		n, _ := e.Metadata["n"].(float64)
		out = append(out, int(n))
	}
	return out
}

func TestEvents(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	if p := must[EventPage](t)(b.Events(ctx, EventQuery{})); p.Items == nil || len(p.Items) != 0 || p.More {
		t.Errorf("empty log: %+v", p)
	}
	for n := range 10 {
		b.emit(hit(n, []string{"info", "warn", "error"}[n%3], fmt.Sprint("rule", n%2)))
	}
	b.emit(event.Event{Source: "system", Severity: "warn", Message: "lost", Metadata: map[string]any{"n": 10}})

	first := must[EventPage](t)(b.Events(ctx, EventQuery{Limit: 4}))
	if got := numbers(first.Items); !slices.Equal(got, []int{7, 8, 9, 10}) || !first.More {
		t.Errorf("newest: %v, more %v", got, first.More)
	}
	// Back to the beginning, page by page.
	var all []Event
	for p := first; ; {
		all = append(slices.Clone(p.Items), all...)
		if !p.More {
			break
		}
		p = must[EventPage](t)(b.Events(ctx, EventQuery{Limit: 4, Before: p.Items[0].ID}))
	}
	if got := numbers(all); !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
		t.Errorf("all: %v", got)
	}
	after := must[EventPage](t)(b.Events(ctx, EventQuery{Limit: 3, After: all[1].ID}))
	if got := numbers(after.Items); !slices.Equal(got, []int{2, 3, 4}) || !after.More {
		t.Errorf("after: %v", got)
	}
	for name, tt := range map[string]struct {
		q    EventQuery
		want []int
	}{
		"severity":       {EventQuery{Severities: []string{"error"}}, []int{2, 5, 8}},
		"severities":     {EventQuery{Severities: []string{"error", "info"}}, []int{0, 2, 3, 5, 6, 8, 9}},
		"source":         {EventQuery{Source: "system"}, []int{10}},
		"rule":           {EventQuery{Rule: "rule1"}, []int{1, 3, 5, 7, 9}},
		"two":            {EventQuery{Rule: "rule1", Severities: []string{"error"}}, []int{5}},
		"workload":       {EventQuery{Workload: "shop/web", Limit: 2}, []int{8, 9}},
		"other":          {EventQuery{Workload: "other"}, nil},
		"container":      {EventQuery{Container: "web", Limit: 1}, []int{9}},
		"container id":   {EventQuery{Container: "abababababab", Limit: 1}, []int{9}},
		"no container":   {EventQuery{Container: "we"}, nil},
		"like in a name": {EventQuery{Container: "w%b"}, nil},
		"until":          {EventQuery{Until: time.Now().Add(-time.Hour)}, nil},
		"since":          {EventQuery{Since: time.Now().Add(-time.Hour), Limit: 1}, []int{10}},
		"since later":    {EventQuery{Since: time.Now().Add(time.Hour)}, nil},
	} {
		if got := numbers(must[EventPage](t)(b.Events(ctx, tt.q)).Items); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

var errEnough = errors.New("enough")

// collect follows until it has n events.
func collect(ctx context.Context, c *Client, last int64, q EventQuery, n int) (got []int, lastID int64, err error) {
	lastID = last
	err = c.Follow(ctx, last, q, func(e Event) error {
		got = append(got, numbers([]Event{e})...)
		lastID = e.ID
		if len(got) == n {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return got, lastID, err
}

// begun returns a stream that has begun, read raw.
func begun(t *testing.T, b *bench, lastID string) *bufio.Reader {
	t.Helper()
	h := http.Header{}
	if lastID != "" {
		h.Set("Last-Event-ID", lastID)
	}
	resp, err := b.send(t.Context(), "GET", streamPath, nil, h, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("content type %q", ct)
	}
	return bufio.NewReader(resp.Body)
}

func readUntil(t *testing.T, r *bufio.Reader, want string) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q: %v", want, err)
		}
		if strings.Contains(line, want) {
			return line
		}
	}
}

// The stream as the standard has it: an id with each event, and what follows
// that id after a reconnection.
func TestStreamFormat(t *testing.T) {
	b := newBench(t)
	past := b.emit(hit(1, "warn", "r"), hit(2, "warn", "r"))
	r := begun(t, b, "")
	readUntil(t, r, "event: ping")
	readUntil(t, r, fmt.Sprintf(`"last_id":%d`, past[1].ID))
	live := b.emit(hit(3, "warn", "r"))
	if line := readUntil(t, r, "id: "); strings.TrimSpace(line) != fmt.Sprintf("id: %d", live[0].ID) {
		t.Errorf("id line %q", line)
	}
	if line := readUntil(t, r, "data: "); !strings.Contains(line, `"message":"line 3"`) {
		t.Errorf("data line %q", line)
	}
	r = begun(t, b, fmt.Sprint(past[0].ID))
	readUntil(t, r, `"message":"line 2"`)
	readUntil(t, r, `"message":"line 3"`)
}

// Whoever follows, from wherever and however slowly, sees each event once and
// in order, also when the server goes and comes back.
func TestFollow(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const before, during, after = 100, 400, 100
	n := 0
	emit := func(count int) {
		for range count {
			b.emit(hit(n, "warn", "r"))
			n++
		}
	}
	emit(before)
	type result struct {
		got []int
		err error
	}
	results := make(chan result)
	started := make(chan struct{}, 3)
	for range 3 {
		go func() {
			var r result
			r.err = b.Follow(ctx, 0, EventQuery{}, func(e Event) error {
				if len(r.got) == 0 {
					started <- struct{}{}
				}
				r.got = append(r.got, numbers([]Event{e})...)
				if len(r.got) == before+during+after {
					return errEnough
				}
				return nil
			})
			results <- r
		}()
	}
	for range 3 {
		<-started
	}
	emit(during) // more than a stream's buffer, faster than it is read
	b.close()
	emit(after)
	b.listen()
	for range 3 {
		r := <-results
		if !errors.Is(r.err, errEnough) {
			t.Fatal(r.err)
		}
		for i, v := range r.got {
			if v != i {
				t.Fatalf("at %d came %d", i, v)
			}
		}
	}
}

func TestFollowFilter(t *testing.T) {
	b := newBench(t)
	for n := range 30 {
		b.emit(hit(n, []string{"info", "error"}[n%2], "r"))
	}
	got, _, err := collect(t.Context(), b.Client, 0, EventQuery{Severities: []string{"error"}, Limit: 3}, 15)
	if err != nil || len(got) != 15 || got[0] != 1 || got[14] != 29 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestFollowErrors(t *testing.T) {
	b := newBench(t)
	// Refused: not tried again.
	_, _, err := collect(t.Context(), b.Client, 0, EventQuery{Severities: []string{"loud"}}, 1)
	wantProblem(t, err, 422, "severity")
	// Never there: not waited for.
	if _, _, err := collect(t.Context(), Dial(b.socket+"x"), 0, EventQuery{}, 1); err == nil {
		t.Error("following nothing succeeded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := collect(ctx, b.Client, FromNow, EventQuery{}, 1)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func FuzzReadStream(f *testing.F) {
	f.Add("id: 1\ndata: {}\n\n")
	f.Add("event: ping\r\ndata: {\"last_id\":3}\r\n\r\n")
	f.Add(": comment\n\ndata\ndata:\ndata: x\n\nnothing")
	f.Fuzz(func(t *testing.T, s string) {
		lines := 0
		err := readStream(strings.NewReader(s), func(m message) error {
			lines += 1 + strings.Count(string(m.data), "\n")
			if len(m.data) > len(s) {
				t.Errorf("more data than there was")
			}
			return nil
		})
		if err != nil && !errors.Is(err, bufio.ErrTooLong) && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if lines > strings.Count(s, "data") {
			t.Errorf("%d lines of data in %q", lines, s)
		}
	})
}

func TestEventDetails(t *testing.T) {
	b := newBench(t)
	e := hit(1, "error", "oom")
	e.Around = &event.Around{Container: "c", Stream: "stdout", From: 1, To: 2, Before: 1, After: 1}
	id := b.emit(e, hit(2, "error", "oom"))[0].ID
	d := must[EventDetails](t)(b.Event(t.Context(), id))
	if d.ID != id || d.Message != "line 1" || d.Whole || d.Context == nil || len(d.Context) != 0 {
		t.Errorf("owed: %+v", d)
	}
	at := time.Unix(7, 5).UTC()
	err := b.store.PutContexts(t.Context(), []store.Context{{EventID: id, Whole: true, Lines: []event.ContextLine{
		{Time: at, Stream: "stderr", Text: "before", Cut: true}, {Time: at, Stream: "stdout", Text: "line 1", Own: true},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []ContextLine{{Time: at, Stream: "stderr", Text: "before", Cut: true}, {Time: at, Stream: "stdout", Text: "line 1", Own: true}}
	if d = must[EventDetails](t)(b.Event(t.Context(), id)); !d.Whole || !slices.Equal(d.Context, want) {
		t.Errorf("kept: %+v", d)
	}
	if d = must[EventDetails](t)(b.Event(t.Context(), id+1)); !d.Whole || len(d.Context) != 0 {
		t.Errorf("none: %+v", d)
	}
	_, err = b.Event(t.Context(), id+2)
	wantProblem(t, err, 404, "event")
}
