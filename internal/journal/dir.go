package journal

import (
	"context"
	"encoding/json"
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

	"golang.org/x/sys/unix"

	"logscan/internal/age"
)

// Config is a Dir's. The callbacks must not block: they run on the ingest path.
type Config struct {
	Root       string
	HoldMax    int64         // bytes kept for the scanner beyond max-file
	StoppedAge time.Duration // logs of containers that stopped, or were read, longer ago are removed; 0 = never
	Budget     int64         // bytes on disk of all journals; 0 = no bound
	// CompressAfter is how long a rotated segment stays as it is. Those of a
	// container that writes fast are removed sooner, and compressing them would
	// only slow it down.
	CompressAfter time.Duration
	Logger        *slog.Logger
	OnAppend      func(id string) // a journal has grown
	OnDetach      func(id string) // an attachment has ended
	OnLoss        func(Loss)
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
}

// Dir is all journals of a host.
type Dir struct {
	cfg  Config
	wake chan struct{} // there is something to compress or to remove
	room chan struct{} // the disk is full

	clock age.Clock // by which logs are too old

	patience, stallAfter time.Duration // see drop.go

	mu    sync.Mutex // guards the maps and every Journal's refs
	open  map[string]*Journal
	metas map[string]Container
	// By id, the bytes that are known to be missing in a journal.
	missing map[string]int64
	ill     map[string]*illness // by id, of those that can't be opened
	disk    map[string]*onDisk  // of journals that are not open, as far as they are known

	dueMu sync.Mutex // guards due; may be taken with any other
	due   []string   // journals with something to compress, open or not

	lossMu sync.Mutex // guards losses
	losses map[string]LossCount
}

// Info describes one journal.
type Info struct {
	Container
	State
	Bytes  int64     // on disk
	Latest time.Time // when it was last written, or its last attachment came or went
}

// onDisk is what a journal's files take, and when the newest was written.
type onDisk struct {
	bytes  int64
	latest time.Time
	read   bool // else somebody is about to
}

// validID is what a container's, or an unknown FIFO's, journal may be called:
// it becomes a directory's name.
var validID = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

// metaMax bounds what is read of a container.json in bytes.
const metaMax = 16 << 20

// ValidID reports whether a journal can have that name.
func ValidID(id string) bool { return validID.MatchString(id) }

// OpenDir lists the journals under root, making it if need be. Each is
// recovered when it is first used, so that starting takes no longer with many.
func OpenDir(cfg Config) (*Dir, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	d := &Dir{cfg: cfg, wake: make(chan struct{}, 1), room: make(chan struct{}, 1), patience: patience, stallAfter: stallAfter, open: map[string]*Journal{}, metas: map[string]Container{}, losses: map[string]LossCount{}, missing: map[string]int64{}, ill: map[string]*illness{}, disk: map[string]*onDisk{}}
	if err := os.MkdirAll(cfg.Root, 0o700); err != nil {
		return nil, err
	}
	dirs, err := os.ReadDir(cfg.Root)
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(d.patience) // a disk that fails may get well
	for _, e := range dirs {
		if !e.IsDir() || !ValidID(e.Name()) {
			continue
		}
		path := filepath.Join(cfg.Root, e.Name())
		c, err := readMeta(path)
		for ; errors.Is(err, unix.EIO) && time.Now().Before(until); c, err = readMeta(path) {
			time.Sleep(writeAgain)
		}
		if err != nil {
			cfg.Logger.Warn("container.json can't be read; its logs are kept under the id alone", "container", e.Name(), "err", err)
			c = Container{Scan: true, Options: DefaultOptions}
			// What it may keep isn't known: at least what is there.
			segments, _ := filepath.Glob(filepath.Join(path, "*"+rawSuffix+"*"))
			c.Options.MaxFile = max(c.Options.MaxFile, len(segments)+1)
		}
		c.ID = e.Name()
		d.metas[c.ID] = c
	}
	d.wakeUp()
	return d, nil
}

func readMeta(path string) (Container, error) {
	var c Container
	f, err := os.Open(filepath.Join(path, metaName))
	if err != nil {
		return c, err
	}
	defer f.Close()
	err = json.NewDecoder(io.LimitReader(f, metaMax)).Decode(&c)
	return c, err
}

// writeMeta replaces container.json in one step.
func writeMeta(path string, c Container) error {
	b, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	name := filepath.Join(path, metaName)
	err = os.WriteFile(name+tmpSuffix, append(b, '\n'), 0o600)
	if err == nil {
		err = os.Rename(name+tmpSuffix, name)
	}
	if err != nil {
		os.Remove(name + tmpSuffix)
	}
	return err
}

