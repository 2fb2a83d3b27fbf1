// Launch runs a program whose system calls are answered by a test (see package
// trap):
//
//	launch SOCKET CALLS -- PROGRAM ARGUMENTS…
package main

import (
	"fmt"
	"os"

	"logscan/internal/enginetest/trap"
)

func main() {
	if len(os.Args) < 5 || os.Args[3] != "--" {
		fmt.Fprintln(os.Stderr, "launch SOCKET CALLS -- PROGRAM ARGUMENTS…")
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "launch:", trap.Launch(os.Args[1], os.Args[2], os.Args[4:]))
	os.Exit(1)
}
