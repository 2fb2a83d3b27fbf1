package trigger

import (
	"testing"
)

// What tests over a real store need, which imports this package.
const (
	FirstWait    = firstWait
	KeepTrying   = keepTrying
	LongestWait  = longestWait
	LongestPause = longestPause
	ReportEvery  = reportEvery
	StartGrace   = startGrace
	StopGrace    = stopGrace
)

var Backoff = backoff

type Payload = payload

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
