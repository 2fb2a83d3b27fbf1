// Package private starts a Docker Engine that nobody else uses: its own
// containerd, data root, exec root, configuration and unix socket, all in one
// temporary directory, and no bridge and no firewall rule. Any number may run
// beside each other and beside the machine's own Engine.
//
// Everything an Engine begets is a descendant of one small process, its keeper:
// the calling program run again, which declares itself subreaper, so that the
// shims, containers and plugins that containerd leaves to init come back to it.
// The keeper reads from its parent, and when that ends, in whatever way, it
// kills its descendants, by pid, and takes away their mounts, control groups,
// sockets and files. So nothing is left behind when a test fails, panics, runs
// into its deadline or is killed.
//
// A program that uses this package calls Main first thing.
package private
