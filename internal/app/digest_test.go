package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/loss"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// A summary names the workloads that have fallen silent, by their logs, and sums up what
// was lost, by the events about it.
func TestDigestOfLogs(t *testing.T) {
	root := t.TempDir()
	journals, err := journal.OpenDir(journal.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	defer journals.Close()
	now := time.Now().UTC().Truncate(time.Minute)
	from := now.Add(-24 * time.Hour)
	for n, c := range []struct {
		workload string
		last     time.Time // zero: it never wrote
	}{
		{"shop/silent", from.Add(-3 * 24 * time.Hour)},
		{"shop/just", from.Add(-time.Second)},
		{"shop/web", from.Add(time.Hour)},
		{"shop/long", from.Add(-8 * 24 * time.Hour)},
		{"shop/never", time.Time{}},
		{"shop/two", from.Add(-time.Hour)},
		{"shop/two", from.Add(time.Hour)},
		{"", from.Add(-time.Hour)},
	} {
		id := fmt.Sprintf("%064x", n)
		if !c.last.IsZero() {
			writeLog(t, journals, id, true, "a line")
			segments, err := filepath.Glob(filepath.Join(root, id, "*.seg"))
			if err != nil || len(segments) != 1 {
				t.Fatal(segments, err)
			}
			if err := os.Chtimes(segments[0], c.last, c.last); err != nil {
				t.Fatal(err)
			}
		}
		j, err := journals.Create(journal.Container{ID: id, Workload: c.workload, Scan: true, Options: journal.DefaultOptions})
		if err != nil {
			t.Fatal(err)
		}
		j.Release()
	}

	db, err := store.Open(filepath.Join(t.TempDir(), "logscan.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	at := from
	db.UseClock(func() time.Time { return at })
	in := incidents{router: trigger.NewRouter()}
	db.UseIncidents(&in)
	db.UseWorkloads(func() map[string]time.Time { return lastLines(journals) })
	boss := trigger.Fields.New()
	boss.Name, boss.ActionURL, boss.Digest, boss.Notices = "boss", "https://hooks.example.com/x", now.Format("4 15 * * *"), []string{"digest"}
	boss, err = db.CreateTrigger(t.Context(), boss)
	if err != nil {
		t.Fatal(err)
	}
	if bad := in.router.Set([]trigger.Trigger{boss}); len(bad) > 0 {
		t.Fatal(bad)
	}
	lose := func(key loss.Key, sum loss.Sum) {
		t.Helper()
		c, _ := journals.Container(key.Container)
		if _, err := db.Commit(t.Context(), store.Batch{Events: []event.Event{lossEvent(1, key, sum, c)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	pass := func(to time.Time) {
		t.Helper()
		at = to
		if err := db.Pass(t.Context(), at, at); err != nil {
			t.Fatal(err)
		}
	}
	text := func() string {
		t.Helper()
		job, err := db.Next(t.Context(), boss.ID, trigger.Delivery{})
		if err != nil || job.Message == nil {
			t.Fatalf("%+v, %v", job, err)
		}
		job.Delivery.State = trigger.Delivered
		if err := db.Record(t.Context(), []trigger.Delivery{job.Delivery}); err != nil {
			t.Fatal(err)
		}
		return job.Message.Notices[0].Text
	}
	at = from.Add(-time.Hour)
	lose(loss.Key{Container: fmt.Sprintf("%064x", 1), Reason: "budget"}, loss.Sum{Times: 1000, Bytes: 1000, Frames: 1000}) // before
	pass(from)
	pass(now.Add(-time.Second))
	if job, err := db.Next(t.Context(), boss.ID, trigger.Delivery{}); err != nil || job.Message != nil {
		t.Fatalf("%+v, %v", job.Message, err)
	}
	lose(loss.Key{Container: fmt.Sprintf("%064x", 1), Reason: "budget"}, loss.Sum{Times: 2, Bytes: 300, Frames: 5})
	lose(loss.Key{Container: fmt.Sprintf("%064x", 1), Reason: "torn"}, loss.Sum{Times: 1, Bytes: 20})
	lose(loss.Key{Container: fmt.Sprintf("%064x", 2), Reason: "full"}, loss.Sum{Times: 4, Bytes: 4000, Frames: 7})
	lose(loss.Key{Reason: "full"}, loss.Sum{Times: 1, Bytes: 1})
	pass(now)
	got := text()
	silent := func(workload string, last time.Time) string {
		return "Silent: " + workload + ", last line " + last.UTC().Format("2006-01-02 15:04") + " UTC\n"
	}
	want := silent("shop/just", from.Add(-time.Second)) + silent("shop/silent", from.Add(-3*24*time.Hour)) + "Lines lost: 4321 bytes, 12 entries that are known, of 2 containers, 8×"
	if !strings.HasSuffix(got, "\n"+want) || strings.Contains(strings.TrimSuffix(got, want), "Silent") || strings.Contains(got, "Noisiest") {
		t.Errorf("%s\nnot\n%s", got, want)
	}
	// The next one is of its own time.
	pass(now.Add(24 * time.Hour))
	if got := text(); strings.Contains(got, "lost") || !strings.Contains(got, "shop/web") || !strings.Contains(got, "shop/two") || strings.Contains(got, "shop/long") {
		t.Error(got)
	}
}
