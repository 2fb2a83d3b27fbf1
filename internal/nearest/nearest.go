// Package nearest finds the name that somebody may have meant.
package nearest

import (
	"slices"

	"github.com/agext/levenshtein"
)

// nameMax is how many bytes of a name are compared. A longer one is no slip of
// the pen.
const nameMax = 64

// Name returns the one of the known names that takes the fewest edits to get to
// from name, and whether it is near enough to be what was meant; "" and false
// where none is known.
func Name(name string, known []string) (nearest string, near bool) {
	if len(known) == 0 {
		return "", false
	}
	name = name[:min(len(name), nameMax)]
	edits := func(to string) int { return levenshtein.Distance(name, to, nil) }
	nearest = slices.MinFunc(known, func(a, b string) int { return edits(a) - edits(b) })
	return nearest, edits(nearest) <= max(2, len(nearest)/3)
}
