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

// lockDatabase keeps the plugin from writing to its database, as another process
// may that has it open, until it is released.
func lockDatabase(t testing.TB, e *enginetest.Engine) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(e.PluginData(), ".logscan/logscan.db")+"?mode=rw&_txlock=immediate&_busy_timeout=10000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	return func() { tx.Rollback() }
}
