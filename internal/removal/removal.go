package removal

import (
	"context"
	"log/slog"
	"os"
	"regexp"
	"sync"
	"time"

	"logscan/internal/journal"
)

const (
	// The Engine is asked again this soon after it was lost, and then ever later.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// tryEvery is how often a log that is to be removed is looked at again.
	tryEvery = time.Second
)

// containerID is what the Engine calls a container. Logs under other names are
// of FIFOs that it never told us the container of.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Config is a Watcher's. All of it is required.
type Config struct {
	Socket   string // the Engine's; where there is none, Run has nothing to do
	Journals *journal.Dir
	// Finished reports whether rules have seen every line of a container, and
	// what they found is kept.
	Finished func(containerID string) bool
	Logger   *slog.Logger
}

// Watcher removes the logs of removed containers.
type Watcher struct {
	cfg Config
	log *slog.Logger

	mu   sync.Mutex
	due  map[string]bool // containers that were removed
	wake chan struct{}   // holds a token when there are more
}

// New returns a watcher; Run makes it watch.
func New(cfg Config) *Watcher {
	return &Watcher{cfg: cfg, log: cfg.Logger, due: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// Run watches until ctx ends. Call it when the attachments of running containers
// are there: whoever has none counts as stopped.
func (w *Watcher) Run(ctx context.Context) error {
	if info, err := os.Stat(w.cfg.Socket); err != nil || info.Mode()&os.ModeSocket == 0 {
		return nil
	}
	var wg sync.WaitGroup
	wg.Go(func() { w.follow(ctx) })
	w.clear(ctx)
	wg.Wait()
	return ctx.Err()
}

// follow asks the Engine, again whenever it has gone.
func (w *Watcher) follow(ctx context.Context) {
	e := dial(w.cfg.Socket)
	said := ""
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		began := time.Now()
		err := w.watch(ctx, e)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > lastRetry {
			wait, said = firstRetry, ""
		}
		if err.Error() != said {
			said = err.Error()
			w.log.Warn("the Engine can't be asked which containers were removed; trying again", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// watch follows one connection's events to its end, which is always an error.
func (w *Watcher) watch(ctx context.Context, e engine) error {
	events, err := e.destroyed(ctx)
	if err != nil {
		return err
	}
	defer events.body.Close()
	// In this order: what is kept is older than the list, and what is removed
	// after it is an event.
	kept := w.cfg.Journals.List()
	listed, err := e.containers(ctx)
	if err != nil {
		return err
	}
	w.log.Info("following the Engine's events; logs of removed containers are removed", "containers", len(listed))
	for _, id := range missing(kept, listed) {
		w.removed(id)
	}
	for {
		id, err := events.next()
		if err != nil {
			return err
		}
		w.removed(id)
	}
}

// missing returns the containers of kept that were removed, going by what the
// Engine lists.
func missing(kept []journal.Info, listed map[string]bool) (ids []string) {
	var oldest time.Time // when the oldest of ours that are listed was created
	for _, k := range kept {
		if listed[k.ID] && !k.Created.IsZero() && (oldest.IsZero() || k.Created.Before(oldest)) {
			oldest = k.Created
		}
	}
	if oldest.IsZero() {
		return nil
	}
	for _, k := range kept {
		if containerID.MatchString(k.ID) && !listed[k.ID] && k.Attached == 0 && oldest.Before(k.Started) {
			ids = append(ids, k.ID)
		}
	}
	return ids
}

// removed notes that a container was removed, if its log is kept here.
func (w *Watcher) removed(id string) {
	if _, ok := w.cfg.Journals.Container(id); !ok {
		return
	}
	w.mu.Lock()
	w.due[id] = true
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// clear removes the logs of removed containers, as soon as that can be.
func (w *Watcher) clear(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var again <-chan time.Time // nil: there is nothing to try again
		for _, id := range w.dueNow() {
			if !w.remove(id) {
				again = timer.C
			}
		}
		timer.Reset(tryEvery)
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-w.wake:
		}
	}
}

func (w *Watcher) dueNow() (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.due {
		ids = append(ids, id)
	}
	return ids
}

// remove removes one log; false if it is still in use.
func (w *Watcher) remove(id string) bool {
	c, kept := w.cfg.Journals.Container(id)
	if kept && (!w.cfg.Finished(id) || !w.cfg.Journals.Remove(id)) {
		return false
	}
	w.mu.Lock()
	delete(w.due, id)
	w.mu.Unlock()
	if kept {
		w.log.Info("removed the logs of a removed container", "container", id, "name", c.Name)
	}
	return true
}