// Create opens the journal of c.ID, making it if there is none, with what c now
// says. The caller owes a Release.
func (d *Dir) Create(c Container) (*Journal, error) {
	if !ValidID(c.ID) {
		return nil, fmt.Errorf("journal: %q is no container id", c.ID)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, known := d.metas[c.ID]
	err := writeMeta(filepath.Join(d.cfg.Root, c.ID), c)
	if err != nil {
		// Not a reason to keep the container from starting.
		d.cfg.Logger.Error("container.json not written; trying again with its first line", "container", c.ID, "err", err)
	}
	unsaved := err != nil
	d.metas[c.ID] = c
	j, err := d.acquireLocked(c.ID)
	if err != nil {
		if !known {
			delete(d.metas, c.ID)
		}
		return nil, err
	}
	j.mu.Lock()
	if j.meta.Scan != c.Scan {
		j.hold = holdFor(c)
	}
	j.meta, j.unsaved = c, unsaved
	j.mu.Unlock()
	return j, nil
}

// Acquire opens the journal of a container. The caller owes a Release.
func (d *Dir) Acquire(id string) (*Journal, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.acquireLocked(id)
}

func (d *Dir) acquireLocked(id string) (*Journal, error) {
	if j := d.open[id]; j != nil {
		j.refs++
		return j, nil
	}
	meta, ok := d.metas[id]
	if !ok {
		return nil, ErrNotFound
	}
	delete(d.disk, id)
	j := &Journal{dir: d, id: id, path: filepath.Join(d.cfg.Root, id), log: d.cfg.Logger, meta: meta, refs: 1, hold: holdFor(meta)}
	if err := d.recoverLocked(j); err != nil {
		j.closeActive()
		return nil, fmt.Errorf("recover the log of %s: %w", id, err)
	}
	d.open[id] = j
	return j, nil
}

// recoverLocked recovers a journal. While a disk that fails may get well, that is
// an error; later, what can't be read is done without.
func (d *Dir) recoverLocked(j *Journal) error {
	f := d.ill[j.id]
	if f == nil {
		f = &illness{}
	}
	err := j.recover(f.since.IsZero() || time.Since(f.since) < d.patience)
	if f.patient(err, d.patience) {
		d.ill[j.id] = f
	} else {
		delete(d.ill, j.id)
	}
	return err
}

// release closes a journal that nobody uses any more, once it is tidy: what is
// known of it, such as how far it was scanned, goes with it.
func (d *Dir) release(j *Journal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if j.refs--; j.refs > 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.untidy {
		d.wakeUp()
		return
	}
	delete(d.open, j.id)
	j.closeActive()
	j.fresh.drop()
}

// Container returns what is known of a container, and whether its logs are kept.
func (d *Dir) Container(id string) (Container, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.metas[id]
	return c, ok
}

// List describes all journals, by container name and id. It looks again only at
// the directories of those that have been in use since it last did.
func (d *Dir) List() []Info {
	d.mu.Lock()
	infos := make([]Info, 0, len(d.metas))
	look := make([]*onDisk, 0, len(d.metas)) // nil: it is known
	for id, c := range d.metas {
		i := Info{Container: c}
		var size *onDisk
		if j := d.open[id]; j != nil {
			i.State = j.State()
			size = new(onDisk)
		} else if size = d.disk[id]; size == nil {
			size = new(onDisk)
			d.disk[id] = size
		} else if size.read {
			i.Bytes, i.Latest = size.bytes, size.latest
			size = nil
		}
		infos, look = append(infos, i), append(look, size)
	}
	d.mu.Unlock()
	for k, size := range look {
		if size == nil {
			continue
		}
		i := &infos[k]
		i.Bytes, i.Latest = usage(filepath.Join(d.cfg.Root, i.ID))
		d.mu.Lock()
		if d.disk[i.ID] == size { // it has not been opened meanwhile
			*size = onDisk{i.Bytes, i.Latest, true}
		}
		d.mu.Unlock()
	}
	slices.SortFunc(infos, func(a, b Info) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return infos
}

// IDs returns the containers whose lines are to be scanned.
func (d *Dir) IDs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []string
	for id, c := range d.metas {
		if c.Scan {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// usage returns the bytes that a journal's files take, and when the newest was
// written.
func usage(path string) (bytes int64, latest time.Time) {
	files, _ := os.ReadDir(path)
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			bytes += info.Size()
			if info.ModTime().After(latest) {
				latest = info.ModTime()
			}
		}
	}
	return bytes, latest
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
	defer d.mu.Unlock()
	for id, j := range d.open {
		j.mu.Lock()
		j.closeActive()
		j.mu.Unlock()
		delete(d.open, id)
	}
	return nil
}

// Run compresses and removes in the background until ctx ends. Start it when
// the attachments of running containers are there: the logs of all others count
// as those of stopped ones.
func (d *Dir) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { d.roomLoop(ctx) }) // not behind a compression
	for {
		d.tidy(ctx)
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
			case <-d.wake: // a segment is full
				d.tidy(ctx)
				if d.cfg.Budget > 0 {
					next.Reset(time.Until(looked.Add(budgetEvery)))
				}
			}
		}
	}
}

// Remove deletes the log of a container, unless somebody writes or reads it:
// then it is false, and nothing happens.
func (d *Dir) Remove(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if j := d.open[id]; j != nil {
		if j.refs > 0 {
			return false
		}
		delete(d.open, id)
		j.mu.Lock()
		j.closeActive()
		j.mu.Unlock()
	}
	delete(d.disk, id)
	if err := os.RemoveAll(filepath.Join(d.cfg.Root, id)); err != nil {
		d.cfg.Logger.Error("remove old logs", "container", id, "err", err)
		return false
	}
	delete(d.metas, id)
	delete(d.missing, id)
	return true
}
