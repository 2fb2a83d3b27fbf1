package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"logscan/internal/age"
)

// Config is a Dir's. The callbacks must not block: they run on the ingest path.
type Config struct {
	Root       string
	HoldMax    int64         // bytes kept for the scanner beyond max-file
	StoppedAge time.Duration // logs of containers that stopped, or were read, longer ago are removed; 0 = never
	Budget     int64         // bytes on disk of all journals, and of what Beside says; 0 = no bound
	// Beside returns how many bytes of Budget others have taken. Nil: none.
	Beside func() int64
	// CompressAfter is how long a rotated segment stays as it is. Those of a
	// container that writes fast are removed sooner, and compressing them would
	// only slow it down.
	CompressAfter time.Duration
	// SegmentMin is the least size of a rotated segment in bytes, whatever a
	// container's options say; 0 = 64 KiB. Tests have it smaller, to have many.
	SegmentMin int64
	Logger     *slog.Logger
	OnAppend   func(id string) // a journal has grown
	OnAttach   func(id string) // an attachment has begun
	OnDetach   func(id string) // an attachment has ended
	OnLoss     func(Loss)
	// Drop takes the bytes of a loss out of the pipe fd, without blocking, and
	// reports it, in one step that no kill divides. It returns how many it took;
	// where they are not all, it reports those, and no frames. Nil: they are read,
	// and OnLoss is called then.
	Drop func(fd int, l Loss) (int, error)
	// DropRoom is the size, in bytes, of the pipe that Drop moves them through; 0
	// where there is none. What Linux gives a process that is not privileged is 8
	// KiB once all pipes of its user hold 64 MiB (pipe(7), pipe-user-pages-soft).
	DropRoom int
	// Losing is told of what is about to be removed, and, by a call of happened,
	// whether it was: after a kill between the two, see Gone. Nil: OnLoss is
	// called after it.
	Losing func(l Loss) (happened func(lost bool))
	// Clock tells when containers start and end; time.Now.
	Clock func() time.Time
}

// Dir is all journals of a host.
type Dir struct {
	cfg  Config
	wake chan struct{} // there is something to compress or to remove
	room chan struct{} // the disk is full

	clock age.Clock // by which logs are too old

	gracePeriod, stallAfter time.Duration // see drop.go
	segmentMax              int64         // see limits
	// now is the time that logs begin at, in microseconds since 1970.
	now func() int64

	readDir func(name string) ([]os.DirEntry, error) // os.ReadDir

	// mu guards all below and what log says of itself. It is held for moments only:
	// never over anything that may wait, such as work on the disk, and never while
	// another lock is taken.
	mu       sync.Mutex
	down     error           // why root can't be used
	logs     map[string]*log // by id
	open     map[string]*log // those with a journal
	unlisted map[string]*log // those of the others whose usage is not known
	bytes    int64           // on disk, of all of which it is known
	ageDue   time.Time       // when the first of them is old enough to be removed, at the earliest
	ids      []string        // what IDs returns; nil where it is to be found out
	passed   int64           // an offset that no log which has been removed had passed

	dueMu sync.Mutex // guards due
	due   []string   // journals with something to compress, open or not

	lossMu sync.Mutex // guards losses
	losses map[string]LossCount
}

// Info describes one journal.
type Info struct {
	Container
	State
	Bytes    int64     // on disk
	Latest   time.Time // when it was last written, or its last attachment came or went
	LastLine time.Time // when a line of it was last written; zero without any
	Err      error     // why these are not known now: they are what they were before
}

// validID is what a container's, or an unknown FIFO's, journal may be called:
// it becomes a directory's name.
var validID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

// ValidID reports whether a journal can have that name.
func ValidID(id string) bool { return validID.MatchString(id) }

// ErrUnavailable means that the directory of all journals can't be read or made.
// What a container says goes to Stray until it can.
var ErrUnavailable = errors.New("journal: the directory of all logs can't be used")

// rootAgain is how often a root that can't be used is tried again.
const rootAgain = time.Second

