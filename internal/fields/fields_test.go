package fields_test

import (
	"errors"
	"testing"

	"logscan/internal/fields"
	"logscan/internal/fields/fieldstest"
)

type thing struct {
	ID    int64  `json:"id" readOnly:"true"`
	Name  string `json:"name"`
	Color string `json:"color"`
	Size  int64  `json:"size"`
	On    bool   `json:"on"`
}

func lines() []fields.Field[thing] {
	return []fields.Field[thing]{
		{Name: "name", Flag: "NAME", Doc: "Its name", Check: func(v thing) error {
			if v.Name == "bad" {
				return errors.New("is bad")
			}
			return nil
		}},
		{Name: "color", Flag: "color", Doc: "Its color", Default: "red", Values: []string{"red", "green"}},
		{Name: "size", Flag: "size", Doc: "Its size", Kind: fields.Duration, Default: int64(3), Check: func(v thing) error {
			if v.Size < 0 {
				return &fields.Error{Field: "color", Reason: "is not for things of no size"}
			}
			return nil
		}},
		{Name: "on", Flag: "off", Doc: "Whether it is on", Kind: fields.Switch, Default: true},
	}
}

func TestTable(t *testing.T) {
	fieldstest.Table(t, fields.NewTable("thing", lines()...), func(v *thing) { v.ID = 5 }, nil)
}

// A table and its struct have the same fields, in the same order.
func TestTableIsWhole(t *testing.T) {
	more := append(lines(), fields.Field[thing]{Name: "more"})
	turned := lines()
	turned[1], turned[2] = turned[2], turned[1]
	for what, bad := range map[string][]fields.Field[thing]{"one too few": lines()[1:], "one too many": more, "another order": turned} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is accepted", what)
				}
			}()
			fields.NewTable("thing", bad...)
		}()
	}
}

// A refusal names the field that is wrong, and what it can be; what stays as it was
// passes.
func TestValidation(t *testing.T) {
	table := fields.NewTable("thing", lines()...)
	good := table.New()
	good.Name = "n"
	if err := table.Validate(good); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*thing){
		"name: is bad": func(v *thing) { v.Name = "bad" },
		`color: must be red or green, not "blue"`: func(v *thing) { v.Color = "blue" },
		"color: is not for things of no size":     func(v *thing) { v.Size = -1 },
	} {
		bad := good
		change(&bad)
		var fe *fields.Error
		for _, err := range []error{table.Validate(bad), table.ValidateChange(good, bad)} {
			if !errors.As(err, &fe) || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		other := bad
		other.On = false
		if err := table.ValidateChange(bad, other); err != nil {
			t.Errorf("%s: it was accepted, and now: %v", want, err)
		}
	}
}

// What a definition doesn't hold has its default, and one that can't be read changes
// nothing.
func TestDefinitionVersions(t *testing.T) {
	table := fields.NewTable("thing", lines()...)
	v := thing{ID: 5, Color: "green"}
	if err := table.UnmarshalDefinition([]byte(`{"version":1,"name":"n","of_later":[1]}`), &v); err != nil || v != (thing{5, "n", "red", 3, true}) {
		t.Errorf("%+v, %v", v, err)
	}
	was := v
	for _, bad := range []string{``, `[]`, `{}`, `{"version":2}`, `{"version":0}`, `{"version":1,"name":5}`} {
		if err := table.UnmarshalDefinition([]byte(bad), &v); err == nil || v != was {
			t.Errorf("%s gives %+v, %v", bad, v, err)
		}
	}
}
