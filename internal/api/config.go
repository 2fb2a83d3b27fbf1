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
	"logscan/internal/store"
)

const (
	configPath = "/api/config"
	// maxConfigBody is that of files of config.MaxTotal bytes, as JSON has them.
	maxConfigBody = 2 * config.MaxTotal
)

// ConfigApply is what files of a source declare.
type ConfigApply struct {
	Source   string            `json:"source" minLength:"1" maxLength:"128" doc:"What the files are called together: what was declared before under this name is theirs"`
	Files    []ConfigFile      `json:"files" minItems:"1" maxItems:"1000" nullable:"false"`
	Secrets  map[string]string `json:"secrets,omitempty" doc:"What each reference in the files, such as ${file:/run/secrets/x}, stands for"`
	Prune    bool              `json:"prune,omitempty" doc:"Remove what the source declared before and no longer does"`
	DryRun   bool              `json:"dry_run,omitempty" doc:"Only say what would be changed"`
	Revision int64             `json:"revision,omitempty" doc:"That of the plan that was agreed to: refuse if anything was changed since"`
}

// ConfigFile is one file, in YAML.
type ConfigFile struct {
	Name string `json:"name" minLength:"1" maxLength:"500"`
	Text string `json:"text"`
}

// ConfigPlan is what files change.
type ConfigPlan struct {
	Revision int64          `json:"revision" doc:"That it was made for"`
	Applied  bool           `json:"applied"`
	Changes  []ConfigChange `json:"changes" nullable:"false"`
}

// ConfigChange is one change.
type ConfigChange struct {
	Action string              `json:"action" enum:"add,change,adopt,remove" doc:"Adopt: what the API made, as it is, becomes the source's"`
	Kind   string              `json:"kind" enum:"rule,trigger,silence"`
	Key    string              `json:"key"`
	ID     int64               `json:"id,omitzero" doc:"Absent of what is added"`
	At     string              `json:"at,omitempty" doc:"Where it is declared, FILE:LINE"`
	Why    string              `json:"why,omitempty"`
	Fields []ConfigFieldChange `json:"fields,omitempty" doc:"Of what is changed, without secrets"`
}

// ConfigFieldChange is a field before and after.
type ConfigFieldChange struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
}

func (s *server) config(api huma.API) {
	apply := withBody(operation(http.MethodPost, configPath, "apply-config", "Apply what files declare, all of it or nothing", 200, 409))
	apply.MaxBodyBytes = maxConfigBody
	huma.Register(api, apply, s.applyConfig)
	export := operation(http.MethodGet, configPath, "export-config", "Rules, triggers and silences as a file, without secrets", 200)
	export.Responses = map[string]*huma.Response{"200": {Description: "A file in YAML", Content: map[string]*huma.MediaType{yamlType: {}}}}
	huma.Register(api, export, s.exportConfig)
}

const yamlType = "application/yaml"

func (s *server) applyConfig(ctx context.Context, in *struct{ Body ConfigApply }) (*output[ConfigPlan], error) {
	b := in.Body
	files := make([]config.File, len(b.Files))
	for k, f := range b.Files {
		files[k] = config.File{Name: f.Name, Data: []byte(f.Text)}
	}
	select { // one at a time: files may be large, and tests many
	case s.applying <- struct{}{}:
		defer func() { <-s.applying }()
	case <-ctx.Done():
		return nil, s.fail(ctx.Err(), "rule")
	}
	limited, cancel := context.WithTimeout(ctx, s.queryTime)
	defer cancel()
	plan, err := config.Apply(limited, s.Store, files, config.Given(b.Secrets), config.Options{
		Source: "file:" + b.Source, Prune: b.Prune, DryRun: b.DryRun, Revision: b.Revision, CheckTarget: s.CheckTarget,
		Allowed: func(p *config.Plan) error {
			if p.Touches() && !may(ctx, ScopeAdmin) {
				return huma.Error403Forbidden(outOfScope(ctx, ScopeAdmin) + ": it changes where events are sent")
			}
			return nil
		},
	})
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, huma.Error422UnprocessableEntity(fmt.Sprintf("the files took longer than %s to check and to apply: declare less, or fewer tests; nothing was changed", s.queryTime))
	}
	if err != nil {
		return nil, s.configRefused(err)
	}
	out := configPlanOut(plan)
	if out.Applied = !b.DryRun; out.Applied && len(plan.Apply.Edits) > 0 {
		if err := s.reload(ctx); err != nil {
			return nil, err
		}
	}
	return &output[ConfigPlan]{Body: out}, nil
}

// configRefused is the answer about files that aren't applied.
func (s *server) configRefused(err error) error {
	var wrong *config.Problems
	var changed *store.ChangedError
	var fe *fields.Error
	switch {
	case errors.As(err, &wrong):
		return huma.Error422UnprocessableEntity(wrong.Error())
	case errors.As(err, &changed):
		return huma.Error409Conflict(changed.Error())
	case errors.As(err, &fe): // what depends on others
		return huma.Error422UnprocessableEntity(err.Error())
	}
	return s.fail(err, "rule")
}

func configPlanOut(p *config.Plan) ConfigPlan {
	out := ConfigPlan{Revision: p.Apply.Revision, Changes: make([]ConfigChange, len(p.Changes))}
	for k, c := range p.Changes {
		out.Changes[k] = ConfigChange{Action: c.Action, Kind: c.Kind, Key: c.Key, ID: c.ID, At: c.At, Why: c.Why}
		for _, f := range c.Fields {
			out.Changes[k].Fields = append(out.Changes[k].Fields, ConfigFieldChange(f))
		}
	}
	return out
}

func (s *server) exportConfig(ctx context.Context, _ *struct{}) (*struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}, error) {
	have, err := s.Store.Objects(ctx)
	if err != nil {
		return nil, s.fail(err, "rule")
	}
	out := &struct {
		ContentType string `header:"Content-Type"`
		Body        []byte
	}{ContentType: yamlType}
	if out.Body, err = config.Export(have, time.Now()); err != nil {
		return nil, s.fail(err, "rule")
	}
	return out, nil
}
