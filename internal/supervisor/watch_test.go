package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A worker that runs, and does nothing any more, is killed, and another one
// started, which is told why.
func TestAHungWorkerIsReplaced(t *testing.T) {
	t.Setenv(hungEnv, "2s")
	p := start(t)
	first := p.who("a")
	p.eventually("a sign of life", func() bool { // one that never gave any doesn't hang
		_, err := os.Stat(filepath.Join(p.dir, fmt.Sprint("alive-", first.PID)))
		return err == nil
	})
	hang := filepath.Join(p.dir, "hang")
	if err := os.WriteFile(hang, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.eventually("another worker", func() bool {
		a, err := p.ask("a", "who")
		return err == nil && a.PID != first.PID
	})
	os.Remove(hang)
	if a := p.who("a"); a.Status.Restarts != 1 || !strings.HasPrefix(a.Status.Last().Why, "hung: no sign of life for 2s") {
		t.Errorf("%+v", a.Status)
	}
	if err := syscall.Kill(first.PID, 0); err != syscall.ESRCH {
		t.Errorf("the first one is still there: %v", err)
	}
}

// What a look at a worker makes of it, one after the other.
func TestLife(t *testing.T) {
	for _, row := range []struct {
		name, looks string // s a sign, - none, T none of a stopped worker
		hangs       bool
	}{
		{"signs", "ssss", false},
		{"a slow start", "----------", false},
		{"no sign any more", "s---", true},
		{"a late sign", "s--s--s--", false},
		{"a worker that somebody stopped", "s-TTTTTTTTTTT-", false},
		{"one that hangs after that", "sTTT-T--", true},
	} {
		l, hangs := life{most: 3}, false
		for i, look := range row.looks {
			if hangs = l.hangs(look == 's', func() bool { return look == 'T' }); hangs && i < len(row.looks)-1 {
				t.Errorf("%s: it hangs after look %d", row.name, i)
			}
		}
		if hangs != row.hangs {
			t.Errorf("%s: it hangs: %v", row.name, hangs)
		}
	}
}

// A worker that is stopped by a signal is known as stopped, until it goes on.
func TestStoppedIsNotHung(t *testing.T) {
	p := start(t)
	w := &worker{pid: p.who("a").PID}
	if w.stopped() {
		t.Error("a running worker counts as stopped")
	}
	syscall.Kill(w.pid, syscall.SIGSTOP)
	p.eventually("a stopped worker", w.stopped)
	syscall.Kill(w.pid, syscall.SIGCONT)
	p.eventually("a running one", func() bool { return !w.stopped() })
	if a := p.who("a"); a.PID != w.pid {
		t.Errorf("%d became %d", w.pid, a.PID)
	}
}
