package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"logscan/internal/fields"
	"logscan/internal/rule"
	"logscan/internal/silence"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

// Actions of a plan.
const (
	Add    = "add"
	Change = "change"
	Adopt  = "adopt" // the API's, as it is, becomes the source's
	Remove = "remove"
)

// Planned is one change that a plan makes.
type Planned struct {
	Action string
	Kind   string // store.KindRule, …
	Key    string
	ID     int64 // 0 of what is added
	At     string
	Why    string // of what goes with another, or was renamed
	Fields []FieldChange
}

// FieldChange is a field before and after, without secrets.
type FieldChange struct{ Name, From, To string }

// Plan is what there is to do so that what a source declares is so.
type Plan struct {
	Changes []Planned
	Apply   store.Apply
}

// Options say how a set is compared with what is there.
type Options struct {
	Source string // as fields.Managed.ManagedBy
	Prune  bool   // what the source declared before, and no longer does, is removed
	DryRun bool   // nothing is stored
	// Revision is that of the plan that somebody agreed to: where there is a later one,
	// nothing is stored. 0 is any.
	Revision int64
	// Allowed says why a plan may not be carried out; nil: any may.
	Allowed func(*Plan) error
	// CheckTarget says why nothing may be sent to a new URL; nil: anything goes.
	CheckTarget func(url string) error
}

// planning is a plan being made.
type planning struct {
	have  store.Objects
	want  *Set
	o     Options
	plan  *Plan
	wrong Problems
	last  []store.Edit // what is done behind all else
}

// NewPlan compares a set with what is there. What can't be is told as *Problems: a key
// that another source declares, an override of no rule, a trigger that doesn't exist.
func NewPlan(have store.Objects, want *Set, o Options) (*Plan, error) {
	p := &planning{have: have, want: want, o: o, plan: &Plan{Apply: store.Apply{Revision: have.Revision, Source: o.Source, Digest: want.Digest}}}
	p.triggers()
	p.rules()
	p.silences()
	if err := p.wrong.err(); err != nil {
		return nil, err
	}
	p.plan.Apply.Edits = append(p.plan.Apply.Edits, p.last...)
	order := map[string]int{store.KindTrigger: 0, store.KindRule: 1, store.KindSilence: 2}
	slices.SortStableFunc(p.plan.Changes, func(a, b Planned) int {
		return cmp.Or(cmp.Compare(order[a.Kind], order[b.Kind]), cmp.Compare(a.Key, b.Key))
	})
	return p.plan, nil
}

// Touches reports whether triggers are added or removed, or change what they send where.
func (p *Plan) Touches() bool {
	return slices.ContainsFunc(p.Changes, func(c Planned) bool {
		return c.Kind == store.KindTrigger && (c.Action != Change ||
			slices.ContainsFunc(c.Fields, func(f FieldChange) bool { return slices.Contains(secretFields, f.Name) }))
	})
}

// known is something that is there.
type known[T any] struct {
	value *T
	id    int64
	by    fields.Managed
	alias string // what it is called where the API manages it: the API's have no key
}

// match finds what is there for what is declared: under its key or the one before, or
// else the API's that is called so. It is nil for what is new.
func match[T any](p *planning, kind string, d *Declared[T], have []known[T], alias string) *known[T] {
	var found, adopted *known[T]
	var several []string
	for k := range have {
		h := &have[k]
		switch mine := h.by.ManagedBy == p.o.Source; {
		case mine && h.by.Key == d.Key:
			return h
		case mine && d.RenamedFrom != "" && h.by.Key == d.RenamedFrom:
			found = h
		case alias == "" || h.alias != alias:
		case !h.by.Elsewhere():
			adopted = h
			several = append(several, fmt.Sprint(h.id))
		case !mine:
			p.wrong.add(d.Place, "%s %s: %v", kind, d.Key, &fields.ManagedError{What: "it", Managed: h.by})
		}
	}
	if found != nil {
		return found
	}
	if len(several) > 1 {
		p.wrong.add(d.Place, "%s %s: %s are all called so: rename or remove all but one of them", kind, d.Key, strings.Join(several, " and "))
	}
	return adopted
}

// managed is who manages what is declared.
func managed[T any](p *planning, d *Declared[T]) fields.Managed {
	return fields.Managed{ManagedBy: p.o.Source, Key: d.Key, DeclaredAt: d.Declared()}
}

