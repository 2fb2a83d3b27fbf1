package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/daemon/logger"

	"logscan/internal/enginetest"
	"logscan/internal/entry"
)

// TestAnUnknownFIFOIsDrained takes the plugin's memory of an attachment away
// while a container writes. Its container isn't held up, and what it writes is
// kept and scanned under a name of its own; nothing of before is touched.
func TestAnUnknownFIFOIsDrained(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(unbounded...)
	f := startFlow(t, e, "-rate", "2000")
	data := filepath.Join(e.PluginData(), ".logscan")
	records := func() []string {
		names, _ := filepath.Glob(filepath.Join(data, "attachments/*.json"))
		return names
	}
	if len(records()) != 1 {
		t.Fatalf("attachments on record: %v", records())
	}
	fifo := strings.TrimSuffix(filepath.Base(records()[0]), ".json")
	e.DisablePlugin()
	if err := os.Remove(records()[0]); err != nil {
		t.Fatal(err)
	}
	e.EnablePlugin()

	id := "unknown-" + fifo[:12]
	unknown := func() []string { return pluginLogs(t, e, id) }
	e.Eventually(time.Minute, "lines under a name of their own", func() bool { return len(unknown()) > 0 })
	e.KillPlugin() // now the only thing that tells is the FIFO
	carried := len(unknown())
	e.Eventually(time.Minute, "more lines", func() bool { return len(unknown()) > carried })
	e.Docker("kill", "-s", "TERM", f.name)
	e.Wait(f.name)

	known := readLogs(t, f.client, f.name, logOptions{})
	var lines []string
	for _, k := range known {
		lines = append(lines, string(bytes.TrimSuffix(k.text, []byte("\n"))))
	}
	e.Eventually(time.Minute, "the last line", func() bool {
		all := unknown()
		return len(all) > 0 && strings.HasPrefix(all[len(all)-1], "end ")
	})
	lines = append(lines, unknown()...)
	t.Logf("%d lines, %d of them after the plugin had forgotten", len(lines), len(lines)-len(known))
	for i, line := range lines {
		want := fmt.Sprintf("%010d ", i)
		if i == len(lines)-1 {
			want = fmt.Sprintf("end %d", i)
		}
		if !strings.HasPrefix(line, want) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
	f.control = control(t, e)
	want := (len(lines) - 1 + markEvery - 1) / markEvery
	if got := len(allHits(t, e, f.control, "mark", want)); got != want {
		t.Errorf("%d hits instead of %d", got, want)
	}
	e.Eventually(time.Minute, "the FIFO gone", func() bool {
		_, err := os.Lstat(filepath.Join(e.PluginData(), fifo))
		return os.IsNotExist(err)
	})
}

// pluginLogs asks the plugin itself, as the Engine does, for the lines of a log:
// that of an unknown FIFO is no container's that the Engine could be asked for.
func pluginLogs(t testing.TB, e *enginetest.Engine, id string) []string {
	t.Helper()
	socket := filepath.Join(filepath.Dir(e.ControlSocket()), "logscan.sock")
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	ask, err := json.Marshal(map[string]any{"Info": logger.Info{ContainerID: id}, "Config": logger.ReadConfig{Tail: -1}})
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Post("http://plugin/LogDriver.ReadLogs", "application/json", bytes.NewReader(ask))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("the plugin's log of %s: %s: %v: %.300s", id, res.Status, err, b)
	}
	var lines []string
	for len(b) > 0 {
		var en entry.Entry
		frame, rest, err := entry.Next(b)
		if err == nil {
			err = entry.Decode(frame[entry.HeaderLen:], &en)
		}
		if err != nil {
			t.Fatal(err)
		}
		lines, b = append(lines, string(bytes.TrimSuffix(en.Line, []byte("\n")))), rest
	}
	return lines
}
