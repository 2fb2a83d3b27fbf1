package integration

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// markEvery is how many lines there are for each with a MARK.
const markEvery = 1000

// flow is a container that writes numbered lines until it is told to stop.
type flow struct {
	e       *enginetest.Engine
	client  *http.Client
	control *api.Client
	name    string
}

// startFlow starts a container in which loggen writes numbered lines, paced by
// its flags, and a rule that each marked line hits.
func startFlow(t *testing.T, e *enginetest.Engine, pace ...string) *flow {
	t.Helper()
	f := &flow{e: e, client: engineClient(e), control: control(t, e)}
	addRule(t, f.control, "mark", `^(?P<n>\d+) MARK`)
	f.name = e.Run([]string{"--log-driver", enginetest.Plugin, "--log-opt", "max-file=1000"},
		append([]string{"loggen", "-n", "0", "-len", "40", "-mark", strconv.Itoa(markEvery)}, pace...)...)
	e.Eventually(time.Minute, "first lines", func() bool {
		return len(readLogs(t, f.client, f.name, logOptions{tail: "1"})) > 0
	})
	return f
}

// check ends the container and shows that docker logs has each of its lines
// once, in order, and that each marked one is one hit.
func (f *flow) check(t *testing.T) {
	t.Helper()
	f.e.Docker("kill", "-s", "TERM", f.name)
	f.e.Wait(f.name)
	lines, err := f.count(t)
	if err != nil {
		t.Fatalf("docker logs: %v", err)
	}
	want := (lines + markEvery - 1) / markEvery
	events := allHits(t, f.e, f.control, "mark", want)
	t.Logf("%d lines, %d hits", lines, len(events))
	if len(events) != want {
		t.Errorf("%d hits instead of %d", len(events), want)
	}
	for i, ev := range events {
		captures, _ := ev.Metadata["captures"].(map[string]any)
		if captures["n"] != fmt.Sprintf("%010d", i*markEvery) {
			t.Fatalf("hit %d is of line %v: %s %v", i, captures["n"], ev.Message, ev.Metadata)
		}
	}
}

// count reads the container's whole log and returns how many lines there are
// before the last, which says how many there should be.
func (f *flow) count(t *testing.T) (int, error) {
	body := openLogs(t, f.client, f.name, logOptions{})
	defer body.Close()
	r := bufio.NewReaderSize(body, 1<<20)
	var header [8]byte
	var buf [1 << 10]byte
	for n := 0; ; n++ {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return n, fmt.Errorf("after %d lines, without the last: %w", n, err)
		}
		size := int(binary.BigEndian.Uint32(header[4:]))
		if size > len(buf) {
			return n, fmt.Errorf("line %d has %d bytes", n, size)
		}
		if _, err := io.ReadFull(r, buf[:size]); err != nil {
			return n, fmt.Errorf("in line %d: %w", n, err)
		}
		line := string(buf[:size])
		if total, ok := strings.CutPrefix(line, "end "); ok {
			if strings.TrimSpace(total) != strconv.Itoa(n) {
				return n, fmt.Errorf("%d lines were written, %d are there", n, n)
			}
			if _, err := r.ReadByte(); err != io.EOF {
				return n, fmt.Errorf("more after the last line")
			}
			return n, nil
		}
		if number, err := strconv.Atoi(line[:min(10, len(line))]); err != nil || number != n || line[len(line)-1] != '\n' {
			return n, fmt.Errorf("line %d is %q", n, line)
		}
	}
}

func TestKillingThePluginLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(unbounded...)
	// Without a pause, a write for each line, as most programs have it: some
	// millions of lines.
	f := startFlow(t, e, "-buf", "0")
	start := time.Now()
	for range 30 {
		e.KillPlugin()
	}
	t.Logf("30 kills in %s", time.Since(start))
	f.check(t)
	t.Logf("checked after %s", time.Since(start))
}

func TestDisablingAndUpgradingThePluginLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	dir := enginetest.BuildPlugin(t)
	registry := e.Registry()
	e.InstallPlugin(unbounded...)
	f := startFlow(t, e, "-duty", "20ms", "-idle", "80ms")
	for range 3 {
		e.DisablePlugin()
		e.EnablePlugin()
	}
	for _, tag := range []string{"v2", "v3"} {
		remote := registry + "/logscan:" + tag
		e.PushPlugin(enginetest.VariantPlugin(t, dir, tag), remote)
		e.DisablePlugin()
		e.UpgradePlugin(remote)
		e.EnablePlugin()
		if got := e.Docker("plugin", "inspect", "-f", "{{.Config.Description}}", enginetest.Plugin); got != tag {
			t.Errorf("version %s runs instead of %s", got, tag)
		}
	}
	f.check(t)
}
