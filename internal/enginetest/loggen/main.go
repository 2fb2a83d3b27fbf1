// Loggen writes known lines, inside a container, as fast as it is told to.
//
//	loggen -n 1000000 -len 120            numbered lines on stdout
//	loggen -n 0 -duty 50ms -idle 50ms     bursts, until SIGTERM
//	loggen -play DIR                      the files NAME.out and NAME.err, in order
//	loggen -n 0 -tally FILE               what was written, known also after a kill
//	loggen -n 0 -hostile 1000 -len 1048576  lines that are dear to check
//	loggen -listen ADDR -log message      the messages of webhooks that it is sent
//
// A numbered line is ten digits, a blank, and filling up to -len; every -mark'th
// has MARK after the number, and with -stamp the nanoseconds since 1970 behind
// it. With -gate it waits before it writes until its gate is opened (package gate). SIGTERM ends -hold, and
// -n 0: the current line is finished and a last one says "end" and how many
// there were, so that a reader knows what to expect. Lines that were asked for by
// number are written all the same, unless the signal comes before the program
// has asked for it: wait for a line, or for the tally, before sending one.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"logscan/internal/enginetest/gate"
	"logscan/internal/rule/match/matchtest"
)

const filling = `level=info msg="request handled" path=/api/v1/items/42 status=200 dur=12ms user=alice region=eu-west-1 trace=4bf92f3577b34da6a3ce929d0e0e4736 `

var (
	n      = flag.Int("n", 1000, "lines, all of them written; 0 = until SIGTERM")
	length = flag.Int("len", 100, "bytes a line, its newline not counted")
	mark   = flag.Int("mark", 0, "put MARK into every so many'th line; 0 = none")
	errs   = flag.Int("stderr", 0, "write every so many'th line to stderr; 0 = none")
	buffer = flag.Int("buf", 64<<10, "bytes a write; 0 = a write for each line")
	rate   = flag.Float64("rate", 0, "lines a second; 0 = as fast as they go")
	duty   = flag.Duration("duty", 0, "write this long, then idle; 0 = always")
	idle   = flag.Duration("idle", 0, "pause between duties")
	hold   = flag.Duration("hold", 0, "wait this long, or for SIGTERM, before the end")
	tally  = flag.String("tally", "", "after each write, put into this file how many lines have been written, and the nanoseconds that the longest write took: two little-endian uint64")
	gated  = flag.Bool("gate", false, "write only once the gate is opened")
	stamp  = flag.Bool("stamp", false, "put the time into marked lines")
	play   = flag.String("play", "", "write the files of this directory instead")
	dear   = flag.Int("hostile", 0, "fill lines with what makes them dear for so many rules of package matchtest, and so many wide ones by 20; 0 = none")
	listen = flag.String("listen", "", "take webhooks here, until SIGTERM, instead")
	logs   = flag.String("log", "message", "what to write of a webhook: message, alert (a prefix and the message) or body")
)

func main() {
	flag.Parse()
	var stop atomic.Bool
	term := make(chan os.Signal, 1)
	held := make(chan struct{})
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		stop.Store(true)
		close(held)
	}()

	if *gated {
		opened := make(chan error, 1)
		go func() { opened <- gate.Wait() }()
		select {
		case err := <-opened:
			exitOn(err)
		case <-held:
		}
	}

	var err error
	switch {
	case *play != "":
		err = playFiles(*play)
	case *listen != "":
		err = receive(*listen, *logs, held)
	default:
		err = number(&stop)
	}
	exitOn(err)
	if *hold > 0 {
		select {
		case <-held:
		case <-time.After(*hold):
		}
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "loggen:", err)
		os.Exit(1)
	}
}

// playFiles writes each file to the stream that its name ends with.
func playFiles(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		out := os.Stdout
		if strings.HasSuffix(e.Name(), ".err") {
			out = os.Stderr
		}
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func number(stop *atomic.Bool) error {
	var w io.Writer = os.Stdout
	if *tally != "" {
		f, err := os.OpenFile(*tally, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		w = &tallied{file: f}
	}
	stdout := bufio.NewWriterSize(w, max(*buffer, 16))
	stderr := bufio.NewWriterSize(os.Stderr, max(*buffer, 16))
	flush := func() error {
		if err := stdout.Flush(); err != nil {
			return err
		}
		return stderr.Flush()
	}
	line := plain(*length)
	if *dear > 0 {
		line = append(matchtest.Hostile(*length, append(matchtest.Rules(*dear), matchtest.Wide(*dear/20)...), uint64(os.Getpid())), '\n')
	}
	start, dutyEnd := time.Now(), time.Now().Add(*duty)
	i := 0
	for ; i < *n || *n == 0 && !stop.Load(); i++ {
		out := stdout
		if *errs > 0 && i%*errs == *errs-1 {
			out = stderr
		}
		if _, err := out.Write(numbered(line, i, *mark > 0 && i%*mark == 0)); err != nil {
			return err
		}
		if *buffer == 0 || *rate > 0 {
			if err := flush(); err != nil {
				return err
			}
		}
		if *rate > 0 {
			due := start.Add(time.Duration(float64(i+1) / *rate * 1e9))
			if d := time.Until(due); d > time.Millisecond {
				time.Sleep(d)
			}
		}
		if *duty > 0 && i%64 == 0 && time.Now().After(dutyEnd) {
			if err := flush(); err != nil {
				return err
			}
			time.Sleep(*idle)
			dutyEnd = time.Now().Add(*duty)
		}
	}
	if *n == 0 {
		fmt.Fprintf(stdout, "end %d\n", i)
	}
	return flush()
}

// tallied is standard output, and the file that says what got through to it.
type tallied struct {
	file    *os.File
	lines   uint64
	longest time.Duration
}

func (t *tallied) Write(b []byte) (int, error) {
	start := time.Now()
	n, err := os.Stdout.Write(b)
	t.longest = max(t.longest, time.Since(start))
	t.lines += uint64(bytes.Count(b[:n], []byte("\n")))
	var out [16]byte
	binary.LittleEndian.PutUint64(out[:], t.lines)
	binary.LittleEndian.PutUint64(out[8:], uint64(t.longest))
	if _, werr := t.file.WriteAt(out[:], 0); err == nil {
		err = werr
	}
	return n, err
}

// digits is how long a line's number is.
const digits = 10

// plain is a line with nothing but zeros for its number.
func plain(length int) []byte {
	b := append(bytes.Repeat([]byte("0"), digits), ' ')
	for len(b) < length {
		b = append(b, filling[:min(len(filling), length-len(b))]...)
	}
	return append(b, '\n')
}

// numbered returns line i: an unmarked one is made in place of the one before,
// because at full speed making lines must cost next to nothing.
func numbered(line []byte, i int, marked bool) []byte {
	for at := digits - 1; at >= 0; at-- {
		line[at] = byte('0' + i%10)
		i /= 10
	}
	if !marked {
		return line
	}
	b := append(bytes.Clone(line[:digits]), " MARK "...)
	if *stamp {
		b = append(strconv.AppendInt(b, time.Now().UnixNano(), 10), ' ')
	}
	for want := max(len(line)-1, len(b)); len(b) < want; {
		b = append(b, filling[:min(len(filling), want-len(b))]...)
	}
	return append(b, '\n')
}
