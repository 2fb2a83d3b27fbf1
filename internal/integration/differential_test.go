package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"logscan/internal/enginetest"
)

const maxChunk = 16 << 10 // dockerd cuts lines there

var drivers = []string{"json-file", "local", "logscan"}

// output is what a container writes, and how.
type output struct {
	name     string
	writes   []write
	terminal bool
}

type write struct{ stream, text string }

func out(text string) write { return write{"out", text} }
func err(text string) write { return write{"err", text} }

func line(n int, last string) string {
	s := strings.Repeat("0123456789abcdef", n/16+1)
	return s[:n] + last
}

var outputs = []output{
	{name: "nothing"},
	{name: "no final newline", writes: []write{out("one\ntwo\nthree")}},
	{name: "no newline at all", writes: []write{out("x")}},
	{name: "no final newline on either stream", writes: []write{out("one\nout"), err("two\nerr")}},
	{name: "empty lines", writes: []write{out("\n\na\n\n"), err("\n")}},
	{name: "about 16 KiB", writes: []write{out(line(16383, "\n") + line(16384, "\n") + line(16385, "\n") + "after\n")}},
	{name: "16383 bytes without newline", writes: []write{out(line(16383, ""))}},
	{name: "16384 bytes without newline", writes: []write{out(line(16384, ""))}},
	{name: "16385 bytes without newline", writes: []write{out(line(16385, ""))}},
	{name: "1 MiB", writes: []write{out("before\n" + line(1<<20, "\n") + "after\n")}},
	{name: "long lines on both streams", writes: []write{
		out(line(20000, "")), err(line(30000, "")), out(line(20000, "\n")), err(line(3000, "\n")),
		out("short\n" + line(17000, "")), err("short\n"), out("end\n"),
	}},
	{name: "terminal", terminal: true, writes: []write{out("one\ntwo\n\x1b[31mred\x1b[0m\n"), err("three\n")}},
	{name: "long lines on a terminal", terminal: true, writes: []write{out(line(9000, "\n") + "x\n")}},
	{name: "carriage returns", writes: []write{out("10%\r50%\r100%\r\n\r\n\r")}},
	{name: "colour", writes: []write{out("\x1b[1;31merror\x1b[0m\n"), err("\x1b]0;title\x07\n")}},
	{name: "UTF-8", writes: []write{out("größer ✓ 日本語 \u2028 <&>\n\u00a0\n")}},
	{name: "control characters", writes: []write{out("nul \x00 tab \t bell \a quote \" backslash \\ del \x7f\n")}},
	{name: "not UTF-8", writes: []write{out("\xff\xfe\x80 caf\xe9\n\xc3\n"), err("\xf0\x9f\x98\n")}},
	{name: "twelve lines on both streams", writes: []write{
		out("1\n2\n"), err("3\n"), out("4\n"), err("5\n6\n"), out("7\n8\n9\n"), err("10\n11\n"), out("12\n"),
	}},
}

