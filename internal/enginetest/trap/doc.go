// Package trap gives tests a say in the system calls of a program: each call of
// the kinds that were named waits until the test has answered it. The test lets
// it go on, fails it, answers in the kernel's place, or does it on the program's
// behalf and fails it all the same, as a disk may that wrote what it was given
// and never said so. The program is the real one and knows nothing of it.
//
//	tr := trap.Listen(t, filepath.Join(dir, "trap"), func(c *trap.Call) trap.Answer {
//		if strings.HasSuffix(c.Target(), ".seg") {
//			c.Do()
//			return trap.Fail(unix.EIO)
//		}
//		return trap.Continue
//	})
//	cmd := tr.Command("write,openat/2&0x40", "/path/to/program", "argument")
//
// It is seccomp's user notification (Linux 5.19 for WAIT_KILLABLE_RECV), which
// needs root. Program launch installs the filter, hands its listener over a unix
// socket, and becomes the program; it is static, so that it can be the entrypoint
// of a plugin, too. All that the program starts inherits the filter. What is not
// named goes on at full speed.
//
// A time that is read through the vDSO is no system call: WithoutVDSO.
package trap
