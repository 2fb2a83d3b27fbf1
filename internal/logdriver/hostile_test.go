package logdriver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/daemon/logger"
)

func (e *engine) dial() net.Conn {
	e.t.Helper()
	c, err := net.Dial("unix", filepath.Join(e.root, "s"))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { c.Close() })
	return c
}

// A client that says half of a call, or says it slowly, is hung up on; calls of
// others are answered meanwhile, and one that was said may take its time.
func TestSlowCallers(t *testing.T) {
	e := engineIn(t, t.TempDir(), func(d *Driver) { d.callTime = 5 * time.Second })
	c, err := e.start(info(nil))
	if err != nil {
		t.Fatal(err)
	}
	goroutines := runtime.NumGoroutine()
	body := `{"File": "/run/docker/logging/x"}`
	call := fmt.Sprintf("POST /LogDriver.StopLogging HTTP/1.1\r\nHost: plugin\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	var halves []net.Conn
	for n := 0; n < len(call); n += 7 {
		half := e.dial()
		io.WriteString(half, call[:n])
		halves = append(halves, half)
	}
	drip := e.dial()
	go func() { // a byte now and then
		for i := range call {
			if _, err := io.WriteString(drip, call[i:i+1]); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	next, leave := c.ask(context.Background(), logger.ReadConfig{Tail: -1, Follow: true})
	c.say(0)
	for _, half := range append(halves, drip) {
		half.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.Copy(io.Discard, half); err != nil {
			t.Errorf("a half call is still waited for: %v", err)
		}
	}
	// The follower was there before and stays for longer than a call may take.
	c.say(1)
	for n := 0; n < 2; {
		entry, err := next()
		if err != nil {
			t.Fatal(err)
		}
		if entry.Source == keepaliveSource {
			continue
		}
		if string(entry.Line) != fmt.Sprintf("%d\n", n) {
			t.Errorf("%q", entry.Line)
		}
		n++
	}
	leave()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is held", func() bool { return e.inFlight() == 0 && runtime.NumGoroutine() <= goroutines+2 })
}

// Requests of any kind are answered or refused, and the next one is served.
func TestRubbishRequests(t *testing.T) {
	e := newEngine(t)
	rnd := rand.New(rand.NewPCG(1, 1))
	call := []byte("POST /LogDriver.ReadLogs HTTP/1.1\r\nHost: plugin\r\nContent-Length: 2\r\n\r\n{}")
	huge := "GET / HTTP/1.1\r\nHost: plugin\r\nX: " + strings.Repeat("x", 4<<20) + "\r\n\r\n"
	requests := [][]byte{nil, []byte(huge), bytes.Repeat([]byte{0}, 1<<16), bytes.Repeat([]byte("X: y\r\n"), 1<<16), []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")}
	for range 200 {
		b := bytes.Clone(call)
		for range 1 + rnd.IntN(4) {
			b[rnd.IntN(len(b))] = byte(rnd.Uint32())
		}
		requests = append(requests, b)
	}
	for _, b := range requests {
		conn := e.dial()
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		conn.Write(b)
		conn.(*net.UnixConn).CloseWrite()
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	if err := e.call("/LogDriver.Capabilities", nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is held", func() bool { return e.inFlight() == 0 })
}

// Beyond a number of readers one more is refused, in words; when one leaves,
// another may come, and attaching and detaching go on all the while.
func TestTooManyReaders(t *testing.T) {
	const most = 20
	e := engineIn(t, t.TempDir(), func(d *Driver) { d.readers = make(chan struct{}, most) })
	c, err := e.start(info(nil))
	if err != nil {
		t.Fatal(err)
	}
	c.say(0)
	var leave []func()
	for range most {
		next, l := c.ask(context.Background(), logger.ReadConfig{Tail: -1, Follow: true})
		if _, err := next(); err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	for range 200 {
		_, err := e.post(context.Background(), "/LogDriver.ReadLogs", map[string]any{"Info": c.info, "Config": logger.ReadConfig{Tail: -1, Follow: true}})
		if err == nil || !strings.Contains(err.Error(), "20 `docker logs` are being answered") {
			t.Fatal("one too many:", err)
		}
	}
	other := info(nil)
	other.ContainerID = strings.Repeat("cd", 32)
	d, err := e.start(other)
	if err != nil {
		t.Fatal(err)
	}
	d.say(1)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	leave[0]()
	eventually(t, "room for another", func() bool { return len(e.driver.readers) < most })
	if got := d.all(logger.ReadConfig{Tail: -1}); len(got) != 1 {
		t.Error(text(got))
	}
	for _, l := range leave[1:] {
		l()
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// Templates that would loop or fill the memory are refused or cut short; usual
// ones are as Docker's.
func TestHostileTags(t *testing.T) {
	i := info(nil)
	i.ContainerImageID, i.DaemonName = strings.Repeat("cd", 32), "docker"
	for tag, want := range map[string]string{
		"{{.Name}}/{{.ID}}":              "web/abababababab",
		"plain":                          "plain",
		"{{.ImageName}}-{{upper .Name}}": "img-WEB",
		"{{.FullID}} {{.ImageID}} {{.ImageFullID}} {{.DaemonName}}":                                                   strings.Repeat("ab", 32) + " cdcdcdcdcdcd " + strings.Repeat("cd", 32) + " docker",
		`{{.ContainerLabels.team}}{{index .ContainerLabels "team"}}`:                                                  "aa",
		`{{if eq .Name "x"}}x{{else if .ContainerArgs}}y{{else}}z{{end}}{{with .DaemonName}}{{.}}{{else}}none{{end}}`: "zdocker",
		`{{if .Name}}{{with .Name}}{{truncate . 2}}{{end}}{{end}}`:                                                    "we",
		`{{printf "%-5s|" .Name}}{{pad .Name 1 2}}|`:                                                                  "web  | web  |",
		`{{join (split "a,b" ",") "+"}}`:                                                                              "a+b",
		"{{.ContainerEnv}}":                                                                                           "[]",
	} {
		i.Config = map[string]string{"tag": tag}
		if c, err := ParseLogOpts(i); err != nil || c.Tag != want {
			t.Errorf("%s: %q, %v; want %q", tag, c.Tag, err, want)
		}
	}
	double := strings.Repeat(`{{$x = printf "%s%s" $x $x}}`, 60)
	for _, tag := range []string{
		"{{range 1000000000}}{{end}}",
		"{{range .ContainerCreated.Unix}}x{{end}}",
		"{{with 1000000000}}{{range .}}{{end}}{{end}}",
		"{{$x := 1000000000}}{{range $x}}{{end}}",
		"{{range .ContainerLabels}}{{range .ContainerLabels}}x{{end}}{{end}}",
		"{{range .ContainerLabels}}x{{else}}{{range 1000000000}}{{end}}{{end}}",
		"{{if false}}{{else}}{{range 1000000000}}{{end}}{{end}}",
		`{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`,
		`{{block "a" .}}{{end}}`,
		`{{$x := "xxxxxxxx"}}` + double + `{{len $x}}`,
		`{{pad .Name 2000000000 2000000000}}`,
		`{{pad .Name -1 0}}`,
		`{{truncate .Name -1}}`,
		`{{printf "%1000000000d" 1}}`,
		`{{printf "%*d" 1000000 1}}`,
		`{{printf "%.99999f" 1.0}}`,
		`{{join (split (pad "x" 60000 0) "") (pad "x" 60000 0)}}`,
		`{{.ContainerLabels}}` + strings.Repeat("x", tagMax),
		strings.Repeat("{{.ID}}", 600),
		strings.Repeat("{{if 1}}", 400),
		strings.Repeat("(", 4000) + "{{",
		`{{range $k, $v := .ContainerLabels}}{{$k}};{{end}}`, // its work is the labels times the template
		`{{range .ContainerLabels}}{{$x := json $}}{{end}}`,
		"{{with $x := .Name" + strings.Repeat("|json", 30) + "}}x{{end}}", // each doubles the text
		"{{.Name" + strings.Repeat("|html", 30) + "}}", "{{.Name|js}}", "{{.Name|urlquery}}",
		"{{$x := .Name}}{{$x}}", "{{$.Name}}", "{{(index .ContainerLabels \"team\").Name}}",
		"{{.Command}}", "{{.Hostname}}", "{{.ExtraAttributes nil}}", "{{.ContainerCreated.Unix}}",
		`{{define "a"}}{{end}}`,
		"{{print .ContainerLabels}}", `{{printf "%s" .}}`,
		"{{.Nope}}", "{{call .ID}}", "{{index .ContainerLabels 7}}",
	} {
		i.Config = map[string]string{"tag": tag}
		c, err := ParseLogOpts(i)
		if err == nil {
			t.Errorf("%.100s gives %d bytes", tag, len(c.Tag))
		} else if len(err.Error()) > 3000 {
			t.Errorf("%.100s: an error of %d bytes", tag, len(err.Error()))
		}
	}
}

// What a tag can't have is named, with what it may have.
func TestRefusedTagsSayWhy(t *testing.T) {
	i := info(nil)
	for tag, want := range map[string]string{
		"{{.Name|json}}":                  "can't use the function json in its template; it may use and, ",
		"{{.Nam}}":                        "can't use .Nam in its template; it may use .ID, .FullID, .Name, ",
		"{{range .ContainerArgs}}{{end}}": "can't have {{range .ContainerArgs}}{{end}} in its template",
		"{{$x := .Name}}":                 "can't have variables such as $x",
	} {
		i.Config = map[string]string{"tag": tag}
		if _, err := ParseLogOpts(i); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", tag, err)
		}
	}
}

// Whatever labels, names and variables hold, it is bounded where it is kept, and
// never breaks a line of our log.
func TestHostileNames(t *testing.T) {
	e := newEngine(t)
	nasty := "\x1b[31m\nlevel=ERROR msg=forged\r\n\x00\u2028$(reboot)`reboot`';--"
	i := info(map[string]string{"labels-regex": ".*", "env-regex": "^BIG|^NASTY", "tag": "{{.Name}}" + nasty})
	i.ContainerLabels = map[string]string{"logscan.workload": nasty, "nasty": nasty, nasty: "x", "bad utf8": "\xff\xfe"}
	i.ContainerEnv = []string{"NASTY=" + nasty, "BIG=" + strings.Repeat("é", 1<<19)}
	for n := range 500 {
		i.ContainerLabels[fmt.Sprintf("l%d", n)] = strings.Repeat("x", 1<<12)
	}
	i.ContainerImageName = strings.Repeat("i", 1<<20)
	i.ContainerName = "/" + nasty
	c, err := e.start(i)
	if err != nil {
		t.Fatal(err)
	}
	c.say(0)
	for _, config := range []map[string]string{{nasty: nasty}, {"workload": nasty}, {"max-size": strings.Repeat(nasty, 10_000)}, {strings.Repeat("x", 1<<20): ""}} {
		bad := i
		bad.Config, bad.ContainerID = config, strings.Repeat("f", 64) // one that has no log yet
		if _, err := e.start(bad); err == nil || len(err.Error()) > 3000 || strings.ContainsAny(err.Error(), "\x1b\n\x00") {
			t.Errorf("%.60v: %.300q", config, err)
		}
	}
	if got := c.all(logger.ReadConfig{Tail: -1}); len(got) != 1 {
		t.Error(text(got))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(e.root, "journal", i.ContainerID, "container.json"))
	if err != nil || len(b) > 2*attrsMax || !json.Valid(b) {
		t.Errorf("container.json has %d bytes, %v", len(b), err)
	}
	e.stop()
	for _, line := range strings.Split(strings.TrimSuffix(e.log.String(), "\n"), "\n") {
		if !strings.HasPrefix(line, "time=") || strings.ContainsAny(line, "\x1b\x00\r") || len(line) > 5000 {
			t.Errorf("our log has %.200q", line)
		}
	}
	id := i
	for _, bad := range []string{"", "..", "../x", "a/b", nasty, strings.Repeat("a", 200), "-x", ".hidden"} {
		id.ContainerID, id.Config = bad, nil
		if _, err := ParseLogOpts(id); err != nil {
			t.Errorf("%q: %v", bad, err) // what it is called as a journal is the journal's matter
		}
	}
}

// A container's id is a directory's name, and no other can be made of it.
func TestHostileIDs(t *testing.T) {
	e := newEngine(t)
	for _, bad := range []string{"", "..", "../x", "a/b", "x\x00y", strings.Repeat("a", 200), ".hidden"} {
		i := info(nil)
		i.ContainerID = bad
		if _, err := e.start(i); err == nil {
			t.Errorf("%q is an id", bad)
		}
		c := &container{e: e, info: i}
		if got := c.all(logger.ReadConfig{Tail: -1}); len(got) > 0 {
			t.Error(text(got))
		}
	}
	files, err := os.ReadDir(filepath.Join(e.root, "journal"))
	if err != nil || len(files) > 0 {
		t.Error(files, err)
	}
}

// Of a damaged log `docker logs` shows only entries that were written, whole and
// in order.
func TestDamagedLog(t *testing.T) {
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(7, seed))
		e := newEngine(t)
		c, err := e.start(info(map[string]string{"max-size": "60k", "max-file": "100", "compress": fmt.Sprint(seed%2 == 0)}))
		if err != nil {
			t.Fatal(err)
		}
		const n = 2000
		for i := range n {
			c.Log(&logger.Message{Source: "stdout", Timestamp: time.Unix(0, int64(i+1)), Line: fmt.Appendf(nil, "%d %s", i, strings.Repeat("abc ", i%50))})
		}
		if seed%2 == 0 {
			eventually(t, "compressed", func() bool {
				raw, _ := filepath.Glob(filepath.Join(e.root, "journal", "*", "*.seg"))
				indexes, _ := filepath.Glob(filepath.Join(e.root, "journal", "*", "*.idx"))
				return len(raw) == 1 && len(indexes) == 1
			})
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(e.root, "journal", "*", "*.*"))
		if err != nil || len(files) < 4 {
			t.Fatal(files, err)
		}
		for range 3 { // frame headers and what surrounds them
			name := files[rnd.IntN(len(files))]
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, ".json") || len(b) == 0 {
				continue
			}
			at := rnd.IntN(len(b))
			clear(b[at:min(len(b), at+1+rnd.IntN(40))])
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, tail := range []int{-1, 10, n} {
			got := c.all(logger.ReadConfig{Tail: tail})
			last, changed := int64(0), 0
			for _, entry := range got {
				i := int(entry.TimeNano) - 1
				if string(entry.Line) != fmt.Sprintf("%d %s\n", i, strings.Repeat("abc ", i%50)) {
					changed++ // zeros within a line
					continue
				}
				if entry.TimeNano <= last {
					t.Errorf("seed %d: %d after %d", seed, entry.TimeNano, last)
				}
				last = entry.TimeNano
			}
			if tail < 0 && len(got) < n/2 || changed > 6 {
				t.Errorf("seed %d, tail %d: %d lines, %d of them are not as they were", seed, tail, len(got), changed)
			}
		}
		// And it goes on.
		d, err := e.start(c.info)
		if err != nil {
			t.Fatal(err)
		}
		d.say(n)
		if got := d.all(logger.ReadConfig{Tail: 1}); len(got) != 1 || string(got[0].Line) != fmt.Sprintf("%d\n", n) {
			t.Errorf("seed %d: then %s", seed, text(got))
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		e.stop()
	}
}

// FuzzRequest hands anything to the endpoints.
func FuzzRequest(f *testing.F) {
	for _, body := range []string{`{"File":"/run/docker/logging/x","Info":{"Config":{"tag":"{{.ID}}"}}}`, `{"Info":{},"Config":{"Tail":3,"Since":"2020-01-01T00:00:00Z"}}`, `[]`} {
		f.Add(uint8(0), []byte(body))
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		e := newEngine(t)
		defer e.stop()
		path := []string{"StartLogging", "StopLogging", "ReadLogs", "Capabilities"}[which%4]
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "POST", "http://plugin/LogDriver."+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := e.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var answer response
		if path == "StopLogging" && (resp.StatusCode != http.StatusOK || json.Unmarshal(b, &answer) != nil || answer.Err != "") {
			t.Errorf("StopLogging answers %d %s", resp.StatusCode, b)
		}
		if err := e.call("/LogDriver.Capabilities", nil); err != nil {
			t.Error(err)
		}
	})
}
