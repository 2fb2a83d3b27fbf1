package integration

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "github.com/mattn/go-sqlite3"

	"logscan/internal/enginetest"
)

// count asks the plugin's database for a number, while the plugin has it open.
func count(t testing.TB, e *enginetest.Engine, query string) int {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(e.PluginData(), ".logscan/logscan.db")+"?mode=ro&_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func inDatabase(t testing.TB, e *enginetest.Engine, query string, want int) {
	t.Helper()
	if n := count(t, e, query); n != want {
		t.Errorf("%s: %d instead of %d", query, n, want)
	}
}
