package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/enginetest/gate"
)

// load is what containers write.
type load struct {
	lines, length int // in all
	containers    int
}

func (l load) String() string {
	n := fmt.Sprintf("%d k lines × %d B", l.lines/1000, l.length)
	if l.containers > 1 {
		n += fmt.Sprintf(", %d containers", l.containers)
	}
	return n
}

// way is one of the ways for lines to go.
type way struct {
	name   string
	driver string
	opts   []string
	plugin string // program of the plugin process; empty for none
}

var (
	jsonFile = way{name: "json-file", driver: "json-file"}
	local    = way{name: "local", driver: "local"}
	ours     = way{name: "logscan", driver: logscan, plugin: logscan}
	unread   = way{name: "logscan, scan=off", driver: logscan, opts: []string{"scan=off"}, plugin: logscan}
	reencode = way{name: "decode, encode to JSON", driver: jsonPlugin, plugin: jsonPlugin}
)

// measured is one way's figures over all turns.
type measured struct {
	wall, cpu, plugin, lag series
}

// carry measures the road from a container to its log.
func carry(b *bench, l load) (*section, error) {
	e, err := b.start()
	if err != nil {
		return nil, err
	}
	defer e.Close()
	if err := e.installLogscan(rules(b.rules)); err != nil {
		return nil, err
	}
	if err := e.installPeer(jsonPlugin, "decodes and encodes each line, as logging plugins commonly do"); err != nil {
		return nil, err
	}
	s := &section{title: fmt.Sprintf("Carrying %s", l)}
	s.say("One container writes as fast as it can; every driver has its default settings, and logscan %d rules loaded, against which it checks every line but where that is switched off. "+
		"Wall time is from the moment when the container begins to write until the Engine reports its end, with all lines carried. "+
		"CPU is what dockerd and the plugin's process have used, user and system, once both are idle again: "+
		"rotation, compression and the checking of lines are in it, containerd's shim and the container are not, which cost the same with every driver. "+
		"Behind is how long after the container's end the last line had been checked. %d turns.", b.rules, b.runs)
	ways := []way{jsonFile, local, unread, ours, reencode}
	got, err := e.turns(l, ways)
	if err != nil {
		return nil, err
	}
	carryTable(s, l, ways, got)
	mine, jf, lo := got[ours.name], got[jsonFile.name], got[local.name]
	wall := .65
	if l.length > 1000 {
		wall = .72
	}
	s.target("wall, of json-file's", mine.wall.ratios(jf.wall).median(), wall, "")
	if l.length < 1000 {
		s.target("wall, of local's", mine.wall.ratios(lo.wall).median(), 1, "")
	}
	s.target("CPU, of json-file's", mine.cpu.ratios(jf.cpu).median(), .7, "")
	s.target("CPU, of local's", mine.cpu.ratios(lo.cpu).median(), .9, "")
	return s, nil
}

func carryTable(s *section, l load, ways []way, got map[string]*measured) {
	var rows [][]string
	base := got[jsonFile.name]
	for _, w := range ways {
		m := got[w.name]
		perLine := "–"
		if w.plugin != "" {
			perLine = number(m.plugin.median() / float64(l.lines) * 1e6)
		}
		rows = append(rows, []string{
			w.name, m.wall.String(), number(m.wall.ratios(base.wall).median()), m.cpu.String(), number(m.cpu.ratios(base.cpu).median()), perLine, m.lag.String(),
		})
	}
	s.table([]string{"", "wall s", "of json-file", "CPU s", "of json-file", "plugin µs a line", "behind s"}, rows)
}

// turns measures ways one after the other, again and again.
func (e *engine) turns(l load, ways []way) (map[string]*measured, error) {
	got := map[string]*measured{}
	for _, w := range ways {
		got[w.name] = &measured{}
	}
	for n := range e.b.runs {
		for _, w := range ways {
			if err := e.carry(l, w, got[w.name]); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", l, w.name, err)
			}
		}
		progress("%s: turn %d of %d", l, n+1, e.b.runs)
	}
	return got, nil
}

