package trap

import "golang.org/x/sys/unix"

// numbers are those of the calls that can be trapped.
var numbers = map[string]int{
	"clock_gettime": unix.SYS_CLOCK_GETTIME,
	"fallocate":     unix.SYS_FALLOCATE,
	"fdatasync":     unix.SYS_FDATASYNC,
	"fsync":         unix.SYS_FSYNC,
	"ftruncate":     unix.SYS_FTRUNCATE,
	"linkat":        unix.SYS_LINKAT,
	"mkdirat":       unix.SYS_MKDIRAT,
	"openat":        unix.SYS_OPENAT,
	"pread64":       unix.SYS_PREAD64,
	"pwrite64":      unix.SYS_PWRITE64,
	"read":          unix.SYS_READ,
	"renameat":      unix.SYS_RENAMEAT,
	"renameat2":     unix.SYS_RENAMEAT2,
	"splice":        unix.SYS_SPLICE,
	"symlinkat":     unix.SYS_SYMLINKAT,
	"unlinkat":      unix.SYS_UNLINKAT,
	"write":         unix.SYS_WRITE,
}

// name is the reverse of numbers.
func name(nr int) string {
	for name, n := range numbers {
		if n == nr {
			return name
		}
	}
	return ""
}
