package store

import (
	"context"
	"database/sql"
	"fmt"

	"logscan/internal/event"
)

const (
	// runsWithWords is of how many runs of a container lines are kept: the latest.
	runsWithWords = 16
	// maxWords is how many bytes they may take together, of all containers. Beyond, those
	// of the oldest runs go.
	maxWords = 64 << 20
)

// LastWords are the last lines of a run of a container.
type LastWords struct {
	Container string              // its id
	Run       int64               // see journal.Run
	Lines     []event.ContextLine // none where it had nothing to say that matters
}

// PutLastWords keeps the last lines of runs, each of which is a container's latest, or
// comes before its latest one.
func (s *Store) PutLastWords(ctx context.Context, all []LastWords) error {
	// What a power cut undoes is found again.
	return s.relaxed(ctx, "keep last words", func(tx *sql.Tx) error {
		for _, w := range all {
			packed := []byte{}
			if len(w.Lines) > 0 {
				packed = packContext(w.Lines)
			}
			if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO last_words (container_id, run, size, lines) VALUES (?, ?, ?, ?)", w.Container, w.Run, len(packed), packed); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `DELETE FROM last_words WHERE container_id = ?1 AND run < (SELECT max(run) FROM last_words WHERE container_id = ?1)
				AND run NOT IN (SELECT run FROM last_words WHERE container_id = ?1 AND size > 0 ORDER BY run DESC LIMIT ?2)`, w.Container, runsWithWords)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// LastWords returns the last lines of a container's runs, as far as they are kept, the
// latest first.
func (s *Store) LastWords(ctx context.Context, containerID string) ([]LastWords, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT run, lines FROM last_words WHERE container_id = ? AND size > 0 ORDER BY run DESC", containerID)
	all, err := collect(rows, err, func(r row) (LastWords, error) {
		w := LastWords{Container: containerID}
		var packed []byte
		err := r.Scan(&w.Run, &packed)
		if err == nil {
			if w.Lines, err = unpackContext(packed); err != nil {
				err = fmt.Errorf("of run %d of container %s: %w", w.Run, containerID, err)
			}
		}
		return w, err
	})
	return all, wrap("read last words", err)
}

// RunsHeard returns, by container, its latest run whose last words were looked for.
func (s *Store) RunsHeard(ctx context.Context) (map[string]int64, error) {
	heard := map[string]int64{}
	rows, err := s.r.QueryContext(ctx, "SELECT container_id, max(run) FROM last_words GROUP BY container_id")
	_, err = collect(rows, err, func(r row) (id string, err error) {
		var run int64
		if err = r.Scan(&id, &run); err == nil {
			heard[id] = run
		}
		return id, err
	})
	return heard, wrap("read of which runs last words were looked for", err)
}

// pruneWords removes the lines of the oldest runs where all take too much room.
func (s *Store) pruneWords(ctx context.Context, most int64) error {
	var last int64
	if err := s.r.QueryRowContext(ctx, "SELECT coalesce(max(run), 0) FROM (SELECT run, sum(size) OVER (ORDER BY run DESC) AS upto FROM last_words INDEXED BY last_words_size WHERE size > 0) WHERE upto > ?", most).Scan(&last); err != nil || last == 0 {
		return err
	}
	return s.change(ctx, "remove", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE last_words SET size = 0, lines = x'' WHERE size > 0 AND run <= ?", last)
		return err
	})
}
