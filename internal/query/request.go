package query

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"logscan/internal/blockfilter"
	"logscan/internal/fields"
	"logscan/internal/journal"
	"logscan/internal/rule"
	"logscan/internal/rule/match"
)

// What a search gives.
const (
	Lines      = "lines"      // that match
	Counts     = "counts"     // of them, by container
	Containers = "containers" // that have one
)

// Shows are what that field of a request can be.
var Shows = []string{Lines, Counts, Containers}

// Orders of hits.
const (
	Newest = "newest" // first
	Oldest = "oldest"
)

// Orders are what that field of a request can be.
var Orders = []string{Newest, Oldest}

// Bounds of a request.
const (
	MaxContainers = 1000    // that are named
	MaxLimit      = 1000000 // hits
	MaxContext    = 200     // lines before a hit, and behind
	maxContainer  = 256     // bytes of a name
)

// Request says what to look for, and where.
type Request struct {
	Pattern    string   // RE2, as a rule has it; "" matches all
	Fixed      bool     // Pattern is a text
	IgnoreCase bool     // of Pattern
	Invert     bool     // lines that Pattern doesn't match
	Where      []string // conditions of package where, all of which a line fulfils
	Stream     string   // one of rule.Streams; "" = all

	Since, Until time.Time // not before, and before; zero = not bounded
	Containers   []string  // names, ids or beginnings of ids; none = all
	Workload     string    // "" = all

	Order         string // "" = Newest
	Show          string // "" = Lines
	Limit         int    // hits; 0 = MaxLimit
	Before, After int    // lines of context
	Records       bool   // a hit is the record that its line lies in, as a stack trace, and each record is one
	From          string // a Token to go on from; "" = begin
}

// refuse makes an error about a field of a request.
func refuse(field, format string, args ...any) error {
	return &fields.Error{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// ErrNoContainer means that no log is kept of a container that was named.
var ErrNoContainer = errors.New("no log is kept of it")

// settle puts in what is left out, and refuses what can't be.
func (r *Request) settle() error {
	for _, f := range []struct {
		name string
		is   *string
		of   []string
	}{{"stream", &r.Stream, rule.Streams}, {"order", &r.Order, Orders}, {"show", &r.Show, Shows}} {
		if *f.is == "" {
			*f.is = f.of[0]
		}
		if !slices.Contains(f.of, *f.is) {
			return refuse(f.name, "must be one of %s", strings.Join(f.of, ", "))
		}
	}
	for _, f := range []struct {
		name     string
		is, most int
	}{{"limit", r.Limit, MaxLimit}, {"before", r.Before, MaxContext}, {"after", r.After, MaxContext}} {
		if f.is < 0 || f.is > f.most {
			return refuse(f.name, "must be from 0 to %d", f.most)
		}
	}
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"since", r.Since}, {"until", r.Until}} {
		if !t.at.IsZero() && (t.at.Year() < 1700 || t.at.Year() > 2250) {
			return refuse(t.name, "is in the year %d; give one between 1700 and 2250", t.at.Year())
		}
	}
	if !r.Since.IsZero() && !r.Until.IsZero() && !r.Since.Before(r.Until) {
		return refuse("until", "must be behind since")
	}
	if r.Show != Lines && (r.Limit > 0 || r.From != "" || r.Before+r.After > 0 || r.Records) {
		return refuse("show", "must be %s where there is a limit, a place to go on from, lines of context, or records", Lines)
	}
	if len(r.Containers) > MaxContainers {
		return refuse("container", "are %d; the most is %d", len(r.Containers), MaxContainers)
	}
	for _, name := range r.Containers {
		if name == "" || len(name) > maxContainer {
			return refuse("container", "must be a name or an id, of %d bytes at most", maxContainer)
		}
	}
	if len(r.Workload) > rule.MaxWorkload {
		return refuse("workload", "is %d bytes long; the most is %d", len(r.Workload), rule.MaxWorkload)
	}
	if r.Limit == 0 {
		r.Limit = MaxLimit
	}
	return nil
}

// having is what each line has that is looked for, for a filter of blocks and to look for in
// frames; nil where there is nothing that helps.
type having struct {
	blocks *blockfilter.Wanted
	frames *match.Finder
}

// compile makes a set of one rule of what is looked for: matching is that of rules. It
// says what helps to pass over what doesn't match.
func (r *Request) compile() (set *rule.Set, has having, err error) {
	expr := r.Pattern
	switch {
	case expr == "":
		expr = "^"
	case r.Fixed && len(expr) <= rule.MaxPattern/2:
		expr = regexp.QuoteMeta(expr)
	case r.Fixed:
		return nil, has, refuse("pattern", "is %d bytes long; the most of a text is %d", len(expr), rule.MaxPattern/2)
	}
	if err := rule.CheckPattern(expr); err != nil {
		return nil, has, refuse("pattern", "%v", err)
	}
	if r.IgnoreCase {
		expr = "(?i)" + expr
	}
	looked := rule.New()
	looked.ID, looked.Name, looked.Pattern, looked.Where = 1, "search", expr, r.Where
	if r.Invert {
		looked.Pattern, looked.Ignore = "^", []string{expr}
	}
	if len(r.Where) > rule.MaxConditions {
		return nil, has, refuse("where", "are %d conditions; the most is %d: join some values by in", len(r.Where), rule.MaxConditions)
	}
	snapshot, bad := rule.Compile([]rule.Rule{looked})
	if len(bad) == 0 {
		if !r.Invert {
			has = having{blockfilter.Want(rule.Required(expr)), rule.Finder(expr)}
		}
		return snapshot.For(""), has, nil
	}
	if reason, ok := strings.CutPrefix(bad[0].Reason, "where: "); ok {
		return nil, has, refuse("where", "%s", reason)
	}
	return nil, has, refuse("pattern", "%s", strings.TrimPrefix(bad[0].Reason, "pattern "))
}

// means reports whether a request is about a container, and notes which of the names that
// it gives are the container's.
func (r *Request) means(c *journal.Container, found []bool) bool {
	named := len(r.Containers) == 0
	for i, name := range r.Containers {
		if c.Name == name || strings.HasPrefix(c.ID, name) {
			named, found[i] = true, true
		}
	}
	return named && (r.Workload == "" || c.Workload == r.Workload)
}

// choose returns the containers that a request is about, by id.
func (r *Request) choose(all []journal.Container) ([]journal.Container, error) {
	found := make([]bool, len(r.Containers))
	var out []journal.Container
	for _, c := range all {
		if r.means(&c, found) {
			out = append(out, c)
		}
	}
	for i, name := range r.Containers {
		if !found[i] {
			return nil, fmt.Errorf("container %q: %w; `docker logscan container ls` lists those of which there is one", name, ErrNoContainer)
		}
	}
	slices.SortFunc(out, func(a, b journal.Container) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}
