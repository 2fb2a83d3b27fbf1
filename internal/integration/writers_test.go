package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

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
	e.Docker(append([]string{"kill", "-s", "USR1"}, ids...)...)
	e.Docker(append([]string{"wait"}, ids...)...)
	e.Eventually(time.Minute, "the budget held", func() bool {
		st, err := c.Stats(t.Context())
		return err == nil && st.Journal.Bytes <= budget
	})
	st, err := c.Stats(t.Context()) // of one moment, now that nothing more goes
	if err != nil {
		t.Fatal(err)
	}
	if st.Journal.Bytes < budget-2*segment {
		t.Errorf("%d bytes are left of the %d there may be: more went than had to", st.Journal.Bytes, budget)
	}

	var gone, cut int64 // lines; and containers that have lost some
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
