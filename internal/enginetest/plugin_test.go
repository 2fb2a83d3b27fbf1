package enginetest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"logscan/internal/enginetest"
)

func TestPluginIsInstalledKilledAndUpgraded(t *testing.T) {
	var tr trace
	t.Run("life", func(t *testing.T) {
		e := enginetest.Start(t, enginetest.Options{})
		dir := enginetest.BuildPlugin(t)
		e.CreatePlugin(dir, "LOGSCAN_LOG_LEVEL=debug")
		if e.PluginPID() != 0 {
			t.Error("a disabled plugin runs")
		}
		e.EnablePlugin()
		tr = traceOf(e)
		tr.IDs = []string{e.PluginID()}
		first := e.PluginPID()
		e.KillPlugin()
		if second := e.PluginPID(); second == first || second == 0 {
			t.Errorf("process %d, then %d", first, second)
		}
		if st, err := os.Stat(e.PluginData()); err != nil || !st.IsDir() {
			t.Errorf("propagated mount: %v", err)
		}
		if st, err := os.Stat(filepath.Dir(e.ControlSocket())); err != nil || !st.IsDir() {
			t.Errorf("sockets: %v", err)
		}

		remote := e.Registry() + "/logscan:next"
		e.PushPlugin(enginetest.VariantPlugin(t, dir, "another version"), remote)
		e.DisablePlugin()
		e.UpgradePlugin(remote)
		e.EnablePlugin()
		if id := e.PluginID(); id != tr.IDs[0] {
			t.Errorf("the upgrade changed the plugin's id from %s to %s", tr.IDs[0], id)
		}
		got := e.Docker("plugin", "inspect", "-f", "{{.Config.Description}} {{.Settings.Env}}", enginetest.Plugin)
		if !strings.HasPrefix(got, "another version") || !strings.Contains(got, "LOGSCAN_LOG_LEVEL=debug") {
			t.Errorf("after the upgrade: %s", got)
		}
	})
	if left := tr.remains(); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}
