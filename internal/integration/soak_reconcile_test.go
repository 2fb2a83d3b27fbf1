package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"logscan/internal/api"
	"logscan/internal/enginetest"
)

// readers follow logs, until they are tired of it or the log is cut.
type readers struct {
	n      int
	killed atomic.Int64 // plugins; a call that one had may fail
	wg     sync.WaitGroup
	mu     sync.Mutex // guards bad
	bad    []string   // what they have seen that can't be
	ends   []context.CancelFunc
}

func (r *readers) start(e *enginetest.Engine, name string, patience time.Duration) {
	r.n++
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.ends = append(r.ends, cancel)
	cmd := e.Command(ctx, "logs", "-f", "-n", "20", name)
	var said bytes.Buffer
	cmd.Stderr = &said
	killed := r.killed.Load()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.complain("docker logs -f: %v", err)
		return
	}
	r.wg.Go(func() {
		defer cancel()
		in, next := bufio.NewReader(out), -1
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break // in the middle of a line, maybe
			}
			var n int
			if _, err := fmt.Sscanf(strings.TrimPrefix(line, "end "), "%d", &n); err != nil || next >= 0 && n != next {
				r.complain("docker logs -f of %s: %q instead of line %d", name, line, next)
				break
			}
			if next = n + 1; strings.HasPrefix(line, "end ") {
				next = 0
			}
		}
		cancel()
		// Its end says no more than that the reader went, or the plugin in the
		// middle of its answer.
		cmd.Wait()
		if strings.Contains(said.String(), "empty request") && r.killed.Load() == killed {
			r.complain("docker logs -f of %s: %s", name, said.String())
		}
	})
}

func (r *readers) complain(format string, args ...any) {
	r.mu.Lock()
	r.bad = append(r.bad, fmt.Sprintf(format, args...))
	r.mu.Unlock()
}

func (r *readers) stop() {
	for _, end := range r.ends {
		end()
	}
}

func (r *readers) wait() { r.wg.Wait() }

// soakHooks is a receiver: it notes, for each path, the webhooks of each event.
type soakHooks struct {
	*httptest.Server
	mu  sync.Mutex // guards got
	got map[string]map[int64]map[string]bool
}

func startSoakHooks(t *testing.T) *soakHooks {
	h := &soakHooks{got: map[string]map[int64]map[string]bool{}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var hook struct{ Data struct{ ID int64 } }
		if err := json.NewDecoder(r.Body).Decode(&hook); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.got[r.URL.Path] == nil {
			h.got[r.URL.Path] = map[int64]map[string]bool{}
		}
		if h.got[r.URL.Path][hook.Data.ID] == nil {
			h.got[r.URL.Path][hook.Data.ID] = map[string]bool{}
		}
		h.got[r.URL.Path][hook.Data.ID][r.Header.Get("webhook-id")] = true
	}))
	t.Cleanup(h.Close)
	return h
}

