package incident

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func hit(after time.Duration) Hit {
	return Hit{
		Key: Key{RuleID: 3, Workload: "shop/web", Shape: "fp1:1"}, At: t0.Add(after), Rule: "oom", Severity: event.Warn,
		Container: "web-1", Image: "web:1", Text: "Out of memory", Readable: "Out of memory", Settings: Defaults,
	}
}

// pass does all that is due by a watermark.
func pass(i *Incident, watermark time.Time) (out []string) {
	for at := i.Due(); !at.IsZero() && !at.After(watermark); at = i.Due() {
		if n, ok := i.Pass(watermark); ok {
			out = append(out, fmt.Sprintf("%s at %s: %s", n.Kind, n.At.Sub(t0), n.Reason))
		}
	}
	return out
}

func TestLife(t *testing.T) {
	i, n := New(hit(0), nil)
	if n.Kind != NoticeOpened || n.Reason != "" || i.State != Open || i.Hits != 1 {
		t.Errorf("%+v, %+v", n, i)
	}
	h := hit(time.Minute)
	h.Container, h.Text = "web-2", "Out of memory: web-2"
	if n, ok := i.Fold(h); ok {
		t.Errorf("a hit more is told: %+v", n)
	}
	held := h
	held.Suppressed, held.SuppressedSince = 4, t0.Add(30*time.Second)
	if n, ok := i.Fold(held); ok {
		t.Errorf("what was held back is told: %+v", n)
	}
	if i.Hits != 2 || i.Matches != 6 || len(i.Containers) != 2 || i.FirstText != "Out of memory" || i.LastText != "Out of memory: web-2" || i.Hours[t0.Unix()/3600] != 6 {
		t.Errorf("%+v", i)
	}
	if got := pass(&i, t0.Add(16*time.Minute-1)); got != nil {
		t.Errorf("too early: %v", got)
	}
	if got := pass(&i, t0.Add(time.Hour)); fmt.Sprint(got) != "[resolved at 16m0s: quiet for 15 min]" || i.State != Resolved || !i.Due().IsZero() {
		t.Errorf("%v", got)
	}
	again, n := New(hit(3*time.Hour+16*time.Minute), &Before{ID: 1, Ended: i.Ended, Nth: 4})
	if n.Reason != "again, after 3 h; 4th time this week" || again.Before.ID != 1 {
		t.Errorf("%+v", n)
	}
	system := hit(0)
	system.RuleID = 0
	if _, n := New(system, nil); n.Kind != NoticeSystem {
		t.Errorf("%+v", n)
	}
}

