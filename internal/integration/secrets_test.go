package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"logscan/internal/enginetest"
	"logscan/internal/journal"
)

// Values that nobody may find, and some that log-opts name.
var (
	secretEnv = []string{"TOKEN=Xq7-env-secret-1", "DB_PASSWORD=Xq7-env-secret-2", "SHOWNX=Xq7-env-secret-3"}
	shownEnv  = []string{"SHOWN=env-shown-1", "LOGGED_ZONE=env-shown-2"}

	secretLabels = map[string]string{"license-key": "Xq7-label-secret-1", "teamX": "Xq7-label-secret-2"}
	shownLabels  = map[string]string{"team": "label-shown-1", "visible.tier": "label-shown-2"}
)

const (
	secretMark = "Xq7-"
	envMark    = "Xq7-env-"
	labelMark  = "Xq7-label-"
)

// TestSecretsStayOut looks for environment and labels in every file that the
// plugin keeps and in all that it says, at its most talkative: while containers
// run, after kills, after starts that failed. Labels are kept where rules and
// triggers choose containers by them, and nowhere else.
func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin(append([]string{"LOGSCAN_LOG_LEVEL=debug"}, unbounded...)...)
	client, c := engineClient(e), control(t, e)
	addRule(t, c, "mark", `MARK`)
	data := filepath.Join(e.PluginData(), ".logscan")
	named := map[string]string{
		"env": "SHOWN", "env-regex": "^LOGGED_", "labels": "team", "labels-regex": `^visible\.`,
		"tag": `{{.Name}} {{.ContainerEnv}}`, "max-size": "50k", "max-file": "20",
	}
	for _, opts := range []map[string]string{named, {}} {
		config := logscanContainer(opts, "loggen", "-n", "2000", "-mark", "100", "-hold", "10m")
		config.Env = slices.Concat(secretEnv, shownEnv)
		config.Labels = map[string]string{}
		for _, labels := range []map[string]string{secretLabels, shownLabels} {
			for k, v := range labels {
				config.Labels[k] = v
			}
		}
		id := create(t, client, config)
		e.Docker("start", id)
		for _, bad := range []map[string]string{{"max-sizes": "1m"}, {"env-regex": "("}, {"scan": "perhaps"}, {"tag": "{{.Nope}}"}} {
			config.HostConfig.LogConfig.Config = bad
			if _, err := e.TryDocker("start", create(t, client, config)); err == nil || strings.Contains(err.Error(), secretMark) {
				t.Errorf("with %v the start says %v", bad, err)
			}
		}
		e.Eventually(time.Minute, "all lines", func() bool { return len(readLogs(t, client, id, logOptions{})) == 2000 })
		noSecrets(t, e, data)
		e.KillPlugin()
		noSecrets(t, e, data)
		client.CloseIdleConnections()
		e.Docker("kill", "-s", "TERM", id)
		e.Wait(id)
		if n := len(readLogs(t, client, id, logOptions{})); n != 2000 { // attaches it again
			t.Errorf("%d lines", n)
		}
		checkAttributes(t, filepath.Join(data, "journal", id, "container.json"), opts)
	}
	c = control(t, e)
	caughtUp(t, e, c)
	e.Eventually(time.Minute, "segments compressed", func() bool {
		segments, _ := filepath.Glob(filepath.Join(data, "journal/*/*.zst"))
		return len(segments) > 2
	})
	e.DisablePlugin()
	noSecrets(t, e, data)
	e.EnablePlugin()
	noSecrets(t, e, data)

	// The places were looked at: what may be there is found there.
	found := find(t, data, "env-shown-1", "label-shown-2", "MARK level=info", enginetest.Image)
	for what, where := range map[string]string{"env-shown-1": "container.json", "label-shown-2": "container.json", "MARK level=info": ".zst", enginetest.Image: "logscan.db"} {
		if !slices.ContainsFunc(found[what], func(path string) bool { return strings.HasSuffix(path, where) }) {
			t.Errorf("%q is in %v, not in a %s", what, found[what], where)
		}
	}
	if fifos, _ := os.ReadDir(e.PluginData()); len(fifos) != 1 {
		t.Errorf("beside .logscan there are %v", fifos)
	}
}

// noSecrets fails the test where a secret is in a file or was said.
func noSecrets(t *testing.T, e *enginetest.Engine, data string) {
	t.Helper()
	found := find(t, data, envMark, labelMark)
	for _, path := range found[envMark] {
		t.Errorf("a secret of the environment is in %s", path)
	}
	for _, path := range found[labelMark] {
		if name := filepath.Base(path); name != "container.json" && !strings.HasPrefix(name, "logscan.db") {
			t.Errorf("a label's value is in %s", path)
		}
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others than root can read %s: %v", path, info.Mode())
		}
	}
	log := e.Log()
	for _, said := range []string{"level=DEBUG msg=attached", "max-sizes"} {
		if !bytes.Contains(log, []byte(said)) {
			t.Errorf("the plugin does not say %q", said)
		}
	}
	if i := bytes.Index(log, []byte(secretMark)); i >= 0 {
		t.Errorf("a secret is in the log: %s", log[max(0, i-300):min(len(log), i+100)])
	}
}

// find returns the files below dir that hold each of the strings, compressed
// ones unpacked.
func find(t *testing.T, dir string, strings ...string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return ifThere(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return ifThere(err)
		}
		if filepath.Ext(path) == ".zst" {
			r, err := zstd.NewReader(bytes.NewReader(b))
			if err != nil {
				return err
			}
			defer r.Close()
			if b, err = io.ReadAll(r); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		for _, s := range strings {
			if bytes.Contains(b, []byte(s)) {
				found[s] = append(found[s], path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// ifThere is err, but for that of a file which went while we looked.
func ifThere(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// checkAttributes shows that what log-opts name, and only that, is kept.
func checkAttributes(t *testing.T, file string, opts map[string]string) {
	t.Helper()
	b, err := os.ReadFile(file)
	var kept journal.Container
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	if opts["env"] != "" {
		for _, v := range shownEnv {
			name, value, _ := strings.Cut(v, "=")
			want[name] = value
		}
		for k, v := range shownLabels {
			want[k] = v
		}
		if kept.Tag != kept.Name+" []" {
			t.Errorf("the tag is %q", kept.Tag)
		}
	}
	if fmt.Sprint(kept.Attrs) != fmt.Sprint(want) { // maps print in order
		t.Errorf("kept are %v instead of %v", kept.Attrs, want)
	}
}
