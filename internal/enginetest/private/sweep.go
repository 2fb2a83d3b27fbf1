package private

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Places outside its own directory that an Engine writes to whatever its roots
// are; each name below them contains an id of that Engine.
const (
	pluginSockets = "/run/docker/plugins"
	shimSockets   = "/run/containerd/s"
	cgroupRoot    = "/sys/fs/cgroup"
)

var fullID = regexp.MustCompile(`[0-9a-f]{64}`)

// sweep ends all descendants of this process and takes away what the Engine in
// dir has left, and says what it could not take away.
func sweep(dir string) (left []string) {
	groups := killAll()
	for _, pid := range Descendants(os.Getpid()) {
		left = append(left, fmt.Sprintf("process %d (%s)", pid, commandOf(pid)))
	}
	if err := unmountUnder(dir); err != nil {
		left = append(left, err.Error())
	}
	for _, id := range append(childNames(filepath.Join(dir, "data/plugins")), childNames(filepath.Join(dir, "data/containers"))...) {
		if !fullID.MatchString(id) {
			continue
		}
		os.RemoveAll(filepath.Join(pluginSockets, id))
		for _, namespace := range []string{"moby", "plugins.moby"} {
			os.Remove(shimSocket(dir, namespace, id))
		}
		groups = append(groups, groupsNamed(id)...)
	}
	for _, group := range groups {
		if err := removeGroup(group); err != nil {
			left = append(left, err.Error())
		}
	}
	if len(left) > 0 {
		return left // keep the logs: somebody has to look
	}
	if err := os.RemoveAll(dir); err != nil {
		left = append(left, err.Error())
	}
	return left
}

// killAll kills every descendant until there is none, and returns the control
// groups that containers and plugins among them were in. It goes on for as
// long as new ones appear, since a process may fork while we look.
func killAll() []string {
	groups := make(map[string]bool)
	deadline := time.Now().Add(sweepTime / 2)
	for time.Now().Before(deadline) {
		pids := Descendants(os.Getpid())
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			for _, g := range groupsOf(pid) {
				groups[g] = true
			}
			syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(20 * time.Millisecond) // their parent, us, reaps meanwhile
	}
	var out []string
	for g := range groups {
		out = append(out, g)
	}
	return out
}

// Descendants returns the pids below root, ended but unreaped ones included.
func Descendants(root int) []int {
	children := families()
	var out []int
	for next := []int{root}; len(next) > 0; next = next[1:] {
		out = append(out, children[next[0]]...)
		next = append(next, children[next[0]]...)
	}
	return out
}

// Children returns those that root itself is the parent of.
func Children(root int) []int { return families()[root] }

// families returns the pids of all processes by that of their parent.
func families() map[int][]int {
	children := make(map[int][]int)
	for _, name := range childNames("/proc") {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", name, "stat"))
		if err != nil {
			continue
		}
		// pid (command) state ppid …; the command may contain anything.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) > 1 {
			if ppid, err := strconv.Atoi(fields[1]); err == nil {
				children[ppid] = append(children[ppid], pid)
			}
		}
	}
	return children
}

// commandOf returns a process's arguments, or its name in parentheses.
func commandOf(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if len(b) == 0 {
		b, _ = os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return "(" + strings.TrimSpace(string(b)) + ")"
	}
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}

// groupsOf returns the directories of the control groups made for the container
// or plugin that pid belongs to: those that carry its id.
func groupsOf(pid int) []string {
	f, err := os.Open(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []string
	for in := bufio.NewScanner(f); in.Scan(); {
		// 4:memory:/docker/<id> in version 1, 0::/docker/<id> in version 2
		parts := strings.SplitN(in.Text(), ":", 3)
		if len(parts) != 3 || !fullID.MatchString(filepath.Base(parts[2])) {
			continue
		}
		for _, mount := range append(strings.Split(parts[1], ","), parts[1], "unified", strings.TrimPrefix(parts[1], "name=")) {
			g := filepath.Join(cgroupRoot, mount, parts[2])
			if _, err := os.Stat(g); err == nil {
				out = append(out, g)
			}
		}
	}
	return out
}

// groupsNamed returns the control groups that carry an id. One is left without a
// process where the Engine was killed between its end and its removal.
func groupsNamed(id string) (groups []string) {
	for _, above := range []string{"*", "*/*", "*/*/*"} { // as systemd's and cgroupfs's drivers make them
		found, _ := filepath.Glob(filepath.Join(cgroupRoot, above) + id + "*")
		groups = append(groups, found...)
	}
	return groups
}

// removeGroup removes a control group and those below it. A group stays busy
// for a moment after its last process has ended.
func removeGroup(group string) error {
	var err error
	for range 100 {
		var dirs []string
		filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		slices.Reverse(dirs) // children first
		for _, d := range dirs {
			err = syscall.Rmdir(d)
		}
		if _, e := os.Lstat(group); errors.Is(e, fs.ErrNotExist) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("control group %s: %w", group, err)
}

// unmountUnder takes away every mount at or below dir, the last made first.
func unmountUnder(dir string) error {
	for range 100 {
		points, err := MountsUnder(dir)
		if err != nil {
			return err
		}
		if len(points) == 0 {
			return nil
		}
		for _, p := range slices.Backward(points) {
			syscall.Unmount(p, syscall.MNT_DETACH)
		}
	}
	points, _ := MountsUnder(dir)
	return fmt.Errorf("mounts %s", strings.Join(points, " "))
}

// MountsUnder returns the mount points at or below dir, in the order of their
// making.
func MountsUnder(dir string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var points []string
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20) // an overlay names all of its layers
	for in.Scan() {
		fields := strings.Fields(in.Text())
		if len(fields) > 4 && (fields[4] == dir || strings.HasPrefix(fields[4], dir+"/")) {
			points = append(points, fields[4])
		}
	}
	return points, in.Err()
}

// shimSocket is where containerd's shim for id listens: a fixed directory, and
// a name made from its containerd's address.
func shimSocket(dir, namespace, id string) string {
	sum := sha256.Sum256([]byte(filepath.Join(containerdSocket(dir), namespace, id)))
	return filepath.Join(shimSockets, fmt.Sprintf("%x", sum))
}

func childNames(dir string) []string {
	d, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	return names
}
