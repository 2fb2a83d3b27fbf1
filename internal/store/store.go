package store

import (
	"context"
	"crypto/cipher"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"logscan/internal/event"
	"logscan/internal/trigger"
)

// ErrNotFound is returned for a rule, trigger, event or delivery that doesn't
// exist.
var ErrNotFound = errors.New("not found")

// Store is an open database.
type Store struct {
	w   *sql.DB // one connection: SQLite has one writer anyway
	r   *sql.DB // readers
	d   *sql.DB // the delivery worker's own: what others read mustn't hold up what is sent
	now func() time.Time

	index *os.File // SQLite's, see fillHoles; may be nil

	// write is held from the beginning of a write until its events are
	// published, so that subscribers see them in the order of ids.
	write   sync.Mutex
	commits int            // since the last checkpoint was asked for; guarded by write
	changed trigger.Change // by the transaction under way; guarded by write
	unsure  bool           // a commit failed since the last one, and may have been persisted; guarded by write

	fold   chan struct{} // holds a token when a checkpoint is due
	folded chan struct{} // closed when there will be none any more

	mu     sync.Mutex // guards subs and closed
	subs   map[chan event.Event]struct{}
	closed bool

	changes chan trigger.Change // holds what the delivery worker hasn't received yet

	incidents    Incidents                   // nil: nobody is told of them; guarded by write
	wrote        func() map[string]time.Time // see UseWorkloads; guarded by write
	installation string                      // which this is, once it was asked for; guarded by write
	nextDue      atomic.Int64                // when Pass has something to do, in nanoseconds; 0 for never
	clock        clock                       // that was set back

	decoded decoded
	scratch bool        // see OpenScratch
	sealer  cipher.AEAD // of secrets that are referred to; nil: there can be none

	maxPending int64 // how many deliveries of a trigger may wait
}

// Open opens or creates the database at path and brings its schema up to date.
// A damaged file is set aside (renamed, with the time in its name) and replaced
// by an empty one; log and the new event log say so. A file written by a newer
// logscan is an error, and so is whatever may pass, a full disk say: call again.
func Open(path string, log *slog.Logger) (*Store, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := settleReplacement(path); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s, err := open(path, migrations())
	if err == nil {
		return s.shrunk(path, log)
	}
	if !damaged(err) {
		return nil, err
	}
	const message = "The database was damaged. It was set aside and an empty one took its place: rules and triggers have to be added again."
	aside, e := replace(path, time.Now(), event.Event{
		Source: event.System, Severity: event.Error, Message: message,
		Metadata: map[string]any{"about": "database", "reason": err.Error()},
	})
	if e != nil {
		return nil, fmt.Errorf("%w; setting it aside: %w", err, e)
	}
	log.Error(message, "path", path, "set_aside", aside, "err", err)
	return open(path, migrations())
}

// UseClock has the store take the time from now instead of the system. It is called
// before anything else is.
func (s *Store) UseClock(now func() time.Time) { s.now = now }

// Close ends all subscriptions and waits for calls in flight. Later calls fail.
// It may be called again.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.subs {
		delete(s.subs, c)
		close(c)
	}
	s.mu.Unlock()
	s.write.Lock()
	defer s.write.Unlock()
	if s.fold != nil {
		close(s.fold)
		<-s.folded
		s.fold = nil
	}
	return s.closeFiles()
}

func (s *Store) closeFiles() error {
	// Readers first: the last connection to go folds the log back into the file.
	err := errors.Join(s.d.Close(), s.r.Close(), s.w.Close())
	if s.index != nil {
		s.index.Close()
		s.index = nil
	}
	return err
}

// tx runs f in a write transaction. What f returns is published after the
// commit, before the next write begins.
func (s *Store) tx(ctx context.Context, f func(*sql.Tx) ([]event.Event, error)) ([]event.Event, error) {
	s.write.Lock()
	defer s.write.Unlock()
	return s.txLocked(ctx, f)
}

// relaxed is change for what is the same again after it was forgotten: it does
// not wait for the disk. A power cut may undo it, alone or with what else was
// written like this since the last ordinary transaction; a kill can't.
func (s *Store) relaxed(ctx context.Context, what string, f func(*sql.Tx) error) error {
	s.write.Lock()
	defer s.write.Unlock()
	if s.scratch {
		_, err := s.txLocked(ctx, func(tx *sql.Tx) ([]event.Event, error) { return nil, f(tx) })
		return wrap(what, err)
	}
	if _, err := s.w.ExecContext(ctx, "PRAGMA synchronous = NORMAL"); err != nil {
		return wrap(what, err)
	}
	_, err := s.txLocked(ctx, func(tx *sql.Tx) ([]event.Event, error) { return nil, f(tx) })
	if _, e := s.w.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous = FULL"); err == nil {
		err = e
	}
	return wrap(what, err)
}

func (s *Store) txLocked(ctx context.Context, f func(*sql.Tx) ([]event.Event, error)) ([]event.Event, error) {
	s.changed = trigger.Change{}
	tx, err := s.w.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	events, err := f(tx)
	if err != nil {
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		s.unsure = true
		return nil, err
	}
	s.committedLocked()
	s.notify(s.changed)
	if s.unsure {
		s.unsure = false
		s.interrupt()
	} else {
		s.publish(events)
	}
	return events, nil
}

// change is tx for what makes no events.
func (s *Store) change(ctx context.Context, what string, f func(*sql.Tx) error) error {
	_, err := s.tx(ctx, func(tx *sql.Tx) ([]event.Event, error) { return nil, f(tx) })
	return wrap(what, err)
}

// wrap says what failed; ErrNotFound says enough.
func wrap(what string, err error) error {
	switch {
	case err == nil, errors.Is(err, ErrNotFound):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	}
	return fmt.Errorf("%s: %w", what, err)
}

// found turns the result of an UPDATE or DELETE of one row into ErrNotFound
// where there was none.
func found(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return ErrNotFound
}

// collect reads all rows of a query.
func collect[T any](rows *sql.Rows, err error, scan func(row) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// row is a *sql.Row or *sql.Rows.
type row interface{ Scan(...any) error }

// nanos and instant are how times are kept: Unix nanoseconds, 0 for none. Times that
// are too far away for that, those before 1678 and after 2262, are the farthest.
func nanos(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Before(earliest):
		return earliest.UnixNano()
	case t.After(latest):
		return latest.UnixNano()
	}
	return t.UnixNano()
}

var earliest, latest = time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64)

func instant(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