// TestLogsAreThoseOfOtherDrivers compares what docker logs prints under
// logscan with what was written, and with what it prints under Docker's own drivers
// where they print that,
// and for every combination of its flags with what the whole log says; while
// the container runs and after.
func TestLogsAreThoseOfOtherDrivers(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	client := engineClient(e)
	for i, o := range outputs {
		t.Run(o.name, func(t *testing.T) {
			e := e.With(t)
			dir := filepath.Join(e.Dir, fmt.Sprintf("play-%d", i))
			play(t, dir, o.writes)
			logs := make(map[string][]chunk)
			for _, driver := range drivers {
				flags := []string{"--log-driver", driver, "-v", dir + ":/play:ro"}
				if o.terminal {
					flags = append(flags, "-t")
				}
				c := e.Run(flags, "loggen", "-play", "/play", "-hold", "10m")
				e.Eventually(time.Minute, "all of the output", func() bool {
					all := readLogs(t, client, c, logOptions{terminal: o.terminal})
					return arrived(stream(all, 1), o.written("out")) && arrived(stream(all, 2), o.written("err"))
				})
				// The others show that what we expect is right.
				streams := []int{1, 2}
				if driver == enginetest.Plugin {
					streams = []int{0, 1, 2, 3, 4, 5}
					checkFlags(t, client, c, driver+", running", o, streams)
				}
				// A program that has not asked for the signal yet doesn't get it.
				e.Eventually(time.Minute, "its end", func() bool {
					e.TryDocker("kill", "-s", "TERM", c)
					return e.Docker("inspect", "-f", "{{.State.Running}}", c) == "false"
				})
				e.Wait(c)
				logs[driver] = checkFlags(t, client, c, driver+", stopped", o, streams)
				checkCommand(t, e, c, logs[driver], o.terminal)
			}
			for driver, all := range logs {
				for i, name := range []string{"out", "err"} {
					got := stream(all, byte(i+1))
					exact := string(text(got)) == o.written(name)
					switch {
					case exact:
					case driver == enginetest.Plugin:
						t.Errorf("std%s under %s is not what was written: %d bytes instead of %d", name, driver, len(text(got)), len(o.written(name)))
					default:
						// They lose a byte or a newline in odd places, and more on a busy
						// host: what was written is what counts.
						t.Logf("std%s under %s is not what was written: %d bytes instead of %d", name, driver, len(text(got)), len(o.written(name)))
						continue
					}
					if d := diff(stream(logs["logscan"], byte(i+1)), got); d != "" {
						t.Errorf("std%s under logscan differs from %s: %s", name, driver, d)
					}
				}
			}
		})
	}
}

// written is everything that a stream has been given; a terminal has one
// stream, and ends lines with \r\n.
func (o output) written(stream string) string {
	var all string
	for _, w := range o.writes {
		if w.stream == stream || o.terminal && stream == "out" {
			all += w.text
		}
	}
	if o.terminal {
		if stream != "out" {
			return ""
		}
		all = strings.ReplaceAll(all, "\n", "\r\n")
	}
	return all
}

func text(chunks []chunk) []byte {
	var b []byte
	for _, k := range chunks {
		b = append(b, k.text...)
	}
	return b
}

