package match

import (
	"fmt"
	"testing"
)

// Of one line in so many it is measured what took how long, and what matches is the same.
func TestProfile(t *testing.T) {
	var patterns []*Pattern
	for _, expr := range []string{"needle", `needle \d+ of`, `[a-f]+[0-9]+x`, `^\w+ \w+ [0-9]$`, "absent", ""} {
		p, err := NewPattern(expr)
		if err != nil {
			t.Fatal(err)
		}
		patterns = append(patterns, p)
	}
	for _, long := range []int{0, 200 << 10} {
		m := Build(patterns, nil)
		s := m.newScratch()
		line := append([]byte("a needle 17 of "), make([]byte, long)...)
		want := fmt.Sprint(s.Match(line, nil))
		measured := 0
		for range 4*profileEvery - 1 {
			if got := fmt.Sprint(s.Match(line, nil)); got != want {
				t.Fatalf("%s, then %s", want, got)
			}
			total, of, ok := s.Profile()
			if !ok {
				continue
			}
			measured++
			sum, seen := int64(0), map[uint32]bool{}
			for _, v := range of {
				sum, seen[v.Pattern] = sum+v.Nanos, true
			}
			if sum > total || total <= 0 || !seen[0] || !seen[1] || !seen[2] || seen[4] || seen[5] {
				t.Errorf("%d ns in all, %d of %v", total, sum, of)
			}
		}
		if measured != 4 {
			t.Errorf("%d of %d lines were measured", measured, 4*profileEvery)
		}
	}
}
