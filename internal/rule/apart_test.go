package rule

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// anyRule makes a rule of any sort.
func anyRule(rng *rand.Rand, id int64) Rule {
	patterns := []string{`alpha`, `beta$`, `^gamma`, `error (?P<code>\d+)`, `(?s)alpha.*beta`, `alpha\nbeta`, `(?m)^delta$`, `\bat\b`, `.`, `^$`, `beta[^x]*gamma`, `(?i)ALPHA`, `user=(?P<user>\w+)`}
	pick := func() string { return patterns[rng.IntN(len(patterns))] }
	r := New()
	r.ID, r.Name, r.Pattern = id, fmt.Sprint("rule ", id), pick()
	r.CooldownSeconds = int64(rng.IntN(2) * 60)
	r.Record = rng.IntN(2) == 0
	r.Streams = Streams[rng.IntN(len(Streams))]
	r.State = States[rng.IntN(len(States))]
	for range rng.IntN(2) {
		r.All = append(r.All, pick())
	}
	for range rng.IntN(2) {
		r.Ignore = append(r.Ignore, pick())
	}
	if rng.IntN(3) == 0 {
		r.Where = append(r.Where, []string{`level = error`, `took > 10ms`, `user exists`}[rng.IntN(3)])
		if rng.IntN(2) == 0 {
			r.Pattern, r.All = "", nil
		}
	}
	if rng.IntN(3) == 0 {
		r.RecordStart = []string{`^alpha`, `^\S`, `^error`}[rng.IntN(3)]
	}
	if rng.IntN(4) == 0 {
		r.Names = []string{[]string{"web-*", "other"}[rng.IntN(2)]}
	}
	switch rng.IntN(7) {
	case 0:
		r.Kind, r.AtLeast, r.WithinSeconds = KindCount, 3, 60
		if r.Pattern == `user=(?P<user>\w+)` {
			r.By, r.Clear = []string{"$user"}, []string{`beta $user`}
		}
	case 1:
		r.Kind, r.WithinSeconds, r.Pattern, r.All, r.Where, r.Ignore = KindSequence, 60, "", nil, nil, nil
		r.Steps, r.Until = []string{`user=(?P<user>\w+)`, "alpha.*$user"}, []string{pick()}
	case 2:
		r.Kind, r.Pattern, r.All, r.Where, r.Ignore = KindRun, "", nil, nil, nil
		r.Must, r.MustNot = []string{pick()}, []string{pick() + "\nignore gamma"}
	case 3:
		r.Kind, r.Of, r.Over = KindRatio, ".", "5%"
	case 4:
		r.Kind, r.ForSeconds = KindAbsent, 60
	}
	return r
}

