package query

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/journal"
)

func newRandom() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// TestWhileWriting searches a log again and again that is written, rotated, compressed and
// removed meanwhile: each line that is kept is found once and whole, in order, and what is
// missing was removed.
func TestWhileWriting(t *testing.T) {
	dir := newDir(t, journal.Config{})
	maintain(t, dir)
	l := newLog(t, dir, journal.Container{ID: strings.Repeat("c", 64), Name: "web", Options: journal.Options{MaxSize: 100 << 10, MaxFile: 4, Compress: true}}, newRandom())
	stop := make(chan struct{})
	var writing sync.WaitGroup
	defer writing.Wait()
	var once sync.Once
	end := func() { once.Do(func() { close(stop) }) }
	defer end()
	writing.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if n%7 == 0 {
				for k := range 3 {
					l.chunk("stderr", fmt.Sprintf("n=%d %s|", n, strings.Repeat("y", 700)), k == 2)
				}
				continue
			}
			l.line("stdout", fmt.Sprintf("n=%d %s", n, strings.Repeat("x", n%200)), 0)
		}
	})
	s := New(dir, nil, nil)
	number := regexp.MustCompile(`^n=(\d+) `)
	removed := func() bool { st := l.j.State(); return st.First > st.Birth }
	wraps := 0
	for seed := 0; wraps < 20; seed++ {
		r := Request{Pattern: "n=[0-9]*[05] ", Order: Orders[seed%2]}
		before := l.j.State()
		var got []int
		places := map[int]int64{} // where the lines lie
		parts := 0
		sum, err := s.Search(t.Context(), r, Output{Hit: func(h *Hit) error {
			m := number.FindSubmatch(h.Text)
			if m == nil {
				return fmt.Errorf("no line begins so: %.100q", h.Text)
			}
			n, _ := strconv.Atoi(string(m[1]))
			want := fmt.Sprintf("n=%d %s", n, strings.Repeat("x", n%200))
			if n%7 == 0 {
				want = strings.Repeat(fmt.Sprintf("n=%d %s|", n, strings.Repeat("y", 700)), 3)
			}
			if string(h.Text) != want {
				// A part of the oldest line may be removed, also between two looks at it.
				if h.From > l.j.State().First {
					return fmt.Errorf("line %d is %.100q", n, h.Text)
				}
				parts++
				return nil
			}
			got = append(got, n)
			places[n] = h.From
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Order == Newest {
			slices.Reverse(got)
		}
		gaps := 0
		for i := 1; i < len(got); i++ {
			if got[i] <= got[i-1] {
				t.Fatalf("%d comes behind %d", got[i], got[i-1])
			}
			if got[i] != got[i-1]+5 {
				gaps++
				t.Logf("%s: %d at %d is followed by %d at %d; the log begins at %d, and began at %d", r.Order, got[i-1], places[got[i-1]], got[i], places[got[i]], l.j.State().First, before.First)
			}
		}
		if gaps > parts && sum.Skipped == 0 {
			t.Fatalf("%d gaps, and nothing is said to be skipped", gaps)
		}
		if before.End > before.First && len(got) == 0 && sum.Skipped == 0 && before.End-before.Birth > 10<<10 {
			t.Fatalf("nothing was found in %d bytes", before.End-before.First)
		}
		if removed() {
			wraps++
		}
	}
	end()
}

// A search that finds enough at the log's end reads no more than that.
func TestReadsLittle(t *testing.T) {
	dir := newDir(t, journal.Config{})
	maintain(t, dir)
	c := journal.Container{ID: strings.Repeat("d", 64), Name: "web", Options: journal.Options{MaxSize: 1 << 20, MaxFile: 10, Compress: true}}
	l := newLog(t, dir, c, newRandom())
	for range 4000 {
		l.line("stdout", strings.Repeat("z", 1000), 0)
	}
	until(t, "rotated segments are compressed", func() bool { _, raw := files(t, filepath.Dir(pathOf(t, dir, c.ID)), c.ID); return raw == 1 })
	s := New(dir, nil, nil)
	for _, order := range Orders {
		sum, err := s.Search(t.Context(), Request{Pattern: "z", Limit: 3, Order: order}, Output{Hit: func(*Hit) error { return nil }})
		if err != nil || sum.Hits != 3 || sum.Next == "" || sum.Bytes > 300<<10 {
			t.Errorf("%s: %+v %v", order, sum, err)
		}
		at := l.lines[2000].nano
		sum, err = s.Search(t.Context(), Request{Pattern: "q", Since: time.Unix(0, at), Until: time.Unix(0, at+1), Order: order}, Output{Hit: func(*Hit) error { return nil }})
		if err != nil || sum.Lines == 0 || sum.Bytes > 200<<10 {
			t.Errorf("%s, a moment: %+v %v", order, sum, err)
		}
	}
}

// pathOf finds where a container's log lies.
func pathOf(t *testing.T, dir *journal.Dir, id string) string {
	t.Helper()
	for _, i := range dir.List() {
		if i.ID == id {
			return filepath.Join(roots[dir], id)
		}
	}
	t.Fatal("there is no log of " + id)
	return ""
}

// No log is held while those who are told of hits are slow: it can be removed, and what
// went is said.
func TestRetentionDoesNotWait(t *testing.T) {
	dir := newDir(t, journal.Config{})
	for i := range 3 {
		l := newLog(t, dir, journal.Container{ID: strings.Repeat(fmt.Sprint(i), 64), Name: fmt.Sprint("c", i)}, newRandom())
		for range 2000 {
			l.line("stdout", strings.Repeat("z", 500), 0)
		}
		l.stop()
	}
	s := New(dir, nil, nil)
	removed := false
	var hits int64
	sum, err := s.Search(t.Context(), Request{Pattern: "z"}, Output{
		Hit: func(*Hit) error { hits++; return nil },
		Wait: func() error {
			if !removed {
				removed = true
				if !dir.Remove(strings.Repeat("1", 64)) {
					return errors.New("the log can't be removed")
				}
			}
			return nil
		},
	})
	if err != nil || !removed || sum.Hits != hits || sum.Hits < 4000 || sum.Hits >= 6000 || sum.Skipped == 0 {
		t.Errorf("%+v %v", sum, err)
	}
}

// A segment that is gone, or damaged, is passed over, and it is said how much that is.
func TestUnreadable(t *testing.T) {
	dir := newDir(t, journal.Config{})
	maintain(t, dir)
	c := journal.Container{ID: strings.Repeat("e", 64), Name: "web", Options: journal.Options{MaxSize: 300 << 10, MaxFile: 10, Compress: true}}
	l := newLog(t, dir, c, newRandom())
	for range 4000 {
		l.line("stdout", strings.Repeat("z", 300), 0)
	}
	path := pathOf(t, dir, c.ID)
	until(t, "rotated segments are compressed", func() bool { _, raw := files(t, filepath.Dir(path), c.ID); return raw == 1 })
	names, err := filepath.Glob(filepath.Join(path, "*.seg.zst"))
	if err != nil || len(names) < 3 {
		t.Fatal(names, err)
	}
	b, err := os.ReadFile(names[1])
	if err != nil {
		t.Fatal(err)
	}
	copy(b[100:], make([]byte, 200))
	if err := os.WriteFile(names[1], b, 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(dir, nil, nil)
	for _, order := range Orders {
		sum, err := s.Search(t.Context(), Request{Pattern: "z", Order: order}, Output{Hit: func(*Hit) error { return nil }})
		if missing := 4000 - sum.Hits; err != nil || missing == 0 || missing > 400 || sum.Skipped < missing*300 {
			t.Errorf("%s: %+v %v", order, sum, err)
		}
	}
}

// A search that takes too long says where it goes on, and does.
func TestOutOfTime(t *testing.T) {
	dir := newDir(t, journal.Config{})
	l := newLog(t, dir, journal.Container{ID: strings.Repeat("f", 64), Name: "web"}, newRandom())
	for n := range 5000 {
		l.line("stdout", fmt.Sprintf("n=%d %s", n, strings.Repeat("x", 300)), 0)
	}
	for _, order := range Orders {
		s := New(dir, nil, nil)
		s.maxTime = time.Microsecond
		r := Request{Pattern: "n=.*[05] ", Order: order}
		var all []int64
		for {
			sum, err := s.Search(t.Context(), r, Output{Hit: func(h *Hit) error { all = append(all, h.From); return nil }})
			if err != nil {
				t.Fatal(err)
			}
			if r.From = sum.Next; r.From == "" {
				break
			}
			if !sum.OutOfTime {
				t.Fatalf("%+v", sum)
			}
		}
		if order == Newest {
			slices.Reverse(all)
		}
		if len(all) != 1000 || !slices.IsSorted(all) || len(slices.Compact(all)) != 1000 {
			t.Errorf("%s: %d hits", order, len(all))
		}
	}
}

// What a clock that steps back writes stays where it is in the log, and in the same order
// whichever way it is looked at.
func TestClockStepsBack(t *testing.T) {
	dir := newDir(t, journal.Config{})
	var logs []*log
	for i := range 2 {
		logs = append(logs, newLog(t, dir, journal.Container{ID: strings.Repeat(fmt.Sprint(i), 64), Name: fmt.Sprint("c", i)}, newRandom()))
	}
	for n := range 3000 {
		for _, l := range logs {
			if n == 1000 || n == 2000 {
				l.nano -= int64(time.Hour)
			}
			l.line("stdout", fmt.Sprintf("%d %s", n, strings.Repeat("x", 100)), 0)
		}
	}
	s := New(dir, nil, nil)
	var orders [2][]string
	for i, order := range Orders {
		last := map[string]int64{}
		_, err := s.Search(t.Context(), Request{Order: order}, Output{Hit: func(h *Hit) error {
			orders[i] = append(orders[i], fmt.Sprint(h.Container.Name, h.From))
			if from, seen := last[h.Container.ID]; seen && (h.From > from) != (order == Oldest) {
				return fmt.Errorf("%s: %d comes behind %d", order, h.From, from)
			}
			last[h.Container.ID] = h.From
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Reverse(orders[1])
	if len(orders[0]) != 6000 || !slices.Equal(orders[0], orders[1]) {
		t.Errorf("%d hits, and the other way round %d; in the same order: %v", len(orders[0]), len(orders[1]), slices.Equal(orders[0], orders[1]))
	}
}
