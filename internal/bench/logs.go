package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// The same lines kept: local's default would keep the last 100 MB of them.
var (
	keptLocal   = way{name: "local, max-size=4g", driver: "local", opts: []string{"max-size=4g"}}
	keptOurs    = way{name: "logscan, max-size=4g", driver: logscan, opts: []string{"max-size=4g"}, plugin: logscan}
	copied      = way{name: "a plugin that copies", driver: copyPlugin, plugin: copyPlugin}
	keptRotated = way{name: "logscan, max-file=1000", driver: logscan, opts: []string{"max-file=1000"}, plugin: logscan}
)

// logs measures docker logs.
func logs(b *bench) (*section, error) {
	e, err := b.start()
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if err := e.installLogscan(nil); err != nil {
		return nil, err
	}
	s := &section{title: "docker logs"}
	s.say("The wall time of the whole `docker logs` command, its output thrown away. "+
		"With max-file=1000 logscan keeps 20 MB segments, rotated and compressed as by default, with max-size=4g one uncompressed file, as local does then. %d turns, of --tail four times as many.", b.runs)

	ways := []way{jsonFile, keptLocal, keptOurs, keptRotated}
	all := load{b.pick(3_000_000, 500_000), 120, 1}
	names, err := e.fill(all, ways, 0)
	if err != nil {
		return nil, err
	}
	file, err := filepath.Glob(filepath.Join(e.journals(), names[keptOurs.name].id, "*.seg"))
	if err != nil || len(file) != 1 {
		return nil, fmt.Errorf("one segment expected: %v %v", file, err)
	}
	copying, err := copyCost(file[0])
	if err != nil {
		return nil, err
	}
	if names[copied.name], err = e.copies(file[0]); err != nil {
		return nil, err
	}
	withCopy := append(slices.Clone(ways), copied)
	got, err := e.read(withCopy, names, b.runs, nil)
	if err != nil {
		return nil, err
	}
	s.say("All of %s:", all)
	readTable(s, withCopy, got)
	s.say("The plugin that copies answers with logscan's one file as it is, read and written 128 KiB at once through Go's HTTP server, to the same Engine: "+
		"the Engine reads slowly and in small pieces, so that whoever answers is put to sleep and woken thousands of times. "+
		"The same read and write by one thread into a unix socket that another thread empties as fast as it can, with no HTTP, no Engine and no such waits, takes %s CPU s.", number(copying))
	mine, jf := got[keptOurs.name], got[jsonFile.name]
	s.target("docker logs: wall, of json-file's", mine.wall.ratios(jf.wall).median(), .75, "")
	s.target("docker logs: wall, of local's", mine.wall.ratios(got[keptLocal.name].wall).median(), 1, "")
	s.target("docker logs: plugin's CPU, of the plugin that copies", mine.plugin.ratios(got[copied.name].plugin).median(), 2, "")
	s.target("docker logs: plugin's CPU, of copying the file into an emptied socket", mine.plugin.median()/copying, 2, "")

	if got, err = e.read(ways, names, 4*b.runs, func() []string { return []string{"--tail", "100"} }); err != nil {
		return nil, err
	}
	s.say("--tail 100 of the same:")
	readTable(s, ways, got)
	s.target("--tail 100: wall, of json-file's", got[keptOurs.name].wall.ratios(got[jsonFile.name].wall).median(), 2, "")
	return s, nil
}

// since measures docker logs of the end of a long log: 1 GiB, and then what is
// asked for, as in a last minute of some lines.
func since(b *bench) (*section, error) {
	const recent = 10_000
	e, err := b.start()
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if err := e.installLogscan(nil); err != nil {
		return nil, err
	}
	ways := []way{jsonFile, keptLocal, keptOurs, keptRotated}
	big := load{b.pick(3_580_000, 358_000), 300, 1}
	names, err := e.fill(big, ways, recent)
	if err != nil {
		return nil, err
	}
	moment := time.Now().UTC()
	for _, w := range ways {
		name := names[w.name].name
		if _, err := e.docker("start", name); err != nil {
			return nil, err
		}
		if _, err := e.docker("wait", name); err != nil {
			return nil, err
		}
		if err := e.complete(w, name, recent); err != nil {
			return nil, err
		}
	}
	turns := max(3, b.runs-2)
	got, err := e.read(ways, names, turns, func() []string { return []string{"--since", moment.Format(time.RFC3339Nano)} })
	if err != nil {
		return nil, err
	}
	s := &section{title: "docker logs --since"}
	s.say("The wall time of the whole command, as above. Since a moment behind which there are %d lines, and before which there are %s. %d turns.", recent, big, turns)
	readTable(s, ways, got)
	s.target("--since: wall, of json-file's", got[keptOurs.name].wall.ratios(got[jsonFile.name].wall).median(), .02, "")
	return s, nil
}

