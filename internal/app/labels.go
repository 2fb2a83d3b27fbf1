package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"logscan/internal/api"
	"logscan/internal/event"
	"logscan/internal/journal"
	"logscan/internal/labels"
	"logscan/internal/packs"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// labelled is what containers' labels have made of rules and silences. What counts is what
// the newest container of a workload says that is scanned and whose log is kept, and so
// the same whenever it is asked.
type labelled struct {
	triggers atomic.Pointer[[]string] // names of all; nil until they were read

	mu sync.Mutex // held while labels are applied; who holds it may set known
	// known is what is in effect, by workload; nil until it was read. Nobody changes what is
	// in it.
	known atomic.Pointer[map[string]inEffect]
}

// inEffect is what is in effect of a workload's labels.
type inEffect struct {
	digest  string           // as digestOf
	refused map[string]error // what couldn't be stored, by what its labels begin with
}

// of returns what is in effect for a workload.
func (l *labelled) of(workload string) (in inEffect, known bool) {
	if all := l.known.Load(); all != nil {
		return (*all)[workload], true
	}
	return in, false
}

// set sets it; mu is held.
func (l *labelled) set(workload string, in inEffect) {
	all := maps.Clone(*l.known.Load())
	if all[workload] = in; in.digest == "" {
		delete(all, workload)
	}
	l.known.Store(&all)
}

// digestOf is a digest of what a container's labels say, and, behind a blank, of what is
// wrong of it; "" where they say nothing of rules and silences.
func digestOf(c *journal.Container, wrong []labels.Problem) string {
	if len(c.Declared) == 0 && c.LeftOut == 0 {
		return ""
	}
	sum := func(v any) string {
		b, _ := json.Marshal(v) // texts and numbers
		s := sha256.Sum256(b)
		return hex.EncodeToString(s[:16])
	}
	said := []any{c.Declared, c.LeftOut}
	if c.Declared[labels.Prefix+labels.KeyPacks] != "" {
		said = append(said, packsDigest())
	}
	digest := sum(said)
	if len(wrong) > 0 {
		digest += " " + sum(wrong)
	}
	return digest
}

// newerLabels orders containers by when they were made.
func newerLabels(a, b *journal.Container) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
}

// newest returns the container of each workload whose labels count, of those workloads
// that are wanted.
func (s *scanning) newest(wanted func(workload string) bool) map[string]*journal.Container {
	out := map[string]*journal.Container{}
	for _, id := range s.journals.IDs() {
		c, ok := s.journals.Container(id)
		if !ok || !c.Scan || !wanted(c.Workload) {
			continue
		}
		if was := out[c.Workload]; was == nil || newerLabels(was, &c) < 0 {
			out[c.Workload] = &c
		}
	}
	return out
}

// declare applies what a container's labels say, before its lines are evaluated.
func (s *scanning) declare(ctx context.Context, c *journal.Container) error {
	d := &s.labelled
	if in, known := d.of(c.Workload); known && in.digest == digestOf(c, nil) && len(in.refused) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.readDigests(ctx); err != nil {
		return err
	}
	if in, _ := d.of(c.Workload); in.digest == "" && digestOf(c, nil) == "" {
		return nil
	}
	return s.applyLabels(ctx, c.Workload, s.newest(func(w string) bool { return w == c.Workload })[c.Workload])
}

// settleLabels applies labels where it has changed without a start what is to be applied:
// the log of the container that they are of isn't kept any more, or there is a trigger that
// one of them names.
func (s *scanning) settleLabels(ctx context.Context) error {
	d := &s.labelled
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := s.readDigests(ctx); err != nil {
		return err
	}
	all := *d.known.Load()
	newest := s.newest(func(w string) bool { return all[w].digest != "" })
	var errs []error
	for _, workload := range slices.Sorted(maps.Keys(all)) {
		c, in := newest[workload], all[workload]
		said, wrong, _ := strings.Cut(in.digest, " ")
		if c != nil && wrong == "" && len(in.refused) == 0 && digestOf(c, nil) == said {
			continue
		}
		errs = append(errs, s.applyLabels(ctx, workload, c))
	}
	return errors.Join(errs...)
}

// readDigests has it be known what is stored; s.labelled.mu is held.
func (s *scanning) readDigests(ctx context.Context) error {
	if s.labelled.known.Load() != nil {
		return nil
	}
	digests, err := s.store.LabelDigests(ctx)
	if err != nil {
		return err
	}
	all := map[string]inEffect{}
	for workload, digest := range digests {
		all[workload] = inEffect{digest: digest}
	}
	s.labelled.known.Store(&all)
	return nil
}

// applyLabels has what a container's labels say be in effect for its workload, and nothing
// where there is none; s.labelled.mu is held.
func (s *scanning) applyLabels(ctx context.Context, workload string, c *journal.Container) error {
	d := &s.labelled
	l := store.Labels{Workload: workload}
	var said labels.Declared
	if c != nil {
		said = s.readLabels(c)
		l.Container, l.Digest = c.Name, digestOf(c, said.Problems)
		for _, r := range said.Rules {
			l.Rules = append(l.Rules, store.LabelRule{Rule: r.Rule, At: r.Key})
		}
		l.Rules = append(l.Rules, packRules(&said, workload)...)
		for _, v := range said.Silences {
			l.Silences = append(l.Silences, store.LabelSilence{Silence: v.Silence, Name: v.Name, At: v.Key})
		}
	}
	if in, _ := d.of(workload); l.Digest == in.digest && len(in.refused) == 0 {
		return nil
	}
	applied, err := s.store.ApplyLabels(ctx, l, func(refused map[string]error) []event.Event {
		return labelEvents(c, append(said.Problems, refusedProblems(refused)...))
	}, s.router.Match)
	if err != nil {
		return err
	}
	d.set(workload, inEffect{l.Digest, applied.Refused})
	s.switchLabels(ctx, workload, applied.Rules, applied.Silenced)
	return nil
}

