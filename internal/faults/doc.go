// Package faults has tests alone: logscan as a process, whose steps that change or
// read its files are failed one at a time, or end it (see package
// enginetest/trap). The tests play the Engine's side over its socket and FIFOs.
package faults
