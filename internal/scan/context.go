package scan

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/store"
)

const (
	// contextBytes is how much is kept of the lines before an event, of its own, and of
	// those after it, each.
	contextBytes = 64 << 10
	// contextLine is how much is kept of a line, in bytes. contextMargin more are looked
	// at, so that no secret is cut before it is known.
	contextLine   = 4 << 10
	contextMargin = 256
	// contextWithin is how long after an event its lines may come.
	contextWithin = 10 * time.Second
	// maxContexts is how many events are waited for at once, and maxRound how many are
	// read before what was read is stored.
	maxContexts = 256
	maxRound    = 32
	// maxSiblings is of how many containers beside lines are kept: those that were started
	// last. siblingLines is how many of each are, before and after, and siblingBytes how
	// much, before and after.
	maxSiblings  = 20
	siblingLines = 25
	siblingBytes = 8 << 10
	// contextEvery is how often it is looked whether more lines have come.
	contextEvery = 200 * time.Millisecond
)

// contexts keep with events the lines around them, beside the scanning: what is owed is
// stored with the event, and read from the journal here.
type contexts struct {
	scanner *Scanner
	wake    chan struct{}               // holds a token while more may be owed
	last    int64                       // the last event that was looked up
	more    bool                        // others may be owed beyond maxContexts
	owed    []*owed                     // by event
	open    map[string]*journal.Journal // of those that are owed, by container
}

// owed is an event whose lines aren't whole.
type owed struct {
	store.Owed
	since time.Time // it is waited for
	read  bool
	own   bool  // no more of its container's lines are waited for
	end   int64 // of the journal, when it was read
	kept  int   // lines that are stored
}

// run keeps what is owed until ctx ends. Where that is much, it takes half of a processor
// at most.
func (c *contexts) run(ctx context.Context) {
	tick := time.NewTimer(0)
	defer tick.Stop()
	defer c.release(func(string) bool { return false })
	c.more = true
	failing := false
	for {
		var due <-chan time.Time
		if len(c.owed) > 0 || c.more {
			tick.Reset(contextEvery)
			due = tick.C
		}
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
			c.more = true
		case <-due:
		}
		err := c.round(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			c.scanner.log.Error("lines around events aren't kept; trying again", "err", err)
		}
		failing = err != nil
	}
}

// round looks at all that is owed.
func (c *contexts) round(ctx context.Context) error {
	if c.more && len(c.owed) < maxContexts {
		found, err := c.scanner.cfg.Store.OwedContexts(ctx, c.last, maxContexts-len(c.owed))
		if err != nil {
			return err
		}
		for _, o := range found {
			c.owed = append(c.owed, &owed{Owed: o, since: time.Now()})
			c.last = o.EventID
		}
		c.more = len(c.owed) >= maxContexts
	}
	for from := 0; from < len(c.owed); from += maxRound {
		if err := c.some(ctx, c.owed[from:min(from+maxRound, len(c.owed))]); err != nil {
			return err
		}
	}
	rest := c.owed[:0]
	for _, o := range c.owed {
		if o != nil {
			rest = append(rest, o)
		}
	}
	clear(c.owed[len(rest):])
	c.owed = rest
	c.release(func(id string) bool {
		return slices.ContainsFunc(rest, func(o *owed) bool { return o.Container == id })
	})
	return nil
}

// journal opens a container's journal, until release.
func (c *contexts) journal(id string) (*journal.Journal, error) {
	if j := c.open[id]; j != nil {
		return j, nil
	}
	j, err := c.scanner.cfg.Journals.Acquire(id)
	if err == nil {
		c.open[id] = j
	}
	return j, err
}

// release closes the journals that aren't needed.
func (c *contexts) release(needed func(id string) bool) {
	for id, j := range c.open {
		if !needed(id) {
			j.Release()
			delete(c.open, id)
		}
	}
}

// some reads lines around events, and stores them. What is whole is nil then.
func (c *contexts) some(ctx context.Context, all []*owed) error {
	var put []store.Context
	for _, o := range all {
		if ctx.Err() != nil || o == nil {
			continue
		}
		began := time.Now()
		if found, ok := c.read(o); ok {
			put = append(put, found)
			time.Sleep(min(time.Since(began), contextEvery))
		}
	}
	if len(put) == 0 {
		return nil
	}
	if err := c.scanner.cfg.Store.PutContexts(ctx, put); err != nil {
		for _, o := range all {
			if o != nil {
				o.read = false
			}
		}
		return err
	}
	for _, p := range put {
		for n, o := range all {
			switch {
			case o == nil || o.EventID != p.EventID:
			case p.Whole:
				all[n] = nil
			default:
				o.kept = len(p.Lines)
			}
		}
	}
	return nil
}

