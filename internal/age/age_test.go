package age

import (
	"testing"
	"time"
)

func TestNow(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	type step struct {
		passed time.Duration // since the last
		offset time.Duration // of the machine's clock, from now on
		want   time.Duration // offset of ours
	}
	for name, steps := range map[string][]step{
		"right":            {{0, 0, 0}, {day, 0, 0}, {day, 0, 0}},
		"slewed":           {{0, 0, 0}, {day, 10 * time.Second, 10 * time.Second}, {day, 20 * time.Second, 20 * time.Second}},
		"forward and back": {{0, 0, 0}, {1, hour, 0}, {30, hour, 0}, {1, 0, 0}, {2 * hour, 0, 0}},
		"there and back several times": {
			{0, 0, 0}, {1, hour, 0}, {1, 0, 0}, {1, -hour, -hour}, {1, 0, -hour}, {1, hour, -hour}, {1, 0, -hour}, {2 * hour, 0, 0},
		},
		"forward for good":      {{0, 0, 0}, {1, 30 * day, 0}, {Trust - 1, 30 * day, 0}, {1, 30 * day, 30 * day}, {day, 30 * day, 30 * day}},
		"right when it started": {{0, -day, -day}, {1, 0, -day}, {Trust, 0, 0}},
		"back for good":         {{0, 0, 0}, {1, -day, -day}, {day, -day, -day}},
		"forward again within":  {{0, 0, 0}, {1, hour, 0}, {Trust / 2, 2 * hour, 0}, {Trust / 2, 2 * hour, 0}, {Trust / 2, 2 * hour, 2 * hour}},
	} {
		t.Run(name, func(t *testing.T) {
			var c Clock
			at := time.Unix(1e9, 0)
			run := 5 * day
			for i, s := range steps {
				run += s.passed
				actual := at.Add(run)
				if got := c.now(reading{actual.Add(s.offset), run}).Sub(actual); got != s.want {
					t.Errorf("%d: off by %v instead of %v", i, got, s.want)
				}
			}
		})
	}
	var c Clock
	before := time.Now()
	if now := c.Now(); now.Before(before.Round(0)) || now.After(time.Now().Round(0)) {
		t.Errorf("it is %v at %v", now, before)
	}
}
