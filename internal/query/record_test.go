package query

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"logscan/internal/journal"
	"logscan/internal/lines"
)

// traces writes lines, and records of several ones, between which the other stream writes.
func (l *log) traces(n int) {
	l.t.Helper()
	for range n {
		var record []string
		switch l.rand.IntN(6) {
		case 0:
			record = append(record, fmt.Sprintf("ERROR request %d failed", l.rand.IntN(50)), "java.lang.IllegalStateException: out of memory")
			for range 1 + l.rand.IntN(30) {
				record = append(record, fmt.Sprintf("\tat com.shop.Cart.take%d(Cart.java:%d)", l.rand.IntN(5), l.rand.IntN(900)))
			}
			if l.rand.IntN(3) == 0 {
				record = append(record, "Caused by: java.io.IOException: timeout", "\tat com.shop.Net.read(Net.java:7)", "\t... 12 more")
			}
		case 1:
			record = append(record, "Traceback (most recent call last):")
			for i := range 1 + l.rand.IntN(5) {
				record = append(record, fmt.Sprintf("  File \"/app/m%d.py\", line %d, in take", i, l.rand.IntN(90)), "    raise Timeout()")
			}
			record = append(record, "app.Timeout: upstream timeout")
		default:
			record = append(record, fmt.Sprintf("INFO request %d took %d ms %s", l.rand.IntN(50), l.rand.IntN(900), strings.Repeat("x", l.rand.IntN(200))))
		}
		for _, text := range record {
			l.line("stderr", text, 0)
			if l.rand.IntN(8) == 0 {
				l.line("stdout", fmt.Sprintf("GET /cart %d timeout=%d", l.rand.IntN(9), l.rand.IntN(9)), 0)
			}
		}
		if l.rand.IntN(3) == 0 {
			l.nano += int64(lines.RecordGap)
		}
	}
}

// expectedRecords is what a slow search for records gives.
func expectedRecords(logs []*log, r Request) (out []string) {
	re := regexp.MustCompile(r.Pattern)
	type found struct {
		place
		text string
	}
	var all []found
	for _, l := range logs {
		id, name := l.j.Container().ID, l.j.Container().Name
		var texts []string
		at := map[int64]int{}
		var every []lines.Line
		for k, w := range l.lines {
			at[w.to()] = k
			texts = append(texts, fmt.Sprintf("%s %d %q", w.stream, w.nano, w.text(0)))
			every = append(every, lines.Line{Stream: w.stream, TimeNano: w.nano, Text: []byte(w.text(0)), From: w.chunks[0].from, To: w.to()})
		}
		var records lines.Records
		for pass := range 2 {
			take := func(of *lines.Record) {
				if pass == 0 {
					return
				}
				var hit *lines.Line
				for i := range of.Lines {
					if re.Match(of.Lines[i].Text) && (hit == nil || r.Order != Oldest) {
						hit = &of.Lines[i]
					}
				}
				if hit == nil {
					return
				}
				var show []string
				begin, end := at[of.Lines[0].To], at[of.Lines[len(of.Lines)-1].To]
				for _, text := range texts[max(0, begin-r.Before):begin] {
					show = append(show, "- "+text)
				}
				show = append(show, fmt.Sprintf("%s %q", name, hit.Text))
				for i := range of.Lines {
					show = append(show, texts[at[of.Lines[i].To]])
				}
				for _, text := range texts[end+1 : min(len(texts), end+1+r.After)] {
					show = append(show, "+ "+text)
				}
				all = append(all, found{place{hit.TimeNano, id, hit.To}, strings.Join(show, "\n")})
			}
			for i := range every {
				records.Add(&every[i], nil, take)
			}
			records.End(math.MaxInt64, take)
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.id, b.id), cmp.Compare(a.to, b.to))
	})
	if r.Order != Oldest {
		slices.Reverse(all)
	}
	for _, f := range all {
		out = append(out, f.text)
	}
	return out
}

func showRecord(h *Hit) string {
	var out []string
	for i := range h.Before {
		out = append(out, "- "+showLine(&h.Before[i]))
	}
	out = append(out, fmt.Sprintf("%s %q", h.Container.Name, h.Text))
	for i := range h.Record {
		out = append(out, showLine(&h.Record[i]))
	}
	for i := range h.After {
		out = append(out, "+ "+showLine(&h.After[i]))
	}
	return strings.Join(out, "\n")
}

// TestRecords compares searches for records with a slow one, page by page: each is found
// once, whole, whichever and however many of its lines match.
func TestRecords(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 1))
	dir := newDir(t, journal.Config{})
	var logs []*log
	for i, name := range []string{"web", "job"} {
		l := newLog(t, dir, journal.Container{ID: strings.Repeat(fmt.Sprint(i), 64), Name: name, Options: journal.Options{MaxSize: 100 << 10, MaxFile: 9, Compress: true}}, random)
		logs = append(logs, l)
	}
	for len(logs[0].j.Segments()) < 3 {
		logs[random.IntN(2)].traces(20)
	}
	maintain(t, dir)
	until(t, "rotated segments are compressed", func() bool {
		c, raw := files(t, roots[dir], logs[0].j.Container().ID)
		return c >= 2 && raw == 1
	})
	s := New(dir, nil, nil)
	for n, r := range []Request{
		{Pattern: "timeout"}, {Pattern: "Caused by"}, {Pattern: "take[24]"}, {Pattern: "request 7 "}, {Pattern: "raise|took 1. ms", Before: 2, After: 3}, {Pattern: "GET /cart 3", After: 1}, {Pattern: "nothing like it"},
	} {
		r.Order = Orders[n%2]
		r.Records = true
		want := expectedRecords(logs, r)
		if (len(want) == 0) != (r.Pattern == "nothing like it") {
			t.Fatalf("%d records of %q", len(want), r.Pattern)
		}
		for _, limit := range []int{0, 1 + len(want)/7} {
			if limit > 20 && r.Before > 0 {
				continue
			}
			page := r
			page.Limit = limit
			got := pages(t, s, page, showRecord)
			if !slices.Equal(got, want) {
				differ(t, page, got, want)
			}
		}
	}
	if _, err := s.Search(t.Context(), Request{Records: true, Show: Counts}, Output{}); err == nil || !strings.Contains(err.Error(), "records") {
		t.Errorf("records that are counted: %v", err)
	}
}
