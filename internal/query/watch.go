package query

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Watch tells tails whose logs have grown. The zero Watch is ready. Safe concurrently.
type Watch struct {
	mu    sync.Mutex // held while a tail comes or goes
	tails atomic.Pointer[[]*grown]
}

// Notify says that a container's log has grown, or that an attachment has begun or ended.
// It is for the path of lines: it never waits, and costs next to nothing without tails.
func (w *Watch) Notify(id string) {
	tails := w.tails.Load()
	if tails == nil {
		return
	}
	for _, g := range *tails {
		g.notify(id)
	}
}

// add has a tail be told from now on, until it is removed.
func (w *Watch) add(g *grown) (remove func()) {
	w.change(func(all []*grown) []*grown { return append(all, g) })
	return func() {
		w.change(func(all []*grown) []*grown {
			return slices.DeleteFunc(all, func(other *grown) bool { return other == g })
		})
	}
}

func (w *Watch) change(f func([]*grown) []*grown) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*grown
	if now := w.tails.Load(); now != nil {
		all = slices.Clone(*now)
	}
	all = f(all)
	w.tails.Store(&all)
}

// grown is what a tail has been told and hasn't looked at yet.
type grown struct {
	logs    sync.Map      // container id → *atomic.Bool: its log has grown
	unknown atomic.Bool   // so has one that isn't among them
	wake    chan struct{} // holds one when either has come to be so
}

func newGrown() *grown { return &grown{wake: make(chan struct{}, 1)} }

// know has a container's log be told apart. One that is of no interest has always grown,
// so that nobody is woken for it.
func (g *grown) know(id string, wanted bool) *atomic.Bool {
	flag := &atomic.Bool{}
	flag.Store(true)
	g.logs.Store(id, flag)
	if wanted {
		signal(g.wake)
	}
	return flag
}

func (g *grown) notify(id string) {
	flag := &g.unknown
	if v, ok := g.logs.Load(id); ok {
		flag = v.(*atomic.Bool)
	}
	if !flag.Swap(true) {
		signal(g.wake)
	}
}

// signal has who waits for a channel of one go on.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
