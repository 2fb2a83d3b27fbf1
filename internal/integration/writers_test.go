package integration

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
	"logscan/internal/enginetest/gate"
	"logscan/internal/store"
)

// openGate has a container write whose loggen waits at its gate.
func openGate(t *testing.T, e *enginetest.Engine, container string) {
	t.Helper()
	pid, err := strconv.Atoi(e.Docker("inspect", "-f", "{{.State.Pid}}", container))
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.Find(pid, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Open(); err != nil {
		t.Fatal(err)
	}
}

// TestManyWritersWithinTheBudget has many containers write several times what
// all logs together may take. What is left is within the budget, of each
// container the newest lines without a gap, and what went is counted to the byte and told.
func TestManyWritersWithinTheBudget(t *testing.T) {
	t.Parallel()
	const writers, lines, length = 25, 20_000, 100
	const segment, budget = 200_000, 12_000_000 // of 62 MB
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(fmt.Sprint("LOGSCAN_DISK_BUDGET=", budget))
	client, c := engineClient(e), control(t, e)
	ids := make([]string, writers)
	for i := range ids {
		ids[i] = e.ContainerID(e.Run([]string{"--log-driver", enginetest.Plugin, "--log-opt", "compress=false",
			"--log-opt", fmt.Sprint("max-size=", segment), "--log-opt", "max-file=1000"},
			"loggen", "-gate", "-n", fmt.Sprint(lines), "-len", fmt.Sprint(length)))
	}
	for _, id := range ids {
		openGate(t, e, id)
	}
	e.Docker(append([]string{"wait"}, ids...)...)
	e.Eventually(time.Minute, "the budget held", func() bool {
		st, err := c.Stats(t.Context())
		return err == nil && st.Journal.Bytes <= budget
	})
	stats := func() api.Stats {
		st, err := c.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	// The events that tell of what went make the database grow, and so more goes:
	// what counts is what was there while nothing did.
	var st api.Stats
	var gone, cut int64 // lines; and containers that have lost some
	e.Eventually(time.Minute, "nothing going while the logs are read", func() bool {
		st, gone, cut = stats(), 0, 0
		for _, id := range ids {
			logs := readLogs(t, client, id, logOptions{})
			for i, k := range logs {
				if !strings.HasPrefix(string(k.text), fmt.Sprintf("%010d ", lines-len(logs)+i)) {
					t.Fatalf("line %d of %d of %s is %q", i, len(logs), id, k.text)
				}
			}
			if len(logs) < lines {
				gone, cut = gone+int64(lines-len(logs)), cut+1
			}
		}
		return stats().Journal.ByReason["budget"] == st.Journal.ByReason["budget"]
	})
	database := store.Size(filepath.Join(e.PluginData(), ".logscan/logscan.db")) // counts in the budget; its files don't shrink meanwhile
	if st.Journal.Bytes < budget-database-2*segment {
		t.Errorf("%d bytes are left of the %d there may be, and the database has %d: more went than had to", st.Journal.Bytes, budget, database)
	}
	// All entries are of one size.
	lost := st.Journal.ByReason["budget"].Bytes
	if gone == 0 || lost%gone != 0 || lost/gone < length || lost/gone > length+50 {
		t.Errorf("%d lines are gone, and %d bytes are said to be", gone, lost)
	}
	t.Logf("%d lines of %d containers are gone, %d bytes left", gone, cut, st.Journal.Bytes)
	told := map[string]bool{}
	e.Eventually(time.Minute, "an event for each container that has lost lines", func() bool {
		for _, ev := range allEvents(t, c, api.EventQuery{Source: "system"}) {
			if meta(ev, "reason") == "budget" {
				told[meta(ev, "container_id")] = true
			}
		}
		return len(told) == int(cut)
	})
}
