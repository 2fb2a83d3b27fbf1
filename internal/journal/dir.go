package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
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
	Budget     int64         // bytes on disk of all journals; 0 = no bound
	// CompressAfter is how long a rotated segment stays as it is. Those of a
	// container that writes fast are removed sooner, and compressing them would
	// only slow it down.
	CompressAfter time.Duration
	Logger        *slog.Logger
	OnAppend      func(id string) // a journal has grown
	OnDetach      func(id string) // an attachment has ended
	OnLoss        func(Loss)
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

	dueMu sync.Mutex // guards due; may be taken with any other
	due   []string   // journals with something to compress, open or not

	lossMu sync.Mutex // guards losses
	losses map[string]LossCount
}

// LossCount sums up the losses of one reason since the start.
type LossCount struct {
	Times  int64
	Bytes  int64
	Frames int64 // where known
	Latest time.Time
}

// Info describes one journal.
type Info struct {
	Container
	State
	Bytes  int64     // on disk
	Latest time.Time // when it was last written, or its last attachment came or went
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
	d := &Dir{cfg: cfg, wake: make(chan struct{}, 1), room: make(chan struct{}, 1), patience: patience, stallAfter: stallAfter, open: map[string]*Journal{}, metas: map[string]Container{}, losses: map[string]LossCount{}, missing: map[string]int64{}}
	if err := os.MkdirAll(cfg.Root, 0o700); err != nil {
		return nil, err
	}
	dirs, err := os.ReadDir(cfg.Root)
	if err != nil {
		return nil, err
	}
	for _, e := range dirs {
		if !e.IsDir() || !ValidID(e.Name()) {
			continue
		}
		c, err := readMeta(filepath.Join(cfg.Root, e.Name()))
		if err != nil {
			cfg.Logger.Warn("container.json can't be read; its logs are kept under the id alone", "container", e.Name(), "err", err)
			c = Container{Scan: true, Options: DefaultOptions}
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
	j := &Journal{dir: d, id: id, path: filepath.Join(d.cfg.Root, id), log: d.cfg.Logger, meta: meta, refs: 1, hold: holdFor(meta)}
	if err := j.recover(); err != nil {
		j.closeActive()
		return nil, fmt.Errorf("recover the log of %s: %w", id, err)
	}
	d.open[id] = j
	return j, nil
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

// List describes all journals, by container name and id.
func (d *Dir) List() []Info {
	d.mu.Lock()
	infos := make([]Info, 0, len(d.metas))
	for id, c := range d.metas {
		i := Info{Container: c}
		if j := d.open[id]; j != nil {
			i.State = j.State()
		}
		infos = append(infos, i)
	}
	d.mu.Unlock()
	for k := range infos {
		infos[k].Bytes, infos[k].Latest = usage(filepath.Join(d.cfg.Root, infos[k].ID))
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

// Losses returns what could not be kept since the start, by Loss.Reason.
func (d *Dir) Losses() map[string]LossCount {
	d.lossMu.Lock()
	defer d.lossMu.Unlock()
	return maps.Clone(d.losses)
}

// count adds to the counters.
func (d *Dir) count(reason string, times, bytes, frames int64) {
	d.lossMu.Lock()
	defer d.lossMu.Unlock()
	c := d.losses[reason]
	d.losses[reason] = LossCount{Times: c.Times + times, Bytes: c.Bytes + bytes, Frames: c.Frames + frames, Latest: time.Now()}
}

func (d *Dir) loss(l Loss) {
	d.count(l.Reason, 1, l.Bytes, l.Frames)
	if d.cfg.OnLoss != nil {
		d.cfg.OnLoss(l)
	}
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
	if err := os.RemoveAll(filepath.Join(d.cfg.Root, id)); err != nil {
		d.cfg.Logger.Error("remove old logs", "container", id, "err", err)
		return false
	}
	delete(d.metas, id)
	delete(d.missing, id)
	return true
}
