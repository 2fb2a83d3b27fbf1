package integration

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// TestPrivileges looks at the plugin as the Engine runs it: what its worker may
// do, who may read what it keeps and reach its sockets, and that neither its
// token nor a trigger's secret shows up anywhere but in their files, also while
// things go wrong.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	const secret, password = "whsec_bG9nc2NhbiBrZWVwcyBpdHMgb3duIHNlY3JldHM=", "Xq7-url-password"
	e := enginetest.Start(t, enginetest.Options{})
	installCommand(t, e)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	e.InstallPlugin("LOGSCAN_LISTEN="+addr, "LOGSCAN_ALLOW_TARGETS=127.0.0.1", "LOGSCAN_LOG_LEVEL=debug")
	c := control(t, e)
	addRule(t, c, "mark", `MARK`)
	refuses := newReceiver(t, secret) // its port is bound, and nobody listens
	url := strings.Replace(refuses.url(), "http://", "http://user:"+password+"@", 1)
	e.Docker("logscan", "trigger", "add", "ops", url, "--mode", "events", "--secret-file", file(t, secret))
	e.Wait(e.Run([]string{"--log-driver", enginetest.Plugin}, "loggen", "-n", "100", "-mark", "50"))
	e.Eventually(time.Minute, "a delivery that failed", func() bool {
		pending, err := c.Deliveries(t.Context(), api.DeliveryQuery{State: "pending"})
		return err == nil && len(pending) > 0 && pending[0].LastError != ""
	})
	token := e.Docker("logscan", "token")

	for name, pid := range map[string]int{"supervisor": e.SupervisorPID(), "worker": e.PluginPID()} {
		var core unix.Rlimit
		if err := unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &core); err != nil || core.Max != 0 {
			t.Errorf("the %s may leave a core dump: %+v, %v", name, core, err)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.PluginPID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("\nCapBnd:\t%016x\n", 1<<unix.CAP_DAC_OVERRIDE|1<<unix.CAP_NET_BIND_SERVICE),
		fmt.Sprintf("\nCapEff:\t%016x\n", 1<<unix.CAP_DAC_OVERRIDE|1<<unix.CAP_NET_BIND_SERVICE),
		"\nNoNewPrivs:\t1\n",
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in the worker's status:\n%s", want, status)
		}
	}
	private := func(dir string) (n int) {
		t.Helper()
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || path == dir { // the Engine made it
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %s", path, info.Mode())
			}
			n++
			return ifThere(err)
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	if n := private(filepath.Join(e.PluginData(), ".logscan")); n < 5 {
		t.Errorf("the plugin keeps %d files", n)
	}
	if n := private(filepath.Dir(e.ControlSocket())); n < 2 {
		t.Errorf("the plugin has %d sockets", n)
	}

	told := map[string]string{
		"docker plugin inspect": e.Docker("plugin", "inspect", enginetest.Plugin),
		"docker plugin ls":      e.Docker("plugin", "ls", "--no-trunc"),
		"docker info":           e.Docker("info"),
	}
	for _, command := range []string{"trigger ls", "delivery ls", "events", "rule ls", "stats", "container ls"} {
		for _, format := range [][]string{nil, {"--format", "json"}} {
			out, err := e.TryDocker(append(append([]string{"logscan"}, strings.Fields(command)...), format...)...)
			if err != nil {
				out += err.Error()
			}
			told[fmt.Sprint(command, format)] = out
		}
	}
	for _, wrong := range []string{"trigger test ops", "trigger add ops2 http://u:" + password + "@127.0.0.1/ --severity nonsense --secret " + secret, "trigger edit ops --secret " + secret + " --severity nonsense"} {
		out, err := e.TryDocker(append([]string{"logscan"}, strings.Fields(wrong)...)...)
		if err == nil {
			t.Errorf("%s: no error", wrong)
		} else {
			// The error repeats the command, which has them.
			out += strings.ReplaceAll(err.Error(), wrong, "")
		}
		told[wrong[:12]] = out
	}
	for _, path := range []string{"/metrics", "/healthz", "/openapi.json", "/", "/api/stats", "/api/event-triggers", "/api/deliveries", "/api/events", "/nowhere"} {
		bearers := []string{token, ""}
		if path == "/metrics" { // each wrong one is answered later than the one before
			bearers = append(bearers, "wrong")
		}
		for _, bearer := range bearers {
			req, err := http.NewRequest("GET", "http://"+addr+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+bearer)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			told[fmt.Sprintf("%s with the token %.5s", path, bearer)] = fmt.Sprint(res.Header, string(body))
		}
	}
	e.KillWorker()
	control(t, e)
	told["dockerd's log"] = string(e.Log())
	for where, text := range told {
		for what, value := range map[string]string{"token": token, "secret": secret, "URL's password": password} {
			if strings.Contains(text, value) {
				t.Errorf("%s shows the %s: %.2000s", where, what, text)
			}
		}
	}
	// They are where they are kept, and there alone.
	for value, want := range map[string]string{token: "api-token", secret: "logscan.db"} {
		paths := find(t, filepath.Join(e.PluginData(), ".logscan"), value)[value]
		if len(paths) == 0 {
			t.Errorf("%s is not kept in %s", value[:min(4, len(value))], want)
		}
		for _, path := range paths {
			if !strings.HasPrefix(filepath.Base(path), want) {
				t.Errorf("%s holds %s's content", path, want)
			}
		}
	}
}

// file puts text into a file of its own.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
