package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"logscan/internal/event"
)

// replacement is the suffix of a file that is to take the place of a damaged one.
// It is made whole before, with the event that tells of the damage, so that a
// kill at any instant leaves either file and nothing untold.
const replacement = ".new"

// replace sets a damaged database aside and puts an empty one in its place, in
// which tell is the first event. It returns the damaged file's new name.
func replace(path string, now time.Time, tell event.Event) (aside string, err error) {
	if err := removeReplacement(path); err != nil {
		return "", err
	}
	tell.Metadata["set_aside"] = filepath.Base(asideName(path, now))
	s, err := open(path+replacement, migrations())
	if err != nil {
		return "", err
	}
	if err := s.skipIDs(context.Background(), now); err != nil {
		return "", errors.Join(err, s.Close())
	}
	_, err = s.Commit(context.Background(), Batch{Events: []event.Event{tell}}, nil)
	if err := errors.Join(err, s.Close()); err != nil {
		return "", err
	}
	if aside, err = setAside(path, now); err != nil {
		return "", err
	}
	return aside, settleReplacement(path)
}

// settleReplacement ends what a kill has left of replace.
func settleReplacement(path string) error {
	switch {
	case !exists(path + replacement):
		return nil
	case exists(path):
		return removeReplacement(path) // nothing was set aside yet
	}
	return os.Rename(path+replacement, path)
}

func removeReplacement(path string) error {
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if err := os.Remove(path + replacement + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// skipIDs has the ids of an empty database begin where no earlier one's can be:
// it would take a thousand rows in each second since 1970 to get there. Clients
// keep ids as positions.
func (s *Store) skipIDs(ctx context.Context, now time.Time) error {
	return s.change(ctx, "begin ids", func(tx *sql.Tx) error {
		for _, table := range []string{"rules", "triggers", "event_log", "deliveries"} {
			if _, err := tx.ExecContext(ctx, "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", table, now.Unix()*1000); err != nil {
				return err
			}
		}
		return nil
	})
}

// asideName is what a damaged database is called.
func asideName(path string, now time.Time) string {
	base := path + ".damaged-" + now.UTC().Format("20060102T150405Z")
	aside := base
	for n := 2; exists(aside) || exists(aside+"-wal"); n++ {
		aside = fmt.Sprintf("%s-%d", base, n)
	}
	return aside
}

// setAside renames the database and its side files, and returns its new name.
// The log of changes goes first: left behind by a kill, it would be replayed
// into the new file.
func setAside(path string, now time.Time) (string, error) {
	aside := asideName(path, now)
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !(suffix != "" && errors.Is(err, os.ErrNotExist)) {
			return "", err
		}
	}
	return aside, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
