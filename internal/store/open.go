package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/mattn/go-sqlite3"

	"logscan/internal/event"
	"logscan/internal/trigger"
)

// readers is how many reads go on at once.
const readers = 4

// deliveryReaders is how many reads of the delivery worker go on at once.
const deliveryReaders = 2

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations are the steps from nothing to today's schema; a file that has
// taken the first n of them has user_version n. A step that was ever released
// stays as it is.
func migrations() []string {
	entries, err := migrationFiles.ReadDir("migrations") // sorted by name
	if err != nil {
		panic(err) // embedded
	}
	var out []string
	for _, e := range entries {
		b, err := migrationFiles.ReadFile("migrations/" + e.Name())
		if err != nil {
			panic(err)
		}
		out = append(out, string(b))
	}
	return out
}

// errDamaged is a file that can be opened but whose structure is broken.
type errDamaged string

func (e errDamaged) Error() string { return "database is damaged: " + string(e) }

// damaged tells what only a new file can help against from what may pass.
func damaged(err error) bool {
	var d errDamaged
	var s sqlite3.Error
	return errors.As(err, &d) ||
		errors.As(err, &s) && (s.Code == sqlite3.ErrCorrupt || s.Code == sqlite3.ErrNotADB)
}

func open(path string, steps []string) (_ *Store, err error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := haveRoom(abs); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	// SQLite would make it readable by others; its side files follow its mode.
	f, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	info, err := f.Stat()
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	writer := "_txlock=immediate"
	if info.Size() == 0 { // it is decided for good as the first page is written
		writer += "&_auto_vacuum=incremental"
	}

	s := &Store{
		now: time.Now, subs: map[chan event.Event]struct{}{}, changes: make(chan trigger.Change, 1), maxPending: MaxPending,
		fold: make(chan struct{}, 1), folded: make(chan struct{}),
	}
	if s.w, err = sql.Open("sqlite3", dsn(abs, writer)); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s.w.SetMaxOpenConns(1)
	if s.r, err = sql.Open("sqlite3", dsn(abs, "_query_only=1")); err != nil {
		s.w.Close()
		return nil, fmt.Errorf("open database: %w", err)
	}
	s.r.SetMaxOpenConns(readers)
	if s.d, err = sql.Open("sqlite3", dsn(abs, "_query_only=1")); err != nil {
		s.w.Close()
		s.r.Close()
		return nil, fmt.Errorf("open database: %w", err)
	}
	s.d.SetMaxOpenConns(deliveryReaders)
	defer func() {
		if err != nil {
			err = fmt.Errorf("open database: %w", errors.Join(err, s.closeFiles()))
		}
	}()
	ctx := context.Background()
	if err := check(ctx, s.w); err != nil {
		return nil, err
	}
	if s.index, err = fillHoles(abs); err != nil {
		return nil, err
	}
	if err := migrate(ctx, s.w, steps); err != nil {
		return nil, err
	}
	if err := boundLog(ctx, s.w); err != nil {
		return nil, err
	}
	// What a statement changes is noted for the case that it fails half done: beyond
	// 64 KiB in a file, where a process that may write in few places can make none.
	if _, err := s.w.ExecContext(ctx, "PRAGMA temp_store = MEMORY"); err != nil {
		return nil, err
	}
	s.nextDue.Store(1) // until Pass has looked
	go s.checkpoints(s.fold)
	return s, nil
}

// dsn carries the pragmas: by Exec they would reach one pooled connection only.
func dsn(abs, more string) string {
	u := url.URL{
		Scheme: "file", Path: abs,
		RawQuery: "_journal_mode=WAL&_synchronous=FULL&_busy_timeout=5000&_foreign_keys=1&_stmt_cache_size=64&" + more,
	}
	return u.String()
}

// check looks for damage anywhere in the file. It reads it all: a few tenths of
// a second for the largest event log, while lines are carried all the same.
func check(ctx context.Context, db *sql.DB) error {
	var result string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return errDamaged(result)
	}
	return nil
}

// migrate takes the steps that the file hasn't taken, each in a transaction of
// its own.
func migrate(ctx context.Context, db *sql.DB, steps []string) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > len(steps) {
		return fmt.Errorf("the file has schema %d, written by a newer logscan; this one knows %d: upgrade the plugin again", version, len(steps))
	}
	for n := version; n < len(steps); n++ {
		err := func() error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if _, err := tx.ExecContext(ctx, steps[n]); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", n+1)); err != nil {
				return err
			}
			return tx.Commit()
		}()
		if err != nil {
			return fmt.Errorf("migrate to schema %d: %w", n+1, err)
		}
	}
	return nil
}
