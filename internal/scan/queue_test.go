package scan

import (
	"fmt"
	"testing"
)

// Heavy containers never have all workers, and neither they nor others wait for ever.
func TestHeavyOnesLeaveAWorker(t *testing.T) {
	newQueue := func(most int) *queue {
		q := &queue{most: most}
		q.some.L = &q.mu
		return q
	}
	follow := func(name string, heavy bool) *follower {
		f := &follower{id: name}
		f.heavy.Store(heavy)
		return f
	}
	take := func(q *queue) string {
		t.Helper()
		f, heavy, ok := q.pop(false)
		if !ok || heavy != f.heavy.Load() {
			t.Fatalf("%v: heavy %v, %v", f.id, heavy, ok)
		}
		return f.id
	}
	q := newQueue(1) // two workers
	for i := range 2 {
		q.push(follow(fmt.Sprint("heavy", i), true))
	}
	q.push(follow("a", false))
	if got := take(q); got != "heavy0" {
		t.Errorf("%s is first", got)
	}
	if got := take(q); got != "a" {
		t.Errorf("%s has the second worker", got)
	}
	taken := make(chan string)
	go func() {
		f, _, _ := q.pop(false)
		taken <- f.id
	}()
	q.push(follow("b", false))
	if got := <-taken; got != "b" {
		t.Errorf("while one is under way, %s is taken", got)
	}
	go func() {
		f, _, _ := q.pop(false)
		taken <- f.id
	}()
	q.end()
	if got := <-taken; got != "heavy1" {
		t.Errorf("%s is taken when it is over", got)
	}

	q = newQueue(1) // one worker: they take turns
	for i := range 3 {
		q.push(follow(fmt.Sprint("heavy", i), true))
		q.push(follow(fmt.Sprint("light", i), false))
	}
	var order []string
	for range 6 {
		f, heavy, _ := q.pop(false)
		if heavy {
			q.end()
		}
		order = append(order, f.id)
	}
	if got := fmt.Sprint(order); got != "[heavy0 light0 heavy1 light1 heavy2 light2]" {
		t.Error(got)
	}
	q.close()
	if _, _, ok := q.pop(true); ok {
		t.Error("a closed queue gives something")
	}
}