// An incident that is open is told again, later each time; once somebody knows, it
// isn't.
func TestRepeats(t *testing.T) {
	run := func(ack bool, settings Settings) (out []string) {
		h := hit(0)
		h.Settings = settings
		i, _ := New(h, nil)
		for m := time.Duration(0); m < 60*time.Hour; m += 10 * time.Minute {
			h.At = t0.Add(m)
			i.Fold(h)
			if ack && m == 2*time.Hour {
				if n, err := i.Acknowledge(h.At, "me", "known"); err != nil || n != (Notice{NoticeAcknowledged, h.At, "by me: known"}) {
					t.Fatal(n, err)
				}
				if n, err := i.Acknowledge(h.At, "you", ""); err != nil || n != (Notice{}) || i.By != "you" {
					t.Errorf("acknowledged before: %+v, %v", n, err)
				}
			}
			out = append(out, pass(&i, h.At)...)
		}
		return out
	}
	for _, c := range []struct {
		ack      bool
		settings Settings
		want     string
	}{
		{false, Defaults, "[repeated at 1h0m0s: open for 1 h repeated at 3h0m0s: open for 3 h repeated at 7h0m0s: open for 7 h repeated at 15h0m0s: open for 15 h repeated at 31h0m0s: open for 1 d 7 h repeated at 55h0m0s: open for 2 d 7 h]"},
		{true, Defaults, "[repeated at 1h0m0s: open for 1 h]"},
		{false, Settings{ResolveAfter: time.Hour}, "[]"},
	} {
		if got := fmt.Sprint(run(c.ack, c.settings)); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	// What our own downtime kept back is told once.
	h := hit(0)
	h.ResolveAfter = 100 * time.Hour
	i, _ := New(h, nil)
	if got := fmt.Sprint(pass(&i, t0.Add(20*time.Hour))); got != "[repeated at 15h0m0s: open for 15 h]" {
		t.Error(got)
	}
}

func TestEscalates(t *testing.T) {
	// each minute's matches, from the first on
	run := func(perMinute ...int) (out []string) {
		i, _ := New(hit(0), nil)
		for m, n := range perMinute {
			for k := range n {
				if n, ok := i.Fold(hit(time.Duration(m)*time.Minute + time.Duration(k)*time.Millisecond)); ok {
					out = append(out, fmt.Sprintf("%d: %s", m, n.Reason))
				}
			}
		}
		return out
	}
	minutes := func(n, times int) []int {
		out := make([]int, times)
		for i := range out {
			out[i] = n
		}
		return out
	}
	for _, c := range []struct {
		perMinute []int
		want      string
	}{
		{minutes(1, 300), "[]"},
		{minutes(30, 300), "[]"},
		{append([]int{500}, minutes(1, 60)...), "[]"}, // a burst, told when it opened
		{append(minutes(1, 15), minutes(20, 20)...), "[17: 65 times in 10 minutes, 9 in the 7 min before]"},
		{append(minutes(1, 80), minutes(4, 60)...), "[]"},
		{append(minutes(1, 80), minutes(6, 60)...), "[87: 50 times in 10 minutes, 60 in the 1 h before]"},
		{append(minutes(0, 200), minutes(19, 1)...), "[]"},
		{append(minutes(0, 200), minutes(20, 1)...), "[200: 20 times in 10 minutes, 0 in the 1 h before]"},
	} {
		if got := fmt.Sprint(run(c.perMinute...)); got != c.want {
			t.Errorf("%v: %s, want %s", c.perMinute, got, c.want)
		}
	}
	i, _ := New(hit(0), nil)
	if n, err := i.Acknowledge(t0, "", "known"); err != nil || n.Reason != "known" {
		t.Fatal(n, err)
	}
	worse := hit(time.Second)
	worse.Severity = event.Critical
	if n, ok := i.Fold(worse); !ok || n.Kind != NoticeEscalated || n.Reason != "now critical" || i.State != Open || i.Severity != event.Critical {
		t.Errorf("%+v", n)
	}
	if _, ok := i.Fold(hit(2 * time.Second)); ok || i.Severity != event.Critical {
		t.Error("a lesser hit changes the severity")
	}
}

func TestSnooze(t *testing.T) {
	for name, c := range map[string]struct {
		s    Snooze
		hits func(n int) Hit
		want string // after the how many-th hit, and why
	}{
		"hits":  {Snooze{Hits: 5}, func(n int) Hit { return hit(time.Duration(n) * time.Minute) }, "5: 5 more since it was snoozed"},
		"until": {Snooze{Until: t0.Add(3 * time.Minute)}, func(n int) Hit { return hit(time.Duration(n) * time.Minute) }, "3: snoozed until 2026-03-01 12:03 UTC; 3 more since"},
		"rate":  {Snooze{Times: 3}, func(n int) Hit { return hit(time.Duration(n) * time.Second) }, "2: 3 times in 10 minutes; it was snoozed at 1"},
		"image": {Snooze{Image: true}, func(n int) Hit {
			h := hit(time.Duration(n) * time.Minute)
			if n == 4 {
				h.Image = "web:2"
			}
			return h
		}, "4: with another image: web:2"},
	} {
		i, _ := New(hit(0), nil)
		if err := i.SnoozeUntil(c.s, t0, "me", ""); err != nil {
			t.Fatal(err)
		}
		got := ""
		for n := 1; n < 30 && got == ""; n++ {
			if notice, ok := i.Fold(c.hits(n)); ok {
				got = fmt.Sprintf("%d: %s", n, notice.Reason)
			}
		}
		if got != c.want || i.State != Open || i.Snooze != nil {
			t.Errorf("%s: %q, %+v", name, got, i)
		}
	}
	// Time alone ends one, and says how much there was.
	i, _ := New(hit(0), nil)
	if err := i.SnoozeUntil(Snooze{Until: t0.Add(10 * time.Minute)}, t0, "me", ""); err != nil {
		t.Fatal(err)
	}
	i.Fold(hit(time.Minute))
	if got := fmt.Sprint(pass(&i, t0.Add(11*time.Minute))); got != "[repeated at 10m0s: 1 more while it was snoozed]" {
		t.Error(got)
	}
	for _, s := range []Snooze{{}, {Until: t0.Add(-1)}, {Hits: -1}} {
		if err := i.SnoozeUntil(s, t0, "", ""); err == nil {
			t.Errorf("%+v is taken", s)
		}
	}
	if n, err := i.Resolve(t0, "me", "done"); err != nil || n.Kind != NoticeResolved || i.By != "me" {
		t.Errorf("%+v, %v", n, err)
	}
	_, err := i.Resolve(t0, "", "")
	_, acknowledge := i.Acknowledge(t0, "", "")
	for _, err := range []error{err, acknowledge, i.Reopen(t0), i.SnoozeUntil(Snooze{Hits: 1}, t0, "", "")} {
		if err == nil {
			t.Error("a resolved incident is changed")
		}
	}
}

// However much there is of an incident, it stays small, and it is the same after it
// was kept.
func TestBounds(t *testing.T) {
	h := hit(0)
	h.Shape = OtherShapes
	i, _ := New(h, nil)
	long := strings.Repeat("€", 10_000)
	for n := range 10_000 {
		h = hit(time.Duration(n) * time.Minute)
		h.Container, h.Readable, h.Text, h.Image = fmt.Sprint("container-", n, long[:300]), fmt.Sprint(n%4000, long), long, long[:300]
		if n%2 == 0 {
			h.Readable = "often"
		}
		h.Shape = OtherShapes
		i.Fold(h)
	}
	b, err := json.Marshal(i)
	if err != nil || len(b) > 32<<10 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if i.Hits != 10_001 || i.Shapes["often"] < 5000 {
		t.Errorf("%d hits, %d of the most frequent shape", i.Hits, i.Shapes["often"])
	}
	var sum int64
	for _, n := range i.Containers {
		sum += n
	}
	if sum+i.Beyond != i.Hits {
		t.Errorf("%d and %d of %d hits by container", sum, i.Beyond, i.Hits)
	}
	kept := Incident{ID: i.ID, Key: i.Key, State: i.State}
	if err := json.Unmarshal(b, &kept); err != nil || !reflect.DeepEqual(kept, i) {
		t.Errorf("%v\n%+v\n%+v", err, kept, i)
	}
}

// Clocks that jump bring neither growth nor a panic.
func TestClocks(t *testing.T) {
	i, _ := New(hit(0), nil)
	for n := range 2000 {
		i.Fold(hit(time.Duration((n*7919)%5000-2500) * time.Hour))
	}
	if len(i.Hours) > maxHours || len(i.Minutes) > 70 || i.Hits != 2001 {
		t.Errorf("%d hours, %d minutes, %d hits", len(i.Hours), len(i.Minutes), i.Hits)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "less than a second", 0: "less than a second", 45 * time.Second: "45 s", 90 * time.Second: "1 min 30 s", time.Hour: "1 h", 26 * time.Hour: "1 d 2 h",
		15 * time.Minute: "15 min", 11*time.Hour + 59*time.Minute: "11 h", 40 * 24 * time.Hour: "40 d",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v: %s", d, got)
		}
	}
	for n, want := range map[int]string{1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 21: "21st", 111: "111th"} {
		if got := ordinal(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

// A time between repeats that is longer than a day stays what it is, however long.
func TestSeldomRepeats(t *testing.T) {
	for repeat, want := range map[time.Duration]int{7 * 24 * time.Hour: 57, 365 * 24 * time.Hour: 1, 30 * time.Hour: 320} {
		h := hit(0)
		h.Settings = Settings{Repeat: repeat}
		i, _ := New(h, nil)
		n := 0
		for d := range 401 {
			n += len(pass(&i, t0.AddDate(0, 0, d)))
		}
		if n != want {
			t.Errorf("each %s: %d repeats in 400 days, want %d", repeat, n, want)
		}
	}
}

// What a rule's cooldown held back counts when it was, so that a steady trouble isn't
// taken for one that gets worse.
func TestHeldBackIsNoEscalation(t *testing.T) {
	i, _ := New(hit(0), nil)
	var got []string
	fold := func(h Hit, held int64, since time.Duration) {
		s := h
		s.Suppressed, s.SuppressedSince = held, h.At.Add(-since)
		for _, h := range []Hit{s, h} {
			if n, ok := i.Fold(h); ok {
				got = append(got, fmt.Sprint(h.At.Sub(t0), " ", n.Reason))
			}
		}
	}
	for n := 1; n < 24; n++ {
		held := int64(1000)
		if n == 20 {
			held = 30_000
		}
		fold(hit(time.Duration(n)*time.Hour), held, 59*time.Minute)
	}
	if i.Matches != 24+22*1000+30_000 || got != nil {
		t.Errorf("%d matches; %v", i.Matches, got)
	}
	if fold(hit(23*time.Hour+10*time.Minute), 5000, 9*time.Minute); len(got) != 1 || !strings.Contains(got[0], " 5000 times in 10 minutes, ") {
		t.Errorf("%q", got)
	}
}

// What was acknowledged ends some day, also where nothing else ends by itself; what
// nobody has acknowledged doesn't.
func TestAcknowledgedEnds(t *testing.T) {
	for _, ack := range []bool{false, true} {
		h := hit(0)
		h.Settings = Settings{}
		i, _ := New(h, nil)
		if ack {
			if n, err := i.Acknowledge(t0, "me", ""); err != nil || n.Reason != "by me" {
				t.Fatal(n, err)
			}
		}
		h.At = t0.Add(time.Hour)
		i.Fold(h)
		got := fmt.Sprint(pass(&i, t0.AddDate(1, 0, 0)))
		if want := map[bool]string{false: "[]", true: "[resolved at 169h0m0s: quiet for 7 d]"}[ack]; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// SetBack leaves nothing of an incident later than now.
func TestSetBack(t *testing.T) {
	i, _ := New(hit(100*time.Hour), nil)
	worse := hit(101 * time.Hour)
	worse.Severity = event.Critical
	i.Fold(worse)
	if err := i.SnoozeUntil(Snooze{Until: t0.Add(103 * time.Hour)}, t0.Add(101*time.Hour), "me", ""); err != nil {
		t.Fatal(err)
	}
	if !i.SetBack(t0) || i.SetBack(t0) {
		t.Error("it was set back once")
	}
	if !i.Last.Equal(t0) || !i.First.Equal(t0) || !i.Told.Equal(t0) || !i.Escalated.Equal(t0) || !i.Snooze.Until.Equal(t0.Add(2*time.Hour)) || len(i.Minutes) != 0 || len(i.Hours) != 0 {
		t.Errorf("%+v %+v", i, i.Snooze)
	}
	if due := i.Due(); !due.Equal(t0.Add(15 * time.Minute)) {
		t.Errorf("due at %s", due)
	}
}
