package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/api"
	"logscan/internal/entry"
)

// fifos measures the plugin's process alone, with many containers' FIFOs.
func fifos(b *bench) (*section, error) {
	const count, rate = 1000, 10 // FIFOs, lines a second of each
	s := &section{title: "Many containers"}
	s.say("The plugin's process by itself, with %d FIFOs that it was told about as the Engine does it (StartLogging), and %d rules. "+
		"No containers: their lines are written into the FIFOs as dockerd writes them, one by one, %d a second into each, evenly spread. Measured over %d s, after %d s.",
		count, b.rules, rate, b.pick(20, 5), b.pick(10, 5))
	p, err := b.serve()
	if err != nil {
		return nil, err
	}
	defer p.end()
	files, err := p.attach(count)
	if err != nil {
		return nil, err
	}
	progress("%d FIFOs attached", count)

	during := time.Duration(b.pick(20, 5)) * time.Second
	warm := time.Duration(b.pick(10, 5)) * time.Second
	stop := make(chan struct{})
	failed := make(chan error, 1)
	go func() { failed <- feed(files, rate, stop) }()
	time.Sleep(warm)
	busy := p.observe(during)
	memory := float64(resident(p.pid)) / (1 << 20)
	close(stop)
	if err := <-failed; err != nil {
		return nil, err
	}
	if err := p.caughtUp(); err != nil {
		return nil, err
	}
	time.Sleep(warm)
	idle := p.observe(during)
	s.table([]string{"", "CPU, of one core", "resident MiB", "voluntary switches a second"}, [][]string{
		{fmt.Sprintf("%d lines a second each", rate), percent(busy.cpu), number(memory), number(busy.switches)},
		{"idle", percent(idle.cpu), number(float64(resident(p.pid)) / (1 << 20)), number(idle.switches)},
	})
	s.target("1,000 FIFOs at 10 lines a second: CPU, of one core", busy.cpu*100, 15, " %")
	s.target("1,000 FIFOs at 10 lines a second: resident", memory, 64, " MiB")
	s.target("1,000 idle FIFOs: wake-ups a second of each", idle.switches/count, .1, "")
	return s, nil
}

func percent(f float64) string { return number(f*100) + " %" }

// process is the plugin's program, started by us.
type process struct {
	cmd    *exec.Cmd
	pid    int
	dir    string
	fifos  []*os.File
	engine *http.Client // what the Engine calls
}

// serve starts the plugin's program with rules loaded.
func (b *bench) serve() (*process, error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	p := &process{dir: dir}
	for _, d := range []string{"fifo", "data", "run"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	if err := storeRules(filepath.Join(dir, "data/logscan.db"), rules(b.rules)); err != nil {
		p.end()
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		p.end()
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(filepath.Join(b.plugin, "rootfs/logscan"), "serve")
	p.cmd.Env = append(os.Environ(), "LOGSCAN_FIFO_DIR="+filepath.Join(dir, "fifo"), "LOGSCAN_DATA_DIR="+filepath.Join(dir, "data"), "LOGSCAN_SOCKET_DIR="+filepath.Join(dir, "run"))
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.end()
		return nil, err
	}
	p.pid = p.cmd.Process.Pid
	p.engine = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(dir, "run/logscan.sock"))
	}}}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		st, err := p.stats()
		if err == nil && st.Scan.Rules == b.rules {
			p.pid = working(os.Getpid(), "logscan")
			return p, nil
		}
		if time.Now().After(deadline) {
			out, _ := os.ReadFile(filepath.Join(dir, "log"))
			p.end()
			return nil, fmt.Errorf("the plugin's program does not answer: %v\n%s", err, out)
		}
	}
}

func (p *process) stats() (api.Stats, error) {
	c := api.Dial(filepath.Join(p.dir, "run/logscan-api.sock"))
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return c.Stats(ctx)
}

func (p *process) caughtUp() error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if st, err := p.stats(); err == nil && st.Scan.Lag == 0 {
			return nil
		} else if time.Now().After(deadline) {
			return fmt.Errorf("a minute later %d bytes are still unchecked: %v", st.Scan.Lag, err)
		}
	}
}

// end ends the process and removes its directory.
func (p *process) end() {
	if p.pid != 0 {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	}
	for _, f := range p.fifos {
		f.Close()
	}
	os.RemoveAll(p.dir)
}

// attach makes FIFOs and has the plugin read them.
func (p *process) attach(n int) ([]*os.File, error) {
	for i := range n {
		id := fmt.Sprintf("%064x", i+1)
		path := filepath.Join(p.dir, "fifo", id)
		if err := unix.Mkfifo(path, 0o700); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		p.fifos = append(p.fifos, f)
		body, err := json.Marshal(map[string]any{
			"File": "/run/docker/logging/" + id,
			"Info": map[string]any{"ContainerID": hex.EncodeToString(fmt.Appendf(nil, "%032d", i)), "ContainerName": fmt.Sprintf("/box-%d", i)},
		})
		if err != nil {
			return nil, err
		}
		res, err := p.engine.Post("http://plugin/LogDriver.StartLogging", "application/json", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		var answer struct{ Err string }
		err = json.NewDecoder(res.Body).Decode(&answer)
		res.Body.Close()
		if err != nil || answer.Err != "" {
			return nil, fmt.Errorf("StartLogging: %s %v", answer.Err, err)
		}
	}
	return p.fifos, nil
}

// feed writes rate lines a second into each file, evenly spread, until stop.
func feed(files []*os.File, rate int, stop <-chan struct{}) error {
	step := time.Second / time.Duration(rate*len(files))
	began := time.Now()
	var frame []byte
	for n := 0; ; {
		select {
		case <-stop:
			return nil
		default:
		}
		for due := int(time.Since(began) / step); n < due; n++ {
			line := fmt.Appendf(nil, `%010d level=info msg="request handled" path=/api/v1/items/42 status=200 dur=12ms user=alice region=eu-west-1`, n/len(files))
			frame = entry.Append(frame[:0], &entry.Entry{Source: "stdout", TimeNano: time.Now().UnixNano(), Line: line})
			if _, err := files[n%len(files)].Write(frame); err != nil {
				return err
			}
		}
		time.Sleep(500 * time.Microsecond)
	}
}

// observed is per second, but for cpu, which is a share of one core.
type observed struct{ cpu, switches float64 }

func (p *process) observe(d time.Duration) observed {
	used, slept, began := cpu(p.pid), switches(p.pid), time.Now()
	time.Sleep(d)
	took := time.Since(began).Seconds()
	return observed{(cpu(p.pid) - used) / took, float64(switches(p.pid)-slept) / took}
}
