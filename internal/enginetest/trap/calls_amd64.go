package trap

import "golang.org/x/sys/unix"

const arch = unix.AUDIT_ARCH_X86_64

// What other architectures have only in the form that ends in -at.
func init() {
	numbers["mkdir"] = unix.SYS_MKDIR
	numbers["open"] = unix.SYS_OPEN
	numbers["rename"] = unix.SYS_RENAME
	numbers["rmdir"] = unix.SYS_RMDIR
	numbers["unlink"] = unix.SYS_UNLINK
}
