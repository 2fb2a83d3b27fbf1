package suggestion

import (
	"strings"
	"sync"

	"logscan/internal/packs"
	"logscan/internal/shape"
)

// enoughShapes is how many shapes of a pack's lines a container has to have written to
// look like the pack's program.
const enoughShapes = 2

// fewestWords is how many words a shape has to have: shorter lines are anybody's.
const fewestWords = 3

// owners are, of each shape of the lines that packs' rules are tested on, which are real
// lines of the packs' programs, the name of the pack; "" where several have it.
var owners = sync.OnceValue(func() map[shape.Shape]string {
	out := map[shape.Shape]string{}
	for _, p := range packs.All() {
		for _, r := range p.Set().Rules {
			for text := range r.TestLines() {
				of := shape.Of([]byte(strings.TrimRight(text, "\r")))
				if before, there := out[of]; there && before != p.Name {
					out[of] = ""
				} else {
					out[of] = p.Name
				}
			}
		}
	}
	return out
})

// looking finds out of which program lines are. The zero value is ready.
type looking struct {
	seen  map[shape.Shape]bool // that a pack has alone
	found map[string]int       // how many of them, by the pack's name
}

// add looks at a line.
func (l *looking) add(text []byte) {
	of := shape.Of(text)
	owner := owners()[of]
	if owner == "" || of.Words < fewestWords || l.seen[of] {
		return
	}
	if l.seen == nil {
		l.seen, l.found = map[shape.Shape]bool{}, map[string]int{}
	}
	l.seen[of] = true
	l.found[owner]++
}
