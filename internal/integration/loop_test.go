package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestReceiversInScannedContainers has receivers log what they are sent where
// the rule that sent it sees it again, with nothing to hold hits back: neither a
// cooldown nor the limit of hits per container. It comes to an end by itself.
func TestReceiversInScannedContainers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(append([]string{"LOGSCAN_ALLOW_TARGETS=127.0.0.1"}, unbounded...)...)
	c := control(t, e)
	receivers := []string{"message", "alert", "body"} // named after what they log
	for _, what := range receivers {
		e.Docker("run", "-d", "--name", what, "--network", "host", "--log-driver", enginetest.Plugin, enginetest.Image,
			"loggen", "-listen", "127.0.0.1:0", "-log", what)
		var addr string
		e.Eventually(time.Minute, "the receiver listening", func() bool {
			out, _ := e.Logs(what)
			n, _ := fmt.Sscanf(string(out), "listening on %s", &addr)
			return n == 1
		})
		// Waiting for lines after each hit would slow the ring down.
		_, err := c.CreateTrigger(ctx, api.TriggerCreate{Name: what, ActionURL: "http://" + addr, TriggerFields: api.TriggerFields{"mode": "events", "context_wait_seconds": 0}})
		if err != nil {
			t.Fatal(err)
		}
	}
	hitsOf := func(rule string) map[string]int {
		n := map[string]int{}
		for _, ev := range allEvents(t, c, api.EventQuery{Rule: rule}) {
			name := meta(ev, "container_name")
			if strings.HasPrefix(name, "box-") {
				name = "app"
			}
			n[name]++
		}
		return n
	}
	// Whatever a receiver was sent it has written when it has ended, and all
	// that comes of it is known once the rules have seen that.
	quiet := func(deliveries int64) {
		t.Helper()
		e.Eventually(time.Minute, fmt.Sprint(deliveries, " deliveries"), func() bool {
			st, err := c.Stats(ctx)
			d := st.Deliveries
			return err == nil && d.Delivered == deliveries && d.Pending == 0 && d.Dead == 0
		})
	}
	app := func(line string) {
		e.Wait(e.Run([]string{"--log-driver", enginetest.Plugin}, "echo", line))
	}

	// With a cooldown for all lines a receiver's own line is one hit. What comes of
	// that is held back, and ends there.
	_, err := c.CreateRule(ctx, api.RuleCreate{Name: "fire", Pattern: "FIRE", RuleFields: api.RuleFields{"cooldown_by": "rule"}})
	if err != nil {
		t.Fatal(err)
	}
	app(`a FIRE "in" the hall`)
	quiet(9)
	if got, want := fmt.Sprint(hitsOf("fire")), "map[alert:1 app:1 message:1]"; got != want {
		t.Errorf("hits with a cooldown: %s, want %s", got, want)
	}

	// Without one, those who log messages alone have 32 hits each before their
	// messages are marked. Each of these and the app's is logged by both: 65
	// hits in each of the two, 131 in all, each sent to three receivers.
	addRule(t, c, "boom", "BOOM")
	app(`a BOOM "in" the hall`)
	quiet(9 + 3*131)
	e.Docker("stop", "message", "alert", "body")
	caughtUp(t, e, c)
	if got, want := fmt.Sprint(hitsOf("boom")), "map[alert:65 app:1 message:65]"; got != want {
		t.Errorf("hits without a cooldown: %s, want %s", got, want)
	}
	st, err := c.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// The two wrote 2×65 lines that are hits and one for each of the 66 marked
	// events; the third one line for each of the 134 events there are.
	if want := int64(2*66 + 134); st.Scan.Echoes != want || st.Deliveries.Pending != 0 {
		t.Errorf("%d lines were not checked, want %d; deliveries %+v", st.Scan.Echoes, want, st.Deliveries)
	}
	// Nobody's own line is mistaken for an echo, and events keep their message.
	for _, ev := range allEvents(t, c, api.EventQuery{Source: "logscan"}) {
		if !strings.HasSuffix(ev.Message, ` "in" the hall`) || strings.Contains(ev.Message, "logscan-") {
			t.Errorf("event %d: %q", ev.ID, ev.Message)
		}
		if row, _ := ev.Metadata["in_a_row"].(float64); row != 0 && row <= 32 {
			t.Errorf("event %d is the %vth in a row", ev.ID, row)
		}
	}
}
