package journal

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A log doesn't say where the lines of one run of its container end and those of the
// next begin. So each start is noted beside it, in runs.json, with the offset from which
// on lines are of that run. What comes of a start that isn't noted, since the disk
// failed, belongs to the run before it.
//
// `docker logs` of a stopped container attaches it too, for as long as the answer takes,
// and nothing in the Engine's call tells that from a start. It is told by what follows:
// the logs are asked for at once, and nothing is written.

const (
	runsName = "runs.json"
	// maxRuns is how many runs are known of a container: the latest.
	maxRuns = 64
	// askedWithin is how soon behind an attachment `docker logs` asks that made it.
	askedWithin = 5 * time.Second
	// attachedAgain is how soon another attachment may come beside one that goes on and
	// isn't a start: that of `docker logs` of a container which is about to run.
	attachedAgain = 10 * time.Second
	// attachedSoon is how soon behind its note a start is attached, unless it fails.
	attachedSoon = 5 * time.Second
	// endedAway is how soon the attachment of a process before ends of which the other
	// end was closed already.
	endedAway = 10 * time.Second
)

// Run is a run of a container, as far as its log knows.
type Run struct {
	N       int64     `json:"n"` // greater than that of any run before
	Started time.Time `json:"started"`
	From    int64     `json:"from"`           // the offset at which its lines begin
	Ended   time.Time `json:"ended,omitzero"` // zero while it goes on; where nobody looked, when its last line was
	Asked   bool      `json:"asked,omitempty"`
	FIFO    string    `json:"fifo,omitempty"`
}

// Runs returns the latest runs, oldest first, and whether the last one goes on. They are
// not to be changed. While a new process has not attached again what runs, that one seems
// to have ended.
func (j *Journal) Runs() (runs []Run, goesOn bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.runs) == 0 && !j.meta.Started.IsZero() { // of a version before
		j.runs = []Run{{N: j.meta.Started.UnixMicro(), Started: j.meta.Started, From: j.state.Birth}}
	}
	if len(j.runs) > 0 && j.runs[0].From < j.state.Birth { // of a log that was found empty, and began later
		j.runs = slices.Clone(j.runs)
		for i := range j.runs {
			j.runs[i].From = max(j.runs[i].From, j.state.Birth)
		}
	}
	goesOn = j.state.Attached > 0 || !j.starting.IsZero() && j.dir.cfg.Clock().Sub(j.starting) < attachedSoon
	if !goesOn {
		j.endRunLocked(time.Time{})
	}
	return j.runs, goesOn
}

// Runs returns the latest runs of a container, as Journal.Runs does; ErrNotFound where
// there is no log of it.
func (d *Dir) Runs(id string) (runs []Run, goesOn bool, err error) {
	j, err := d.Acquire(id)
	if err != nil {
		return nil, false, err
	}
	defer j.Release()
	runs, goesOn = j.Runs()
	return runs, goesOn, nil
}

// Sure reports of a run without lines, which may have ended, whether it is one, and
// whether that is known by now.
func (r *Run) Sure(now time.Time, ended bool) (is, sure bool) {
	return !r.Asked, ended || !r.Asked && now.Sub(r.Started).Abs() >= askedWithin
}

// Asked notes that somebody has asked for the log.
func (j *Journal) Asked() {
	j.mu.Lock()
	n := len(j.runs) - 1
	made := n >= 0 && j.state.Attached > 0 && !j.runs[n].Asked && j.runs[n].From == j.state.End && j.dir.cfg.Clock().Sub(j.runs[n].Started) < askedWithin
	if made {
		j.changeRunLocked(func(r *Run) { r.Asked = true })
	}
	j.mu.Unlock()
	if made && j.of != nil {
		j.of.disk.Lock()
		j.saveRuns()
		j.of.disk.Unlock()
	}
}

// beginRunLocked notes a start, unless it is known, or is none.
func (j *Journal) beginRunLocked(c Container, now time.Time) {
	last := Run{}
	if n := len(j.runs); n > 0 {
		last = j.runs[n-1]
	}
	known := c.FIFO != "" && last.FIFO == c.FIFO
	if known || j.state.Attached > 0 && last.N != 0 && now.Sub(last.Started).Abs() < attachedAgain {
		return
	}
	j.endRunLocked(time.Time{}) // nobody has seen its end
	r := Run{N: max(now.UnixMicro(), last.N+1), Started: c.Started, From: j.state.End, FIFO: c.FIFO}
	if r.Started.IsZero() {
		r.Started = now
	}
	j.runs = append(slices.Clone(j.runs[max(0, len(j.runs)-maxRuns+1):]), r)
	j.runsUnsaved, j.starting = true, now
}

// endRunLocked notes when the last run ended, if that isn't known; the zero time has it
// be when its last line was written.
func (j *Journal) endRunLocked(at time.Time) {
	n := len(j.runs) - 1
	if n < 0 || !j.runs[n].Ended.IsZero() {
		return
	}
	if at.IsZero() {
		at = j.runs[n].Started
		for i := len(j.segments) - 1; i >= 0; i-- {
			if s := j.segments[i]; s.maxTime != noTime {
				if t := time.Unix(0, s.maxTime); t.After(at) {
					at = t
				}
				break
			}
		}
	}
	j.changeRunLocked(func(r *Run) { r.Ended = at })
}

// goOnLocked has the last run, which seemed to have ended, go on.
func (j *Journal) goOnLocked() {
	if n := len(j.runs) - 1; n >= 0 && !j.runs[n].Ended.IsZero() {
		j.changeRunLocked(func(r *Run) { r.Ended = time.Time{} })
	}
}

// changeRunLocked changes the last run. Those that were returned stay as they are.
func (j *Journal) changeRunLocked(change func(*Run)) {
	j.runs = slices.Clone(j.runs)
	change(&j.runs[len(j.runs)-1])
	j.runsUnsaved = true
}

// saveRuns writes what is known of runs; the log's disk lock is held.
func (j *Journal) saveRuns() {
	j.mu.Lock()
	runs, unsaved := j.runs, j.runsUnsaved
	j.runsUnsaved = false
	j.mu.Unlock()
	if !unsaved {
		return
	}
	b, err := json.Marshal(runs)
	if err == nil {
		err = replaceFile(filepath.Join(j.path, runsName), append(b, '\n'), false)
	}
	j.onDisk.Store(false)
	if err != nil {
		j.log.Warn("when the container was started is not noted", "container", j.id, "err", err)
		j.mu.Lock()
		j.runsUnsaved = true
		j.mu.Unlock()
	}
}

// readRuns reads what is known of runs; where that can't be read, nothing is.
func (j *Journal) readRuns() error {
	f, err := os.Open(filepath.Join(j.path, runsName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var runs []Run
	if err := json.NewDecoder(io.LimitReader(f, metaMax)).Decode(&runs); err != nil {
		j.log.Warn("when the container was started is not readable", "container", j.id, "err", err)
		return nil
	}
	for i := 1; i < len(runs); i++ {
		if runs[i].N <= runs[i-1].N || runs[i].From < runs[i-1].From {
			return nil
		}
	}
	j.runs = runs
	return nil
}
