package store

import (
	"context"
	"database/sql"
	"fmt"
)

// A checkpoint copies what SQLite's write-ahead log holds into the database's
// file and waits for the disk twice. SQLite has a writer do that once the log is
// long, in its commit; here another connection does it beside the writer, so
// that no hit waits for it. The next write after a complete one begins the log
// anew, in place: a file that doesn't grow is also what the disk flushes fastest.

const (
	// checkpointEvery is after how many commits: some MiB of small ones.
	checkpointEvery = 64
	// logPages is how long the log gets, in pages of 4 KiB, before the writer
	// does it after all: the others are so many or so large that the log was
	// never idle.
	logPages = 4096
	// checkpointTries is how often one is repeated that a commit overtook.
	checkpointTries = 4
)

// boundLog concerns the one connection there is. On any other, it would be
// SQLite's default. A log that grew beyond while a reader kept it from being begun
// anew is cut off then.
func boundLog(ctx context.Context, w *sql.DB) error {
	_, err := w.ExecContext(ctx, fmt.Sprintf("PRAGMA wal_autocheckpoint = %d; PRAGMA journal_size_limit = %d", logPages, logPages*4096))
	return err
}

// committedLocked counts a commit.
func (s *Store) committedLocked() {
	if s.commits++; s.commits < checkpointEvery {
		return
	}
	s.foldLocked()
}

// foldLocked asks for a checkpoint.
func (s *Store) foldLocked() {
	s.commits = 0
	select {
	case s.fold <- struct{}{}:
	default:
	}
}

// checkpoints does what is due until there will be no more. What fails is done by
// the next, or by the writer.
func (s *Store) checkpoints(due <-chan struct{}) {
	defer close(s.folded)
	for range due {
		last := 0
		for range checkpointTries {
			var busy, frames, done int
			err := s.r.QueryRow("PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &frames, &done)
			if err != nil || busy != 0 || done < frames || frames == last {
				break // it can't be, or was, complete
			}
			last = frames // as it began: commits may have overtaken it
		}
	}
}
