package logdriver

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"logscan/internal/ingest"
	"logscan/internal/journal"
)

// retryTime is how long the Engine repeats a call that got no answer, and a
// little more.
const retryTime = 40 * time.Second

// errLost is what is left to say when the Engine repeats a call of which nothing
// is known.
var errLost = errors.New("logscan ended while it had this call, and the Engine repeats it without its content; please try again")

// pending remembers the StartLogging calls that have no answer yet, in a file
// each. When a worker ends, the next one has its calls. But when the supervisor
// ends, which holds them, the Engine calls again, with an empty body: its client
// (moby, pkg/plugins/client.go, callWithRetry) reads the body once and sends the
// rest, nothing, with each retry. What it said is then found here. A kill leaves
// such a file whole: it needn't be synced.
type pending struct {
	dir string
	log *slog.Logger

	mu   sync.Mutex
	left []startCall // from the process before, the oldest first
}

// startCall is a StartLogging call without what isn't to be kept of it.
type startCall struct {
	File      string            `json:"file"`
	Container journal.Container `json:"container"`
	at        time.Time
}

// openPending reads what the process before left unanswered in dir.
func openPending(dir string, log *slog.Logger) *pending {
	p := &pending{dir: dir, log: log}
	if dir == "" {
		return p
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		log.Error("unanswered calls are not remembered", "err", err)
	}
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		c, err := readCall(path)
		if err != nil || time.Since(c.at) > retryTime {
			os.Remove(path)
			continue
		}
		p.left = append(p.left, c)
	}
	slices.SortFunc(p.left, func(a, b startCall) int { return a.at.Compare(b.at) })
	return p
}

func readCall(path string) (startCall, error) {
	var c startCall
	info, err := os.Stat(path)
	if err != nil {
		return c, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	c.at = info.ModTime()
	return c, json.Unmarshal(b, &c)
}

// begin remembers a call until end. It may be one that was left, and has come
// again with all it says.
func (p *pending) begin(c startCall) {
	name := filepath.Base(c.File)
	if p.dir == "" || !ingest.IsFIFO(name) {
		return
	}
	p.mu.Lock()
	p.left = slices.DeleteFunc(p.left, func(l startCall) bool { return filepath.Base(l.File) == name })
	p.mu.Unlock()
	b, err := json.Marshal(c)
	if err == nil {
		path := filepath.Join(p.dir, name)
		if err = os.WriteFile(path, b, 0o600); errors.Is(err, fs.ErrNotExist) && os.MkdirAll(p.dir, 0o700) == nil {
			err = os.WriteFile(path, b, 0o600) // there was no place for the directory at first
		}
	}
	if err != nil {
		p.log.Warn("unanswered call not remembered", "err", err)
	}
}

// end forgets it. It comes before the answer: a call that is known no more is
// refused, and that is better than taking one for another.
func (p *pending) end(file string) {
	name := filepath.Base(file)
	if p.dir == "" || !ingest.IsFIFO(name) {
		return
	}
	if err := os.Remove(filepath.Join(p.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.log.Warn("answered call not forgotten", "err", err)
	}
}

// take returns a call that the process before left unanswered. Where there are
// several, each is repeated, and it doesn't matter which comes first.
func (p *pending) take() (startCall, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.left) > 0 {
		c := p.left[0]
		p.left = p.left[1:]
		if time.Since(c.at) <= retryTime {
			return c, true
		}
		p.end(c.File)
	}
	return startCall{}, false
}
