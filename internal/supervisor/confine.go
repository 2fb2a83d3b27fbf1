package supervisor

import (
	"log/slog"
	"slices"
	"time"

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

// timerSlack is by how much the worker's timers may be late. Go's runtime looks
// after its threads in sleeps of 20 µs while there is something to do; as
// punctual as the kernel is by default, that takes a tenth of what carrying lines
// does, and there is nothing to see.
const timerSlack = 250 * time.Microsecond

// relax makes timers less punctual in what this thread will start.
func relax(log *slog.Logger) {
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0); err != nil {
		log.Warn("timer slack", "err", err)
	}
}
