//go:build !vectorscan

package main

import "log"

func main() {
	log.Fatal("matchbench compares with vectorscan: install libvectorscan-dev and build with -tags vectorscan")
}
