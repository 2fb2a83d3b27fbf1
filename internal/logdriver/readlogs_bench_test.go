package logdriver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/plugins/logdriver"
	"github.com/docker/docker/daemon/logger"
	"golang.org/x/sys/unix"
)

// benchReader has the test binary read an answer as the Engine does, in a
// process of its own: a socket, and the body of the call.
const benchReader = "LOGSCAN_BENCH_READER"

func TestMain(m *testing.M) {
	if socket := os.Getenv(benchReader); socket != "" {
		if err := readAnswer(socket, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// readAnswer decodes the entries and writes each line with a call of its own, as
// the Engine does to its client.
func readAnswer(socket string, call io.Reader) error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(call)
	if err != nil {
		return err
	}
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	resp, err := c.Post("http://plugin/LogDriver.ReadLogs", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	dec, n := logdriver.NewLogEntryDecoder(resp.Body), 0
	for {
		var e logdriver.LogEntry
		if err := dec.Decode(&e); err == io.EOF {
			fmt.Println(n)
			return nil
		} else if err != nil {
			return err
		}
		null.Write(e.Line)
		n++
	}
}

// BenchmarkReadLogs answers `docker logs` of a long log, kept raw and compressed,
// and beside it sends the file of the raw one, as it is, through a socket like
// ours. The CPU time is this process's, which is not the reader's.
func BenchmarkReadLogs(b *testing.B) {
	const lines = 1_000_000
	e := newEngine(b)
	fill := func(id string, opts map[string]string) []byte {
		i := info(opts)
		i.ContainerID = strings.Repeat(id, 64)
		c, err := e.start(i)
		if err != nil {
			b.Fatal(err)
		}
		line := []byte(strings.Repeat("a line as programs write them, number 7. ", 3)[:120])
		for n := range lines {
			copy(line, fmt.Sprintf("%08d", n))
			if err := c.Log(&logger.Message{Source: "stdout", Timestamp: time.Unix(1_700_000_000, int64(n)), Line: line}); err != nil {
				b.Fatal(err)
			}
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
		call, err := json.Marshal(readRequest{Info: c.info, Config: logger.ReadConfig{Tail: -1}})
		if err != nil {
			b.Fatal(err)
		}
		return call
	}
	raw := fill("a", map[string]string{"max-size": "4g"})
	files, _ := filepath.Glob(filepath.Join(e.root, "journal", "*", "*.seg"))
	if len(files) != 1 {
		b.Fatal(files)
	}
	packed := fill("b", map[string]string{"max-file": "1000"})
	eventually(b, "rotated segments are compressed", func() bool {
		left, _ := filepath.Glob(filepath.Join(e.root, "journal", "*", "*.seg"))
		return len(left) == 2
	})
	socket := filepath.Join(e.root, "s")
	for _, way := range []struct {
		name, socket string
		call         []byte
	}{{"raw", socket, raw}, {"compressed", socket, packed}, {"copy", copier(b, files[0]), raw}} {
		b.Run(way.name, func(b *testing.B) {
			before := cpuTime()
			for b.Loop() {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), benchReader+"="+way.socket)
				cmd.Stdin, cmd.Stderr = bytes.NewReader(way.call), os.Stderr
				if out, err := cmd.Output(); err != nil || string(out) != fmt.Sprintln(lines) {
					b.Fatal(err, string(out))
				}
			}
			b.ReportMetric((cpuTime()-before).Seconds()*1e9/lines/float64(b.N), "cpu-ns/line")
		})
	}
}

// copier answers every call with a file, read and written as large pieces.
func copier(b *testing.B, path string) string {
	socket := filepath.Join(b.TempDir(), "copy")
	l, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			http.ReadRequest(bufio.NewReader(conn))
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\n\r\n")
			if f, err := os.Open(path); err == nil {
				io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{f}, make([]byte, 128<<10))
				f.Close()
			}
			conn.Close()
		}
	}()
	return socket
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
