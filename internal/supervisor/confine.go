package supervisor

import (
	"log/slog"
	"slices"

	"golang.org/x/sys/unix"
)

// needed are the capabilities that a worker can have at most: files in the data
// directory may be another's, and the API may be told to listen on a low port.
// The Engine gives its plugins a dozen more.
var needed = []uintptr{unix.CAP_DAC_OVERRIDE, unix.CAP_NET_BIND_SERVICE}

// confine takes all other capabilities from what this thread will start. It is
// no reason not to start it that this fails.
func confine(log *slog.Logger) {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if slices.Contains(needed, c) {
			continue
		}
		if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err != nil || has == 0 {
			continue // an older kernel doesn't know it, or it is gone
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			log.Warn("capabilities are kept that aren't needed", "capability", c, "err", err)
			return
		}
	}
}