// TestApart has rules that are apart match, and come to, the same as all in one.
func TestApart(t *testing.T) {
	words := []string{"alpha", "beta", "gamma", "delta", "error 7", "error 12", "  at x", "", "\tat y\r", "user=ann beta ann", "alpha user=bob", `{"level":"error","took":"15ms","user":"x"}`, "level=error took=5ms"}
	hits, matches := 0, 0
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 4))
		var together, all []Rule
		apart := map[string][]Rule{}
		for id := range int64(2 + rng.IntN(16)) {
			r := anyRule(rng, id+1)
			place := rng.IntN(6)
			if place > 1 {
				r.WorkloadID = []string{"w", "w", "other"}[rng.IntN(3)]
			}
			all = append(all, r)
			if place > 2 {
				apart[r.WorkloadID] = append(apart[r.WorkloadID], r)
			} else {
				together = append(together, r)
			}
		}
		if len(together) > 1 && rng.IntN(2) == 0 { // an override
			over := anyRule(rng, 100)
			if base := together[0]; base.WorkloadID == "" {
				over.WorkloadID, over.OverridesID = "w", base.ID
				all, together = append(all, over), append(together, over)
			}
		}
		bucket := WithBucket(Bucket{Burst: 4, Refill: 1e9})
		one, bad := Compile(all, bucket)
		two, badToo := Compile(together, bucket, WithApart(apart, nil))
		if len(bad)+len(badToo) > 0 {
			t.Fatal(bad, badToo)
		}
		if got, want := correlatedIDs(two.Correlated()), correlatedIDs(one.Correlated()); !slices.Equal(got, want) {
			t.Fatalf("seed %d: correlated %v, want %v", seed, got, want)
		}
		if two.Waits() != one.Waits() || two.Runs() != one.Runs() {
			t.Fatalf("seed %d: whether it waits, or is about runs, is another", seed)
		}
		for _, text := range words {
			if got, want := two.Matches([]byte(text)), one.Matches([]byte(text)); !slices.Equal(got, want) {
				t.Fatalf("seed %d: %q matches %v, want %v", seed, text, got, want)
			}
		}
		for _, c := range []Container{{Workload: "w", Name: "web-1"}, {Workload: "w", Name: "x"}, {Workload: "other", Name: "other"}, {Workload: "none", Name: "n"}} {
			a, b := one.ForContainer(c), two.ForContainer(c)
			if !reflect.DeepEqual(a.Rules(), b.Rules()) {
				t.Fatalf("seed %d: rules of %+v are\n%+v, want\n%+v", seed, c, b.Rules(), a.Rules())
			}
			ma, mb := a.Begin(), b.Begin()
			var sa, sb State
			ways := b.Ways()
			if want := a.Ways(); !slices.Equal(slices.Sorted(slices.Values(ways)), slices.Sorted(slices.Values(want))) {
				t.Fatalf("seed %d: ways %q, want %q", seed, ways, want)
			}
			for n := range 12 {
				var texts []string
				for range 1 + rng.IntN(4) {
					texts = append(texts, words[rng.IntN(len(words))])
				}
				way := rng.IntN(len(ways))
				rb := recordOf(way, texts...)
				ra := rb
				ra.Way = slices.Index(a.Ways(), ways[way])
				for i := range rb.Lines {
					rb.Lines[i].TimeNano += int64(n) * 1e9
					rb.Lines[i].Stream = streams[rng.IntN(2)]
				}
				told := func(m *Matching, s *Set, st *State, r Record) string {
					var looks []string
					hs := m.Evaluate(st, r, nil, func(l Line, _ int) {
						unmet := slices.Clone(m.Unmet())
						slices.SortFunc(unmet, func(a, b Unmet) int { return int(a.Rule.ID - b.Rule.ID) })
						for i := range unmet {
							unmet[i].Rule = &Rule{ID: unmet[i].Rule.ID}
						}
						looks = append(looks, fmt.Sprintf("%v %v %d", m.Parts(), m.Spans(l, 3), len(unmet)))
					})
					hits += len(hs)
					of := m.TakeMatches()
					matches += len(of)
					out := fmt.Sprintf("looks %q\n", looks)
					for _, h := range hs {
						out += fmt.Sprintf("hit of %d: %q %q %v %q\n", h.Rule.ID, h.Text, h.Record, h.Captures, h.By)
					}
					for _, x := range of {
						id := x.Rule.ID
						x.Rule = nil
						out += fmt.Sprintf("match of %d: %+v\n", id, x)
					}
					for _, x := range m.Became() {
						id := x.Rule.ID
						x.Rule = nil
						out += fmt.Sprintf("%d became %+v\n", id, x)
					}
					for _, begins := range []string{`^alpha`, `^\S`, `^error`} {
						if at := slices.Index(s.Ways(), begins); at > 0 {
							out += fmt.Sprintf("%s begins %t\n", begins, m.Begins(r.Lines[0])[at])
						}
					}
					for _, x := range s.Rules() {
						v, _ := s.Verdicts(x.ID, r.Lines[0].Text, 2)
						out += fmt.Sprintf("verdicts on %d: %+v\n", x.ID, v)
					}
					return out
				}
				if got, want := told(&mb, b, &sb, rb), told(&ma, a, &sa, ra); got != want {
					t.Fatalf("seed %d, %+v, %q by %q:\ngot\n%s\nwant\n%s\nof %+v\nand %+v", seed, c, texts, ways[way], got, want, together, apart)
				}
			}
			ca, cb := sa.TakeCounts(), sb.TakeCounts()
			for _, counts := range []map[int64]Counts{ca, cb} { // how long it took is another each time
				delete(counts, 0)
				for id, c := range counts {
					if c.Nanos = 0; c == (Counts{}) {
						delete(counts, id)
					} else {
						counts[id] = c
					}
				}
			}
			if !maps.Equal(ca, cb) || !reflect.DeepEqual(sa.TakeIgnored(), sb.TakeIgnored()) {
				t.Fatalf("seed %d: counts %+v, want %+v", seed, cb, ca)
			}
			da, _ := sa.MarshalBinary()
			if db, _ := sb.MarshalBinary(); !bytes.Equal(da, db) {
				t.Fatalf("seed %d: the state is another", seed)
			}
			if ga, gb := sa.TakeSuppressed(), sb.TakeSuppressed(); len(ga) != len(gb) {
				t.Fatalf("seed %d: %d suppressed, want %d", seed, len(gb), len(ga))
			}
			ma.End()
			mb.End()
		}
	}
	if hits < 500 || matches < 5000 {
		t.Errorf("%d hits and %d matches say little", hits, matches)
	}
}

func correlatedIDs(rules []*Rule) (out []int64) {
	for _, r := range rules {
		out = append(out, r.ID)
	}
	return out
}