// noted adds what becomes of something that is there, and reports whether anything has to
// be stored: also where only its place is another.
func (p *planning) noted(kind, key, at string, id int64, from, to fields.Managed, changes []FieldChange) bool {
	c := Planned{Action: Change, Kind: kind, Key: key, ID: id, At: at, Fields: changes}
	switch {
	case from.ManagedBy != p.o.Source && len(changes) == 0:
		c.Action = Adopt
	case from.ManagedBy == p.o.Source && from.Key != to.Key:
		c.Why = "renamed from " + from.Key
	case len(changes) == 0:
		return from != to
	}
	p.plan.Changes = append(p.plan.Changes, c)
	return true
}

// compared are the fields of a T that differ; shown hides what is secret.
func compared[T any](table *fields.Table[T], from, to T, aside ...string) (out []FieldChange) {
	for _, f := range table.All {
		if f.Of != "" || slices.Contains(aside, f.Name) {
			continue
		}
		a, b := f.Value(from), f.Value(to)
		if !reflect.DeepEqual(a, b) && asText(a) != asText(b) {
			out = append(out, FieldChange{f.Name, asText(a), asText(b)})
		}
	}
	return out
}

// asText is a field's value as people read it: JSON, but for what is a text there.
func asText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	var s string
	if json.Unmarshal(b, &s) == nil {
		return s
	}
	if is := reflect.ValueOf(v); is.Kind() == reflect.Slice && is.Len() == 0 {
		return ""
	}
	return string(bytes.TrimSpace(b))
}

func (p *planning) triggers() {
	have := make([]known[trigger.Trigger], len(p.have.Triggers))
	for k := range p.have.Triggers {
		t := &p.have.Triggers[k]
		have[k] = known[trigger.Trigger]{t, t.ID, t.Managed, t.Name}
	}
	kept := map[int64]bool{}
	for _, d := range p.want.Triggers {
		is := match(p, store.KindTrigger, d, have, d.Value.Name)
		to := d.Value
		to.Managed = managed(p, d)
		if !p.keepStored(d, is, &to) {
			continue
		}
		if is == nil || is.value.ActionURL != to.ActionURL {
			if p.o.CheckTarget != nil {
				if err := p.o.CheckTarget(to.ActionURL); err != nil {
					p.wrong.add(d.At("action_url"), "trigger %s: action_url: %v", d.Key, err)
					continue
				}
			}
		}
		if is == nil {
			p.add(store.KindTrigger, d.Key, to.DeclaredAt)
			p.edit(store.Edit{Trigger: &to})
			continue
		}
		kept[is.id] = true
		to.ID = is.id
		changes := compared(trigger.Fields, *is.value, to, secretFields...)
		for _, name := range secretFields {
			changes = append(changes, secretChange(name, *is.value, to)...)
		}
		if p.noted(store.KindTrigger, d.Key, to.DeclaredAt, is.id, is.by, to.Managed, changes) {
			p.edit(store.Edit{Trigger: &to, Moved: len(changes) == 0})
		}
	}
	p.prune(store.KindTrigger, things(have), kept, func(k int) store.Edit { return store.Edit{Remove: true, Trigger: have[k].value} })
}

// keepStored has ${stored} be what is kept already.
func (p *planning) keepStored(d *Declared[trigger.Trigger], is *known[trigger.Trigger], to *trigger.Trigger) bool {
	refs := map[string]string{}
	for name, text := range d.Value.Refs {
		if text != Stored {
			refs[name] = text
			continue
		}
		if is == nil {
			p.wrong.add(d.At(name), "trigger %s: %s: there is no trigger %s here whose %s could stay: give it, by ${file:PATH} or ${env:NAME} where it is secret", d.Key, name, d.Key, name)
			return false
		}
		secret := func(t *trigger.Trigger) *string {
			if name == "action_url" {
				return &t.ActionURL
			}
			return &t.ActionSecret
		}
		*secret(to) = *secret(is.value)
		if before, ok := is.value.Refs[name]; ok {
			refs[name] = before
		}
	}
	to.Refs = nil
	if len(refs) > 0 {
		to.Refs = refs
	}
	return true
}

