package where

import (
	"fmt"
	"testing"
)

// benchmarkRules are 100 rules of one to three conditions on 40 paths, and lines.
func benchmarkRules(t testing.TB) (rules [][]*Condition, lines [][]byte) {
	for n := range 100 {
		texts := []string{fmt.Sprintf("status = %d", 400+n), `path != /health`}
		switch n % 5 {
		case 1:
			texts = []string{fmt.Sprintf("upstream.service%d = down", n), "level >= error"}
		case 2:
			texts = []string{"level >= error", fmt.Sprintf(`service = "shop-%d"`, n)}
		case 3:
			texts = []string{fmt.Sprintf("took > %dms", 1000+n), "method in (GET, POST)", "status < 500"}
		case 4:
			texts = []string{fmt.Sprintf("user.id = %d", n), "status >= 400"}
		}
		var rule []*Condition
		for _, text := range texts {
			rule = append(rule, must(t, text))
		}
		rules = append(rules, rule)
	}
	return rules, [][]byte{
		[]byte(`{"time":"2026-05-20T11:45:06.123456Z","level":"info","service":"shop-7","method":"GET","path":"/api/v1/orders/48213","status":200,"took":"12.5ms","bytes":48213,"remote":"10.0.3.17","user":{"id":4711,"name":"carol"},"trace_id":"075983cf098bbbbfbf5a2c0ecc8ef3a1","agent":"Mozilla/5.0 (X11; Linux x86_64; rv:128.0)"}`),
		[]byte(`time=2026-05-20T11:45:06.123456Z level=info service=shop-7 method=GET path=/api/v1/orders/48213 status=200 took=12.5ms bytes=48213 remote=10.0.3.17 user.id=4711 trace_id=075983cf098bbbbfbf5a2c0ecc8ef3a1 agent="Mozilla/5.0 (X11; Linux x86_64; rv:128.0)" msg="request served, nothing more to say"`),
		[]byte(`2026-05-20 11:45:06,123 INFO  [http-nio-8080-exec-7] c.e.shop.OrderController - served order 48213 to carol at 10.0.3.17 in 12.5ms, which was quick enough for everybody who was there to see it; there was nothing else to be said of this order, which was one of many that were served that day by this controller`),
	}
}

func compileRules(rules [][]*Condition) (*Set, [][]int32) {
	var b Builder
	numbers := make([][]int32, len(rules))
	for i, rule := range rules {
		for _, c := range rule {
			numbers[i] = append(numbers[i], b.Add(c))
		}
	}
	return b.Build(), numbers
}

func evaluate(s *Scan, line []byte, rules [][]int32) (hits int) {
	s.Reset(line)
	for _, rule := range rules {
		holds := true
		for _, n := range rule {
			if s.Holds(n) != Yes {
				holds = false
				break
			}
		}
		if holds {
			hits++
		}
	}
	return hits
}

func BenchmarkRules(b *testing.B) {
	rules, lines := benchmarkRules(b)
	set, numbers := compileRules(rules)
	for i, name := range []string{"json", "logfmt", "text"} {
		line := lines[i]
		b.Run(name, func(b *testing.B) {
			s := set.Acquire()
			defer s.Release()
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				evaluate(s, line, numbers)
			}
		})
	}
	for name, once := range map[string]bool{"naive": false, "decoded-once": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				naiveAll(lines[0], rules, once)
			}
		})
	}
}