// TestApartAlone has a change of a workload's rules that are apart leave all else as it is.
func TestApartAlone(t *testing.T) {
	rule := func(id int64, workload, pattern string) Rule {
		r := New()
		r.ID, r.Name, r.WorkloadID, r.Pattern = id, fmt.Sprint("rule ", id), workload, pattern
		return r
	}
	count := func(id int64, workload string) Rule {
		r := rule(id, workload, "n")
		r.Kind, r.AtLeast, r.WithinSeconds = KindCount, 2, 60
		return r
	}
	web, db := rule(2, "web", "x"), rule(3, "db", "x")
	first, bad := Compile([]Rule{rule(1, "", "x")}, WithApart(map[string][]Rule{"web": {web}, "db": {db}}, nil))
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	changed := web
	changed.Pattern = "y"
	second, bad := first.WithApart(map[string][]Rule{"web": {changed, rule(4, "other", "z"), rule(5, "web", "(")}})
	if len(bad) != 2 || bad[0].RuleID != 4 || bad[0].Reason != "is for another workload" || bad[1].RuleID != 5 {
		t.Errorf("bad: %v", bad)
	}
	if !second.SumsAs(first) || !first.SumsAs(second) {
		t.Error("what is added up is said to be other than before")
	}
	if first.For("db") != second.For("db") || first.For("none") != second.For("none") || first.For("web") == second.For("web") {
		t.Error("sets of other workloads were made anew, or the workload's wasn't")
	}
	if got := ids(second.For("web")); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("rules of web are %v", got)
	}
	if got := second.Matches([]byte("y")); !slices.Equal(got, []int64{2}) {
		t.Errorf("y matches %v", got)
	}
	if got := first.Matches([]byte("y")); got != nil {
		t.Errorf("y matched %v before", got)
	}
	if !second.Known(5) || !second.KnownApart("web", 5) || second.KnownApart("db", 5) || first.Known(5) {
		t.Error("which rules there are isn't known")
	}
	third, _ := second.WithApart(map[string][]Rule{"db": {count(6, "db")}, "web": nil})
	if third.SumsAs(second) || !slices.Equal(correlatedIDs(third.Correlated()), []int64{6}) {
		t.Error("what is added up is said to be the same as before")
	}
	if got := ids(third.For("web")); !slices.Equal(got, []int64{1}) || third.Known(2) {
		t.Errorf("rules of web are %v", got)
	}
	if got := third.Matches([]byte("x")); !slices.Equal(got, []int64{1}) {
		t.Errorf("x matches %v", got)
	}
	// What was compiled of the same rules is taken over.
	fourth, _ := Compile([]Rule{rule(7, "", "x")}, WithApart(map[string][]Rule{"db": {count(6, "db")}}, third))
	if fourth.apart["db"].apart != third.apart["db"].apart || fourth.For("db") == third.For("db") {
		t.Error("what was compiled isn't taken over, or the set is")
	}
	if got := ids(fourth.For("db")); !slices.Equal(got, []int64{6, 7}) {
		t.Errorf("rules of db are %v", got)
	}
}

// BenchmarkContainerStart is what it takes that a container starts with three rules in its
// labels where there are 5,000 others: all compiled anew, as a change of any of them is, or
// these alone.
func BenchmarkContainerStart(b *testing.B) {
	var rules []Rule
	for id := range int64(5000) {
		r := New()
		r.ID, r.Name, r.Pattern = id+1, fmt.Sprint("rule ", id), fmt.Sprintf(`module%d: (failed|refused) to \w+ %x`, id, id*2654435761)
		rules = append(rules, r)
	}
	usual := New()
	own := func(n int) (out []Rule) {
		for id := range int64(3) {
			r := usual
			r.ID, r.Name, r.WorkloadID, r.Pattern = 5001+id, fmt.Sprint("own ", id), "shop/web", fmt.Sprintf(`own%d (error|panic) %d`, id, n)
			out = append(out, r)
		}
		return out
	}
	web := Container{Workload: "shop/web", Name: "web"}
	b.Run("together", func(b *testing.B) {
		var known Patterns
		for n := range b.N {
			s, _ := Compile(slices.Concat(rules, own(n)), WithPatterns(&known))
			s.ForContainer(web)
		}
	})
	for _, others := range []int{0, 50, 5000} {
		b.Run(fmt.Sprintf("apart/others=%d", others), func(b *testing.B) {
			var known Patterns
			s, _ := Compile(rules[:others], WithPatterns(&known))
			b.ResetTimer()
			for n := range b.N {
				s, _ = s.WithApart(map[string][]Rule{"shop/web": own(n)})
				s.ForContainer(web)
			}
		})
	}
}