// secretChange is the change of a field that may be secret, or refer to a secret.
func secretChange(name string, from, to trigger.Trigger) []FieldChange {
	show := func(t trigger.Trigger) (shown, value string) {
		s := t.Shown()
		if shown, value = s.ActionURL, t.ActionURL; name == "action_secret" {
			shown, value = s.ActionSecret, t.ActionSecret
		}
		if ref, ok := t.Refs[name]; ok {
			shown = ref
		}
		return shown, value
	}
	a, was := show(from)
	b, is := show(to)
	switch {
	case was == is && from.Refs[name] == to.Refs[name]:
		return nil
	case a == b:
		b += " (another value)"
	}
	return []FieldChange{{name, a, b}}
}

func (p *planning) add(kind, key, at string) {
	p.plan.Changes = append(p.plan.Changes, Planned{Action: Add, Kind: kind, Key: key, At: at})
}

func (p *planning) edit(e store.Edit) { p.plan.Apply.Edits = append(p.plan.Apply.Edits, e) }

// thing is what prune looks at.
type thing struct {
	id int64
	by fields.Managed
}

func things[T any](have []known[T]) (out []thing) {
	for _, h := range have {
		out = append(out, thing{h.id, h.by})
	}
	return out
}

// prune removes what the source declared before and no longer does.
func (p *planning) prune(kind string, have []thing, kept map[int64]bool, edit func(k int) store.Edit) {
	if !p.o.Prune {
		return
	}
	for k, h := range have {
		if h.by.ManagedBy != p.o.Source || kept[h.id] {
			continue
		}
		p.plan.Changes = append(p.plan.Changes, Planned{Action: Remove, Kind: kind, Key: h.by.Key, ID: h.id, At: h.by.DeclaredAt})
		p.last = append(p.last, edit(k))
	}
}

func (p *planning) rules() {
	have := make([]known[rule.Rule], len(p.have.Rules))
	for k := range p.have.Rules {
		r := &p.have.Rules[k]
		have[k] = known[rule.Rule]{r, r.ID, r.Managed, calledIn(r.Name, r.WorkloadID)}
	}
	names := p.triggerNames()
	kept := map[int64]bool{}
	is, to := make([]*known[rule.Rule], len(p.want.Rules)), make([]*rule.Rule, len(p.want.Rules))
	for k, d := range p.want.Rules {
		is[k] = match(p, store.KindRule, &d.Declared, have, calledIn(d.Value.Name, d.Value.WorkloadID))
		r := d.Value
		r.Managed = managed(p, &d.Declared)
		if to[k] = &r; is[k] != nil {
			r.ID = is[k].id
			kept[r.ID] = true
		}
	}
	// Those that override others come behind them.
	order := make([]int, 0, len(to))
	for _, overrides := range []bool{false, true} {
		for k, d := range p.want.Rules {
			if (d.Overrides != "") == overrides {
				order = append(order, k)
			}
		}
	}
	for _, k := range order {
		d, r := p.want.Rules[k], to[k]
		if err := store.MissingTrigger(*r, names); err != nil {
			p.wrong.add(d.At("triggers"), "rule %s: %v", d.Key, err)
			continue
		}
		var base *rule.Rule
		if d.Overrides != "" {
			var err error
			if base, err = p.base(d.Overrides, to, have, kept); err != nil {
				p.wrong.add(d.At("overrides_id"), "rule %s: overrides_id: %v", d.Key, err)
				continue
			}
			r.OverridesID = base.ID
		}
		e := store.Edit{Rule: r, Base: base, Tests: encoded(d.Tests)}
		if is[k] == nil {
			p.add(store.KindRule, d.Key, r.DeclaredAt)
			p.edit(e)
			continue
		}
		changes := compared(rule.Fields, *is[k].value, *r)
		e.Moved = len(changes) == 0
		if !sameTests(p.have.Tests[r.ID], d.Tests) {
			changes = append(changes, FieldChange{"tests", fmt.Sprint(counted(p.have.Tests[r.ID])), fmt.Sprint(len(d.Tests))})
		}
		if p.noted(store.KindRule, d.Key, r.DeclaredAt, r.ID, is[k].by, r.Managed, changes) {
			p.edit(e)
		}
	}
	p.prune(store.KindRule, things(have), kept, func(k int) store.Edit { return store.Edit{Remove: true, Rule: have[k].value} })
	p.goWith(have)
}

