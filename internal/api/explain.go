package api

import (
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"logscan/internal/nearest"
)

// explain finishes problem documents: what was sent is taken out, since it may
// hold a secret, an unknown name gets its nearest neighbour, and the detail,
// which is what most clients show, says what is wrong in one line.
func explain(schemas huma.Registry) huma.Transformer {
	return func(ctx huma.Context, _ string, v any) (any, error) {
		if p, ok := v.(*huma.ErrorModel); ok {
			explainProblem(p, ctx.Operation(), schemas)
		}
		return v, nil
	}
}

func explainProblem(p *huma.ErrorModel, op *huma.Operation, schemas huma.Registry) {
	var told []string
	for _, e := range p.Errors {
		if e == nil {
			continue
		}
		e.Value = nil
		part, name, _ := strings.Cut(e.Location, ".")
		switch {
		case e.Message == validation.MsgUnexpectedProperty && name != "":
			e.Message = "unknown field" + suggest(name, bodyNames(op, schemas))
		case part == "query" && e.Message == "unknown query parameter":
			e.Message += suggest(name, queryNames(op))
		}
		if name != "" {
			told = append(told, name+": "+e.Message)
		} else {
			told = append(told, e.Message)
		}
	}
	if p.Detail == "validation failed" && len(told) > 0 {
		p.Detail = strings.Join(told, "; ")
	}
}

// bodyNames returns what the body of a request may hold.
func bodyNames(op *huma.Operation, schemas huma.Registry) []string {
	if op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil {
		return nil
	}
	schema := op.RequestBody.Content["application/json"].Schema
	if schema.Ref != "" {
		schema = schemas.SchemaFromRef(schema.Ref)
	}
	var names []string
	for name, s := range schema.Properties {
		if !s.ReadOnly {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func queryNames(op *huma.Operation) []string {
	names := map[string]bool{}
	for _, p := range op.Parameters {
		if p.In == "query" {
			names[p.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// suggest names the nearest of the known names, and all of them.
func suggest(name string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	hint := ""
	if meant, near := nearest.Name(name, known); near {
		hint = "; did you mean " + meant + "?"
	}
	return hint + " (known: " + strings.Join(known, ", ") + ")"
}
