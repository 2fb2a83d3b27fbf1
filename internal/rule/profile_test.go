package rule

import "testing"

// What is measured of lines is counted for the rules that it was about, and all of it for
// rule 0.
func TestProfile(t *testing.T) {
	rules := make([]Rule, 6)
	for n := range rules {
		rules[n] = valid()
		rules[n].ID, rules[n].CooldownSeconds = int64(n+1), 0
	}
	rules[0].Pattern, rules[0].Ignore = "needle", []string{"health", "probe"}
	rules[1].Pattern = "needle"
	rules[2].Pattern, rules[2].Where = "", []string{"status >= 500", "took > 1s"}
	rules[3].Pattern, rules[3].Where = `status=(?P<code>\d+)`, []string{"$code = 200"}
	rules[4].Pattern = "absent"
	rules[5].Pattern, rules[5].WorkloadID = "needle", "elsewhere"
	var st State
	s := set(t, Bucket{}, rules...)
	m := s.Begin()
	defer m.End()
	all := map[int64]Counts{}
	for n := range 2000 {
		text := "a needle status=503 took=1ms health"
		if n%2 == 1 {
			text = "needle status=503 probe"
		}
		l := Line{Text: []byte(text)}
		if m.Match(&st, l) {
			m.Admit(&st, l, nil)
		}
		for id, c := range st.TakeCounts() {
			c.Add(all[id])
			all[id] = c
		}
	}
	sum := int64(0)
	for id, c := range all {
		if id != 0 {
			sum += c.Nanos
		}
	}
	if total := all[0].Nanos; total <= 0 || sum > total {
		t.Errorf("%d ns in all, %d of rules", total, sum)
	}
	for id := int64(1); id <= 4; id++ {
		if all[id].Nanos <= 0 {
			t.Errorf("nothing was measured of rule %d", id)
		}
	}
	if all[5].Nanos != 0 || all[6].Nanos != 0 {
		t.Errorf("rules that nothing was done for: %+v, %+v", all[5], all[6])
	}
	if ignored := st.TakeIgnored(); len(ignored) != 2 || ignored[Ignored{1, "health"}] != 1000 || ignored[Ignored{1, "probe"}] != 1000 || st.TakeIgnored() != nil {
		t.Errorf("%v", ignored)
	}
	if !s.base.ignores[Ignored{1, "probe"}] || s.base.ignores[Ignored{2, "probe"}] {
		t.Error("which patterns there are to ignore isn't known")
	}
}
