package mqtt

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"logscan/internal/channel"
	"logscan/internal/channel/channeltest"
	"logscan/internal/egress"
)

var ca = channeltest.TrustedCA()

const (
	host     = "127.0.0.1"
	password = "p4ss/w0rd%"
)

// broker is Debian's mosquitto, with the users logscan, who may do everything, and
// reader, who may not publish.
type broker struct {
	addr string
	dir  string
	conf string
	log  chan string // its lines
	end  func()
}

// serve starts a broker for the length of a test, with further lines of
// configuration.
func serve(t *testing.T, config ...string) *broker {
	t.Helper()
	for range 10 { // its port may be taken by another before it is there
		if b := tryToServe(t, config); b != nil {
			return b
		}
	}
	t.Fatal("mosquitto doesn't start")
	return nil
}

func tryToServe(t *testing.T, config []string) *broker {
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()
	b := &broker{addr: addr, dir: t.TempDir()}
	passwords := b.file(t, "passwords", "")
	for user, pass := range map[string]string{"logscan": password, "reader": password} {
		if out, err := exec.Command("mosquitto_passwd", "-b", passwords, user, pass).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s (Debian: mosquitto, which make deps unpacks)", err, out)
		}
	}
	acl := b.file(t, "acl", "user logscan\ntopic readwrite #\nuser reader\ntopic read #\n")
	b.conf = b.file(t, "mosquitto.conf", strings.Join(append([]string{
		"user root", "log_dest stderr", "log_type all", "allow_anonymous false", "password_file " + passwords, "acl_file " + acl, "listener " + port + " " + host,
	}, config...), "\n")+"\n")
	if !b.run(t) {
		return nil
	}
	t.Cleanup(func() { b.end() })
	return b
}

// restart ends the broker and starts it again.
func (b *broker) restart(t *testing.T) {
	t.Helper()
	b.end()
	if !b.run(t) {
		t.Fatal("mosquitto doesn't start again")
	}
}

// run reports whether the broker runs now.
func (b *broker) run(t *testing.T) bool {
	t.Helper()
	b.log = make(chan string, 10_000)
	cmd := exec.Command("mosquitto", "-c", b.conf)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (Debian: mosquitto, which make deps unpacks)", err)
	}
	log := b.log
	go func() {
		defer close(log)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			log <- lines.Text()
		}
	}()
	b.end = sync.OnceFunc(func() {
		cmd.Process.Kill()
		for range log {
		}
		cmd.Wait()
	})
	if b.logged(" running") == "" {
		b.end()
		return false
	}
	return true
}

