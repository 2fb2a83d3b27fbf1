package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"logscan/internal/event"
)

// maxContext is how many bytes the lines around events may take together. Beyond, those
// around the oldest events go.
const maxContext = 256 << 20

// maxOneContext bounds what the lines around one event unpack to.
const maxOneContext = 4 << 20

// Owed is an event that lines around it are to be kept with.
type Owed struct {
	EventID int64
	event.Around
}

// Context is lines around an event.
type Context struct {
	EventID int64
	Lines   []event.ContextLine // of the event's own container; nil: those that are kept stay
	Own     bool                // no more of these are owed
	// Siblings are lines of the containers beside, in the order of time.
	Siblings []event.ContextLine
	Whole    bool // no more are owed
}

const owedContexts = "SELECT event_id, around FROM event_context WHERE owed = 1 AND event_id > ? ORDER BY event_id LIMIT ?"

// OwedContexts returns the first events behind one that lines are owed to.
func (s *Store) OwedContexts(ctx context.Context, after int64, limit int) ([]Owed, error) {
	rows, err := s.r.QueryContext(ctx, owedContexts, after, limit)
	owed, err := collect(rows, err, func(r row) (o Owed, err error) {
		var around string
		if err = r.Scan(&o.EventID, &around); err == nil {
			err = json.Unmarshal([]byte(around), &o.Around)
		}
		return o, err
	})
	return owed, wrap("read what context is owed", err)
}

// PutContexts keeps lines with events. Those that have gone meanwhile get none.
func (s *Store) PutContexts(ctx context.Context, all []Context) error {
	packed := make([][]byte, len(all))
	for n, c := range all {
		if c.Lines != nil {
			packed[n] = packContext(slices.Concat(c.Lines, c.Siblings))
		}
	}
	// What a power cut undoes is owed again.
	return s.relaxed(ctx, "keep context", func(tx *sql.Tx) error {
		for n, c := range all {
			var err error
			if c.Lines != nil {
				_, err = tx.ExecContext(ctx, "UPDATE event_context SET owed = ?, size = ?, lines = ? WHERE event_id = ?", !c.Whole, len(packed[n]), packed[n], c.EventID)
			} else {
				_, err = tx.ExecContext(ctx, "UPDATE event_context SET owed = ? WHERE event_id = ?", !c.Whole, c.EventID)
			}
			if err == nil && (c.Own || c.Whole) {
				err = s.arrived(ctx, tx, c.EventID)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Context returns the lines around an event, as far as they are kept; more are owed
// unless they are whole.
func (s *Store) Context(ctx context.Context, eventID int64) (Context, error) {
	c, err := readContext(ctx, s.r, eventID)
	return c, wrap("read context", err)
}

// queryer is a *sql.DB or *sql.Tx.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func readContext(ctx context.Context, db queryer, eventID int64) (Context, error) {
	c := Context{EventID: eventID, Whole: true}
	var owed bool
	var packed []byte
	err := db.QueryRowContext(ctx, "SELECT owed, lines FROM event_context WHERE event_id = ?", eventID).Scan(&owed, &packed)
	switch {
	case err == sql.ErrNoRows:
		return c, nil
	case err != nil:
		return c, err
	}
	c.Whole = !owed
	if len(packed) > 0 {
		all, err := unpackContext(packed)
		if err != nil {
			return c, fmt.Errorf("context of event %d: %w", eventID, err)
		}
		c.Lines = all
		if own := slices.IndexFunc(all, func(l event.ContextLine) bool { return l.Container != "" }); own >= 0 {
			c.Lines, c.Siblings = all[:own:own], all[own:]
		}
	}
	return c, nil
}

// pruneContext removes the lines around the oldest events where all take too much room.
func (s *Store) pruneContext(ctx context.Context, most int64) error {
	var last int64
	if err := s.r.QueryRowContext(ctx, "SELECT coalesce(max(event_id), 0) FROM (SELECT event_id, sum(size) OVER (ORDER BY event_id DESC) AS upto FROM event_context INDEXED BY event_context_size) WHERE upto > ?", most).Scan(&last); err != nil || last == 0 {
		return err
	}
	for n := int64(pruneStep); n == pruneStep; {
		err := s.change(ctx, "remove", func(tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, "DELETE FROM event_context WHERE event_id IN (SELECT event_id FROM event_context WHERE event_id <= ? ORDER BY event_id LIMIT ?)", last, pruneStep)
			if err == nil {
				n, err = res.RowsAffected()
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// keptLine is a line as it is kept.
type keptLine struct {
	At     int64  `json:"t"`
	Stream string `json:"s"`
	Text   string `json:"x"`
	Cut    bool   `json:"c,omitempty"`
	Own    bool   `json:"o,omitempty"`
	Of     string `json:"n,omitempty"`
}

var (
	contextEncoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	contextDecoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxOneContext), zstd.WithDecoderLowmem(true))
)

func packContext(lines []event.ContextLine) []byte {
	kept := make([]keptLine, len(lines))
	for n, l := range lines {
		kept[n] = keptLine{l.Time.UnixNano(), l.Stream, l.Text, l.Cut, l.Own, l.Container}
	}
	return contextEncoder.EncodeAll([]byte(asJSON(kept)), nil)
}

func unpackContext(packed []byte) ([]event.ContextLine, error) {
	b, err := contextDecoder.DecodeAll(packed, nil)
	if err != nil {
		return nil, err
	}
	var kept []keptLine
	if err := json.Unmarshal(b, &kept); err != nil {
		return nil, err
	}
	lines := make([]event.ContextLine, len(kept))
	for n, l := range kept {
		lines[n] = event.ContextLine{Time: time.Unix(0, l.At).UTC(), Stream: l.Stream, Text: l.Text, Cut: l.Cut, Own: l.Own, Container: l.Of}
	}
	return lines, nil
}
