package rule

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"logscan/internal/fields"
)

// What is said of state and of enabled gives one rule; what clashes is refused.
func TestStateAndEnabled(t *testing.T) {
	for _, c := range []struct{ was, said, want string }{
		{On, `{}`, On},
		{Off, `{}`, Off},
		{Shadow, `{}`, Shadow},
		{On, `{"enabled":false}`, Off},
		{Shadow, `{"enabled":false}`, Off},
		{Off, `{"enabled":true}`, On},
		{On, `{"enabled":true}`, On},
		{Shadow, `{"enabled":true}`, Shadow},
		{Off, `{"enabled":null}`, On},
		{On, `{"state":"shadow"}`, Shadow},
		{Off, `{"state":"shadow"}`, Shadow},
		{Shadow, `{"state":null}`, On},
		{On, `{"state":"off","enabled":false}`, Off},
		{Off, `{"state":"shadow","enabled":true}`, Shadow},
		{On, `{"state":"off","enabled":true}`, ""},
		{On, `{"state":"shadow","enabled":false}`, ""},
		{Off, `{"state":"on","enabled":false}`, ""},
	} {
		r := New()
		r.State, r.Enabled = c.was, c.was != Off
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(c.said), &members); err != nil {
			t.Fatal(err)
		}
		err := Fields.Apply(&r, members)
		var fe *fields.Error
		switch {
		case c.want == "":
			if !errors.As(err, &fe) || fe.Field != "enabled" {
				t.Errorf("%s, %s: %v", c.was, c.said, err)
			}
		case err != nil || r.State != c.want || r.Enabled != (c.want != Off):
			t.Errorf("%s, %s: %s, %v, %v", c.was, c.said, r.State, r.Enabled, err)
		}
	}
}

// A rule in shadow finds what it would find, and however much that is, the others find
// the same as without it.
func TestShadowHoldsNothingBack(t *testing.T) {
	noisy := Rule{ID: 1, Name: "noisy", Pattern: "x", Streams: "all", State: Shadow}
	rare := Rule{ID: 2, Name: "rare", Pattern: "xx", Streams: "all", State: On}
	find := func(rules ...Rule) map[int64]int {
		s, bad := Compile(rules, WithBucket(Bucket{Burst: 3, Refill: time.Hour}))
		if len(bad) > 0 {
			t.Fatal(bad)
		}
		var st State
		n := map[int64]int{}
		for k := range 10 {
			line := Line{Stream: "stdout", TimeNano: int64(k), Text: []byte("x")}
			if k >= 5 {
				line.Text = []byte("xx")
			}
			for _, h := range s.For("").Eval(&st, line, nil) {
				n[h.Rule.ID]++
			}
			b, _ := st.MarshalBinary()
			st = State{}
			if err := st.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	if got := find(noisy, rare); got[1] != 3 || got[2] != 3 {
		t.Errorf("hits: %v", got)
	}
	noisy.State = On
	if got := find(noisy, rare); got[1] != 3 || got[2] != 0 {
		t.Errorf("hits of two that are on: %v", got)
	}
}

// What was encoded before there were rules in shadow is read.
func TestStateOfVersion3(t *testing.T) {
	want := State{tokens: tokens{debt: 5, at: 7}, rules: map[int64]*memory{3: {fired: true, at: 9, streak: 1, shapes: map[uint64]held{4: {fired: true, at: 9}}}}}
	b, _ := want.MarshalBinary()
	old := slices.Delete(slices.Clone(b), 3, 5) // both of shadow's numbers are 0
	old[0] = 3
	var got State
	if err := got.UnmarshalBinary(old); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}