// play writes what `loggen -play` is to write, a file a write.
func play(t *testing.T, dir string, writes []write) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i, w := range writes {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.%s", i, w.stream)), []byte(w.text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// arrived reports that a stream's log has all that dockerd hands on while the
// container runs: whole lines, and of an unfinished one whole chunks.
func arrived(got []chunk, written string) bool {
	lines := strings.Count(written, "\n")
	rest := len(written) - strings.LastIndexByte(written, '\n') - 1
	want := len(written) - rest - lines + rest/maxChunk*maxChunk
	n := 0
	for _, k := range got {
		n += len(bytes.TrimSuffix(k.text, []byte("\n")))
	}
	return n >= want && len(got) >= lines
}

// checkFlags compares every combination of flags with the whole log, which it
// returns. streams are those of the six combinations of -t and streams to try.
func checkFlags(t *testing.T, client *http.Client, name, what string, o output, streams []int) []chunk {
	t.Helper()
	all := readLogs(t, client, name, logOptions{timestamps: true, terminal: o.terminal})
	for i := 1; i < len(all); i++ {
		if all[i].stream == all[i-1].stream && all[i].time.Before(all[i-1].time) {
			t.Errorf("%s: times go back at chunk %d: %s, %s", what, i, all[i-1], all[i])
		}
	}
	sinces := times(all, 0)
	inOrder := slices.IsSortedFunc(all, func(a, b chunk) int { return a.time.Compare(b.time) })
	if !inOrder && !strings.HasPrefix(what, "logscan") {
		// Where the two streams' times cross, newer Engines' own drivers print all
		// that follows the first entry of the time asked for, also what is older.
		sinces = sinces[:1]
	}
	failures := 0
	tails := []string{"all", "0", "1", "3", strconv.Itoa(len(all)), "1000000"}
	slices.Sort(tails)
	for _, tail := range slices.Compact(tails) {
		for _, since := range sinces {
			for _, until := range times(all, 1) {
				for _, flags := range streams {
					c := logOptions{tail: tail, since: since, until: until, timestamps: flags%2 == 1, noErr: flags/2 == 1, noStdout: flags/2 == 2, terminal: o.terminal}
					if o.terminal && (c.noErr || c.noStdout) {
						continue // a terminal has one stream
					}
					if d := diff(readLogs(t, client, name, c), expected(all, c)); d != "" {
						t.Errorf("%s: %s: %s", what, c, d)
						if failures++; failures > 5 {
							t.FailNow()
						}
					}
				}
			}
		}
	}
	return all
}

// times are what to cut a log at: nothing, and a chunk's very time or, for the
// odd kind, just before a later one's.
func times(all []chunk, kind int) []time.Time {
	ts := []time.Time{{}}
	if len(all) == 0 {
		return append(ts, time.Now())
	}
	if kind == 0 {
		return append(ts, all[len(all)/2].time, all[len(all)-1].time.Add(time.Nanosecond))
	}
	return append(ts, all[len(all)*2/3].time, all[len(all)-1].time.Add(-time.Nanosecond))
}

// checkCommand runs the docker command once with and once without times, and
// compares it with what the Engine said.
func checkCommand(t *testing.T, e *enginetest.Engine, name string, all []chunk, terminal bool) {
	t.Helper()
	for _, flag := range []string{"--timestamps=false", "--timestamps=true"} {
		var want [3][]byte
		for _, k := range all {
			if flag == "--timestamps=true" {
				want[k.stream] = append(want[k.stream], k.time.Format(rfc3339NanoFixed)+" "...)
			}
			want[k.stream] = append(want[k.stream], k.text...)
		}
		stdout, stderr := e.Logs(name, flag)
		if !bytes.Equal(stdout, want[1]) || !bytes.Equal(stderr, want[2]) {
			t.Errorf("docker logs %s prints other bytes than the Engine sends: %d and %d instead of %d and %d", flag, len(stdout), len(stderr), len(want[1]), len(want[2]))
		}
	}
}

// rfc3339NanoFixed is how docker logs -t prints times.
const rfc3339NanoFixed = "2006-01-02T15:04:05.000000000Z07:00"

// TestAMillionLines is the same with a log of many segments.
func TestAMillionLines(t *testing.T) {
	t.Parallel()
	e := enginetest.Start(t, enginetest.Options{})
	e.InstallPlugin()
	client := engineClient(e)
	const n = 1_000_000
	logs := make(map[string][]chunk)
	for driver, opts := range map[string][]string{
		"json-file": nil,
		"local":     {"--log-opt", "max-size=1g"},
		"logscan":   {"--log-opt", "max-size=10m", "--log-opt", "max-file=100"},
	} {
		c := e.Run(append([]string{"--log-driver", driver}, opts...), "loggen", "-n", strconv.Itoa(n), "-len", "60", "-stderr", "10")
		e.Wait(c)
		all := readLogs(t, client, c, logOptions{timestamps: true})
		logs[driver] = all
		if driver != enginetest.Plugin {
			continue
		}
		mid, late := all[len(all)/2].time, all[len(all)*9/10].time
		for _, o := range []logOptions{
			{tail: "1"}, {tail: "100", timestamps: true}, {tail: "100000"}, {since: mid}, {until: mid, noErr: true},
			{since: mid, until: late, timestamps: true}, {tail: "300000", since: mid, until: late, noStdout: true},
		} {
			if d := diff(readLogs(t, client, c, o), expected(all, o)); d != "" {
				t.Errorf("%s: %s: %s", driver, o, d)
			}
		}
	}
	for driver, all := range logs {
		if got := len(stream(all, 1)); got != n*9/10 {
			t.Errorf("%s: %d lines on stdout", driver, got)
		}
		for _, s := range []byte{1, 2} {
			if d := diff(stream(all, s), stream(logs["json-file"], s)); d != "" {
				t.Errorf("stream %d under %s differs from json-file: %s", s, driver, d)
			}
		}
	}
}
