// Package suggestion finds out which packs are for what runs: by images, and by what
// containers have written.
package suggestion

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"logscan/internal/config"
	"logscan/internal/journal"
	"logscan/internal/lines"
	"logscan/internal/packs"
	"logscan/internal/query"
	"logscan/internal/rule"
)

// Query asks which packs are for what runs.
type Query struct {
	Since time.Time       // what packs would have told since then is told
	Added map[string]bool // packs that are left out, by name
}

// List are packs that are for what runs.
type List struct {
	Items    []Item    // by workload and pack, the pack for any program last
	Until    time.Time // what is newer was not read
	Complete bool      // all was read; else counts may be too small
}

// Item is a pack that is for a workload.
type Item struct {
	Pack      string
	Workload  string // "" for the pack that is for any program
	Container string // name of one of the workload's
	Image     string // of that container, where it is why; else ""
	Shapes    int    // of the pack's lines that the container wrote, where that is why; else 0
	Rules     []Found
	Incidents int64 // of all rules
}

// Found is what a rule of a pack would have told.
type Found struct {
	Rule      string // its key
	Hits      int64
	Incidents int64
	Last      query.BacktestSample // the last hit; zero without any
}

// Backtester runs a backtest, as package query's RunBacktest does.
type Backtester func(context.Context, query.BacktestQuery) (query.Backtest, error)

// Bounds of what is read to find out of which program a container is.
const (
	maxLooked      = 256     // containers, of which the logs are sampled
	maxSampleLines = 2000    // of each, the first and the latest
	maxSampleBytes = 1 << 20 // of its log, uncompressed, about, of each of these
	maxSuggestions = 200
)

// Find looks at the images, and the first and the latest lines, of containers that run, or wrote
// lines in the time that is asked about, and says of which programs with a pack they are.
// Packs are tried on the lines since then: one pass finds the rules that match anything,
// and only of these a backtest is run. What is read is bounded by ctx alone: where its
// time is over, what was found by then is told, and isn't complete.
func Find(ctx context.Context, journals *journal.Dir, backtest Backtester, q Query) (List, error) {
	s := suggesting{journals: journals, query: q, matched: map[int64]map[string]bool{}}
	s.out = List{Until: time.Now().UTC(), Complete: true}
	for _, p := range packs.All() {
		if !q.Added[p.Name] {
			s.of = append(s.of, candidate{Pack: p, rules: p.Set().Rules})
		}
	}
	for k := range s.of {
		for n, r := range s.of[k].rules {
			r.Value.ID = int64(k)<<16 | int64(n+1)
		}
	}
	err := s.look(ctx)
	if err == nil {
		err = s.matchFor(ctx)
	}
	if err == nil {
		err = s.try(ctx, backtest)
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return List{}, err
	}
	s.out.Complete = s.out.Complete && err == nil
	return s.out, nil
}

// suggesting is a query under way.
type suggesting struct {
	journals *journal.Dir
	query    Query
	of       []candidate
	infos    []journal.Info            // whose logs are looked at
	matched  map[int64]map[string]bool // the workloads in which a rule matched, by its id
	out      List
}

// candidate is a pack that isn't added.
type candidate struct {
	packs.Pack
	rules []*config.Rule
}

// look finds out of which programs containers are.
func (s *suggesting) look(ctx context.Context) error {
	for _, i := range s.journals.List() {
		if i.Scan && i.Workload != "" && (i.Attached > 0 || !i.LastLine.Before(s.query.Since)) {
			s.infos = append(s.infos, i)
		}
	}
	// Those that run come first, and of these the ones that wrote last.
	slices.SortStableFunc(s.infos, func(a, b journal.Info) int {
		return cmp.Or(cmp.Compare(min(b.Attached, 1), min(a.Attached, 1)), b.Latest.Compare(a.Latest))
	})
	known := map[[2]string]bool{} // pack and workload
	suggest := func(i *journal.Info, pack, image string, shapes int) {
		if key := [2]string{pack, i.Workload}; !known[key] && len(known) < maxSuggestions {
			known[key] = true
			s.out.Items = append(s.out.Items, Item{Pack: pack, Workload: i.Workload, Container: i.Name, Image: image, Shapes: shapes})
		}
	}
	for n := range s.infos {
		i := &s.infos[n]
		by := false
		for _, p := range s.of {
			of := rule.Rule{Images: p.Images}
			if len(p.Images) > 0 && of.Holds(rule.Container{Image: i.Image}) {
				by = true
				suggest(i, p.Name, i.Image, 0)
			}
		}
		if by || n >= maxLooked {
			continue
		}
		looks, err := s.sample(ctx, i.ID)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(looks.found)) {
			if looks.found[name] >= enoughShapes && name != packs.Common && !s.query.Added[name] {
				suggest(i, name, "", looks.found[name])
			}
		}
	}
	slices.SortStableFunc(s.out.Items, func(a, b Item) int {
		return cmp.Or(strings.Compare(a.Workload, b.Workload), strings.Compare(a.Pack, b.Pack))
	})
	if !s.query.Added[packs.Common] {
		s.out.Items = append(s.out.Items, Item{Pack: packs.Common})
	}
	return nil
}

