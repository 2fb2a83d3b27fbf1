package scan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/incident"
	"logscan/internal/rule"
	"logscan/internal/store"
)

// openValues are the values of the incidents that are open.
func (g *rig) openValues() string {
	g.t.Helper()
	all, err := g.db.Incidents(g.t.Context(), store.IncidentFilter{States: []incident.State{incident.Open}})
	if err != nil {
		g.t.Fatal(err)
	}
	var out []string
	for _, i := range all {
		out = append(out, i.Key.By)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestReplicasEndTheirs has a line of one container not end what is open of another one of
// its workload, nor the last step there.
func TestReplicasEndTheirs(t *testing.T) {
	g := newRig(t)
	r := kindRule(t, 1, rule.KindSequence, "", func(r *rule.Rule) {
		r.Steps, r.WithinSeconds = []string{`job (?P<id>\w+) begins`, "job $id is done"}, 60
		r.Clear, r.ResolveAfter = []string{"begin anew"}, 0
	})
	g.start(compileAll(t, r))
	one, other := g.begins(0, "web"), g.begins(1, "web")
	one.nano, other.nano = one.nano-int64(time.Hour), other.nano-int64(time.Hour)
	is := func(want string) {
		t.Helper()
		eventually(t, "open: "+want, func() bool { g.s.Pass(); return len(g.s.Lag()) == 0 && g.openValues() == want })
	}
	one.lines("job a begins", "job b begins")
	other.lines("job b begins", "job c begins")
	is("id=a id=b id=c")
	one.nano, other.nano = time.Now().UnixNano(), time.Now().UnixNano()
	one.lines("begin anew")
	is("id=b id=c")
	other.lines("job b is done")
	is("id=c")
	g.stop()
	g.start(compileAll(t, r))
	other.lines("begin anew")
	is("")
}
