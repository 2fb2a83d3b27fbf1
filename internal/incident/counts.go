package incident

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// add counts a hit.
func (i *Incident) add(h Hit) {
	n := max(h.Suppressed, 1)
	i.Matches += n
	i.Container = cutTo(h.Container, maxName)
	if h.Suppressed == 0 {
		i.Hits++
		i.count(i.Container)
	}
	if h.At.After(i.Last) {
		i.Last = h.At
	}
	i.Rule, i.Settings, i.LastText, i.Image = h.Rule, h.Settings, cut(h.Text), cutTo(h.Image, maxName)
	i.Labels = h.Labels
	count(i.Hours, h.At.Unix()/3600, n, maxHours)
	minute := h.At.Unix() / 60
	if h.SuppressedSince.IsZero() {
		count(i.Minutes, minute, n, minutesKept)
	} else {
		spread(i.Minutes, h.SuppressedSince.Unix()/60, minute, n)
	}
	if i.Named() {
		i.name(h.Readable, n)
	}
}

// Named reports whether an incident is of several shapes, which it names.
func (i *Incident) Named() bool { return i.Key.Shape == OtherShapes || i.Key.Shape == AllShapes }

// count counts a hit in a container.
func (i *Incident) count(container string) {
	if _, known := i.Containers[container]; known || len(i.Containers) < maxContainers {
		i.Containers[container]++
	} else {
		i.Beyond++
	}
}

// count adds n at a time, and forgets what is further back than so many.
func count(m map[int64]int64, at, n int64, most int64) {
	m[at] += n
	if int64(len(m)) <= most {
		return
	}
	last := slices.Max(slices.Collect(maps.Keys(m)))
	maps.DeleteFunc(m, func(k, _ int64) bool { return k <= last-most })
	for int64(len(m)) > most { // times that jumped back
		delete(m, slices.Min(slices.Collect(maps.Keys(m))))
	}
}

// spread counts matches that a rule held back since a time, by the minutes in which
// they may have been: at once they would be many.
func spread(m map[int64]int64, since, at, n int64) {
	if since > at {
		since = at
	}
	minutes := at - since + 1
	first := max(since, at-minutesKept+1)
	for minute, counted := first, n*(first-since)/minutes; minute <= at; minute++ {
		upTo := n * (minute - since + 1) / minutes
		if upTo > counted {
			count(m, minute, upTo-counted, minutesKept)
		}
		counted = upTo
	}
}

const minutesKept = 70

// name counts a shape among the most frequent: one that is new takes the place, and
// the count, of the rarest.
func (i *Incident) name(readable string, n int64) {
	if i.Shapes == nil {
		i.Shapes = map[string]int64{}
	}
	readable = cutTo(readable, 200)
	if _, known := i.Shapes[readable]; !known && len(i.Shapes) >= maxShapes {
		rarest := ""
		for s, c := range i.Shapes {
			if rarest == "" || c < i.Shapes[rarest] || c == i.Shapes[rarest] && s < rarest {
				rarest = s
			}
		}
		n += i.Shapes[rarest]
		delete(i.Shapes, rarest)
	}
	i.Shapes[readable] += n
}

// within is how many matches there were from so many minutes before a time, up to
// so many.
func (i *Incident) within(at time.Time, from, to int64) (n int64) {
	now := at.Unix() / 60
	for m, c := range i.Minutes {
		if age := now - m; age >= from && age < to {
			n += c
		}
	}
	return n
}

const (
	risesTimes = 5  // the previous hour's rate, at least
	risesLeast = 20 // matches in ten minutes, at least
)

// rises says that an incident gets worse by how often it is seen. How often that is
// usually is known after ten minutes.
func (i *Incident) rises(at time.Time) string {
	age := int64(at.Sub(i.First) / time.Minute)
	if age < 10 {
		return ""
	}
	now, before, minutes := i.within(at, 0, 10), i.within(at, 10, 70), max(min(age, 70)-10, 1)
	least := max(risesLeast, (risesTimes*before*10+minutes-1)/minutes)
	if since := at.Sub(i.Escalated).Abs(); !i.Escalated.IsZero() && since < 70*time.Minute {
		if since < 10*time.Minute {
			return ""
		}
		least = max(least, risesTimes*i.EscalatedRate)
	}
	if now < least {
		return ""
	}
	return fmt.Sprintf("%d times in 10 minutes, %d in the %s before", now, before, Span(time.Duration(minutes)*time.Minute))
}
