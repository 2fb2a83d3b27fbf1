package faults

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/enginetest/trap"
)

// step is a kind of calls: to which function, about which kind of file.
type step struct{ call, class string }

func (s step) String() string { return s.call + " " + s.class }

// calls are those that change files or read them, as trap takes them.
var calls = []string{
	"fallocate", "fdatasync", "fsync", "ftruncate", "linkat", "mkdir", "mkdirat", "open/2&0x40", "openat/2&0x40",
	"pread64", "pwrite64", "read", "rename", "renameat", "renameat2", "rmdir", "splice", "symlinkat", "unlink", "unlinkat", "write",
}

// trapped is a call's entry in calls.
func trapped(call string) string {
	return calls[slices.IndexFunc(calls, func(c string) bool { return c == call || strings.HasPrefix(c, call+"/") })]
}

// reads tells which calls change nothing.
func (s step) reads() bool { return s.call == "read" || s.call == "pread64" }

// stepOf tells which step of a worker with a data directory a call is; false if
// it is about something else.
func stepOf(c *trap.Call, data string) (step, bool) {
	path := c.Target()
	if c.Name == "splice" && strings.HasPrefix(path, "pipe:") {
		return step{c.Name, outOfFIFO}, true
	}
	name, below := strings.CutPrefix(path, data)
	if !below {
		return step{}, false
	}
	return step{c.Name, classOf(name)}, true
}

// outOfFIFO is the class of what takes out of a FIFO that which is written already.
const outOfFIFO = "out of a FIFO"

// classOf names the kind of a file by its path below the data directory.
func classOf(path string) string {
	base := strings.TrimSuffix(filepath.Base(path), " (deleted)")
	new := ""
	if name, is := strings.CutSuffix(base, ".tmp"); is {
		base, new = name, "new "
	}
	in := strings.SplitN(strings.Trim(path, "/"), "/", 2)[0]
	switch {
	case strings.HasSuffix(base, ".seg"):
		return new + "segment"
	case strings.HasSuffix(base, ".idx"):
		return "index"
	case strings.HasSuffix(base, ".zst"):
		return new + "compressed segment"
	case base == "container.json":
		return new + base
	case in == "attachments" && base != in:
		return new + "attachment record"
	case in == "unanswered" && base != in:
		return "unanswered call"
	case base == "transfer":
		return base
	case strings.HasPrefix(base, "logscan.db"):
		return strings.Replace(base, "logscan.db", "database", 1)
	case strings.Contains(base, "."), base == "lock", base == "losses", base == "passed":
		return base
	}
	return "directory"
}

// patience is how long lines wait for a disk, and readers of logs too.
const patience = 5 * time.Second

// fault is what happens to some calls of a kind.
type fault struct {
	step
	nth   int           // the first one that it hits, from 1
	errno unix.Errno    // 0: SIGKILL
	done  bool          // what was asked for is done all the same
	lasts time.Duration // all of the kind that come so soon; 0: one

	mu    sync.Mutex // guards the rest
	seen  int
	hit   int
	began time.Time
}

func (f *fault) String() string {
	what := "SIGKILL"
	if f.errno != 0 {
		what = unix.ErrnoName(f.errno)
	}
	if f.done {
		what += " though done"
	}
	if f.lasts > 0 {
		what += fmt.Sprintf(" for %s", f.lasts)
	}
	return fmt.Sprintf("%s #%d: %s", f.step, f.nth, what)
}

// over tells whether it has hit a call, and hits none any more.
func (f *fault) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit > 0 && (f.lasts == 0 || time.Since(f.began) > f.lasts)
}

// hits counts a call, and tells whether it is one to fail.
func (f *fault) hits() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch f.seen++; {
	case f.seen < f.nth:
		return false
	case f.hit == 0:
		f.began = time.Now()
	case f.lasts == 0 || time.Since(f.began) > f.lasts:
		return false
	}
	f.hit++
	return true
}

// answer does to a call what is to be done to it.
func (f *fault) answer(c *trap.Call, data string) trap.Answer {
	if s, ours := stepOf(c, data); !ours || s != f.step || !f.hits() {
		return trap.Continue
	}
	if f.done && !f.reads() {
		do := c.Do
		if f.errno != 0 && c.Name == "splice" {
			do = c.DoKeeping // as where the disk fails behind the page cache
		}
		if _, err := do(); err != nil {
			var errno unix.Errno
			if errors.As(err, &errno) {
				return trap.Fail(errno) // it would have failed in any case
			}
			return trap.Continue // it has been killed
		}
	}
	if f.errno == 0 {
		c.Kill()
		return trap.Fail(unix.EINTR) // to continue might do it, before the signal comes
	}
	return trap.Fail(f.errno)
}

// faultsOf are all that may happen at a step that occurs so many times.
func faultsOf(s step, occurs int) (out []*fault) {
	nths := []int{1}
	if occurs > 2 {
		nths = append(nths, occurs/3) // how many there are varies
	}
	for _, nth := range nths {
		for _, done := range []bool{false, true} {
			if done && s.reads() {
				continue
			}
			out = append(out, &fault{step: s, nth: nth, done: done})
			if s.class == outOfFIFO { // no disk has a part in it
				continue
			}
			for _, errno := range []unix.Errno{unix.EIO, unix.ENOSPC} {
				if errno == unix.ENOSPC && (s.reads() || strings.HasPrefix(s.call, "unlink") || s.call == "rmdir") {
					continue
				}
				lasting := []time.Duration{0, 2 * time.Second}
				if (s.class == "segment" || s.class == "transfer") && !s.reads() {
					lasting = append(lasting, patience+2*time.Second)
				}
				for _, lasts := range lasting {
					out = append(out, &fault{step: s, nth: nth, errno: errno, done: done, lasts: lasts})
				}
			}
		}
	}
	return out
}
