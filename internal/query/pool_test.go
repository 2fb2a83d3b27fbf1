package query

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logscan/internal/rule"
)

// Whatever is asked of logs shares one bound: where there is no room, each is refused and
// told why, and a query that is cancelled makes room at once.
func TestPool(t *testing.T) {
	l := newLived(t)
	l.pool = NewPool(2)
	l.searcher = New(l.dir, l.pool, nil)
	l.log(1, "shop").write("disk error")
	tailer := NewTailer(TailConfig{Journals: l.dir, Searcher: l.searcher, Watch: &Watch{}})
	r := rule.New()
	r.ID, r.Name, r.Pattern = 1, "errors", "error"
	cfg := BacktestConfig{Journals: l.dir, Pool: l.pool, Dir: filepath.Join(t.TempDir(), "backtests"), Bucket: rule.DefaultBucket}
	since := l.begin.Add(-time.Minute)
	kinds := map[string]func(context.Context) error{
		"search": func(ctx context.Context) error {
			_, err := l.searcher.Search(ctx, Request{}, Output{Hit: func(*Hit) error { return nil }})
			return err
		},
		"tail": func(ctx context.Context) error {
			return tailer.Tail(ctx, TailRequest{Last: All}, TailOutput{Line: func(*TailLine) error { return nil }, Skipped: func(TailSkipped) error { return nil }, Wait: func() error { return nil }})
		},
		"backtest": func(ctx context.Context) error {
			_, err := RunBacktest(ctx, cfg, BacktestQuery{Rule: r, Since: since, Until: time.Now()})
			return err
		},
		"uncovered": func(ctx context.Context) error {
			_, err := FindUncovered(ctx, l.dir, l.pool, nil, UncoveredQuery{Since: since})
			return err
		},
		"why": func(ctx context.Context) error {
			_, err := l.searcher.Why(ctx, l.config(), WhyQuery{Container: "c1", Line: 1})
			return err
		},
		"why of a rule": func(ctx context.Context) error {
			_, err := l.searcher.WhyRule(ctx, l.config(), WhyRuleQuery{Rule: r, Since: since, Until: time.Now()})
			return err
		},
	}
	all := func(what string, refused ...string) {
		t.Helper()
		for kind, ask := range kinds {
			err := ask(t.Context())
			if len(refused) == 0 && err != nil || len(refused) > 0 && !errors.Is(err, ErrBusy) {
				t.Errorf("%s: %s: %v", what, kind, err)
			}
			for _, text := range refused {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("%s: %s: %v; want %q", what, kind, err, text)
				}
			}
		}
	}
	// held is a search whose reader takes nothing.
	held := func() (cancel func()) {
		ctx, stop := context.WithCancel(t.Context())
		begun, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			_, err := l.searcher.Search(ctx, Request{}, Output{Hit: func(*Hit) error {
				close(begun)
				<-ctx.Done()
				return ctx.Err()
			}})
			ended <- err
		}()
		<-begun
		return func() {
			t.Helper()
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("a search that is cancelled: %v", err)
			}
		}
	}
	all("none")
	first := held()
	all("one")
	second := held()
	all("two", "2 are running", "LOGSCAN_QUERIES is 2", "try again")
	second()
	all("one has ended")
	for n := range TailsEach {
		tailer.tail(t, TailRequest{Follow: true}).begun()
		if n == 0 {
			all("a search and a tail", "1 is running", "1 tail", "LOGSCAN_QUERIES is 2")
		}
	}
	last := tailer.tail(t, TailRequest{Follow: true})
	if <-last.done; !errors.Is(last.err, ErrBusy) || !strings.Contains(last.err.Error(), "4 tails") {
		t.Errorf("a tail too many: %v", last.err)
	}
	first()
	all("tails alone")
}

// What is asked ends soon where nobody wants to know any more, whatever it reads, and
// leaves the turns to others.
func TestPoolCancelled(t *testing.T) {
	l := newLived(t)
	web := l.log(1, "shop")
	web.step = 0
	for range 2000 {
		web.write("disk error", "all is well", "net error")
	}
	r := rule.New()
	r.ID, r.Name, r.Pattern = 1, "errors", "error"
	cfg := BacktestConfig{Journals: l.dir, Pool: l.pool, Dir: filepath.Join(t.TempDir(), "backtests"), Bucket: rule.DefaultBucket}
	since := l.begin.Add(-time.Minute)
	for kind, ask := range map[string]func(context.Context) error{
		"backtest": func(ctx context.Context) error {
			_, err := RunBacktest(ctx, cfg, BacktestQuery{Rule: r, Since: since, Until: time.Now()})
			return err
		},
		"uncovered": func(ctx context.Context) error {
			_, err := FindUncovered(ctx, l.dir, l.pool, nil, UncoveredQuery{Since: since})
			return err
		},
		"why of a rule": func(ctx context.Context) error {
			_, err := l.searcher.WhyRule(ctx, l.config(), WhyRuleQuery{Rule: r, Since: since, Until: time.Now()})
			return err
		},
	} {
		// It stands still in the middle of what it reads, for want of a turn.
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		for range cap(l.pool.turns) {
			l.pool.turns <- struct{}{}
		}
		go func() { ended <- ask(ctx) }()
		until(t, kind+" has begun", func() bool {
			l.pool.mu.Lock()
			defer l.pool.mu.Unlock()
			return l.pool.queries == 1
		})
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", kind, err)
		}
		for range cap(l.pool.turns) {
			<-l.pool.turns
		}
		if err := ask(t.Context()); err != nil {
			t.Errorf("%s, the next one: %v", kind, err)
		}
	}
}
