package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/config"
	"logscan/internal/fields"
	"logscan/internal/packs"
	"logscan/internal/rule"
	"logscan/internal/suggestion"
)

const (
	packsPath       = "/api/packs"
	suggestionsPath = "/api/pack-suggestions"
	// suggestSince is how far back packs are tried on what is kept, where nothing is said.
	suggestSince = 7 * 24 * time.Hour
)

// Pack is what to watch for in the log of a program.
type Pack struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Rules       int      `json:"rules" doc:"How many it has"`
	Sources     []string `json:"sources" nullable:"false" doc:"Addresses of what the rules are written from"`
	Images      []string `json:"images" nullable:"false" doc:"Globs of images that the program comes in; none for any"`
	Added       bool     `json:"added" doc:"Its rules are among the stored ones"`
	Outdated    bool     `json:"outdated" doc:"The rules that were added are those of another version of the pack: add it again"`
	Scope       *PackIn  `json:"scope,omitempty" doc:"With which it was added; absent of one that isn't"`
	YAML        string   `json:"yaml,omitempty" doc:"The pack itself, a file as apply-config takes it; only of one that is asked for by name"`
}

// PackIn says for what a pack was added, and who is told.
type PackIn struct {
	Workload string              `json:"workload_id,omitzero" doc:"Only for this workload"`
	Images   fields.List[string] `json:"images,omitzero" doc:"Only for containers of these images, where * is any text"`
	Triggers fields.List[string] `json:"triggers,omitzero" doc:"Tell only triggers with these names"`
}

// PackAdd says how a pack is added. What is absent stays as it was where the pack was
// added before; what is empty is for all.
type PackAdd struct {
	Workload *string              `json:"workload_id,omitempty" maxLength:"512" doc:"Only for this workload"`
	Images   *fields.List[string] `json:"images,omitempty" doc:"Only for containers of these images, where * is any text"`
	Triggers *fields.List[string] `json:"triggers,omitempty" doc:"Tell only triggers with these names"`
	DryRun   bool                 `json:"dry_run,omitempty" doc:"Only say what would be changed"`
}

// PackSuggestions are packs that are for what runs.
type PackSuggestions struct {
	Items    []PackSuggestion `json:"items" nullable:"false" doc:"By workload and pack; the pack for any program last"`
	Since    time.Time        `json:"since"`
	Until    time.Time        `json:"until" doc:"When the logs were read"`
	Complete bool             `json:"complete" doc:"There was time to read all; else counts may be too small"`
}

// PackSuggestion is a pack that isn't added, and is for a workload.
type PackSuggestion struct {
	Pack      string      `json:"pack"`
	Workload  string      `json:"workload_id,omitzero" doc:"Absent of the pack that is for any program"`
	Container string      `json:"container,omitzero" doc:"Name of one of the workload's"`
	Image     string      `json:"image,omitzero" doc:"Of that container, where the pack names it"`
	Shapes    int         `json:"shapes,omitzero" doc:"How many different lines of the pack's program the container wrote, where the image says nothing"`
	Incidents int64       `json:"incidents" doc:"How often it would have told"`
	Rules     []PackFound `json:"rules" nullable:"false" doc:"That would have been hit, those with the most incidents first"`
}

// PackFound is what a rule of a pack would have told.
type PackFound struct {
	Rule      string    `json:"rule"`
	Hits      int64     `json:"hits"`
	Incidents int64     `json:"incidents"`
	At        time.Time `json:"at,omitzero" doc:"Of the last hit"`
	Last      string    `json:"last,omitzero" doc:"The last hit's message"`
	From      string    `json:"container,omitzero" doc:"That wrote it"`
}

// ByPack is the input of operations on one pack.
type ByPack struct {
	Name string `path:"name" minLength:"1" maxLength:"64"`
}

func (s *server) packs(api huma.API) {
	huma.Register(api, operation(http.MethodGet, packsPath, "list-packs", "Packs of rules that come with logscan", 200), s.listPacks)
	huma.Register(api, operation(http.MethodGet, packsPath+"/{name}", "get-pack", "A pack, and its rules as a file", 200, 404), s.getPack)
	huma.Register(api, withBody(operation(http.MethodPost, packsPath+"/{name}", "add-pack", "Add a pack's rules, or bring them up to date", 200, 404, 409)), s.addPack)
	huma.Register(api, operation(http.MethodDelete, packsPath+"/{name}", "remove-pack", "Remove a pack's rules", 200, 404, 409), s.removePack)
	huma.Register(api, operation(http.MethodGet, suggestionsPath, "suggest-packs", "Packs that are for what runs, and what they would have told", 200), s.suggestPacks)
}

func findPack(name string) (packs.Pack, error) {
	p, err := packs.Get(name)
	if err != nil {
		return p, huma.Error404NotFound(err.Error())
	}
	return p, nil
}

