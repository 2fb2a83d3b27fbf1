package main

import (
	"database/sql"
	"testing"

	"logscan/internal/store/storetest"
)

// Each hit of a storm is accounted for, whatever the trigger says, or run fails; and
// there are as many messages as the trigger asks for.
func TestStorm(t *testing.T) {
	st := storm{hits: 1500, shapes: 300, containers: 10, commits: 20, check: func(db *sql.DB) { storetest.Check(t, db) }}
	for _, set := range stormSettings {
		o, err := st.run(set)
		if err != nil {
			t.Errorf("%s: %v", set.name, err)
			continue
		}
		least, most := 1, 41
		switch set.name {
		case "`--mode events`":
			least, most = st.hits, st.hits
		case "`--group-by incident`":
			least, most = st.shapes, 2*st.shapes
		}
		if o.incidents != st.shapes || o.notices < st.shapes || o.all < least || o.all > most || o.minute > o.all || o.waiting != 0 {
			t.Errorf("%s: %+v", set.name, o)
		}
	}
}
