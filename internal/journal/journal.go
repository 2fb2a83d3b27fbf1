package journal

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"slices"
	"sync"
	"time"
)

var (
	// ErrNotFound means that there is no journal of that container.
	ErrNotFound = errors.New("journal: no logs of this container")
	// ErrBusy means that another attachment of the container is inside a frame.
	ErrBusy = errors.New("journal: another attachment is writing")
)

// Options are one container's, as in Docker's local driver.
type Options struct {
	MaxSize  int64 `json:"max_size"` // bytes of a segment before it is rotated; -1 = unlimited
	MaxFile  int   `json:"max_file"` // segments kept, the active one included
	Compress bool  `json:"compress"` // rotated segments
}

// DefaultOptions are those of Docker's local driver: 20m × 5, compressed.
var DefaultOptions = Options{MaxSize: 20 << 20, MaxFile: 5, Compress: true}

// Container is what is kept about one, in container.json.
type Container struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Image    string            `json:"image"`
	ImageID  string            `json:"image_id"`
	Workload string            `json:"workload"`
	Tag      string            `json:"tag,omitempty"`
	Attrs    map[string]string `json:"attrs,omitempty"` // labels and environment that log-opts named
	Scan     bool              `json:"scan"`
	Options  Options           `json:"options"`
	Created  time.Time         `json:"created"` // of the container
	Started  time.Time         `json:"started"` // of its latest attachment
}

// Recovery is what opening a journal found and mended.
type Recovery struct {
	Segments int   // found
	Torn     int64 // bytes of an unfinished last frame, kept until its writer comes back
	Cut      int64 // bytes removed behind the last frame that made sense
	Missing  int64 // bytes between those kept, and before the end, that no segment holds
	SetAside int   // files that could not be read, renamed to *.bad
}

// State is a moment of a journal's life.
type State struct {
	First, End int64  // offsets: of the oldest frame kept, and after the newest whole one
	Attached   int    // attachments writing to it
	Ends       uint64 // how often Attached fell to 0
	LastEnd    int64  // End when it last did
}

// Journal is the log of one container. All methods are safe concurrently.
type Journal struct {
	dir  *Dir
	id   string
	path string
	log  *slog.Logger

	mu       sync.Mutex // guards all below; held for one splice at a time, or two around a rotation
	refs     int        // guarded by dir.mu
	meta     Container
	segments []*segment // oldest first; only the last may be active
	active   *active    // nil until there is something to write
	state    State
	tail     tail
	fresh    fresh
	hold     int64
	owner    *Attachment // inside a frame; nil at a boundary, or after a restart
	changed  chan struct{}
	noSplice bool // the filesystem refuses it
	untidy   bool // there may be something to remove or to compress: stays open until tidy has looked
	unsaved  bool // container.json does not say what meta does
	noting   bool // the note may say that a transfer is being written
	doubt    note // of the transfer during which the last process may have ended

	compressNext time.Time // not before: the disk has failed
	stray        error     // why it could not be opened; it keeps nothing
	recovery     Recovery
}

// segment is one that is no longer written, or the readable part of the active
// one. It is immutable but for the active one's, which the journal's mutex
// guards.
type segment struct {
	summary
	base       int64
	compressed bool
	rotated    time.Time // when it became one that is no longer written; zero before this process
	keepRaw    bool      // damaged: blocks would be too large to be read back
	points     []point   // of a compressed segment nil: read when needed
}

func (s *segment) end() int64 { return s.base + s.size }

// Container returns what is known of the container.
func (j *Journal) Container() Container {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.meta
}

// State returns the present moment.
func (j *Journal) State() State {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state
}

// Bounds returns the offsets of the oldest frame and after the newest.
func (j *Journal) Bounds() (first, end int64) {
	s := j.State()
	return s.First, s.End
}

// Changed returns a channel that is closed when the journal next grows, or an
// attachment comes or goes. Look at State after asking for it.
func (j *Journal) Changed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	return j.changed
}

func (j *Journal) changedLocked() {
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
}

// SetHold says that nothing at or after off has been scanned, so that max-file
// leaves it alone as long as Config.HoldMax allows. math.MaxInt64 holds
// nothing.
func (j *Journal) SetHold(off int64) {
	j.mu.Lock()
	j.hold = off
	if j.overLocked() {
		j.untidyLocked()
	}
	j.mu.Unlock()
}

func (j *Journal) untidyLocked() {
	j.untidy = true
	j.dir.wakeUp()
}

// overLocked reports whether max-file asks for something to be removed.
func (j *Journal) overLocked() bool {
	return len(j.segments) > max(1, j.meta.Options.MaxFile) && j.segments[0].end() <= j.hold
}

// trim removes the oldest segments beyond max-file.
func (j *Journal) trim() {
	j.mu.Lock()
	defer j.mu.Unlock()
	excess := len(j.segments) - max(1, j.meta.Options.MaxFile)
	for ; excess > 0; excess-- {
		s, hold := j.segments[0], j.hold
		if s.end() > hold && j.segments[excess].base-s.base <= j.dir.cfg.HoldMax {
			return
		}
		happened := func(bool) {}
		if s.end() > hold {
			from := max(s.base, hold)
			happened = j.dir.losing(Loss{ContainerID: j.id, Reason: "unscanned", Bytes: s.end() - from, From: from, To: s.end()})
		}
		dropped := j.dropOldestLocked()
		if happened(dropped); !dropped {
			return
		}
	}
}

// dropOldestLocked removes the oldest segment, which is not the active one;
// false if it can't be.
func (j *Journal) dropOldestLocked() bool {
	s := j.segments[0]
	for _, suffix := range []string{rawSuffix, indexSuffix, compressedSuffix} {
		if err := os.Remove(segmentPath(j.path, s.base, suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
			j.log.Warn("retention", "err", err)
			if suffix != indexSuffix {
				return false
			}
		}
	}
	j.segments = slices.Delete(j.segments, 0, 1)
	j.state.First = j.state.End
	if len(j.segments) > 0 {
		j.state.First = j.segments[0].base
	}
	return true
}

// lookup returns the segment that holds off, or the first after it; nil at End.
// The copy is safe to read while the journal grows.
func (j *Journal) lookup(off int64) (segment, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lookupLocked(off)
}

func (j *Journal) lookupLocked(off int64) (segment, bool) {
	i, _ := slices.BinarySearchFunc(j.segments, off, func(s *segment, off int64) int {
		if s.end() <= off {
			return -1
		}
		return 1
	})
	if i == len(j.segments) {
		return segment{}, false
	}
	return *j.segments[i], true
}

// Release gives up a reference from Create or Acquire.
func (j *Journal) Release() { j.dir.release(j) }

func holdFor(c Container) int64 {
	if c.Scan {
		return 0
	}
	return math.MaxInt64
}
