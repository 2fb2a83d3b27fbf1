package journal

import (
	"errors"
	"log/slog"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrNotFound means that there is no journal of that container.
	ErrNotFound = errors.New("journal: no logs of this container")
	// ErrBusy means that another attachment of the container is inside a frame.
	ErrBusy = errors.New("journal: another attachment is writing")
)

// Options are one container's, as in Docker's local driver. The journal keeps
// segments within bounds of its own, see Dir.limits.
type Options struct {
	MaxSize  int64 `json:"max_size"` // bytes of a segment before it is rotated; -1 = unlimited, whatever MaxFile says
	MaxFile  int   `json:"max_file"` // segments kept, the active one included
	Compress bool  `json:"compress"` // rotated segments
}

// Bounds of segments, whatever a container's options say.
const (
	// segmentMin is the least bytes of a rotated segment. Beginning a segment costs
	// what carrying some thousand lines costs, and all containers wait for it.
	segmentMin = blockSize
	// segmentMax is the most: only whole segments can be removed for others' sake,
	// and the index of one that is not compressed is in memory.
	segmentMax = 1 << 30
	// filesMax is how many segments a journal has at most.
	filesMax = 10_000
)

// limits returns the size in bytes at which a container's segments are rotated,
// and how many are kept, the active one included. Together they keep what the
// options ask for, or more of it where these ask for tiny segments.
func (d *Dir) limits(o Options) (size int64, files int) {
	if o.MaxSize <= 0 {
		return d.segmentMax, filesMax
	}
	files = min(max(o.MaxFile, 1), filesMax)
	if parts := (o.MaxSize-1)/d.segmentMax + 1; parts > 1 {
		return (o.MaxSize-1)/parts + 1, int(min(int64(files)*min(parts, filesMax), filesMax))
	}
	return max(o.MaxSize, d.cfg.SegmentMin), files
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
	Labels   map[string]string `json:"labels,omitempty"`
	Attrs    map[string]string `json:"attrs,omitempty"` // labels and environment that log-opts named
	Scan     bool              `json:"scan"`
	// Declared is what labels and log options say to logscan itself, as package labels reads
	// it; of LeftOut more there was no room.
	Declared map[string]string `json:"declared,omitempty"`
	LeftOut  int               `json:"left_out,omitempty"`
	// RecordStart is a regular expression that the first line of each record matches;
	// "" where their form tells.
	RecordStart string    `json:"record_start,omitempty"`
	Options     Options   `json:"options"`
	Created     time.Time `json:"created"`        // of the container
	Started     time.Time `json:"started"`        // of its latest attachment
	FIFO        string    `json:"fifo,omitempty"` // of that one
	Born        int64     `json:"born"`           // the offset at which its log began; Create sets it
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
	Birth      int64  // the offset at which the log began
	Attached   int    // attachments writing to it
	Ends       uint64 // how often Attached fell to 0
	LastEnd    int64  // End when it last did
}

// Journal is the log of one container. All methods are safe concurrently.
type Journal struct {
	dir  *Dir
	of   *log // nil of a stray one
	id   string
	path string
	log  *slog.Logger

	needsMaintenance atomic.Bool // there may be something to remove or to compress: stays open until maintain has looked
	onDisk           atomic.Bool // what its log's usage says is so

	mu        sync.Mutex // guards all below; held for one splice at a time, or two around a rotation
	meta      Container
	segments  []*segment // oldest first; only the last may be active
	active    *active    // nil until there is something to write
	state     State
	tail      tail
	fresh     fresh
	hold      int64
	owner     *Writer // inside a frame; nil at a boundary, or after a restart
	changed   chan struct{}
	rotations int  // segments begun in this call of Ingest
	noSplice  bool // the filesystem refuses it
	unsaved   bool // container.json does not say what meta does
	unsynced  bool // or may not, after a power cut
	made      bool // it was made by this process, or has been written to
	noting    bool // the note may say that a transfer is being written
	doubt     note // of the transfer during which the last process may have ended

	runs        []Run // see runs.go; replaced, never changed
	runsUnsaved bool
	starting    time.Time // when the last one was noted; zero once it was attached

	resumed []*Writer // those that may have left an unfinished frame
	whose   bool      // it was removed, because that is not known

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
	j.onDisk.Store(false)
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
		j.needsMaintenanceLocked()
	}
	j.mu.Unlock()
}

func (j *Journal) needsMaintenanceLocked() {
	j.needsMaintenance.Store(true)
	j.dir.wakeUp()
}

// overLocked reports whether max-file asks for something to be removed.
func (j *Journal) overLocked() bool {
	_, files := j.dir.limits(j.meta.Options)
	return len(j.segments) > files && j.segments[0].end() <= j.hold
}

// trim removes the oldest segments beyond max-file.
func (j *Journal) trim() {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, files := j.dir.limits(j.meta.Options)
	excess := len(j.segments) - files
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
	j.firstLocked()
	j.onDisk.Store(false)
	return true
}

// lookup returns the segment that holds off, or the first after it; where there is
// none, an empty one at End, and false. The copy is safe to read while the journal
// grows. From is off, but for one of another log that the container had before:
// there was nothing between the two.
func (j *Journal) lookup(off int64) (seg segment, from int64, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	from = max(off, j.state.Birth)
	if seg, ok = j.lookupLocked(from); !ok {
		seg.base = j.state.End
	}
	return seg, from, ok
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

// close closes the journal's files.
func (j *Journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closeActive()
	j.fresh.drop()
}

// Release gives up a reference from Create or Acquire. Behind the end of an
// attachment it does nothing that may wait.
func (j *Journal) Release() { j.dir.release(j) }

func holdFor(c Container) int64 {
	if c.Scan {
		return 0
	}
	return math.MaxInt64
}
