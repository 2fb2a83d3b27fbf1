package removal

import (
	"slices"
	"strings"
	"testing"
	"time"

	"logscan/internal/journal"
)

// container makes a container's id of one of its digits.
func container(id string) string { return strings.Repeat(id, 64) }

func TestMissing(t *testing.T) {
	at := func(minutes int) time.Time { return time.Unix(int64(minutes)*60, 0) }
	log := func(id string, created, started int) journal.Info {
		return journal.Info{Container: journal.Container{ID: container(id), Created: at(created), Started: at(started)}}
	}
	unknown := log("a", 1, 1)
	unknown.Created = time.Time{}
	stray := log("b", 2, 2)
	stray.ID = "unknown-0123456789ab"
	running := func(i journal.Info) journal.Info {
		i.Attached = 1
		return i
	}
	for _, row := range []struct {
		name   string
		kept   []journal.Info
		listed []string
		want   []string
	}{
		{"all are there", []journal.Info{log("a", 1, 1), log("b", 2, 2)}, []string{"a", "b"}, nil},
		{"one was removed", []journal.Info{log("a", 1, 1), log("b", 2, 2)}, []string{"a"}, []string{"b"}},
		{"an older one was removed, which was started again later", []journal.Info{log("a", 2, 2), log("b", 1, 3)}, []string{"a"}, []string{"b"}},
		{"an older one, of before all that are left", []journal.Info{log("a", 2, 2), log("b", 1, 1)}, []string{"a"}, nil},
		{"none of ours is listed", []journal.Info{log("a", 1, 1), log("b", 2, 2)}, []string{"c", "d"}, nil},
		{"nothing is listed", []journal.Info{log("a", 1, 1), log("b", 2, 2)}, nil, nil},
		{"only new ones are listed", []journal.Info{log("a", 1, 1), log("b", 2, 2), log("e", 9, 9)}, []string{"e"}, nil},
		{"one that writes", []journal.Info{log("a", 1, 1), running(log("b", 2, 2))}, []string{"a"}, nil},
		{"a log of which nothing is known", []journal.Info{log("a", 1, 1), {Container: journal.Container{ID: container("b")}}}, []string{"a"}, nil},
		{"a log without a container", []journal.Info{log("a", 1, 1), stray}, []string{"a"}, nil},
		{"only one is listed of which nothing is known", []journal.Info{unknown, log("b", 2, 2)}, []string{"a"}, nil},
	} {
		listed := map[string]bool{}
		for _, id := range row.listed {
			listed[container(id)] = true
		}
		for i, id := range row.want {
			row.want[i] = container(id)
		}
		if got := missing(row.kept, listed); !slices.Equal(got, row.want) {
			t.Errorf("%s: removed are %v, want %v", row.name, got, row.want)
		}
	}
}