// packRules are those of the packs that labels name, for their workload. A rule of the
// labels themselves goes before one of its name.
func packRules(said *labels.Declared, workload string) (out []store.LabelRule) {
	taken := map[string]bool{}
	for _, r := range said.Rules {
		taken[r.Name] = true
	}
	for _, name := range said.Packs {
		p, err := packs.Get(name)
		if err != nil {
			continue // it is known: readLabels has told of others
		}
		for _, r := range p.Set().Rules {
			if taken[r.Value.Name] {
				continue
			}
			taken[r.Value.Name] = true
			v := r.Value
			v.WorkloadID = workload
			out = append(out, store.LabelRule{Rule: v, At: labels.Prefix + labels.KeyPacks})
		}
	}
	return out
}

// packsDigest is that of all packs, which another version of logscan may have others of.
var packsDigest = sync.OnceValue(func() (all []string) {
	for _, p := range packs.All() {
		all = append(all, p.Digest())
	}
	return all
})

// switchLabels makes the stored rules of a workload's labels the live ones, and silences
// where there are others.
func (s *scanning) switchLabels(ctx context.Context, workload string, rules []rule.Rule, silenced bool) {
	s.loading.Lock()
	defer s.loading.Unlock()
	before := s.snapshot.Load()
	if before == nil {
		return // what is read then has them
	}
	if silenced {
		if silences, err := s.store.Silences(ctx); err == nil {
			s.incidents.setSilences(silences)
		} else {
			s.loadErr = fmt.Errorf("read silences: %w", err) // reloadIfFailed does so again
		}
	}
	snapshot, bad := before.WithApart(map[string][]rule.Rule{workload: rules})
	s.incidents.setLabelled(rules)
	s.snapshot.Store(snapshot)
	s.scanner.SetWorkload(snapshot, workload)
	rest := slices.DeleteFunc(slices.Clone(*s.leftOut.Load()), func(e rule.CompileError) bool { return before.KnownApart(workload, e.RuleID) })
	rest = append(rest, bad...)
	s.leftOut.Store(&rest)
}

// byLabels takes the rules of labels from others, by workload.
func byLabels(all []rule.Rule) (others []rule.Rule, labelled map[string][]rule.Rule) {
	labelled = map[string][]rule.Rule{}
	for _, r := range all {
		if store.OfLabels(r.Managed) {
			labelled[r.WorkloadID] = append(labelled[r.WorkloadID], r)
		} else {
			others = append(others, r)
		}
	}
	return others, labelled
}

// readLabels reads what a container's labels say.
func (s *scanning) readLabels(c *journal.Container) labels.Declared {
	known := labels.Known{Packs: packs.Names()}
	if names := s.labelled.triggers.Load(); names != nil {
		known.Triggers = *names
	}
	return labels.Read(c.Declared, c.LeftOut, c.Workload, known)
}

// Labels implements api.Rules.
func (s *scanning) Labels(c journal.Container) *api.ContainerLabels {
	if len(c.Declared) == 0 && c.LeftOut == 0 {
		return nil
	}
	said := s.readLabels(&c)
	out := &api.ContainerLabels{Rules: []string{}, Silences: []string{}, Packs: append([]string{}, said.Packs...), Problems: said.Problems, Counts: c.Scan}
	for _, r := range said.Rules {
		out.Rules = append(out.Rules, r.Name)
	}
	for _, v := range said.Silences {
		out.Silences = append(out.Silences, v.Name)
	}
	if newest := s.newest(func(w string) bool { return w == c.Workload })[c.Workload]; newest != nil && newest.ID != c.ID {
		out.Counts, out.Newest = false, newest.Name
	}
	if in, _ := s.labelled.of(c.Workload); out.Counts {
		out.Problems = append(out.Problems, refusedProblems(in.refused)...)
	}
	out.Problems = append([]labels.Problem{}, out.Problems...)
	return out
}

// refusedProblems are what is wrong of what couldn't be stored.
func refusedProblems(refused map[string]error) (out []labels.Problem) {
	for _, key := range slices.Sorted(maps.Keys(refused)) {
		out = append(out, labels.Problem{Key: key, Reason: refused[key].Error()})
	}
	return out
}

// labelEvents tell what is wrong of a container's labels.
func labelEvents(c *journal.Container, wrong []labels.Problem) []event.Event {
	if c == nil || len(wrong) == 0 {
		return nil
	}
	more := ""
	if n := len(wrong) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more", n)
	}
	return []event.Event{{
		Source: event.System, Severity: event.Warn,
		Message: fmt.Sprintf("A label of container %s isn't in effect (%s%s): `docker logscan container show %s` tells all.", c.Name, wrong[0], more, c.Name),
		Metadata: map[string]any{
			"about": "labels", "problems": wrong,
			"container_id": c.ID, "container_name": c.Name, "image": c.Image, "workload_id": c.Workload,
		},
	}}
}
