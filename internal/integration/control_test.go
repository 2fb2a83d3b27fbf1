package integration

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// control returns a client of the plugin's control socket, once it answers and
// the database is open.
func control(t testing.TB, e *enginetest.Engine) *api.Client {
	t.Helper()
	c := api.Dial(e.ControlSocket())
	t.Cleanup(c.Close)
	e.Eventually(time.Minute, "the control socket answering", func() bool {
		_, err := c.Rules(context.Background())
		return err == nil
	})
	return c
}

// addRule makes a rule without a cooldown: every line that matches is a hit.
func addRule(t testing.TB, c *api.Client, name, pattern string) {
	t.Helper()
	_, err := c.CreateRule(context.Background(), api.RuleCreate{
		Name: name, Pattern: pattern,
		RuleFields: api.RuleFields{"cooldown_seconds": 0},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// hits returns every event of a rule, oldest first.
func hits(t testing.TB, c *api.Client, rule string) []api.Event {
	t.Helper()
	return allEvents(t, c, api.EventQuery{Rule: rule})
}

// allEvents returns every event that q selects, oldest first.
func allEvents(t testing.TB, c *api.Client, q api.EventQuery) []api.Event {
	t.Helper()
	pages := slices.Collect(eventPages(t, c, q))
	slices.Reverse(pages)
	return slices.Concat(pages...)
}

// eventPages returns them by pages, the newest page first, and in each the oldest
// event.
func eventPages(t testing.TB, c *api.Client, q api.EventQuery) iter.Seq[[]api.Event] {
	q.Limit = 1000
	return func(yield func([]api.Event) bool) {
		t.Helper()
		for {
			page, err := c.Events(context.Background(), q)
			if err != nil {
				t.Fatal(err)
			}
			if !yield(page.Items) || !page.More || len(page.Items) == 0 {
				return
			}
			q.Before = page.Items[0].ID
		}
	}
}

// caughtUp waits until every line has been seen by the rules and every hit is
// stored.
func caughtUp(t testing.TB, e *enginetest.Engine, c *api.Client) {
	t.Helper()
	e.Eventually(2*time.Minute, "the scanner having seen every line", func() bool {
		st, err := c.Stats(context.Background())
		return err == nil && st.Scan.Lag == 0 && st.Scan.Waiting == 0
	})
}

// allHits returns the events of a rule once every line has been seen and what
// it gave, at least want of them, is stored.
func allHits(t testing.TB, e *enginetest.Engine, c *api.Client, rule string, want int) (events []api.Event) {
	t.Helper()
	caughtUp(t, e, c)
	e.Eventually(time.Minute, fmt.Sprintf("%d hits of rule %s", want, rule), func() bool {
		events = hits(t, c, rule)
		return len(events) >= want
	})
	return events
}

// unbounded are settings under which each matching line is a hit of its own.
var unbounded = []string{"LOGSCAN_BUCKET_REFILL=0"}
