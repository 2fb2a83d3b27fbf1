package egress

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"20":                             20 * time.Second,
		" 20 ":                           20 * time.Second,
		"-1":                             0,
		"1.5":                            0,
		"soon":                           0,
		"86400":                          24 * time.Hour,
		"86401":                          24 * time.Hour,
		"99999999999999999999999":        24 * time.Hour,
		"Fri, 02 Jan 2026 03:05:05 GMT":  time.Minute,
		"Friday, 02-Jan-26 03:05:05 GMT": time.Minute, // RFC 850
		"Fri Jan  2 03:05:05 2026":       time.Minute, // asctime
		"Fri, 02 Jan 2026 03:04:00 GMT":  0,           // past
		"Fri, 02 Jan 2037 03:04:00 GMT":  24 * time.Hour,
		"Fri, 32 Jan 2026 03:04:00 GMT":  0,
		"Fri, 02 Jan 2026 04:05:05 CET":  0, // not a form of HTTP's
	} {
		if got := (Answer{Header: http.Header{"Retry-After": {header}}, At: now}).RetryAfter(); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}