func (b *broker) file(t *testing.T, name, content string) string {
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// logged waits for a line of the broker's log, and returns it; "" is its end.
func (b *broker) logged(part string) string {
	for line := range b.log {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

// got is what a subscriber gets.
type got struct {
	topic    string
	retained bool
	qos      string
	kind     string // of content, by MQTT 5
	payload  string
}

// subscribe has mosquitto_sub, and what it needs to know, hear so many messages; the
// result waits for them.
func (b *broker) subscribe(t *testing.T, count int, args ...string) func() []got {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	_, port, _ := net.SplitHostPort(b.addr)
	cmd := exec.CommandContext(ctx, "mosquitto_sub", append([]string{"-h", host, "-p", port, "-u", "reader", "-P", password, "-V", "mqttv5", "-q", "1", "-t", "#",
		"-C", fmt.Sprint(count), "-F", "%t\x01%r\x01%q\x01%C\x01%p"}, args...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (Debian: mosquitto-clients)", err)
	}
	if b.logged("Sending SUBACK") == "" {
		t.Fatal("nobody subscribes")
	}
	return func() (all []got) {
		t.Helper()
		out, _ := io.ReadAll(stdout)
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v after %d bytes", err, len(out))
		}
		for line := range strings.Lines(string(out)) {
			f := strings.SplitN(strings.TrimSuffix(line, "\n"), "\x01", 5)
			if len(f) != 5 {
				t.Fatalf("%q", line)
			}
			all = append(all, got{f[0], f[1] == "1", f[2], f[3], f[4]})
		}
		return all
	}
}

func send(t *testing.T, rawURL, secret string, m channel.Message) channel.Verdict {
	t.Helper()
	v := channeltest.Open(t, Kind, rawURL, secret).Send(t.Context(), m)
	for _, hidden := range []string{password, url.QueryEscape(password), host, "logscan"} {
		if strings.Contains(v.Reason, hidden) {
			t.Errorf("the reason has %q: %s", hidden, v.Reason)
		}
	}
	return v
}

func done(t *testing.T, rawURL string, m channel.Message) {
	t.Helper()
	if v := send(t, rawURL, password, m); v != (channel.Verdict{}) {
		t.Fatalf("%+v", v)
	}
}

// TestIncident follows an incident from its beginning to its end.
func TestIncident(t *testing.T) {
	for _, version := range []string{"5", "3.1.1"} {
		t.Run(version, func(t *testing.T) {
			kind := map[string]string{"5": "application/json"}[version]
			b := serve(t)
			to := "mqtt://logscan@" + b.addr + "/home/logs/?version=" + version
			live := b.subscribe(t, 7)
			done(t, to, channeltest.Message())
			// Of its version, and with a session that nothing is left of.
			if line, want := b.logged(" as logscan"), map[string]string{"5": "(p5, c1, ", "3.1.1": "(p2, c1, "}[version]; !strings.Contains(line, want) {
				t.Errorf("%s, not %s", line, want)
			}
			kept := b.subscribe(t, 1, "--retained-only")()
			done(t, to, channeltest.Acknowledged())
			known := b.subscribe(t, 1, "--retained-only")()
			done(t, to, channeltest.Resolved())
			all := live()
			for i, want := range []got{
				{"home/logs/incident/7", false, "1", kind, "open"},
				{"home/logs/notices", false, "1", kind, "open"},
				{"home/logs/incident/7", false, "1", kind, "acknowledged"},
				{"home/logs/notices", false, "1", kind, "acknowledged"},
				{"home/logs/incident/7", false, "1", kind, "resolved"},
				{"home/logs/incident/7", false, "1", "", ""},
				{"home/logs/notices", false, "1", kind, "resolved"},
			} {
				p := all[i].payload
				if p != "" {
					all[i].payload = decode(t, p).State
				}
				if all[i] != want {
					t.Errorf("%d: %+v, not %+v", i, all[i], want)
				}
				all[i].payload = p
			}
			if kept[0].topic != "home/logs/incident/7" || !kept[0].retained || kept[0].payload != all[0].payload || all[1].payload != all[0].payload {
				t.Errorf("kept: %+v", kept)
			}
			if known[0].topic != "home/logs/incident/7" || !known[0].retained || known[0].payload != all[2].payload {
				t.Errorf("kept when it was acknowledged: %+v", known)
			}
			// The end left nothing behind, and neither does what is of no incident.
			done(t, to, channeltest.Line("x"))
			test := channeltest.Message()
			test.Test = true
			done(t, to, test)
			after := b.subscribe(t, 1)
			done(t, to, channeltest.Line("x"))
			if first := after()[0]; first.retained || first.topic != "home/logs/notices" || decode(t, first.payload).State != "" {
				t.Errorf("kept after its end: %+v", first)
			}
		})
	}
}

// decode takes a payload apart, which has nothing but its fields.
func decode(t *testing.T, text string) (p payload) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("%v: %.500s", err, text)
	}
	return p
}

func TestPayload(t *testing.T) {
	b := serve(t)
	to := "mqtt://logscan@" + b.addr
	hear := b.subscribe(t, 4)
	done(t, to, channeltest.Message())
	done(t, to, channeltest.Message())
	all := hear()
	p := decode(t, all[1].payload)
	m := channeltest.Message()
	if p.ID != m.ID || p.Type != "opened" || !p.At.Equal(m.At) || p.Trigger != "phone" || p.Title != m.Heading() || p.URL != m.URL || p.Mark != m.Mark || p.Notice.Incident != 7 || p.Notice.Text != m.Notices[0].Text {
		t.Errorf("%+v", p)
	}
	if !strings.HasPrefix(all[1].payload, `{"mark":"`+channeltest.Mark) || !strings.HasPrefix(p.Text, "["+channeltest.Mark+"]") || !strings.Contains(p.Text, "Acknowledge: https://logs.example.com/a/ack-t0ken") {
		t.Errorf("%s", all[1].payload)
	}
	if all[2] != all[0] || all[3] != all[1] {
		t.Error("sent twice, it isn't the same")
	}
	if !strings.HasPrefix(all[0].topic, "logscan/") {
		t.Errorf("topic %s", all[0].topic)
	}
}

// TestHomeAssistant holds what is published for it against its documentation: the
// links stand beside the types.
func TestHomeAssistant(t *testing.T) {
	b := serve(t)
	to := "mqtt://logscan@" + b.addr + "/logscan?discovery=homeassistant"
	hear := b.subscribe(t, 9)
	done(t, to, channeltest.Message())
	done(t, to, channeltest.Resolved())
	all := hear()
	device := strings.Split(all[0].topic, "/")[2]
	incident := "homeassistant/binary_sensor/" + device + "/incident_7/config"
	var topics []string
	for _, g := range all {
		topics = append(topics, g.topic)
	}
	if want := []string{
		"homeassistant/event/" + device + "/notices/config", incident, "logscan/incident/7", "logscan/notices",
		"homeassistant/event/" + device + "/notices/config", "logscan/incident/7", incident, "logscan/incident/7", "logscan/notices",
	}; !slices.Equal(topics, want) {
		t.Fatalf("%q, not %q", topics, want)
	}
	if all[6].payload != "" {
		t.Errorf("not forgotten: %s", all[6].payload)
	}
	for i, want := range map[int]map[string]any{
		0: {"unique_id": device + "_notices", "name": "Notices", "state_topic": "logscan/notices", "event_types": []any{"hit", "opened", "escalated", "repeated", "acknowledged", "resolved", "system", "digest"}},
		1: {
			"unique_id": device + "_incident_7", "name": "[CRITICAL] oom: shop/shop-db-1 on node-1", "state_topic": "logscan/incident/7", "json_attributes_topic": "logscan/incident/7",
			"device_class": "problem", "value_template": "{{ 'OFF' if value_json.state == 'resolved' else 'ON' }}",
		},
	} {
		want["mark"] = channeltest.Mark
		want["device"] = map[string]any{"identifiers": []any{device}, "name": "logscan"}
		want["origin"] = map[string]any{"name": "logscan"}
		var config map[string]any
		if err := json.Unmarshal([]byte(all[i].payload), &config); err != nil {
			t.Error(err)
		}
		if got, want := fmt.Sprint(config), fmt.Sprint(want); got != want {
			t.Errorf("%s\nnot\n%s", got, want)
		}
	}
	if kept := b.subscribe(t, 1, "--retained-only")(); kept[0].topic != topics[0] {
		t.Errorf("kept: %+v", kept)
	}
}

func TestHostileLines(t *testing.T) {
	b := serve(t)
	to := "mqtt://logscan@" + b.addr + "/logscan?discovery=homeassistant"
	names := slices.Sorted(maps.Keys(channeltest.Hostile))
	hear := b.subscribe(t, len(names)*8)
	for _, name := range names {
		line := channeltest.Hostile[name]
		m := channeltest.Message()
		n := &m.Notices[0]
		n.Text, n.Rule, n.Workload, n.Container, n.Host, n.Reason, n.Key, n.Image, n.Shape = line, line, line, line, line, line, line, line, line
		n.Before, n.After, n.Actions[0].Label, m.Held = slices.Repeat([]string{line}, 100), []string{line}, line, channel.Held{Notices: 1, Why: line}
		done(t, to, m)
		m.Title, m.Body = line, line
		done(t, to, m)
	}
	for i, g := range hear() {
		name := names[i/8]
		if !utf8.ValidString(g.payload) || len(g.payload) > 20<<10 || strings.ContainsFunc(g.payload, unicode.IsControl) {
			t.Errorf("%s: %d bytes: %.300q", name, len(g.payload), g.payload)
		}
		if g.topic != "logscan/notices" && g.topic != "logscan/incident/7" {
			continue
		}
		p := decode(t, g.payload)
		for _, text := range []string{p.Title, p.Text, p.Notice.Text, p.Notice.Rule, p.Notice.Workload, p.Notice.Reason, p.Held.Why, strings.Join(p.Notice.Before, "\n")} {
			if text != channel.Clean(text) {
				t.Errorf("%s: %.300q", name, text)
			}
		}
		if !strings.HasPrefix(p.Text, "["+channeltest.Mark+"]") {
			t.Errorf("%s: no mark: %.100s", name, p.Text)
		}
	}
}

func TestTLS(t *testing.T) {
	start := func(ca *channeltest.CA, name string) *broker {
		dir := t.TempDir()
		cert, key := ca.Issue(name)
		for file, content := range map[string][]byte{"cert": cert, "key": key} {
			if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return serve(t, "certfile "+filepath.Join(dir, "cert"), "keyfile "+filepath.Join(dir, "key"))
	}
	done(t, "mqtts://logscan@"+start(ca, host).addr, channeltest.Message())
	for reason, b := range map[string]*broker{
		"the receiver's certificate is for another name":             start(ca, "broker.example.com"),
		"the receiver's certificate is not trusted or not valid now": start(channeltest.NewCA(), host),
		"the receiver does not speak TLS":                            {addr: channeltest.Say(t, "\x20\x02\x00\x00hello")},
	} {
		if v := send(t, "mqtts://logscan@"+b.addr, password, channeltest.Message()); v != (channel.Verdict{Reason: reason}) {
			t.Errorf("%+v, not %s", v, reason)
		}
	}
}

func TestRefusals(t *testing.T) {
	b := serve(t, "max_packet_size 1000")
	small := channeltest.Line("x")
	small.Mark = ""
	for _, c := range []struct {
		user, secret, query string
		m                   channel.Message
		status              int
		reason              string
	}{
		{"logscan", "wrong", "", small, 0x87, "the broker answered 0x87: the user may not connect"},
		{"logscan", "wrong", "?version=3.1.1", small, 5, "the broker answered 0x05: the user may not connect"},
		{"nobody", password, "", small, 0x87, "the broker answered 0x87: the user may not connect"},
		{"reader", password, "", small, 0x87, "the broker answered 0x87: the user may not connect or publish"},
	} {
		v := send(t, "mqtt://"+c.user+"@"+b.addr+c.query, c.secret, c.m)
		if v.Status != c.status || !strings.HasPrefix(v.Reason, c.reason) || v.Final {
			t.Errorf("%s: %+v", c.user, v)
		}
	}
	if v := send(t, "mqtt://"+b.addr, "", small); v.Status != 0x87 || v.Final {
		t.Errorf("nobody: %+v", v)
	}
	if v := send(t, "mqtt://logscan@"+b.addr, password, channeltest.Line(strings.Repeat("x", 2000))); v.Status != 0x95 || !v.Final {
		t.Errorf("too large: %+v", v)
	}
}

// TestOddBrokers has what a broker might say and mosquitto doesn't.
func TestOddBrokers(t *testing.T) {
	const connected = "\x20\x03\x00\x00\x00"
	for name, c := range map[string]struct {
		says, reason string
		status       int
		final        bool
	}{
		"closes":               {"", "the receiver closed the connection without an answer", 0, false},
		"closes within":        {"\x20\x03\x00", "the receiver closed the connection without an answer", 0, false},
		"HTTP":                 {"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request", notMQTTText, 0, false},
		"another packet":       {"\xd0\x00", notMQTTText, 0, false},
		"too short":            {"\x20\x01\x00", notMQTTText, 0, false},
		"too large":            {"\x20\xff\xff\xff\x7f" + strings.Repeat("x", 1<<20), notMQTTText, 0, false},
		"no length":            {"\x20" + strings.Repeat("\xff", 20), notMQTTText, 0, false},
		"only 3.1.1":           {"\x20\x02\x00\x01", "the broker answered 0x01: " + otherVersion, 1, false},
		"only 5":               {"\x20\x03\x00\x84\x00", "the broker answered 0x84: " + otherVersion, 0x84, false},
		"busy":                 {"\x20\x03\x00\x89\x00", "the broker answered 0x89: it is busy", 0x89, false},
		"says goodbye":         {connected + "\xe0\x02\x8b\x00", "the broker answered 0x8b", 0x8b, false},
		"takes no topic":       {connected + "\x40\x04\x00\x01\x90\x00", "the broker answered 0x90: it doesn't take the topic", 0x90, true},
		"quota":                {connected + "\x40\x04\x00\x01\x97\x00", "the broker answered 0x97: a quota is exceeded", 0x97, false},
		"nobody subscribes":    {connected + "\x40\x03\x00\x01\x10", "", 0, false},
		"acknowledges another": {connected + "\x40\x02\x00\x02", notMQTTText, 0, false},
		"retains nothing":      {connected + "\xe0\x01\x9a", "the broker answered 0x9a: it retains nothing", 0x9a, false},
	} {
		t.Run(name, func(t *testing.T) {
			v := send(t, "mqtt://"+channeltest.Say(t, c.says), "", channeltest.Line("x"))
			if v != (channel.Verdict{Status: c.status, Reason: c.reason, Final: c.final}) {
				t.Errorf("%+v", v)
			}
		})
	}
	channeltest.Unreachable(t, Kind, func(hostport string) string { return "mqtt://" + hostport })
}

const notMQTTText = string(notMQTT)

func TestURLs(t *testing.T) {
	channeltest.Refuse(t, Kind, [][3]string{
		{"mqtt:///logscan", "", "no broker"},
		{"mqtt://broker.lan/logscan", "secret", "no user"},
		{"mqtt://:secret@broker.lan/logscan", "", "no user"},
		{"mqtt://joe:one@broker.lan/logscan", "two-two", "stands in the URL already"},
		{"mqtt://joe@broker.lan/logscan", "two\nlines", "line break"},
		{"mqtt://joe@broker.lan/logscan", strings.Repeat("x", 1001), "1000 bytes"},
		{"mqtt://broker.lan/logscan?version=4", "", "neither 5 nor 3.1.1"},
		{"mqtt://broker.lan/logscan?discovery=", "", "discovery=homeassistant"},
		{"mqtt://broker.lan/logscan?discover=homeassistant", "", "discovery=homeassistant"},
		{"mqtt://broker.lan/logscan?discovery=home%2B", "", "can't be published to"},
		{"mqtt://broker.lan/a/+/b", "", "can't be published to"},
		{"mqtt://broker.lan/a%23", "", "can't be published to"},
		{"mqtt://broker.lan/$SYS", "", "can't be published to"},
		{"mqtt://broker.lan/a%00b", "", "can't be published to"},
		{"mqtt://broker.lan/a%ffb", "", "can't be published to"},
		{"mqtt://broker.lan/" + strings.Repeat("x", 201), "", "200 bytes"},
	}...)
	for raw, want := range map[string]string{
		"mqtt://broker.lan": "broker.lan:1883", "mqtts://broker.lan/x": "broker.lan:8883", "mqtt://[fd00::1]:2883/x": "[fd00::1]:2883", "mqtt:///x": "",
	} {
		u, err := egress.Parse(raw)
		if err != nil || Kind.Target(u) != want {
			t.Errorf("%s: %s, %v", raw, Kind.Target(u), err)
		}
	}
}

// What a broker without a disk has forgotten is published again, and is no news to who
// hears it twice.
func TestAgain(t *testing.T) {
	b := serve(t)
	to := "mqtt://logscan@" + b.addr + "?discovery=ha"
	hear := b.subscribe(t, 4)
	done(t, to, channeltest.Message())
	first := hear()
	b.restart(t)
	again := channeltest.Message()
	again.Again = again.At.Add(time.Hour)
	hear = b.subscribe(t, 5)
	done(t, to, again)
	done(t, to, channeltest.Line("x")) // after it: discovery, and the notice
	all := hear()
	for i, want := range first[:3] { // two of discovery, and the state
		if all[i] != want {
			t.Errorf("%d: %+v, not %+v", i, all[i], want)
		}
	}
	if all[3].topic != first[0].topic || all[4].topic != first[3].topic || decode(t, all[4].payload).Type != channel.Hit {
		t.Errorf("%+v, then %+v", first, all)
	}
	kept := b.subscribe(t, 3, "--retained-only")()
	if !slices.ContainsFunc(kept, func(g got) bool { return g.topic == first[2].topic && g.payload == first[2].payload }) {
		t.Errorf("kept: %+v", kept)
	}
	// Of what nothing is retained there is nothing to publish, and no broker is asked.
	of := channeltest.Line("x")
	of.Again = again.Again
	done(t, "mqtt://logscan@127.0.0.1:1", of)
}
