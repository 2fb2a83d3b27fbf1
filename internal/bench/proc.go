package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpu returns the CPU seconds, user and system, that processes have used, to a
// hundredth.
func cpu(pids ...int) float64 {
	var ticks int64
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		for _, i := range []int{11, 12} { // utime, stime
			n, _ := strconv.ParseInt(f[i], 10, 64)
			ticks += n
		}
	}
	return float64(ticks) / 100 // USER_HZ
}

// settled waits until processes use next to no CPU any more, and returns what
// they have used.
func settled(pids ...int) float64 {
	last, since := cpu(pids...), time.Now()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if now := cpu(pids...); now > last+0.011 {
			last, since = now, time.Now()
		} else if time.Since(since) > 400*time.Millisecond {
			return now
		}
	}
	return cpu(pids...)
}

// statusField reads a number from a process's or thread's status file.
func statusField(path, name string) int64 {
	b, _ := os.ReadFile(path)
	_, rest, ok := strings.Cut(string(b), "\n"+name+":")
	if !ok {
		return 0
	}
	n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return n
}

// switches returns how often a process's threads have gone to sleep.
func switches(pid int) (n int64) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, f := range files {
		n += statusField(f, "voluntary_ctxt_switches")
	}
	return n
}

// resident returns a process's resident memory in bytes.
func resident(pid int) int64 {
	return statusField(fmt.Sprintf("/proc/%d/status", pid), "VmRSS") << 10
}
