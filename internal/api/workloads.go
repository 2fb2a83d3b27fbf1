package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/rule"
)

const (
	workloadsPath  = "/api/workloads"
	effectiveRules = "/effective-rules"
)

func (s *server) workloads(api huma.API) {
	huma.Register(api, operation(http.MethodGet, workloadsPath, "list-workloads", "List the workloads that containers or rules belong to", 200), s.listWorkloads)
	effective := operation(http.MethodGet, workloadsPath+"/{id}"+effectiveRules, "get-effective-rules", "List the rules that hold for a workload", 200, 422)
	effective.Description = "The id may hold slashes, as they are or as %2F. A workload that isn't known yet has the global rules."
	huma.Register(api, effective, s.effectiveRules)
}

func (s *server) listWorkloads(ctx context.Context, _ *struct{}) (*output[List[Workload]], error) {
	rules, err := s.Store.Rules(ctx)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	known := map[string]*Workload{}
	at := func(id string) *Workload {
		if known[id] == nil {
			known[id] = &Workload{ID: id}
		}
		return known[id]
	}
	for _, j := range s.Journals.List() {
		if j.Workload == "" {
			continue // a log whose container is unknown
		}
		w := at(j.Workload)
		w.Containers++
		if j.Attached > 0 {
			w.Running++
		}
	}
	for _, r := range rules {
		switch {
		case r.WorkloadID == "":
		case r.OverridesID != 0:
			at(r.WorkloadID).Overrides++
		default:
			at(r.WorkloadID).Rules++
		}
	}
	out := &output[List[Workload]]{Body: List[Workload]{Items: []Workload{}}}
	for _, w := range known {
		out.Body.Items = append(out.Body.Items, *w)
	}
	slices.SortFunc(out.Body.Items, func(a, b Workload) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

func (s *server) effectiveRules(ctx context.Context, in *struct {
	ID string `path:"id"`
}) (*output[EffectiveRules], error) {
	if len(in.ID) > rule.MaxWorkload {
		return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("no workload's id is longer than %d bytes", rule.MaxWorkload), &huma.ErrorDetail{Location: "path.id", Message: fmt.Sprintf("is %d bytes long; the most is %d", len(in.ID), rule.MaxWorkload)})
	}
	e := EffectiveRules{WorkloadID: in.ID, Items: []Rule{}, LeftOut: []LeftOut{}}
	e.Items = append(e.Items, s.Rules.Effective(in.ID)...)
	if bad := s.Rules.LeftOut(); len(bad) > 0 {
		rules, err := s.Store.Rules(ctx)
		if err != nil {
			return nil, s.fail(err, "rule")
		}
		workload, overridden := map[int64]string{}, map[int64]bool{}
		for _, r := range rules {
			workload[r.ID] = r.WorkloadID
			if r.WorkloadID == in.ID && r.OverridesID != 0 {
				overridden[r.OverridesID] = true
			}
		}
		for _, b := range bad {
			if w, ok := workload[b.RuleID]; ok && (w == "" && !overridden[b.RuleID] || w == in.ID) {
				e.LeftOut = append(e.LeftOut, LeftOut{b.RuleID, b.Name, b.Reason})
			}
		}
	}
	return &output[EffectiveRules]{Body: e}, nil
}

// slashes makes one segment of a workload's id in a path, which may hold
// slashes: the router knows no segments in the middle that do.
func slashes(r *http.Request) *http.Request {
	path := r.URL.EscapedPath()
	rest, ok := strings.CutPrefix(path, workloadsPath+"/")
	if !ok {
		return r
	}
	id, ok := strings.CutSuffix(rest, effectiveRules)
	if !ok || !strings.Contains(id, "/") {
		return r
	}
	u := *r.URL
	u.RawPath = workloadsPath + "/" + strings.ReplaceAll(id, "/", "%2F") + effectiveRules
	var err error
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		return r
	}
	out := *r
	out.URL = &u
	return &out
}
