package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/config"
	"logscan/internal/event"
	"logscan/internal/store"
)

const (
	// filesSource is what the files that are mounted are called as a source.
	filesSource = "file:config"
	// filesEvery is how often it is looked whether they have changed; they are applied
	// when they were the same twice, so that one that is being written isn't.
	filesEvery = time.Second
	// filesAgain is how soon it is tried again to store what is right.
	filesAgain = 10 * time.Second
	// wrongAgain is how soon it is tried again to apply what was wrong.
	wrongAgain = time.Minute
	// maxWatched is how many files and directories are looked at.
	maxWatched = 10_000
	// maxWrong bounds what is told of what is wrong with them, in bytes.
	maxWrong = 1000
)

// files are those that are mounted.
type files struct {
	dir         string
	checkTarget func(string) error
}

// mounted reports whether there is a directory for them: where none is set, there is what
// config.json mounts instead, which is in /proc.
func (f files) mounted() bool {
	var st unix.Statfs_t
	if err := unix.Statfs(f.dir, &st); err != nil {
		return false
	}
	return st.Type != unix.PROC_SUPER_MAGIC
}

// state is another one whenever files were changed.
func (f files) state() (string, error) {
	sum, left := sha256.New(), maxWatched
	err := filepath.WalkDir(f.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if left--; left < 0 {
			return fmt.Errorf("there are more than %d files and directories", maxWatched)
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil { // of what a link leads to
			return err
		}
		fmt.Fprintf(sum, "%q %d %d %d %d %d\n", path, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano(), st.Mode)
		return nil
	})
	return string(sum.Sum(nil)), err
}

// watchFiles applies the files that are mounted, at once and whenever they have changed,
// until ctx ends. What is wrong leaves all as it was, and is told.
func (s *scanning) watchFiles(ctx context.Context, f files) {
	if f.dir == "" || !f.mounted() {
		return
	}
	tick := time.NewTicker(filesEvery)
	defer tick.Stop()
	applied, seen := "", ""
	var again time.Time
	for {
		state, err := f.state()
		switch {
		case err != nil:
			s.filesWrong(err.Error())
		case state == applied && (again.IsZero() || time.Now().Before(again)):
		case seen == state || seen == "":
			applied, again = state, time.Time{}
			if err := s.applyFiles(ctx, f); err != nil && ctx.Err() == nil {
				again = time.Now().Add(filesAgain)
				s.log.Error("files not applied; trying again", "dir", f.dir, "err", err)
				s.filesWrong(err.Error())
			} else if s.wrong.Load() != nil { // it may be about what isn't in the files
				again = time.Now().Add(wrongAgain)
			}
		}
		seen = state
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// applyFiles applies the files. Its error is one that may pass; what is wrong with them is
// told.
func (s *scanning) applyFiles(ctx context.Context, f files) error {
	read, err := config.Load(f.dir)
	if err != nil {
		s.filesWrong(err.Error())
		return nil
	}
	var plan *config.Plan
	set, err := config.Parse(read, config.Local(f.dir))
	if err == nil {
		last, bad := s.store.Digest(ctx, filesSource)
		if bad != nil {
			return bad
		}
		if last == set.Digest {
			s.filesRight()
			return nil
		}
		plan, err = set.Apply(ctx, s.store, config.Options{Source: filesSource, Prune: true, CheckTarget: f.checkTarget})
	}
	var wrong *config.Problems
	switch {
	case errors.As(err, &wrong):
		s.filesWrong(wrong.Error())
		return nil
	case err != nil:
		return err
	}
	s.filesRight()
	if len(plan.Changes) == 0 {
		return s.reload(ctx)
	}
	ev := event.Event{
		Source: event.System, Severity: event.Info, Message: "The files of " + configMount + " are applied: " + changed(plan.Changes) + ".",
		Metadata: map[string]any{"about": "config", "changes": len(plan.Changes)},
	}
	if _, err := s.store.Commit(ctx, store.Batch{Events: []event.Event{ev}}, s.router.Match); err != nil {
		s.log.Error("event about files that are applied not kept", "err", err)
	}
	return s.reload(ctx)
}

// filesWrong has what is wrong with the files be told.
func (s *scanning) filesWrong(why string) {
	why = strings.TrimSuffix(strings.ReplaceAll(strings.ReplaceAll(why, "\n    ", " | "), "\n", "; "), ".")
	if len(why) > maxWrong {
		why = strings.ToValidUTF8(why[:maxWrong], "") + "…"
	}
	if was := s.wrong.Load(); was != nil && *was == why {
		return
	}
	s.log.Error("files not applied", "dir", configMount, "why", why)
	s.wrong.Store(&why)
	s.tellNotices()
}

// filesRight takes it back.
func (s *scanning) filesRight() {
	if s.wrong.Swap(nil) != nil {
		s.tellNotices()
	}
}

// changed says how much a plan changes: "2 rules added, 1 trigger changed".
func changed(changes []config.Planned) string {
	word := map[string]string{config.Add: "added", config.Change: "changed", config.Adopt: "taken over", config.Remove: "removed"}
	type what struct{ kind, action string }
	var order []what
	count := map[what]int{}
	for _, c := range changes {
		w := what{c.Kind, c.Action}
		if count[w]++; count[w] == 1 {
			order = append(order, w)
		}
	}
	var out []string
	for _, w := range order {
		plural := "s"
		if count[w] == 1 {
			plural = ""
		}
		out = append(out, fmt.Sprintf("%d %s%s %s", count[w], w.kind, plural, word[w.action]))
	}
	return strings.Join(out, ", ")
}
