package query

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"logscan/internal/event"
)

// BacktestDifference is what differs of what two rules would have told of the same lines.
type BacktestDifference struct {
	// Of the other rule.
	Hits      int64
	Incidents int64
	Messages  map[string]int64

	Added, Gone BacktestSide // hits that only the one has, and only the other
}

// BacktestSide is hits that one of two rules has alone.
type BacktestSide struct {
	Hits    int64
	Hours   []BacktestHour
	Samples []BacktestSample // the last ones, the newest first, MaxBacktestSamples at most
}

// maxToldText is how many bytes of a hit's text are kept to show it.
const maxToldText = 200

// hit is one that was told, to be compared.
type hit struct {
	hitKey
	name, text string // of the container; its message
}

// hitKey is what hits of two rules have in common that are the same: they are of the same
// container, key and time.
type hitKey struct {
	container, by string
	at            int64 // in nanoseconds
}

func hitOf(e *event.Event) hit {
	id, _ := e.Metadata["container_id"].(string)
	name, _ := e.Metadata["container_name"].(string)
	text := e.Message
	if len(text) > maxToldText {
		text = strings.ToValidUTF8(text[:maxToldText], "") + "…"
	}
	return hit{hitKey{id, e.By, e.Time.UnixNano()}, name, text}
}

// difference is how one backtest differs from another.
func difference(one, other *Backtest) *BacktestDifference {
	return &BacktestDifference{
		Hits: other.Hits, Incidents: other.Incidents, Messages: other.Messages,
		Added: onlyIn(one.told, other.told), Gone: onlyIn(other.told, one.told),
	}
}

// onlyIn is the hits of one that another one doesn't have.
func onlyIn(one, other []hit) (out BacktestSide) {
	has := make(map[hitKey]int, len(other))
	for i := range other {
		has[other[i].hitKey]++
	}
	hours := map[int64]int64{}
	for i := range one {
		h := &one[i]
		if has[h.hitKey] > 0 {
			has[h.hitKey]--
			continue
		}
		at := time.Unix(0, h.at).UTC()
		out.Hits++
		hours[at.Truncate(time.Hour).Unix()]++
		out.Samples = append(out.Samples, BacktestSample{At: at, Container: h.name, Message: h.text})
	}
	out.Hours = hoursOf(hours)
	out.Samples = latest(out.Samples)
	return out
}

// hoursOf are hours in order.
func hoursOf(hits map[int64]int64) (out []BacktestHour) {
	for _, at := range slices.Sorted(maps.Keys(hits)) {
		out = append(out, BacktestHour{time.Unix(at, 0).UTC(), hits[at]})
	}
	return out
}

// latest are the last samples, the newest first.
func latest(all []BacktestSample) []BacktestSample {
	slices.SortStableFunc(all, func(x, y BacktestSample) int { return cmp.Compare(y.At.UnixNano(), x.At.UnixNano()) })
	return all[:min(len(all), MaxBacktestSamples)]
}
