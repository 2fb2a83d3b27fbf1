package correlate

import (
	"fmt"
	"runtime"
	"testing"

	"logscan/internal/rule"
)

// BenchmarkKeys adds up matches of 100,000 keys, 10,000 of each of ten rules, and says
// how much memory a key takes.
func BenchmarkKeys(b *testing.B) {
	var rules []rule.Rule
	for id := range int64(10) {
		r := count(5, 600)
		r.ID, r.Name, r.By = id+1, fmt.Sprint("rule ", id), []string{"$ip"}
		rules = append(rules, r)
	}
	snapshot, bad := rule.Compile(rules)
	if len(bad) > 0 {
		b.Fatal(bad)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	e := New(rule.Bucket{})
	e.SetRules(snapshot, 0)
	keys := make([]string, MaxKeys)
	for i := range keys {
		keys[i] = fmt.Sprintf("ip=192.0.%d.%d", i/256, i%256)
	}
	match := func(n int) {
		c := web
		m := rule.Match{Rule: snapshot.Correlated()[n%10], TimeNano: int64(n) * 1e3, Stream: "stdout", Text: "failed for root from 192.0.2.7 port 22", By: keys[n/10%MaxKeys]}
		e.Match(&c, &m)
	}
	n := 0
	for ; n < 10*MaxKeys*4; n++ { // four of each, as many as are no hit
		match(n)
		if n%1000 == 0 {
			e.Take()
		}
	}
	e.Take()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ResetTimer()
	for i := range b.N {
		match(n + i)
		if i%1000 == 999 {
			e.Take()
		}
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(10*MaxKeys), "B/key")
}
