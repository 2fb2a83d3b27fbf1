package rule

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"logscan/internal/fields"
	"logscan/internal/glob"
)

// Container is what the Engine tells of a container that decides which rules hold for
// its lines.
type Container struct {
	Workload    string
	Name, Image string
	Labels      map[string]string
}

// scoped reports whether the rule is for some containers of its workload only.
func (r *Rule) scoped() bool { return len(r.Images)+len(r.Names)+len(r.Labels) > 0 }

// Holds reports whether the rule's images, names and labels are the container's; its
// workload is not looked at.
func (r *Rule) Holds(c Container) bool {
	image := c.Image
	if at := strings.LastIndexByte(image, '/'); image != "" && !strings.ContainsAny(image[at+1:], ":@") {
		image += ":latest"
	}
	return (glob.Any(r.Images, c.Image) || glob.Any(r.Images, image)) && glob.Any(r.Names, c.Name) && glob.Labels(r.Labels, c.Labels)
}

// ForContainer returns the effective rules of a container: those of its workload that
// are for its image, name and labels. An override that isn't replaces the global rule
// all the same.
func (s *Snapshot) ForContainer(c Container) *Set {
	set := s.For(c.Workload)
	var out []*compiled
	for _, r := range set.scoped {
		if !r.rule.Holds(c) {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return set
	}
	var key strings.Builder
	key.WriteString(c.Workload)
	for _, r := range out {
		fmt.Fprintf(&key, "\x00%d", r.rule.ID)
	}
	narrower := &s.narrower
	if apart := s.apart[c.Workload]; apart != nil {
		narrower = &apart.narrower
	}
	return narrower.get(key.String(), func() *Set { return set.without(out) })
}

// without is the set without some of its rules.
func (s *Set) without(out []*compiled) *Set {
	o := &overlay{replaced: map[int64]bool{}}
	for id := range s.overlay.replaced {
		o.replaced[id] = true
	}
	for _, r := range out {
		o.replaced[r.rule.ID] = true
	}
	for _, r := range s.overlay.rules {
		if !slices.Contains(out, r) {
			o.rules = append(o.rules, r)
		}
	}
	return s.base.newSet(o, s.apart)
}

// sets are sets by what they are for.
type sets struct {
	mu sync.Mutex // guards by
	by map[string]*Set
}

func (s *sets) get(key string, build func() *Set) *Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.by[key]
	if set == nil {
		set = build()
		if s.by == nil {
			s.by = map[string]*Set{}
		}
		s.by[key] = set
	}
	return set
}

// CheckGlobs says why names with * in them can't be used, be it a rule's or another
// thing's: the same bounds hold for all.
func CheckGlobs(globs fields.List[string]) error { return CheckText(globs.String(), MaxGlobs) }

// CheckLabels says why labels can't be asked for.
func CheckLabels(labels fields.List[string]) error {
	for _, l := range labels {
		if key, _, _ := strings.Cut(l, "="); key == "" {
			return fmt.Errorf("%.64q has no key: write KEY or KEY=VALUE", l)
		}
	}
	return CheckGlobs(labels)
}
