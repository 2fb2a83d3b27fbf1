package query

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/journal"
)

// expected is what a slow search gives: it goes through what was written.
func expected(t testing.TB, logs []*log, r Request) []string {
	t.Helper()
	expr := r.Pattern
	if r.Fixed {
		expr = regexp.QuoteMeta(expr)
	}
	if r.IgnoreCase {
		expr = "(?i)" + expr
	}
	re := regexp.MustCompile(expr)
	type found struct {
		key  int64
		id   string
		to   int64
		text string
	}
	var all []found
	for _, l := range logs {
		c := l.j.Container()
		named := len(r.Containers) == 0
		for _, name := range r.Containers {
			named = named || c.Name == name || strings.HasPrefix(c.ID, name)
		}
		if !named || r.Workload != "" && c.Workload != r.Workload {
			continue
		}
		first := l.j.State().First
		var kept []*written
		for _, w := range l.lines {
			if w.to() > first && w.finished {
				kept = append(kept, w)
			}
		}
		slices.SortFunc(kept, func(a, b *written) int { return cmp.Compare(a.to(), b.to()) })
		show := func(w *written, most int) string {
			text := strings.TrimRight(w.text(first), "\r")
			return fmt.Sprintf("%s %d %q", w.stream, w.nano, text[:min(len(text), most)])
		}
		before := int64(math.MinInt64)
		k := 0
		for _, s := range l.j.Segments() {
			blocks, _ := l.j.Blocks(s.From, nil)
			for _, b := range blocks {
				least := max(before, b.Before)
				run := least
				for ; k < len(kept) && kept[k].to() <= b.To; k++ {
					w := kept[k]
					text := strings.TrimRight(w.text(first), "\r")
					at := max(w.nano, least)
					if re.MatchString(text) == r.Invert || len(r.Where) > 0 && w.status < 300 || r.Stream != "" && r.Stream != "all" && r.Stream != w.stream ||
						!r.Since.IsZero() && at < r.Since.UnixNano() || !r.Until.IsZero() && at >= r.Until.UnixNano() {
						continue
					}
					run = max(run, at)
					var out []string
					for _, w := range kept[max(0, k-r.Before):k] {
						out = append(out, "- "+show(w, maxContextText))
					}
					out = append(out, c.Name+" "+show(w, math.MaxInt))
					for _, w := range kept[k+1 : min(len(kept), k+1+r.After)] {
						out = append(out, "+ "+show(w, maxContextText))
					}
					all = append(all, found{run, c.ID, w.to(), strings.Join(out, "\n")})
				}
			}
			before = max(before, s.MaxTime)
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.id, b.id), cmp.Compare(a.to, b.to))
	})
	if r.Order != Oldest {
		slices.Reverse(all)
	}
	var out []string
	for _, f := range all {
		out = append(out, f.text)
	}
	if r.Limit > 0 {
		out = out[:min(len(out), r.Limit)]
	}
	return out
}

func showLine(l *Line) string { return fmt.Sprintf("%s %d %q", l.Stream, l.TimeNano, l.Text) }

func showHit(h *Hit) string {
	var out []string
	for i := range h.Before {
		out = append(out, "- "+showLine(&h.Before[i]))
	}
	out = append(out, h.Container.Name+" "+showLine(&h.Line))
	for i := range h.After {
		out = append(out, "+ "+showLine(&h.After[i]))
	}
	return strings.Join(out, "\n")
}

// all searches, and goes on where a page ends.
func all(t testing.TB, s *Searcher, r Request) (hits []string, sum Summary) {
	t.Helper()
	left := r.Limit
	for {
		sum, err := s.Search(t.Context(), r, Output{Hit: func(h *Hit) error {
			hits = append(hits, showHit(h))
			return nil
		}})
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		if sum.Skipped != 0 || sum.Undecided != 0 {
			t.Fatalf("%+v: %+v", r, sum)
		}
		if r.From = sum.Next; r.From == "" || left > 0 && len(hits) >= left {
			return hits, sum
		}
	}
}

var patterns = []string{
	"timeout", "error", "Error|kernel", "^GET", "x$", "user=[0-9] .*POST", "ärger", "[0-9]{2}[.]", "", "out of memory", "xxxxxxxx", "nothing like it", "a1b2c3 a1b2c3", "(timeout|upstream) (out|of)",
	"status=50", "[a-c0-9]{6}",
}