// carry has containers write their lines by one way.
func (e *engine) carry(l load, w way, m *measured) error {
	var names []string
	var gates []gate.Gate
	each := l.lines / l.containers
	for range l.containers {
		name, err := e.create(w.driver, w.opts, "-n", fmt.Sprint(each), "-len", fmt.Sprint(l.length))
		if err != nil {
			return err
		}
		g, err := e.start(name)
		if err != nil {
			return err
		}
		names, gates = append(names, name), append(gates, g)
	}
	counted := []int{e.DockerdPID()}
	plugin := 0
	if w.plugin != "" {
		if plugin = e.pluginPID(w.plugin); plugin == 0 {
			return fmt.Errorf("%s is not running", w.plugin)
		}
		counted = append(counted, plugin)
	}
	// Asked for now, because each question costs dockerd or the plugin something.
	pluginID, ids := "", []string{}
	if w.driver == logscan {
		var err error
		if pluginID, err = e.pluginID(logscan); err != nil {
			return err
		}
		for _, name := range names {
			id, err := e.containerID(name)
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
	}
	unix.Sync() // what was written before is not ours to wait for
	before, pluginBefore := settled(counted...), cpu(plugin)
	ended := make(chan error, 1)
	go func() {
		_, err := e.docker(append([]string{"wait"}, names...)...)
		ended <- err
	}()
	time.Sleep(100 * time.Millisecond) // until the command waits
	began := time.Now()
	for _, g := range gates {
		if err := g.Open(); err != nil {
			return err
		}
	}
	if err := <-ended; err != nil {
		return err
	}
	m.wall = append(m.wall, time.Since(began).Seconds())
	if w.driver == logscan && w.name == ours.name {
		end := time.Now()
		if err := e.await("all lines to be checked", func() bool { st, err := e.stats(pluginID); return err == nil && st.Scan.Lag == 0 }); err != nil {
			return err
		}
		m.lag = append(m.lag, time.Since(end).Seconds())
	}
	if w.driver == logscan {
		if err := e.compressed(ids); err != nil {
			return err
		}
	}
	m.cpu = append(m.cpu, settled(counted...)-before)
	m.plugin = append(m.plugin, cpu(plugin)-pluginBefore)
	for _, name := range names {
		if err := e.complete(w, name, each); err != nil {
			return err
		}
	}
	return e.remove(names...)
}

// compressed waits until logscan has compressed what it rotated, which it does
// a while later.
func (e *engine) compressed(ids []string) error {
	for _, id := range ids {
		raw := filepath.Join(e.journals(), id, "*.seg")
		if err := e.await("compression", func() bool {
			files, err := filepath.Glob(raw)
			return err == nil && len(files) <= 1
		}); err != nil {
			return err
		}
	}
	return nil
}

// journals is where logscan's logs are, as a pattern.
func (e *engine) journals() string {
	return filepath.Join(e.Dir, "data/plugins/*/propagated-mount/.logscan/journal")
}

// complete checks that the last line has arrived.
func (e *engine) complete(w way, name string, lines int) error {
	var last string
	if w.driver == jsonPlugin { // can't be asked: look into its file
		id, err := e.containerID(name)
		if err != nil {
			return err
		}
		plugin, err := e.pluginID(jsonPlugin)
		if err != nil {
			return err
		}
		file := filepath.Join(e.Dir, "data/plugins", plugin, "rootfs/logs", id+".json")
		if err := e.await("the last line in "+file, func() bool {
			last = lastLine(file)
			return strings.Contains(last, fmt.Sprintf("%010d ", lines-1))
		}); err != nil {
			return err
		}
		return os.Remove(file)
	}
	last, err := e.docker("logs", "-n", "1", name)
	if err == nil && !strings.HasPrefix(last, fmt.Sprintf("%010d", lines-1)) {
		err = fmt.Errorf("the last line is %.60q, not number %d", last, lines)
	}
	return err
}

// lastLine returns about the last line of a file.
func lastLine(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return ""
	}
	buf := make([]byte, min(st.Size(), 64<<10))
	if _, err := f.ReadAt(buf, st.Size()-int64(len(buf))); err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(buf)), "\n")
	return lines[len(lines)-1]
}