// sample looks at a container's latest lines, and at the first ones that are kept: when
// programs start, they say more than later. What can't be read is left out.
func (s *suggesting) sample(ctx context.Context, id string) (out looking, err error) {
	j, err := s.journals.Acquire(id)
	if err != nil {
		return out, nil // it has just been removed
	}
	defer j.Release()
	first, end := j.Bounds()
	tail, err := j.SeekTail(maxSampleLines)
	for n := int64(maxSampleLines / 2); err == nil && n > 0 && end-tail > maxSampleBytes; n /= 2 {
		tail, err = j.SeekTail(n) // lines are long
	}
	if err != nil {
		return out, nil
	}
	if first < tail {
		if err := out.read(ctx, j, first, tail); err != nil {
			return out, err
		}
	}
	return out, out.read(ctx, j, tail, end)
}

// read looks at the lines between two offsets, as many as a sample has.
func (l *looking) read(ctx context.Context, j *journal.Journal, from, to int64) error {
	src := lines.New(j, lines.Position{Next: from}, lines.Config{Aside: true})
	defer src.Close()
	to = min(to, from+maxSampleBytes)
	for n := 0; n < maxSampleLines && src.Offset() < to; n++ {
		if n%lookEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			runtime.Gosched()
		}
		line, err := src.Next()
		if err != nil {
			return nil
		}
		l.add(line.Text)
	}
	return nil
}

// lookEvery is how many lines are read between two looks whether to go on.
const lookEvery = 64

// matchFor is match with half of the time that there is: the rest is for backtests.
func (s *suggesting) matchFor(ctx context.Context) error {
	half := ctx
	if end, bounded := ctx.Deadline(); bounded {
		var cancel context.CancelFunc
		half, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	err := s.match(half)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		s.out.Complete, err = false, nil
	}
	return err
}

// match finds the rules that match any line.
func (s *suggesting) match(ctx context.Context) error {
	snapshots := map[string]*rule.Snapshot{} // by the names of packs
	for _, i := range s.infos {
		var names []string
		for _, item := range s.out.Items {
			if item.Workload == i.Workload || item.Pack == packs.Common {
				names = append(names, item.Pack)
			}
		}
		key := strings.Join(names, " ")
		snapshot := snapshots[key]
		if snapshot == nil {
			var rules []rule.Rule
			for _, p := range s.of {
				for _, r := range p.rules {
					if slices.Contains(names, p.Name) {
						v := r.Value
						v.RecordStart = "" // records are made by their form here
						rules = append(rules, v)
					}
				}
			}
			snapshot, _ = rule.Compile(rules)
			snapshots[key] = snapshot
		}
		if len(names) == 0 || i.LastLine.Before(s.query.Since) {
			continue
		}
		if err := s.matchOf(ctx, i, snapshot); err != nil {
			return err
		}
	}
	return nil
}

// matchOf finds the rules that match any line of a container.
func (s *suggesting) matchOf(ctx context.Context, i journal.Info, snapshot *rule.Snapshot) error {
	j, err := s.journals.Acquire(i.ID)
	if errors.Is(err, journal.ErrNotFound) {
		return nil // it has just been removed
	}
	if err != nil {
		return err
	}
	defer j.Release()
	since := s.query.Since.UnixNano()
	from, err := j.SeekTime(since)
	if err != nil {
		return err
	}
	_, end := j.Bounds()
	src := lines.New(j, lines.Position{Next: from}, lines.Config{Aside: true})
	defer src.Close()
	matching := snapshot.ForContainer(rule.Container{Workload: i.Workload, Name: i.Name, Image: i.Image, Labels: i.Labels}).Begin()
	defer matching.End()
	var records lines.Records
	var record rule.Record
	take := func(of *lines.Record) {
		record.Lines = record.Lines[:0]
		for k := range of.Lines {
			l := &of.Lines[k]
			record.Lines = append(record.Lines, rule.Line{Stream: l.Stream, TimeNano: l.TimeNano, Text: l.Text})
		}
		var state rule.State
		matching.Evaluate(&state, record, nil, func(rule.Line, int) {
			for _, r := range matching.Telling() {
				if s.matched[r.ID] == nil {
					s.matched[r.ID] = map[string]bool{}
				}
				s.matched[r.ID][i.Workload] = true
			}
		})
		matching.TakeMatches()
	}
	for n := 0; src.Offset() < end; n++ {
		if n%lookEvery == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			runtime.Gosched()
		}
		l, err := src.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if l.TimeNano < since {
			continue
		}
		if at, ended := src.TakeEnd(); ended {
			records.End(at, take)
		}
		records.Add(&l, nil, take)
	}
	records.End(math.MaxInt64, take)
	return nil
}

// try runs the backtests of rules that matched.
func (s *suggesting) try(ctx context.Context, backtest Backtester) error {
	for n := range s.out.Items {
		item := &s.out.Items[n]
		k := slices.IndexFunc(s.of, func(c candidate) bool { return c.Name == item.Pack })
		for _, r := range s.of[k].rules {
			in := s.matched[r.Value.ID]
			if len(in) == 0 || item.Workload != "" && !in[item.Workload] {
				continue
			}
			of := r.Value
			of.ID = 0
			b, err := backtest(ctx, query.BacktestQuery{Rule: of, Since: s.query.Since, Until: s.out.Until, Workload: item.Workload})
			if err != nil {
				return err
			}
			s.out.Complete = s.out.Complete && b.Complete
			if b.Hits > 0 {
				found := Found{Rule: r.Key, Hits: b.Hits, Incidents: b.Incidents}
				if len(b.Samples) > 0 {
					found.Last = b.Samples[0]
				}
				item.Rules = append(item.Rules, found)
				item.Incidents += b.Incidents
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		slices.SortStableFunc(item.Rules, func(a, b Found) int { return cmp.Compare(b.Incidents, a.Incidents) })
	}
	return nil
}
