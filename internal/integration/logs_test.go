package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"logscan/internal/enginetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

// logOptions are the flags of docker logs, as the Engine's API has them.
type logOptions struct {
	tail            string // "" = all
	since, until    time.Time
	timestamps      bool
	noStdout, noErr bool
	follow          bool
	terminal        bool // the container has a TTY: one raw stream
}

func (o logOptions) String() string {
	s := fmt.Sprintf("tail=%q stdout=%t stderr=%t timestamps=%t", o.tail, !o.noStdout, !o.noErr, o.timestamps)
	if !o.since.IsZero() {
		s += " since=" + o.since.Format(time.RFC3339Nano)
	}
	if !o.until.IsZero() {
		s += " until=" + o.until.Format(time.RFC3339Nano)
	}
	return s
}

func (o logOptions) query() string {
	v := url.Values{}
	for name, on := range map[string]bool{"stdout": !o.noStdout, "stderr": !o.noErr, "timestamps": o.timestamps, "follow": o.follow} {
		if on {
			v.Set(name, "1")
		}
	}
	if o.tail != "" {
		v.Set("tail", o.tail)
	}
	for name, t := range map[string]time.Time{"since": o.since, "until": o.until} {
		if !t.IsZero() {
			v.Set(name, fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()))
		}
	}
	return v.Encode()
}

// chunk is what the Engine sends at once: a line, or a part of a long one.
type chunk struct {
	stream byte // 1 = stdout, 2 = stderr
	time   time.Time
	text   []byte // with its newline, without its time
}

// engineClient speaks to the Engine directly: docker's command adds nothing to
// logs but the copying of two streams, and takes longer to start than most
// answers take.
func engineClient(e *enginetest.Engine) *http.Client {
	// An answer that doesn't end fails the test that waits for it.
	return &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{
		MaxIdleConnsPerHost: 2,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", e.Socket())
		},
	}}
}

// openLogs starts reading a container's logs.
func openLogs(t testing.TB, c *http.Client, name string, o logOptions) io.ReadCloser {
	t.Helper()
	res, err := c.Get("http://engine/v1.41/containers/" + name + "/logs?" + o.query())
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(res.Body)
		res.Body.Close()
		t.Fatalf("logs of %s, %s: %s: %s", name, o, res.Status, b)
	}
	return res.Body
}

// readLogs returns a container's logs chunk by chunk.
func readLogs(t testing.TB, c *http.Client, name string, o logOptions) []chunk {
	t.Helper()
	body := openLogs(t, c, name, o)
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatalf("logs of %s, %s: %v", name, o, err)
	}
	var chunks []chunk
	for len(b) > 0 {
		k := chunk{stream: 1}
		if o.terminal {
			end := bytes.IndexByte(b, '\n') + 1
			if end == 0 {
				end = len(b)
			}
			k.text, b = b[:end], b[end:]
		} else {
			if len(b) < 8 || len(b)-8 < int(binary.BigEndian.Uint32(b[4:])) {
				t.Fatalf("logs of %s, %s: end inside a chunk", name, o)
			}
			n := 8 + int(binary.BigEndian.Uint32(b[4:]))
			k.stream, k.text, b = b[0], b[8:n], b[n:]
		}
		if o.timestamps {
			stamp, rest, ok := bytes.Cut(k.text, []byte(" "))
			var err error
			if k.time, err = time.Parse(time.RFC3339Nano, string(stamp)); err != nil || !ok {
				t.Fatalf("logs of %s, %s: a chunk begins with %.40q, not with a time", name, o, k.text)
			}
			k.text = rest
		}
		chunks = append(chunks, k)
	}
	return chunks
}

// expected is what docker logs is to answer, given the whole log: the last
// lines first, then of those the ones within the times, then the streams asked
// for.
func expected(all []chunk, o logOptions) []chunk {
	if n, err := strconv.Atoi(o.tail); err == nil {
		all = all[max(0, len(all)-n):]
	}
	var out []chunk
	for _, k := range all {
		if !o.since.IsZero() && k.time.Before(o.since) {
			continue
		}
		if !o.until.IsZero() && k.time.After(o.until) {
			break
		}
		if k.stream == 1 && o.noStdout || k.stream == 2 && o.noErr {
			continue
		}
		if !o.timestamps {
			if len(k.text) == 0 {
				continue // nothing is left to be sent
			}
			k.time = time.Time{}
		}
		out = append(out, k)
	}
	return out
}

// diff says where two logs part, or nothing.
func diff(got, want []chunk) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%d chunks instead of %d; missing first: %s", len(got), len(want), want[i])
		case i >= len(want):
			return fmt.Sprintf("%d chunks instead of %d; too much first: %s", len(got), len(want), got[i])
		case got[i].stream != want[i].stream || !got[i].time.Equal(want[i].time) || !bytes.Equal(got[i].text, want[i].text):
			return fmt.Sprintf("chunk %d of %d is %s instead of %s", i, len(want), got[i], want[i])
		}
	}
	return ""
}

func (k chunk) String() string {
	s := fmt.Sprintf("stream %d, %d bytes, %.60q", k.stream, len(k.text), k.text)
	if !k.time.IsZero() {
		s += k.time.Format(" at 15:04:05.000000000")
	}
	return s
}

// stream returns one stream's chunks without their times, to compare logs of
// different containers: their order between streams is not fixed.
func stream(all []chunk, which byte) []chunk {
	var out []chunk
	for _, k := range all {
		if k.stream == which {
			out = append(out, chunk{stream: which, text: k.text})
		}
	}
	return out
}