// OpenDir lists the journals under root, making it if need be. Each is
// recovered when it is first used, so that starting takes no longer with many.
//
// Where root can't be used, there is a Dir all the same: Create and Acquire say
// ErrUnavailable, Stray drains what nothing can be kept of, and Run tries again. An
// error is for the log only.
func OpenDir(cfg Config) (*Dir, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if cfg.SegmentMin == 0 {
		cfg.SegmentMin = segmentMin
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	d := &Dir{
		cfg: cfg, wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
		gracePeriod: gracePeriod, stallAfter: stallAfter, segmentMax: segmentMax,
		now: func() int64 { return time.Now().UnixMicro() }, readDir: os.ReadDir,
		logs: map[string]*log{}, open: map[string]*log{}, unlisted: map[string]*log{}, losses: map[string]LossCount{},
	}
	err := d.load()
	d.down = err
	d.wakeUp()
	return d, err
}

// load finds out which logs there are.
func (d *Dir) load() error {
	if err := os.MkdirAll(d.cfg.Root, 0o700); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	entries, err := d.readDir(d.cfg.Root)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	passed, err := readPassed(d.cfg.Root)
	if err != nil {
		d.cfg.Logger.Error("how far removed logs had come is not known", "err", err)
	}
	until := time.Now().Add(d.gracePeriod) // a disk that fails may get well
	var found []*log
	for _, e := range entries {
		if !e.IsDir() || !ValidID(e.Name()) {
			continue
		}
		path := filepath.Join(d.cfg.Root, e.Name())
		c, err := readMetaUntil(path, until)
		if err != nil {
			d.cfg.Logger.Warn("container.json can't be read; its logs are kept under the id alone", "container", e.Name(), "err", err)
			c = Container{Scan: true, Options: DefaultOptions}
			// What it may keep isn't known: at least what is there.
			segments, _ := filepath.Glob(filepath.Join(path, "*"+rawSuffix+"*"))
			c.Options.MaxFile = max(c.Options.MaxFile, len(segments)+1)
		}
		c.ID = e.Name()
		found = append(found, &log{id: c.ID, path: path, meta: c})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.passed, d.ids = max(d.passed, passed), nil
	for _, l := range d.logs { // of containers that started meanwhile
		l.meta.Born = max(l.meta.Born, d.passed)
	}
	for _, l := range found {
		if newer := d.logs[l.id]; newer != nil {
			newer.meta.Born = l.meta.Born
			continue
		}
		d.logs[l.id], d.unlisted[l.id] = l, l
	}
	return nil
}

// Err returns why root can't be used at present, and nil where it can.
func (d *Dir) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.down
}

// comeBack tries a root that can't be used until it can, or ctx ends.
func (d *Dir) comeBack(ctx context.Context) {
	for d.Err() != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(rootAgain):
		}
		err := d.load()
		d.mu.Lock()
		d.down = err
		d.mu.Unlock()
		if err == nil {
			d.cfg.Logger.Info("the directory of all logs can be used again", "path", d.cfg.Root)
		}
	}
}

// Container returns what is known of a container, and whether its logs are kept.
func (d *Dir) Container(id string) (Container, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.logs[id]
	if l == nil {
		return Container{}, false
	}
	return l.meta, true
}

// IDs returns the containers whose lines are to be scanned, in order. It is the
// same slice as long as nothing has changed; nobody changes what is in it.
func (d *Dir) IDs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ids == nil {
		d.ids = make([]string, 0, len(d.logs))
		for id, l := range d.logs {
			if l.meta.Scan {
				d.ids = append(d.ids, id)
			}
		}
		slices.Sort(d.ids)
	}
	return d.ids
}

// List describes all journals, by container name and id. It looks again only at
// the directories of those that have changed since it last did.
func (d *Dir) List() []Info {
	d.survey()
	d.mu.Lock()
	infos := make([]Info, 0, len(d.logs))
	js := make([]*Journal, 0, len(d.logs))
	for _, l := range d.logs {
		infos = append(infos, Info{Container: l.meta, Bytes: l.usage.bytes, Latest: l.usage.latest, LastLine: l.usage.lastLine, Err: l.usage.err})
		js = append(js, l.journal)
	}
	d.mu.Unlock()
	for i, j := range js {
		if j != nil {
			infos[i].State = j.State()
		}
	}
	slices.SortFunc(infos, func(a, b Info) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return infos
}

func (d *Dir) wakeUp() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *Dir) compressSoon(id string) {
	d.dueMu.Lock()
	d.due = append(d.due, id)
	d.dueMu.Unlock()
	d.wakeUp()
}

// Close closes the files of all journals. Readers and attachments must have
// ended.
func (d *Dir) Close() error {
	d.mu.Lock()
	open := d.open
	d.open = map[string]*log{}
	js := make([]*Journal, 0, len(open))
	for id, l := range open {
		js = append(js, l.journal)
		l.journal, d.unlisted[id] = nil, l
	}
	d.mu.Unlock()
	for _, j := range js {
		j.close()
	}
	return nil
}

// Run compresses and removes in the background until ctx ends. Start it when
// the attachments of running containers are there: the logs of all others count
// as those of stopped ones.
func (d *Dir) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	d.comeBack(ctx)
	wg.Go(func() { d.clock.Watch(ctx) })
	wg.Go(func() { d.roomLoop(ctx) }) // not behind a compression
	for {
		d.maintain(ctx)
		d.retain()
		looked := time.Now()
		next := time.NewTimer(retainEvery)
		for wait := true; wait; {
			select {
			case <-ctx.Done():
				next.Stop()
				return ctx.Err()
			case <-next.C:
				wait = false
			case <-d.wake: // a segment is full, or a container has ended
				d.maintainMarked(ctx)
				if d.cfg.Budget > 0 {
					next.Reset(time.Until(looked.Add(budgetEvery)))
				}
			}
		}
	}
}
