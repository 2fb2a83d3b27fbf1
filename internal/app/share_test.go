package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/entry"
	"logscan/internal/fields"
	"logscan/internal/journal"
	"logscan/internal/rule"
)

// written makes the log of a container, of entries.
func written(t *testing.T, dir *journal.Dir, c journal.Container, entries ...entry.Entry) {
	t.Helper()
	c.Options = journal.DefaultOptions
	j, err := dir.Create(c)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Release()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	a := j.Attach(false)
	defer a.Detach()
	for _, e := range entries {
		for b := entry.Append(nil, &e); len(b) > 0; {
			n, err := unix.Write(p[1], b)
			if err != nil {
				t.Fatal(err)
			}
			b = b[n:]
			for err == nil {
				_, err = a.Ingest(p[0], 1<<20)
			}
			if err != unix.EAGAIN {
				t.Fatal(err)
			}
		}
	}
}

// A rule is tried on the lines of late of the containers, and the stream, that it is
// for, and on no other.
func TestShare(t *testing.T) {
	dir, err := journal.OpenDir(journal.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	now := time.Now()
	line := func(ago time.Duration, stream, text string) entry.Entry {
		return entry.Entry{Source: stream, TimeNano: now.Add(-ago).UnixNano(), Line: []byte(text)}
	}
	var web []entry.Entry
	for n := range 1000 {
		web = append(web, line(3*time.Hour, "stdout", fmt.Sprint("failed long ago ", n)))
	}
	for n := range 50 {
		web = append(web, line(time.Minute, "stdout", fmt.Sprint("failed ", n)), line(time.Minute, "stdout", "fine"), line(time.Minute, "stderr", "failed on stderr"))
	}
	id := func(n int) string { return fmt.Sprintf("%064x", n) }
	written(t, dir, journal.Container{ID: id(1), Name: "web", Workload: "shop/web", Scan: true, Labels: map[string]string{"env": "live"}}, web...)
	written(t, dir, journal.Container{ID: id(2), Name: "db", Workload: "shop/db", Scan: true}, line(time.Second, "stdout", "failed"), line(0, "stdout", "failed quietly"))
	written(t, dir, journal.Container{ID: id(3), Name: "not", Workload: "shop/web"}, line(time.Second, "stdout", "failed"))
	written(t, dir, journal.Container{ID: id(4), Name: "none", Workload: "shop/none", Scan: true})

	for name, c := range map[string]struct {
		change         func(*rule.Rule)
		matched, lines int64
	}{
		"all":         {func(*rule.Rule) {}, 102, 152},
		"stream":      {func(r *rule.Rule) { r.Streams = "stderr" }, 50, 50},
		"workload":    {func(r *rule.Rule) { r.WorkloadID = "shop/db" }, 2, 2},
		"override":    {func(r *rule.Rule) { r.WorkloadID, r.OverridesID = "shop/db", 7 }, 2, 2},
		"container":   {func(r *rule.Rule) { r.Names = fields.List[string]{"d*"} }, 2, 2},
		"label":       {func(r *rule.Rule) { r.Labels = fields.List[string]{"env=live"} }, 100, 150},
		"ignore":      {func(r *rule.Rule) { r.Ignore = fields.Texts{"quietly", "stderr"} }, 51, 152},
		"off":         {func(r *rule.Rule) { r.State, r.Enabled = rule.Off, false }, 102, 152},
		"none":        {func(r *rule.Rule) { r.Pattern = "nothing" }, 0, 152},
		"cooldown":    {func(r *rule.Rule) { r.CooldownSeconds = 3600 }, 102, 152},
		"no workload": {func(r *rule.Rule) { r.WorkloadID = "other" }, 0, 0},
		"no lines":    {func(r *rule.Rule) { r.WorkloadID = "shop/none" }, 0, 0},
	} {
		r := rule.New()
		r.ID, r.Name, r.Pattern = 5, "r", "failed"
		c.change(&r)
		want := api.Hint{Since: now.Add(-time.Hour).UTC(), Lines: c.lines, Matched: c.matched}
		if got, err := share(t.Context(), dir, r, now, usualShare); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}

	r := rule.New()
	r.ID, r.Name, r.Pattern = 5, "r", "a("
	if _, err := share(t.Context(), dir, r, now, usualShare); err == nil {
		t.Error("a rule that can't be used is tried")
	}
	r.Pattern = "failed"
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := share(ctx, dir, r, now, usualShare); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that has gone: %v", err)
	}
}

// What is read is bounded, by lines, bytes and time; what is tried then are the newest
// lines, and it is said that there are more.
func TestShareIsBounded(t *testing.T) {
	dir, err := journal.OpenDir(journal.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	now := time.Now()
	for n := range 3 {
		var all []entry.Entry
		for i := range 2000 {
			text := "old"
			if i >= 1000 {
				text = "new"
			}
			all = append(all, entry.Entry{Source: "stdout", TimeNano: now.UnixNano(), Line: []byte(text + strings.Repeat("x", []int{0, 100, 3000}[n]))})
		}
		written(t, dir, journal.Container{ID: fmt.Sprintf("%064x", n), Name: fmt.Sprint("c", n), Workload: "w", Scan: true}, all...)
	}
	r := rule.New()
	r.ID, r.Name, r.Pattern = 5, "r", "new"
	for name, c := range map[string]struct {
		bounds      shareBounds
		least, most int64
		allNew      bool
	}{
		"lines":      {shareBounds{time.Hour, 300, 1 << 30, time.Hour}, 250, 300, true},
		"bytes":      {shareBounds{time.Hour, 1 << 30, 300_000, time.Hour}, 3000, 4200, false},
		"few bytes":  {shareBounds{time.Hour, 1 << 30, 30_000, time.Hour}, 300, 1000, true},
		"no time":    {shareBounds{time.Hour, 1 << 30, 1 << 30, 0}, 0, 0, false},
		"both":       {shareBounds{time.Hour, 3000, 1 << 20, time.Hour}, 1000, 3000, false},
		"all of one": {shareBounds{time.Hour, 1 << 30, 7_000_000, time.Hour}, 6000, 6000, false},
	} {
		got, err := share(t.Context(), dir, r, now, c.bounds)
		whole := c.least == 6000
		if err != nil || got.Lines < c.least || got.Lines > c.most || got.Sample == whole || c.allNew && got.Matched != got.Lines {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
