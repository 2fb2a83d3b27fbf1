package integration

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/enginetest"
)

// TestTenThousandFollowers has ten thousand callers follow a log at once. As
// many as there may be are served, all others are told why not; meanwhile
// containers start, log and stop, and when the followers have left all is as it
// was before.
func TestTenThousandFollowers(t *testing.T) {
	t.Parallel()
	const callers, served = 10_000, 1000
	const memoryMax = 256 << 20 // of the plugin, with all of them connected
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	control(t, e)
	client := engineClient(e)
	name := e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "100", "-hold", "10m")
	e.Eventually(time.Minute, "its lines", func() bool { return len(readLogs(t, client, name, logOptions{})) == 100 })
	plugin := e.PluginPID()
	supervisor := e.SupervisorPID()
	before, held := files(t, plugin), files(t, supervisor)
	body, err := json.Marshal(map[string]any{"Info": map[string]any{"ContainerID": e.ContainerID(name)}, "Config": map[string]any{"Tail": -1, "Follow": true}})
	if err != nil {
		t.Fatal(err)
	}
	request := fmt.Sprintf("POST /LogDriver.ReadLogs HTTP/1.1\r\nHost: plugin\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	socket := filepath.Join(filepath.Dir(e.ControlSocket()), "logscan.sock")

	var mu sync.Mutex
	var conns []net.Conn
	said := map[string]int{} // by the first line of each answer, and what follows where it was refused
	call := func() error {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		mu.Lock()
		conns = append(conns, c)
		mu.Unlock()
		if _, err := io.WriteString(c, request); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(time.Minute))
		res, err := http.ReadResponse(bufio.NewReaderSize(c, 1<<10), nil)
		if err != nil {
			return err
		}
		answer := res.Status
		if res.StatusCode != http.StatusOK {
			b, err := io.ReadAll(res.Body)
			if err != nil {
				return err
			}
			answer += ": " + string(b)
		}
		mu.Lock()
		said[answer]++
		mu.Unlock()
		return nil
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			for range callers / 100 {
				if err := call(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	refused := 0
	for answer, n := range said {
		if strings.HasPrefix(answer, "200") && n == served {
			continue
		}
		if !strings.HasPrefix(answer, "503") || !strings.Contains(answer, "1000 `docker logs` are being answered, and there can't be more; end some and try again") {
			t.Errorf("%d were answered %q", n, answer)
		}
		refused += n
	}
	if refused != callers-served {
		t.Errorf("%d were refused", refused)
	}
	if got := memory(t, plugin); got > memoryMax {
		t.Errorf("the plugin uses %d MiB", got>>20)
	} else {
		t.Logf("the plugin uses %d MiB", got>>20)
	}
	// docker logs says why, and nobody else notices.
	if _, err := e.TryDocker("logs", name); err == nil || !strings.Contains(err.Error(), "there can't be more; end some and try again") {
		t.Errorf("docker logs: %v", err)
	}
	other := e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "1000")
	if code := e.Wait(other); code != "0" {
		t.Errorf("exit code %s", code)
	}
	for _, c := range conns {
		c.Close()
	}
	e.Eventually(time.Minute, "as many files open as before the followers came", func() bool {
		return files(t, plugin) <= before+carriedFiles && files(t, supervisor) <= held
	})
	client.CloseIdleConnections()
	for c, want := range map[string]int{name: 100, other: 1000} {
		if lines := readLogs(t, client, c, logOptions{}); len(lines) != want {
			t.Errorf("%d lines of %d", len(lines), want)
		}
	}
	if pid := e.PluginPID(); pid != plugin {
		t.Errorf("the worker was process %d and is %d", plugin, pid)
	}
}

// memory returns how many bytes of memory a process has had at most.
func memory(t testing.TB, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
