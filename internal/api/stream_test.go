package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2/sse"

	"logscan/internal/event"
	"logscan/internal/store"
)

// countingLog counts what is read of the event log.
type countingLog struct {
	eventLog

	mu      sync.Mutex // guards the rest
	queries int
	looked  int64 // how many ids the queries ranged over
}

func (c *countingLog) Events(ctx context.Context, f store.EventFilter) ([]event.Event, error) {
	events, err := c.eventLog.Events(ctx, f)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queries++
	from, to := f.After, f.Before-1
	if len(events) == f.Limit {
		to = events[len(events)-1].ID
	}
	c.looked += to - from
	return events, err
}

// fill puts n events of an ordinary container into the log.
func (b *bench) fill(n int) {
	b.t.Helper()
	var batch store.Batch
	for i := range n {
		batch.Events = append(batch.Events, hit(i, "warn", "r"))
	}
	if _, err := b.store.Commit(b.t.Context(), batch, nil); err != nil {
		b.t.Fatal(err)
	}
}

func to(container string) event.Event {
	e := hit(-1, "error", "r")
	e.Metadata["container_name"] = container
	return e
}

// A stream reads what there is once, and nothing for what comes, whatever its
// filter selects.
func TestStreamsReadTheLogOnce(t *testing.T) {
	b := newBench(t)
	const past, later = 50_000, 300 // more than a stream's buffer
	for range past / 2000 {
		b.fill(2000)
	}
	log := &countingLog{eventLog: b.store}
	const followers = 4
	begun, done := make(chan struct{}), make(chan error)
	for range followers {
		go func() {
			in := &streamInput{Filter: Filter{Container: "nosuch"}, LastEventID: "0"}
			var got []int64
			done <- runStream(t.Context(), log, in, func(m sse.Message) error {
				switch v := m.Data.(type) {
				case Ping:
					if v.LastID == past { // it has passed over all of them
						begun <- struct{}{}
					}
				case Event:
					got = append(got, v.ID)
					if v.ID == past+later+1 {
						if len(got) > 1 {
							t.Errorf("got %v", got)
						}
						return errEnough
					}
				}
				return nil
			})
		}()
	}
	for range followers {
		<-begun
	}
	read := func() (int, int64) {
		log.mu.Lock()
		defer log.mu.Unlock()
		return log.queries, log.looked
	}
	if queries, looked := read(); queries != followers || looked != followers*past {
		t.Errorf("to catch up, %d queries over %d events", queries, looked)
	}
	for n := range later {
		b.emit(hit(n, "warn", "r"))
	}
	b.emit(to("nosuch"))
	for range followers {
		if err := <-done; !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
	}
	// One that couldn't keep up with the commits reads what it has missed, once.
	if _, looked := read(); looked > followers*(past+later+1) {
		t.Errorf("in the end, %d events looked at for %d", looked, followers*(past+later+1))
	}
}

// racingLog stores an event wherever a stream might miss or repeat it.
type racingLog struct {
	eventLog
	emit func()
}

func (r *racingLog) LastEventID(ctx context.Context) (int64, error) {
	r.emit()
	defer r.emit()
	return r.eventLog.LastEventID(ctx)
}

func (r *racingLog) Events(ctx context.Context, f store.EventFilter) ([]event.Event, error) {
	r.emit()
	defer r.emit()
	return r.eventLog.Events(ctx, f)
}

func (r *racingLog) Subscribe(int) (<-chan event.Event, func()) {
	r.emit()
	defer r.emit()
	return r.eventLog.Subscribe(2) // full at once
}

// An event that is stored while a stream begins, or begins again, is sent once.
func TestStreamsHaveNoGap(t *testing.T) {
	b := newBench(t)
	n := 0
	emit := func() {
		if n < 100 {
			n++
			b.emit(hit(n, "warn", "r"))
		}
	}
	var got []int64
	err := runStream(t.Context(), &racingLog{b.store, emit}, &streamInput{LastEventID: "0"}, func(m sse.Message) error {
		if e, ok := m.Data.(Event); ok {
			got = append(got, e.ID)
			emit()
			emit()
			if len(got) == 100 {
				return errEnough
			}
		}
		return nil
	})
	want := make([]int64, 100)
	for i := range want {
		want[i] = int64(i + 1)
	}
	if !errors.Is(err, errEnough) || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}

// A client that comes back doesn't have passed over again what wasn't for it.
func TestPingsMoveOn(t *testing.T) {
	b := newBench(t)
	b.fill(10)
	var pings []int64
	in := &streamInput{Filter: Filter{Container: "nosuch"}, LastEventID: "3"}
	err := runStream(t.Context(), b.store, in, func(m sse.Message) error {
		if p, ok := m.Data.(Ping); ok {
			pings = append(pings, p.LastID)
		}
		if len(pings) == 2 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) || !slices.Equal(pings, []int64{3, 10}) {
		t.Errorf("%v, %v", pings, err)
	}
}

func TestAfterZeroIsTheBeginning(t *testing.T) {
	b := newBench(t)
	b.fill(10)
	_, body := b.raw("GET", eventsPath+"?after=0&limit=2", "", "")
	if !strings.Contains(body, `"line 0"`) || !strings.Contains(body, `"line 1"`) || !strings.Contains(body, `"more":true`) {
		t.Error(body)
	}
	for query, says := range map[string]string{"after=-1": "after", "after=x": "after", "after=0&before=5": "not both"} {
		if resp, body := b.raw("GET", eventsPath+"?"+query, "", ""); resp.StatusCode != 422 || !strings.Contains(body, says) {
			t.Errorf("%s: %d %s", query, resp.StatusCode, body)
		}
	}
	_, body = b.raw("GET", "/openapi.json", "", "")
	if !strings.Contains(body, `"name":"after","schema":{`) {
		t.Error("the parameter has no schema")
	}
}
