package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// What Prune removes leaves free pages in the file. SQLite fills them again; those
// beyond what it soon will are cut off by GiveBack, which a database can have if it
// was made with auto_vacuum=INCREMENTAL. One that an earlier version made gets it by
// being copied, at an Open that finds it mostly empty.

const (
	// spareBytes is what stays free in the file for the next events.
	spareBytes = 4 << 20
	// giveBackStep is how many pages are cut off in one transaction: a hit that
	// comes meanwhile waits for some milliseconds.
	giveBackStep = 128
	// copyFrom is how much has to be free in a file, in bytes, for it to be copied.
	copyFrom = 16 << 20
	// copySpare is what has to be left on the disk beside the copy, in bytes.
	copySpare = 64 << 20
)

// Size returns the bytes that the database at path takes on the disk, with its log
// of changes; open or not.
func Size(path string) (bytes int64) {
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(path + suffix); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// pages is what a database's file consists of.
type pages struct {
	size      int64 // of each, in bytes
	all, free int64
	shrinks   bool // it can be cut off: auto_vacuum=INCREMENTAL
}

func readPages(ctx context.Context, db *sql.DB) (p pages, err error) {
	var mode int
	err = db.QueryRowContext(ctx, "SELECT page_size, page_count, freelist_count, auto_vacuum FROM pragma_page_size, pragma_page_count, pragma_freelist_count, pragma_auto_vacuum").
		Scan(&p.size, &p.all, &p.free, &mode)
	p.shrinks = mode == 2
	return p, err
}

// GiveBack cuts the free pages off the file, but for a few. It does so in many small
// transactions.
func (s *Store) GiveBack(ctx context.Context) error {
	for last := int64(-1); ; {
		p, err := readPages(ctx, s.r)
		spare := spareBytes / max(p.size, 1)
		if err != nil || !p.shrinks || p.free <= spare || p.free == last {
			if last >= 0 {
				s.write.Lock()
				s.foldLocked() // the file is cut off by the next checkpoint
				s.write.Unlock()
			}
			return wrap("give back space", err)
		}
		last = p.free
		err = s.relaxed(ctx, "give back space", func(tx *sql.Tx) error {
			// Each row that is read is a page.
			rows, err := tx.QueryContext(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", min(giveBackStep, p.free-spare)))
			_, err = collect(rows, err, func(row) (struct{}, error) { return struct{}{}, nil })
			return err
		})
		if err != nil {
			return err
		}
	}
}

// wasteful reports whether the file is to be copied to one that takes less, and
// whether there is room on the disk.
func (s *Store) wasteful(path string) (bool, error) {
	p, err := readPages(context.Background(), s.r)
	if err != nil || p.shrinks || p.free*4 <= p.all || p.free*p.size < copyFrom {
		return false, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &st); err != nil {
		return false, &os.PathError{Op: "statfs", Path: filepath.Dir(path), Err: err}
	}
	if free, need := int64(st.Bavail)*st.Bsize, (p.all-p.free)*p.size+copySpare; free < need {
		return false, fmt.Errorf("%d MiB are free on the disk, %d are needed: %w", free>>20, need>>20, unix.ENOSPC)
	}
	return true, nil
}

// shrunk returns the open database as it is, or opened again after a copy took its
// place.
func (s *Store) shrunk(path string, log *slog.Logger) (*Store, error) {
	wasteful, err := s.wasteful(path)
	if err != nil {
		log.Warn("the database keeps its free space", "err", err)
	}
	if !wasteful {
		return s, nil
	}
	before := Size(path)
	if err := s.compact(path); err != nil {
		log.Warn("the database keeps its free space", "err", err)
	} else {
		log.Info("the database gave its free space back", "bytes", before-Size(path))
	}
	return open(path, migrations())
}

// compact closes the database and has a copy without free pages take its place. The
// copy is complete and on the disk before, so that a kill at any instant leaves
// either file whole. After an error, the old one is still there.
func (s *Store) compact(path string) error {
	err := errors.Join(s.copyTo(path+replacement), s.Close())
	if err == nil && exists(path+"-wal") {
		err = errors.New("its log of changes could not be folded in") // it would be replayed into the copy
	}
	if err == nil {
		err = os.Rename(path+replacement, path)
	}
	if err != nil {
		return errors.Join(err, removeReplacement(path))
	}
	return syncFile(filepath.Dir(path))
}

// copyTo writes what the database holds to a new file.
func (s *Store) copyTo(path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	ctx := context.Background()
	if _, err := s.w.ExecContext(ctx, "PRAGMA auto_vacuum = INCREMENTAL"); err != nil {
		return err
	}
	if _, err := s.w.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return err
	}
	return syncFile(path)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
