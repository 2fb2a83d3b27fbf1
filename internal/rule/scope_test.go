package rule

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

// A rule with a scope sees the lines of the containers that it names, by image, name
// and labels, and of no others; what replaces a global rule does so all the same.
func TestScopes(t *testing.T) {
	named := func(id int64, change func(*Rule)) Rule {
		r := valid()
		r.ID, r.Name = id, fmt.Sprint("r", id)
		change(&r)
		return r
	}
	s, bad := Compile([]Rule{
		named(1, func(*Rule) {}),
		named(2, func(r *Rule) { r.Images = []string{"postgres:*"} }),
		named(3, func(r *Rule) { r.Names = []string{"shop-*", "blog"} }),
		named(4, func(r *Rule) { r.Labels = []string{"team=db", "env"} }),
		named(5, func(r *Rule) { r.Images, r.Names = []string{"postgres:*"}, []string{"shop-*"} }),
		named(6, func(r *Rule) { r.WorkloadID, r.Names = "w", []string{"blog"} }),
		named(7, func(r *Rule) { r.WorkloadID, r.OverridesID, r.Images = "w", 1, []string{"nginx"} }),
	})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	for _, c := range []struct {
		c    Container
		want []int64
	}{
		{Container{}, []int64{1}},
		{Container{Image: "postgres:16"}, []int64{1, 2}},
		{Container{Image: "postgres"}, []int64{1, 2}},
		{Container{Image: "registry.example.com:5000/postgres"}, []int64{1}},
		{Container{Image: "postgres-exporter"}, []int64{1}},
		{Container{Image: "postgres:16", Name: "shop-db"}, []int64{1, 2, 3, 5}},
		{Container{Name: "blog"}, []int64{1, 3}},
		{Container{Labels: map[string]string{"team": "db"}}, []int64{1}},
		{Container{Labels: map[string]string{"team": "db", "env": ""}}, []int64{1, 4}},
		{Container{Workload: "w", Name: "blog"}, []int64{3, 6}},
		{Container{Workload: "w", Name: "web", Image: "nginx"}, []int64{7}},
		{Container{Workload: "w", Name: "web"}, nil},
	} {
		set := s.ForContainer(c.c)
		var got []int64
		for _, r := range set.Rules() {
			got = append(got, r.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: rules %v, not %v", c.c, got, c.want)
		}
		var hits []int64
		var st State
		for _, h := range set.Eval(&st, text("x"), nil) {
			hits = append(hits, h.Rule.ID)
		}
		if !slices.Equal(hits, c.want) {
			t.Errorf("%+v: hits of %v, not %v", c.c, hits, c.want)
		}
		if again := s.ForContainer(c.c); again != set {
			t.Errorf("%+v has two sets", c.c)
		}
	}
	if n := len(s.For("w").Rules()); n != 6 {
		t.Errorf("%d rules of the workload, in whatever container", n)
	}
	// Many followers ask at once.
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for k := range 100 {
				s.ForContainer(Container{Name: fmt.Sprint("shop-", (n+k)%5), Image: []string{"postgres:1", "x"}[k%2]})
			}
		})
	}
	wg.Wait()
}