// calledIn is how people call a rule, in its workload.
func calledIn(name, workload string) string { return name + "\x00" + workload }

// counted is how many tests are stored.
func counted(tests json.RawMessage) int {
	var all []json.RawMessage
	_ = json.Unmarshal(tests, &all) // none, or as they were encoded
	return len(all)
}

// goWith notes which overrides go with rules that are removed, whoever manages them.
func (p *planning) goWith(have []known[rule.Rule]) {
	removed := map[int64]string{}
	for _, c := range p.plan.Changes {
		if c.Kind == store.KindRule && c.Action == Remove {
			removed[c.ID] = c.Key
		}
	}
	for _, h := range have {
		base, goes := removed[h.value.OverridesID]
		if _, twice := removed[h.id]; goes && !twice {
			p.plan.Changes = append(p.plan.Changes, Planned{Action: Remove, Kind: store.KindRule, Key: cmp.Or(h.by.Key, h.value.Name), ID: h.id, At: h.by.DeclaredAt, Why: "it overrides " + base})
		}
	}
}

// triggerNames are the names of all triggers that there will be.
func (p *planning) triggerNames() (names []string) {
	for _, d := range p.want.Triggers {
		names = append(names, d.Value.Name)
	}
	gone := map[int64]bool{}
	for _, c := range p.plan.Changes {
		gone[c.ID] = gone[c.ID] || c.Kind == store.KindTrigger && c.ID != 0
	}
	for _, t := range p.have.Triggers {
		if !gone[t.ID] {
			names = append(names, t.Name)
		}
	}
	return names
}

// base finds the global rule that is overridden: by its key in the set, else by its name
// or id among those that are there and stay.
func (p *planning) base(ref string, to []*rule.Rule, have []known[rule.Rule], kept map[int64]bool) (*rule.Rule, error) {
	for k, d := range p.want.Rules {
		if d.Key == ref {
			return to[k], nil
		}
	}
	var found *rule.Rule
	for _, h := range have {
		r := h.value
		stays := !p.o.Prune || h.by.ManagedBy != p.o.Source || kept[h.id]
		if !stays || r.WorkloadID != "" || r.Name != ref && fmt.Sprint(r.ID) != ref {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%d and %d are both called %s: give the id", found.ID, r.ID, ref)
		}
		found = r
	}
	if found == nil {
		return nil, errors.New("there is no global rule " + printable(ref))
	}
	return found, nil
}

func (p *planning) silences() {
	var have []known[silence.Silence]
	for k := range p.have.Silences {
		v := &p.have.Silences[k]
		alias := ""
		if !v.Elsewhere() {
			alias = said(*v) // the API's has no name
		}
		have = append(have, known[silence.Silence]{v, v.ID, v.Managed, alias})
	}
	kept := map[int64]bool{}
	for _, d := range p.want.Silences {
		is := match(p, store.KindSilence, d, have, "")
		if is == nil {
			k := slices.IndexFunc(have, func(h known[silence.Silence]) bool { return h.alias == said(d.Value) && !kept[h.id] })
			if k >= 0 {
				is = &have[k]
			}
		}
		to := d.Value
		to.Managed = managed(p, d)
		if is == nil {
			p.add(store.KindSilence, d.Key, to.DeclaredAt)
			p.edit(store.Edit{Silence: &to})
			continue
		}
		kept[is.id] = true
		to.ID, to.CreatedAt, to.CreatedBy = is.id, is.value.CreatedAt, is.value.CreatedBy
		changes := compared(silence.Declared, is.value.Declaration(), to.Declaration())
		if p.noted(store.KindSilence, d.Key, to.DeclaredAt, is.id, is.by, to.Managed, changes) {
			p.edit(store.Edit{Silence: &to, Moved: len(changes) == 0})
		}
	}
	p.prune(store.KindSilence, things(have), kept, func(k int) store.Edit {
		v := *have[k].value
		return store.Edit{Remove: true, Silence: &v}
	})
}

// said is what a silence says, whoever manages it.
func said(v silence.Silence) string {
	b, err := json.Marshal(v.Declaration())
	if err != nil {
		panic(err) // of texts and numbers
	}
	return string(b)
}
