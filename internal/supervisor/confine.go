package supervisor

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"
	"unsafe"

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

// noCore keeps this process's memory, which holds tokens and secrets, out of
// core dumps. The limit is for those written to files and outlives an exec; the
// other is for those that are piped to a program, and doesn't.
func noCore() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("core dumps to files: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("core dumps: %w", err)
	}
	return nil
}

// landlockNeeded is the version of Landlock that knows truncation (Linux 6.2).
// An older one would also forbid renames from one directory to another.
const landlockNeeded = 3

// landlockVersion is the kernel's; 0 where there is none.
func landlockVersion() int {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version)
}

// changing are all ways to change a file or a directory.
const changing = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE |
	unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REFER |
	unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
	unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
	unix.LANDLOCK_ACCESS_FS_MAKE_SYM

// readOnlyBut makes everything but the named directories and /dev/null read-only to
// what this thread will start: the Engine has no way to make a plugin's root so. It also
// gives up gaining privileges by running another program. Where the kernel has
// no Landlock, or one of the directories isn't there, that is all.
func readOnlyBut(dirs []string) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	if landlockVersion() < landlockNeeded {
		return nil
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: changing}
	// The kernel knows the structure by the length of its first version.
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr.Handled_access_fs), 0)
	if errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	defer unix.Close(int(ruleset))
	allow := func(path string, flags int, access uint64) error {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
		if err != nil {
			return fmt.Errorf("landlock: %s: %w", path, err)
		}
		defer unix.Close(fd)
		beneath := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
		if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&beneath)), 0, 0, 0); errno != 0 {
			return fmt.Errorf("landlock: %s: %w", path, errno)
		}
		return nil
	}
	for _, dir := range dirs {
		if err := allow(dir, unix.O_DIRECTORY, changing); err != nil {
			return err
		}
	}
	if err := allow(os.DevNull, 0, unix.LANDLOCK_ACCESS_FS_WRITE_FILE); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	return nil
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