// request is any one.
func request(random *rand.Rand, logs []*log) Request {
	odds := func(n int) bool { return random.IntN(n) == 0 }
	r := Request{Pattern: patterns[random.IntN(len(patterns))], IgnoreCase: odds(3), Invert: odds(4)}
	if odds(4) {
		r.Fixed, r.Pattern = true, words[random.IntN(len(words)-1)]
	}
	if odds(4) {
		r.Where = []string{"status >= 300"}
	}
	if odds(3) {
		r.Stream = []string{"all", "stdout", "stderr"}[random.IntN(3)]
	}
	if odds(2) {
		r.Order = Oldest
	}
	l := logs[random.IntN(len(logs))]
	at := func() time.Time { return time.Unix(0, l.lines[random.IntN(len(l.lines))].nano) }
	if odds(3) {
		r.Since = at()
	}
	if odds(3) {
		if r.Until = at(); !r.Since.Before(r.Until) {
			r.Since = time.Time{}
		}
	}
	switch c := l.j.Container(); random.IntN(6) {
	case 0:
		r.Containers = []string{c.Name}
	case 1:
		r.Containers = []string{c.ID[:12], logs[0].j.Container().ID}
	case 2:
		r.Workload = c.Workload
	}
	if odds(3) {
		r.Before, r.After = random.IntN(4), random.IntN(4)
	}
	if odds(3) || r.Before+r.After > 0 {
		r.Limit = 1 + random.IntN(100)
	}
	return r
}

// pages shows the hits of a search, page by page.
func pages(t *testing.T, s *Searcher, page Request, show func(*Hit) string) (got []string) {
	t.Helper()
	for {
		sum, err := s.Search(t.Context(), page, Output{Hit: func(h *Hit) error { got = append(got, show(h)); return nil }})
		if err != nil {
			t.Fatal(err)
		}
		if page.From = sum.Next; page.From == "" {
			return got
		}
	}
}

// agree compares searches with what was written.
func agree(t *testing.T, random *rand.Rand, s *Searcher, logs []*log, n int) {
	t.Helper()
	for range n {
		r := request(random, logs)
		want := expected(t, logs, r)
		got, _ := all(t, s, r)
		if !slices.Equal(got, want) {
			differ(t, r, got, want)
		}
		if r.Limit > 0 { // page by page it is all of them
			r.Before, r.After = 0, 0
			page := r
			r.Limit = 0
			want := expected(t, logs, r)
			page.Limit = max(page.Limit, len(want)/5)
			got := pages(t, s, page, showHit)
			if !slices.Equal(got, want) {
				differ(t, page, got, want)
			}
		}
		if r.Before+r.After == 0 {
			r.Limit, r.Show = 0, Counts
			var n int64
			if _, err := s.Search(t.Context(), r, Output{Found: func(f Found) error { n += f.Hits; return nil }}); err != nil {
				t.Fatal(err)
			}
			if want := len(expected(t, logs, r)); n != int64(want) {
				t.Fatalf("%+v: counted %d; want %d", r, n, want)
			}
		}
	}
}

func differ(t *testing.T, r Request, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Fatalf("%+v: %d hits, want %d; number %d is\n%.600s\nwant\n%.600s", r, len(got), len(want), i, g, w)
		}
	}
}

// TestAgrees compares searches with a slow one over what was written: while segments are
// written, are compressed, and are removed, with hits that have to wait or are given up
// and read again.
func TestAgrees(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			root := t.TempDir()
			dir, err := journal.OpenDir(journal.Config{Root: root, SegmentMin: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			s := New(dir, nil, nil)
			if seed%2 == 1 {
				s.maxWaiting, s.maxTurn = 40<<10, 10<<10
			}
			var logs []*log
			for i := range 4 {
				logs = append(logs, newLog(t, dir, journal.Container{
					ID: strings.Repeat(fmt.Sprint(i), 64), Name: []string{"web", "db", "web", "job"}[i], Workload: []string{"shop", "shop", "blog", ""}[i],
					Options: journal.Options{MaxSize: 150 << 10, MaxFile: 4, Compress: i != 3},
				}, random))
			}
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			defer func() { cancel(); running.Wait() }()
			write := func(n int) {
				for range n {
					logs[random.IntN(len(logs))].some(1 + random.IntN(20))
				}
			}
			write(30)
			agree(t, random, s, logs, 12)
			for slices.ContainsFunc(logs, func(l *log) bool { return len(l.j.Segments()) < 3 }) {
				write(50)
			}
			agree(t, random, s, logs, 12) // several segments, none of them compressed
			running.Go(func() { dir.Run(ctx) })
			compressed := func() bool {
				for i, l := range logs {
					if c, raw := files(t, root, l.j.Container().ID); i != 3 && (raw != 1 || c == 0) {
						return false
					}
				}
				return true
			}
			until(t, "rotated segments are compressed", compressed)
			agree(t, random, s, logs, 12)
			firsts := func() (n int) {
				for _, l := range logs {
					if st := l.j.State(); st.First > st.Birth {
						n++
					}
				}
				return n
			}
			for firsts() < len(logs) {
				write(100)
				until(t, "nothing is beyond max-file", func() bool {
					for _, l := range logs {
						if len(l.j.Segments()) > 4 {
							return false
						}
					}
					return true
				})
			}
			until(t, "rotated segments are compressed", compressed)
			logs[1].stop()
			logs[1].a = nil
			j, err := dir.Acquire(logs[1].j.Container().ID)
			if err != nil {
				t.Fatal(err)
			}
			defer j.Release()
			logs[1].j = j
			agree(t, random, s, logs, 12)
		})
	}
}