// read reads the lines around an event, where there is something new.
func (c *contexts) read(o *owed) (found store.Context, ok bool) {
	found.EventID = o.EventID
	j, err := c.journal(o.Container)
	if errors.Is(err, journal.ErrNotFound) {
		found.Whole = true // what is kept stays
		return found, true
	}
	if err != nil {
		return found, false
	}
	state := j.State() // before it is read: what ended has been written
	beside := time.Duration(o.Siblings) * time.Second
	waited := time.Since(o.since)
	over := waited >= contextWithin || state.Attached == 0 && c.scanner.cfg.Ready()
	last := o.Siblings == 0 || waited >= beside || c.scanner.now().UnixNano() > o.At+int64(beside)
	if o.read && (o.own && !last || !o.own && o.end == state.End && !over) {
		return found, false
	}
	place := lines.Place{Stream: o.Stream, From: o.From, To: o.To, TimeNano: o.At}
	if o.To == 0 {
		place, err = lines.PlaceAt(j, o.Stream, o.At)
	}
	var around lines.Around
	if err == nil {
		around, err = lines.ReadAround(j, place, lines.Surroundings{
			Before: o.Before, After: o.After, Within: contextWithin, Bytes: contextBytes, Max: contextLine + contextMargin, Last: over,
		})
	}
	if err != nil && !over {
		return found, false
	}
	found.Lines, found.Own = c.shown(place, &around), around.Whole || over
	found.Whole = found.Own && last
	if found.Whole && o.Siblings > 0 {
		found.Siblings = c.siblings(j, o.At, beside)
	}
	news := !o.read || found.Whole || found.Own != o.own || len(found.Lines) != o.kept
	o.read, o.own, o.end = true, found.Own, state.End
	return found, news
}

// siblings are lines of the containers of the same compose project, or stack, as one, that
// were written about a time, in the order of time.
func (c *contexts) siblings(of *journal.Journal, at int64, within time.Duration) (out []event.ContextLine) {
	own := of.Container()
	all := slices.DeleteFunc(c.scanner.cfg.Journals.Containers(), func(other journal.Container) bool {
		return other.ID == own.ID || !together(other.Labels, own.Labels) || other.Started.UnixNano() > at+int64(within)
	})
	slices.SortFunc(all, func(a, b journal.Container) int { // the latest first
		return cmp.Or(b.Started.Compare(a.Started), strings.Compare(a.ID, b.ID))
	})
	for _, info := range all[:min(len(all), maxSiblings)] {
		j, err := c.journal(info.ID)
		if err != nil {
			continue // it has just been removed, or can't be read
		}
		near, err := lines.ReadTimes(j, at-int64(within), at, at+int64(within), lines.Surroundings{
			Before: siblingLines, After: siblingLines, Bytes: siblingBytes, Max: contextLine + contextMargin,
		})
		if err != nil || len(near) == 0 {
			continue
		}
		for _, l := range c.scanner.keptLines(near) {
			l.Container = info.Name
			out = append(out, l)
		}
	}
	slices.SortStableFunc(out, func(a, b event.ContextLine) int { return a.Time.Compare(b.Time) })
	return out
}

// projects are labels that containers have in common that are run together.
var projects = []string{"com.docker.compose.project", "com.docker.stack.namespace"}

// together reports whether containers with these labels are run together.
func together(a, b map[string]string) bool {
	return slices.ContainsFunc(projects, func(label string) bool { return a[label] != "" && a[label] == b[label] })
}

// shown is what is kept of lines.
func (c *contexts) shown(of lines.Place, around *lines.Around) []event.ContextLine {
	all := slices.Concat(around.Before, around.At, around.After)
	out := c.scanner.keptLines(all)
	for n, l := range all {
		out[n].Own = l.Stream == of.Stream && l.From >= of.From && l.From < of.To
	}
	return out
}

// keptLines are lines as they are kept: bounded, and without their secrets. Of each, up to
// contextLine and contextMargin bytes were read.
func (s *Scanner) keptLines(all []lines.Line) []event.ContextLine {
	out := make([]event.ContextLine, len(all))
	texts := make([][]byte, len(all))
	for n, l := range all {
		texts[n] = bytes.TrimRight(l.Text, "\r")
		out[n] = event.ContextLine{Time: instant(l.TimeNano), Stream: l.Stream, Cut: l.Cut}
	}
	for n, text := range s.cfg.Redact.Lines(texts) {
		most := contextLine
		if out[n].Cut { // a secret may begin where it was
			most = min(most, max(len(text)-contextMargin, 0))
		}
		if len(text) > most {
			for most > 0 && !utf8.RuneStart(text[most]) {
				most--
			}
			out[n].Cut, text = true, text[:most]
		}
		out[n].Text = strings.ToValidUTF8(string(text), "\uFFFD")
	}
	return out
}