// packOut is a pack, and whether it is among rules.
func (s *server) packOut(ctx context.Context, p *packs.Pack, rules []rule.Rule) (Pack, error) {
	out := Pack{Name: p.Name, Description: p.Description, Rules: p.Rules, Sources: append([]string{}, p.Sources...), Images: append([]string{}, p.Images...)}
	scope, n := p.ScopeOf(rules)
	if n == 0 {
		return out, nil
	}
	digest, err := s.Store.Digest(ctx, p.Source())
	if err != nil {
		return out, s.fail(err, "pack")
	}
	in := PackIn(scope)
	out.Added, out.Outdated, out.Scope = true, digest != p.Digest() || n != p.Rules, &in
	return out, nil
}

func (s *server) listPacks(ctx context.Context, _ *struct{}) (*output[[]Pack], error) {
	rules, err := s.Store.Rules(ctx)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	all := packs.All()
	out := make([]Pack, len(all))
	for k := range all {
		if out[k], err = s.packOut(ctx, &all[k], rules); err != nil {
			return nil, err
		}
	}
	return &output[[]Pack]{Body: out}, nil
}

func (s *server) getPack(ctx context.Context, in *ByPack) (*output[Pack], error) {
	p, err := findPack(in.Name)
	if err != nil {
		return nil, err
	}
	rules, err := s.Store.Rules(ctx)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	out, err := s.packOut(ctx, &p, rules)
	out.YAML = string(p.YAML)
	return &output[Pack]{Body: out}, err
}

func (s *server) addPack(ctx context.Context, in *struct {
	ByPack
	Body PackAdd
}) (*output[ConfigPlan], error) {
	p, err := findPack(in.Name)
	if err != nil {
		return nil, err
	}
	s.change.Lock() // so that the scope is that of the rules that are replaced
	defer s.change.Unlock()
	rules, err := s.Store.Rules(ctx)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	scope, _ := p.ScopeOf(rules)
	if in.Body.Workload != nil {
		scope.Workload = *in.Body.Workload
	}
	if in.Body.Images != nil {
		scope.Images = *in.Body.Images
	}
	if in.Body.Triggers != nil {
		scope.Triggers = *in.Body.Triggers
	}
	set, err := p.In(scope)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	for _, r := range set.Rules {
		for _, have := range rules {
			if !have.Elsewhere() && have.Name == r.Value.Name && have.WorkloadID == r.Value.WorkloadID {
				return nil, huma.Error409Conflict(fmt.Sprintf("rule %d, which somebody made, is called %s, as one of the pack's: rename or remove it", have.ID, have.Name))
			}
		}
	}
	return s.applyPack(ctx, &p, set, in.Body.DryRun)
}

func (s *server) removePack(ctx context.Context, in *ByPack) (*output[ConfigPlan], error) {
	p, err := findPack(in.Name)
	if err != nil {
		return nil, err
	}
	s.change.Lock()
	defer s.change.Unlock()
	return s.applyPack(ctx, &p, &config.Set{}, false)
}

// applyPack has the rules of a pack be those of a set.
func (s *server) applyPack(ctx context.Context, p *packs.Pack, set *config.Set, dry bool) (*output[ConfigPlan], error) {
	plan, err := set.Apply(ctx, s.Store, config.Options{Source: p.Source(), Prune: true, DryRun: dry})
	if err != nil {
		return nil, s.configRefused(err)
	}
	out := configPlanOut(plan)
	if out.Applied = !dry; out.Applied && len(plan.Apply.Edits) > 0 {
		if err := s.reload(ctx); err != nil {
			return nil, err
		}
	}
	return &output[ConfigPlan]{Body: out}, nil
}

type suggestInput struct {
	Since time.Time `query:"since" doc:"What packs would have told since then is told; without it, of the last 7 days"`
}

func (s *server) suggestPacks(ctx context.Context, in *suggestInput) (*output[PackSuggestions], error) {
	if s.Suggest == nil {
		return nil, huma.Error503ServiceUnavailable("the logs can't be read yet")
	}
	if in.Since.IsZero() {
		in.Since = time.Now().Add(-suggestSince)
	}
	rules, err := s.Store.Rules(ctx)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	added := map[string]bool{}
	for _, p := range packs.All() {
		if _, n := p.ScopeOf(rules); n > 0 {
			added[p.Name] = true
		}
	}
	limited, cancel := context.WithTimeout(ctx, s.queryTime)
	defer cancel()
	found, err := s.Suggest(limited, suggestion.Query{Since: in.Since, Added: added})
	if err = errors.Join(err, ctx.Err()); err != nil {
		return nil, s.fail(err, "pack")
	}
	out := PackSuggestions{Items: make([]PackSuggestion, len(found.Items)), Since: in.Since.UTC(), Until: found.Until, Complete: found.Complete}
	for k, v := range found.Items {
		item := PackSuggestion{Pack: v.Pack, Workload: v.Workload, Container: v.Container, Image: v.Image, Shapes: v.Shapes, Incidents: v.Incidents, Rules: make([]PackFound, len(v.Rules))}
		for n, r := range v.Rules {
			item.Rules[n] = PackFound{Rule: r.Rule, Hits: r.Hits, Incidents: r.Incidents, At: r.Last.At, Last: r.Last.Message, From: r.Last.Container}
		}
		out.Items[k] = item
	}
	return &output[PackSuggestions]{Body: out}, nil
}
