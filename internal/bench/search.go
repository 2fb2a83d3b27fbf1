package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/entry"
	"logscan/internal/journal"
	"logscan/internal/query"
	"logscan/internal/rule/match/matchtest"
)

const searched = 20 // containers

// What is in the lines that are searched, besides what matchtest makes.
const (
	rareText     = "550e8400-e29b-41d4"
	someText     = "timeout after %dms"
	frequentText = "upstream timed out"
)

// corpus is the same lines as logscan keeps them, as json-file does, and as compressed text.
type corpus struct {
	dir      string
	journals *journal.Dir
	stop     func()
	lines    int
	until    time.Time // behind the last of them; the first is a week older
	raw      int64     // bytes of frames
	packed   int64     // as logscan keeps them
}

func (c *corpus) json() string { return filepath.Join(c.dir, "json") }
func (c *corpus) text() string { return filepath.Join(c.dir, "text") }

// search measures searches beside ripgrep.
func search(b *bench) (*section, error) {
	for _, name := range []string{"rg", "zstdcat"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, fmt.Errorf("%w: Debian's packages ripgrep and zstd have them", err)
		}
	}
	size := b.size
	if size == 0 {
		size = b.pick(1024, 64)
	}
	dir, err := os.MkdirTemp("", "bench-search-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c, err := build(dir, size)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	s := &section{title: "Search"}
	s.say("%d MiB of text, %d lines of a week in %d containers, kept by logscan in compressed segments (%.0f MiB; %.2f of the frames), by json-file, and as text that zstd has compressed. "+
		"All of it has been read before. `rg -j1` counts the lines of json-file's files; logscan gives each hit, in order of time. %d turns, by turns; the load was %s when this began.",
		size, c.lines, searched, float64(c.packed)/(1<<20), float64(c.packed)/float64(c.raw), b.runs, loadAverage())
	searcher := query.New(c.journals, nil, nil)
	// ours returns how long a search takes, in seconds, up to its first hit, and in all.
	ours := func(r query.Request) (first float64, t took, sum query.Summary, err error) {
		began, cpu := time.Now(), ownCPU()
		sum, err = searcher.Search(context.Background(), r, query.Output{Hit: func(*query.Hit) error {
			if first == 0 {
				first = time.Since(began).Seconds()
			}
			return nil
		}})
		return first, took{time.Since(began).Seconds(), ownCPU() - cpu}, sum, err
	}
	quickly := func(shell string) (took, error) {
		began := time.Now()
		cmd := exec.Command("sh", "-c", shell)
		out, err := cmd.CombinedOutput()
		if code := (*exec.ExitError)(nil); errors.As(err, &code) && code.ExitCode() == 1 {
			err = nil // nothing was found
		}
		if err != nil {
			err = fmt.Errorf("%s: %w: %s", shell, err, out)
		}
		return took{time.Since(began).Seconds(), (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}, err
	}
	type asked struct {
		name, pattern          string
		first                  series
		ours, rg, zst          series // wall
		oursCPU, rgCPU, zstCPU series
		sum                    query.Summary
	}
	all := []*asked{
		{name: "one hit: `" + rareText + "`", pattern: rareText},
		{name: "30 hits: `timeout after [0-9]+ms`", pattern: "timeout after [0-9]+ms"},
		{name: "in 1 % of the lines: `" + frequentText + "`", pattern: frequentText},
		{name: "no literal: `[A-Z]{3,}_[A-Z]{2,}_[0-9]{4}`", pattern: "[A-Z]{3,}_[A-Z]{2,}_[0-9]{4}"},
	}
	var hour, whole series
	for n := range b.runs + 1 {
		for _, q := range all {
			first, own, sum, err := ours(query.Request{Pattern: q.pattern})
			if err != nil {
				return nil, err
			}
			rg, err := quickly(fmt.Sprintf("rg -j1 -c '%s' %s", q.pattern, c.json()))
			if err != nil {
				return nil, err
			}
			zst, err := quickly(fmt.Sprintf("zstdcat %s/* | rg -c '%s'", c.text(), q.pattern))
			if err != nil {
				return nil, err
			}
			if q.sum = sum; n > 0 { // the first turn reads all of it into memory
				q.first, q.ours, q.rg, q.zst = append(q.first, first), append(q.ours, own.wall), append(q.rg, rg.wall), append(q.zst, zst.wall)
				q.oursCPU, q.rgCPU, q.zstCPU = append(q.oursCPU, own.cpu), append(q.rgCPU, rg.cpu), append(q.zstCPU, zst.cpu)
			}
		}
		_, short, _, err := ours(query.Request{Pattern: all[3].pattern, Since: c.until.Add(-time.Hour)})
		if err != nil {
			return nil, err
		}
		if n > 0 {
			hour, whole = append(hour, short.wall), append(whole, all[3].ours[n-1])
		}
		progress("%s: turn %d of %d", s.title, n, b.runs)
	}
	var rows [][]string
	for _, q := range all {
		rows = append(rows, []string{
			q.name, fmt.Sprint(q.sum.Hits), q.ours.String(), number(float64(q.sum.Bytes) / float64(c.raw)), q.rg.String(), q.zst.String(),
			number(q.ours.ratios(q.rg).median()), number(q.ours.ratios(q.zst).median()),
			q.oursCPU.String(), number(q.oursCPU.ratios(q.rgCPU).median()), number(q.oursCPU.ratios(q.zstCPU).median()),
		})
	}
	s.table([]string{"", "hits", "logscan s", "of the log read", "rg -j1 s", "zstdcat, rg s", "of rg -j1's", "of zstdcat's and rg's", "logscan CPU s", "of rg -j1's CPU", "of zstdcat's and rg's CPU"}, rows)
	if got := all[0].sum.Hits; got != 1 {
		return nil, fmt.Errorf("%s was found %d times", rareText, got)
	}
	if got := all[1].sum.Hits; got != 30 {
		return nil, fmt.Errorf("%s was found %d times", someText, got)
	}
	s.target("one hit: wall, of rg -j1's", all[0].ours.ratios(all[0].rg).median(), .1, "")
	s.target("30 hits: wall, of rg -j1's", all[1].ours.ratios(all[1].rg).median(), 1, "")
	s.target("in 1 % of the lines: wall, of zstdcat's and rg's", all[2].ours.ratios(all[2].zst).median(), 1, "")
	s.target("no literal, the last hour: wall, of the whole week's", hour.ratios(whole).median(), .02, "")
	s.target("in 1 % of the lines: the first hit", all[2].first.median()*1000, 50, " ms")
	return s, nil
}

// took is what something took, in seconds.
type took struct{ wall, cpu float64 }

// ownCPU is what this process has taken of the processor so far, in seconds.
func ownCPU() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// build makes a corpus of so many MiB of text.
func build(dir string, size int) (*corpus, error) {
	d, err := journal.OpenDir(journal.Config{Root: filepath.Join(dir, "journal"), HoldMax: 1 << 40, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan struct{})
	go func() { d.Run(ctx); close(running) }()
	c := &corpus{dir: dir, journals: d, until: time.Now().Truncate(time.Second), stop: func() { cancel(); <-running; d.Close() }}
	for _, sub := range []string{c.json(), c.text()} {
		if err := os.Mkdir(sub, 0o755); err != nil {
			return nil, err
		}
	}
	for n := range searched {
		if err := c.container(n, size<<20/searched); err != nil {
			c.stop()
			return nil, err
		}
	}
	progress("Search: %d lines are written; they are compressed", c.lines)
	for deadline := time.Now().Add(10 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		raw, err := filepath.Glob(filepath.Join(dir, "journal", "*", "*.seg"))
		if err == nil && len(raw) > searched && time.Now().After(deadline) {
			err = fmt.Errorf("%d segments aren't compressed after 10 minutes", len(raw)-searched)
		}
		if err != nil {
			c.stop()
			return nil, err
		}
		if len(raw) <= searched { // the newest ones
			break
		}
	}
	packed, err := filepath.Glob(filepath.Join(dir, "journal", "*", "*.seg.zst"))
	for _, name := range packed {
		if info, err := os.Stat(name); err == nil {
			c.packed += info.Size()
		}
	}
	return c, err
}

// container writes the lines of one.
func (c *corpus) container(n, size int) error {
	id := fmt.Sprintf("%064x", n+1)
	lines := matchtest.Split(matchtest.Mixed(size, nil, 0, uint64(n)))
	var frames, jsons, texts bytes.Buffer
	var frame []byte
	for i, l := range lines {
		switch {
		case n == 7 && i == len(lines)/3:
			l = fmt.Appendf(nil, "%s request %s-a716-446655440000 done", l, rareText)
		case n < 15 && (i == len(lines)/5 || i == len(lines)*4/5):
			l = fmt.Appendf(nil, "%s "+someText, l, 100+n)
		case i%100 == 99:
			l = fmt.Appendf(nil, "%s %s", l, frequentText)
		}
		at := c.until.Add(-7 * 24 * time.Hour).Add(time.Duration(float64(7*24*time.Hour) * float64(i) / float64(len(lines))))
		frame = entry.Append(frame[:0], &entry.Entry{Source: "stdout", TimeNano: at.UnixNano(), Line: l})
		frames.Write(frame)
		text, err := json.Marshal(string(l) + "\n")
		if err != nil {
			return err
		}
		fmt.Fprintf(&jsons, "{\"log\":%s,\"stream\":\"stdout\",\"time\":\"%s\"}\n", text, at.UTC().Format(time.RFC3339Nano))
		texts.Write(l)
		texts.WriteByte('\n')
	}
	c.lines += len(lines)
	c.raw += int64(frames.Len())
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	defer enc.Close()
	if err := errors.Join(
		os.WriteFile(filepath.Join(c.json(), id+"-json.log"), jsons.Bytes(), 0o644),
		os.WriteFile(filepath.Join(c.text(), id+".zst"), enc.EncodeAll(texts.Bytes(), nil), 0o644),
	); err != nil {
		return err
	}
	// What is behind the last rotation isn't compressed: it is to be little.
	segments := max(1, frames.Len()/(20<<20))
	most := int64(float64(frames.Len()/segments) * .985)
	j, err := c.journals.Create(journal.Container{ID: id, Name: fmt.Sprint("box-", n), Options: journal.Options{MaxSize: most, MaxFile: 1000, Compress: true}})
	if err != nil {
		return err
	}
	defer j.Release()
	w := j.Attach(false)
	defer w.Detach()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	for b := frames.Bytes(); len(b) > 0; {
		n, err := unix.Write(pipe[1], b[:min(len(b), 16<<10)])
		if err != nil && err != unix.EAGAIN {
			return err
		}
		b = b[max(n, 0):]
		for {
			if _, err := w.Ingest(pipe[0], 1<<20); errors.Is(err, unix.EAGAIN) || err == io.EOF {
				break
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// searching has four searches run through the API, again and again, until it is told to end.
func searching(socket string) (end func() error, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, query.DefaultQueries)
	for range query.DefaultQueries {
		go func() { ended <- searchOn(ctx, socket) }()
	}
	return func() error {
		cancel()
		var all []error
		for range query.DefaultQueries {
			all = append(all, <-ended)
		}
		return errors.Join(all...)
	}, nil
}

// searchOn searches until ctx ends.
func searchOn(ctx context.Context, socket string) error {
	client := api.Dial(socket)
	defer client.Close()
	for ctx.Err() == nil {
		_, err := client.Search(ctx, api.SearchQuery{Pattern: "[0-9]{3}[a-z]{40}z"}, func(api.SearchRecord) error { return nil })
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}