// reconcile compares all that there is to compare.
func (s *soak) reconcile() {
	t := s.t
	for _, bad := range s.readers.bad {
		t.Error(bad)
	}
	caughtUp(t, s.e, s.c)
	var lines, marked, events, suppressed, short int
	matched := map[int64]bool{}
	all := s.seen()
	for _, b := range s.boxes {
		heads, marks := s.heads(b)
		seen := all[b.id]
		if !slices.Equal(seen, heads) {
			t.Errorf("%s: rules have seen %d lines of %d; %s", b.name, len(seen), len(heads), difference(seen, heads))
		}
		told := 0
		for _, ev := range allEvents(t, s.c, api.EventQuery{Rule: "cool", Container: b.id}) {
			held, _ := ev.Metadata["suppressed"].(float64)
			told += 1 + int(held)
			events++
			suppressed += int(held)
			matched[ev.ID] = true
		}
		if told != marks {
			t.Errorf("%s: %d marked lines, and %d told or counted as suppressed", b.name, marks, told)
		}
		lines, marked = lines+len(heads), marked+marks
	}
	for _, rule := range []string{"cool", "count"} {
		counted := int64(0)
		s.e.Eventually(2*time.Minute, "every match counted in an incident", func() bool {
			incidents, err := s.c.Incidents(t.Context(), api.IncidentQuery{State: "all", Rule: rule})
			counted = 0
			for _, i := range incidents {
				counted += i.Matches
			}
			return err == nil && counted >= int64(marked)
		})
		if counted != int64(marked) {
			t.Errorf("incidents of the rule %s count %d matches of %d", rule, counted, marked)
		}
	}
	if missed := allEvents(t, s.c, api.EventQuery{Rule: "absent"}); len(missed) > 0 {
		t.Errorf("missed although it was there: %v", missed)
	}
	fresh, err := s.c.Incidents(t.Context(), api.IncidentQuery{State: "all", Rule: "new"})
	shapes := map[string]int{}
	for _, i := range fresh {
		if shapes[i.Fingerprint]++; i.Hits != 1 || shapes[i.Fingerprint] > 1 {
			t.Errorf("new more than once: %+v", i)
		}
	}
	if err != nil || len(fresh) == 0 {
		t.Errorf("nothing was new: %v", err)
	}
	for _, id := range s.short {
		if n := len(all[id]); n != shortLines {
			t.Errorf("%d lines of %d were seen of short container %s", n, shortLines, id)
		}
		short += shortLines
	}
	judged := map[string][]string{}
	for _, ev := range allEvents(t, s.c, api.EventQuery{Rule: "run"}) {
		id := ev.Metadata["container_id"].(string)
		judged[id] = append(judged[id], ev.Message)
	}
	for _, id := range s.short {
		if said := judged[id]; len(said) != 1 || !strings.HasSuffix(said[0], fmt.Sprintf("ended: it had %d lines, of at least %d", shortLines, shortLines+1)) {
			t.Errorf("of the run of short container %s it was said %q", id, said)
		}
	}
	s.e.Eventually(2*time.Minute, "every delivery made", func() bool {
		st, err := s.c.Stats(t.Context())
		return err == nil && st.Deliveries.Pending == 0
	})
	s.hooks.mu.Lock()
	got := s.hooks.got["/hooks"]
	s.hooks.mu.Unlock()
	for id := range matched {
		if n := len(got[id]); n != 1 {
			t.Errorf("%d deliveries of event %d", n, id)
		}
	}
	for id := range got {
		if !matched[id] {
			t.Errorf("a delivery of event %d, which is none of the trigger's", id)
		}
	}
	for _, ev := range allEvents(t, s.c, api.EventQuery{Source: "system"}) {
		if ev.Metadata["reason"] != nil && ev.Metadata["container_id"] != nil {
			t.Errorf("a loss was reported: %s %v", ev.Message, ev.Metadata)
		}
	}
	if events == 0 || suppressed == 0 || lines == 0 {
		t.Error("nothing happened")
	}
	t.Logf("%d lines written, kept and seen, and %d of short containers; %d marked: %d events and %d suppressed; %d deliveries", lines, short, marked, events, suppressed, len(got))
}

// heads returns the beginning of every line that docker logs has of a container,
// and how many are marked. It fails the test unless these are the lines that
// were written.
func (s *soak) heads(b *soakBox) (heads []string, marks int) {
	s.t.Helper()
	run, n := 0, 0 // where the next line belongs
	wrote := b.wrote(s.t, 0)
	stdout, _ := s.e.Logs(b.name)
	for line := range strings.Lines(string(stdout)) {
		head, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if head == "end" {
			head = strings.TrimSuffix(line, "\n")
		}
		if head != fmt.Sprintf("%010d", n) && head != fmt.Sprint("end ", n) {
			s.t.Fatalf("%s, run %d: %q instead of line %d", b.name, run, line, n)
		}
		if strings.Contains(line, " MARK") {
			marks++
		}
		heads = append(heads, head)
		if n++; n == wrote {
			run, n = run+1, 0
			wrote = b.wrote(s.t, run)
		}
	}
	if run != b.runs || n != 0 {
		s.t.Errorf("%s: docker logs ends in run %d of %d, after %d lines", b.name, run, b.runs, n)
	}
	return heads, marks
}

// seen returns the beginnings of the lines that rules have seen, by container. It
// asks for all at once: asked for those of one, the plugin looks through all.
func (s *soak) seen() map[string][]string {
	s.t.Helper()
	heads := map[string][]string{}
	for page := range eventPages(s.t, s.c, api.EventQuery{Rule: "every"}) {
		for _, ev := range slices.Backward(page) {
			id := fmt.Sprint(ev.Metadata["container_id"])
			captures, _ := ev.Metadata["captures"].(map[string]any)
			heads[id] = append(heads[id], fmt.Sprint(captures["head"]))
		}
	}
	for _, newest := range heads {
		slices.Reverse(newest)
	}
	return heads
}

// difference tells where two lists part.
func difference(got, want []string) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("the %dth is %q and not %q", i, got[i], want[i])
		}
	}
	return "the last are missing"
}