type container struct{ name, id string }

// fill has each way keep the same lines.
// When started again, the containers write so many lines more.
func (e *engine) fill(l load, ways []way, more int) (map[string]container, error) {
	const twice = "[ ! -e /tmp/again ] || exec loggen -n %d -len %d; touch /tmp/again; exec loggen -gate -n %d -len %d"
	names := map[string]container{}
	for _, w := range ways {
		name, err := e.createAny(w.driver, w.opts, "sh", "-c", fmt.Sprintf(twice, more, l.length, l.lines, l.length))
		if err != nil {
			return nil, err
		}
		if err := e.write(name); err != nil {
			return nil, err
		}
		if err := e.complete(w, name, l.lines); err != nil {
			return nil, err
		}
		id, err := e.containerID(name)
		if err != nil {
			return nil, err
		}
		if w.driver == logscan {
			if err := e.compressed([]string{id}); err != nil {
				return nil, err
			}
		}
		names[w.name] = container{name, id}
		progress("%s: %s kept", l, w.name)
	}
	settled(e.DockerdPID(), e.pluginPID(logscan))
	return names, nil
}

// copies has the plugin that copies answer with a file, and returns the
// container whose log it seems to be.
func (e *engine) copies(file string) (container, error) {
	if err := e.installPeer(copyPlugin, "answers docker logs with a file"); err != nil {
		return container{}, err
	}
	id, err := e.pluginID(copyPlugin)
	if err != nil {
		return container{}, err
	}
	if err := copyFile(filepath.Join(e.Dir, "data/plugins", id, "rootfs/logs/frames"), file); err != nil {
		return container{}, err
	}
	name, err := e.createAny(copyPlugin, nil, "true")
	if err != nil {
		return container{}, err
	}
	if _, err := e.docker("start", name); err != nil {
		return container{}, err
	}
	_, err = e.docker("wait", name)
	return container{name: name}, err
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// write has a container write, and waits for its end.
func (e *engine) write(name string) error {
	g, err := e.start(name)
	if err != nil {
		return err
	}
	if err := g.Open(); err != nil {
		return err
	}
	_, err = e.docker("wait", name)
	return err
}

// read times docker logs of each way's container, in turns.
func (e *engine) read(ways []way, names map[string]container, turns int, flags func() []string) (map[string]*measured, error) {
	got := map[string]*measured{}
	for _, w := range ways {
		got[w.name] = &measured{}
	}
	for n := range turns {
		for _, w := range ways {
			args := []string{"logs"}
			if flags != nil {
				args = append(args, flags()...)
			}
			program := w.plugin
			if program == "" {
				program = logscan
			}
			m, dockerd, plugin := got[w.name], e.DockerdPID(), e.pluginPID(program)
			both, alone := cpu(dockerd, plugin), cpu(plugin)
			cmd := e.command(context.Background(), append(args, names[w.name].name)...)
			began := time.Now()
			if err := cmd.Run(); err != nil {
				return nil, fmt.Errorf("docker logs, %s: %w", w.name, err)
			}
			m.wall = append(m.wall, time.Since(began).Seconds())
			m.cpu = append(m.cpu, cpu(dockerd, plugin)-both)
			m.plugin = append(m.plugin, cpu(plugin)-alone)
		}
		if flags == nil {
			progress("docker logs: turn %d of %d", n+1, turns)
		}
	}
	return got, nil
}

func readTable(s *section, ways []way, got map[string]*measured) {
	var rows [][]string
	base := got[jsonFile.name]
	for _, w := range ways {
		m := got[w.name]
		plugin := "–"
		if w.plugin != "" {
			plugin = number(m.plugin.median())
		}
		rows = append(rows, []string{w.name, m.wall.String(), number(m.wall.ratios(base.wall).median()), number(m.cpu.median()), plugin})
	}
	s.table([]string{"", "wall s", "of json-file", "CPU s, dockerd and plugin", "plugin alone"}, rows)
}

// copyCost returns the CPU seconds of sending a file through a unix socket, to
// one who reads as fast as it comes.
func copyCost(path string) (float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return 0, err
	}
	to, from := os.NewFile(uintptr(fds[0]), "to"), os.NewFile(uintptr(fds[1]), "from")
	drained := make(chan struct{})
	go func() {
		io.Copy(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{from})
		close(drained)
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadCPU()
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{f}, make([]byte, 128<<10))
	cost := threadCPU() - before
	to.Close()
	<-drained
	from.Close()
	return cost, err
}

func threadCPU() float64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return float64(t.Nano()) / 1e9
}
