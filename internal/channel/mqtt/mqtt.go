// Package mqtt publishes messages to an MQTT broker, by MQTT 5
// (https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html) or 3.1.1.
//
// Below the prefix that a URL's path is,
//   - notices gets each notice, once and not retained;
//   - incident/ID has, retained, the last notice of each incident as long as it is
//     open. Its end is published there too, and then the topic is emptied.
//
// The codec is the package's own: of MQTT, who publishes and goes needs five packets,
// which are the same in both versions but for their properties, while each of the
// usual clients speaks one version, keeps a session, and makes room for as much as a
// broker says that it will send.
package mqtt

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"time"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

// again is how often the state of an open incident is published again: a broker that
// keeps nothing on disk, as Mosquitto doesn't unless it is told to, retains nothing over
// its restart. It is the same, byte for byte, so that nobody takes it for news.
const again = 5 * time.Minute

// Kind is MQTT's.
var Kind = channel.Kind{
	Scheme: "mqtt", Other: []string{"mqtts"}, Title: "MQTT",
	Example: "mqtt://logscan@broker.lan:1883/logscan?discovery=homeassistant",
	Secret:  "the password", Single: true, Acknowledges: true, Resend: again,
	Target: target,
	New: func(c channel.Config) (channel.Channel, error) {
		s, err := parse(c.URL, c.Secret)
		if err != nil {
			return nil, err
		}
		return &MQTT{c.Client, s}, nil
	},
}

// MQTT publishes below one prefix.
type MQTT struct {
	client *egress.Client
	settings
}

// payload is what is published about a notice.
type payload struct {
	Mark    string         `json:"mark,omitempty"`  // first: receivers may log the beginning only
	ID      string         `json:"id"`              // the same in every attempt
	Type    string         `json:"event_type"`      // the notice's kind, by the name that Home Assistant has for it
	State   string         `json:"state,omitempty"` // open, acknowledged or resolved; "" of a notice that is of no incident
	At      time.Time      `json:"at"`
	Trigger string         `json:"trigger,omitempty"`
	Test    bool           `json:"test,omitempty"`
	Title   string         `json:"title"`
	Text    string         `json:"text"`
	Notice  channel.Notice `json:"notice"`
	Held    channel.Held   `json:"held,omitzero"`
	URL     string         `json:"url,omitempty"`
}

// publication is one message of MQTT's.
type publication struct {
	topic   string
	retain  bool
	payload []byte // empty, and retained: nothing is kept
}

// Send implements channel.Channel.
func (m *MQTT) Send(ctx context.Context, message channel.Message) channel.Verdict {
	var all []publication
	for _, n := range message.Notices {
		all = append(all, m.publications(message, n)...)
	}
	if len(all) == 0 {
		return channel.Verdict{}
	}
	sum := sha256.Sum256([]byte(message.ID))
	// Every broker takes 23 characters of these.
	if err := m.exchange(ctx, "logscan"+hex.EncodeToString(sum[:8]), all); err != nil {
		return m.failed(err)
	}
	return channel.Verdict{}
}

// publications are what is published about a notice, in their order: who is told
// by notices finds the incident's state.
func (m *MQTT) publications(message channel.Message, n channel.Notice) []publication {
	n = bounded(n)
	message.Notices = []channel.Notice{n}
	said := payload{
		Mark: message.Mark, ID: message.ID, Type: n.Kind, At: message.At.UTC(), Trigger: message.Trigger, Test: message.Test,
		Title: message.Heading(), Text: message.Text(channel.Style{Limit: maxText}), Notice: n, Held: message.Held, URL: message.URL,
	}
	said.Held.Why = channel.Line(said.Held.Why, maxName)
	switch {
	case n.Calm():
		said.State = n.Kind
	case states[n.Kind]:
		said.State = "open"
	}
	body := encode(said)
	out := m.discoverNotices(message.Mark)
	if n.Incident != 0 && states[n.Kind] && !message.Test {
		topic := m.prefix + "/incident/" + strconv.FormatInt(n.Incident, 10)
		state := publication{topic: topic, retain: n.Kind != channel.Resolved, payload: body}
		if state.retain {
			out = append(append(out, m.discoverIncident(message.Mark, topic, n)...), state)
		} else {
			out = append(append(out, state), m.forgetIncident(n)...)
			out = append(out, publication{topic: topic, retain: true})
		}
	}
	if !message.Again.IsZero() { // only what is retained may have been forgotten
		return out
	}
	return append(out, publication{topic: m.prefix + "/notices", payload: body})
}

// states are the kinds of notices that say how an incident is.
var states = map[string]bool{channel.Opened: true, channel.Escalated: true, channel.Repeated: true, channel.Acknowledged: true, channel.Resolved: true}

const (
	maxText  = 4 << 10 // bytes
	maxName  = 200
	maxLine  = 300
	maxLines = 10
)

// bounded is a notice of which less than 16 KiB are published: Home Assistant keeps
// no history of more.
func bounded(n channel.Notice) channel.Notice {
	for _, s := range []*string{&n.Key, &n.Rule, &n.Workload, &n.Container, &n.Image, &n.Host, &n.Reason} {
		*s = channel.Line(*s, maxName)
	}
	n.Text, n.Shape = channel.Cut(channel.Clean(n.Text), maxText), channel.Line(n.Shape, maxLine)
	n.Before = lines(n.Before[max(0, len(n.Before)-maxLines):])
	n.After = lines(n.After[:min(maxLines, len(n.After))])
	actions := n.Actions
	n.Actions = nil
	for _, a := range actions {
		n.Actions = append(n.Actions, channel.Action{Label: channel.Line(a.Label, maxName), URL: a.URL})
	}
	return n
}

func lines(all []string) (out []string) {
	for _, l := range all {
		out = append(out, channel.Line(l, maxLine))
	}
	return out
}

func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(v) // of texts and numbers alone
	return bytes.TrimRight(b.Bytes(), "\n")
}

// exchange publishes one after the other, each when the broker has the one before.
func (m *MQTT) exchange(ctx context.Context, client string, all []publication) error {
	var secure *tls.Config
	if m.secure {
		secure = &tls.Config{ServerName: m.host}
	}
	conn, err := m.client.Dial(ctx, net.JoinHostPort(m.host, m.port), secure)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	ask := func(packet []byte, wanted byte) ([]byte, error) {
		if _, err := conn.Write(packet); err != nil {
			return nil, err
		}
		kind, body, err := read(r)
		switch {
		case err != nil:
			return nil, err
		case kind == wanted:
			return body, nil
		case kind == typeDisconnect && len(body) > 0:
			return nil, refusal(body[0])
		}
		return nil, notMQTT
	}
	body, err := ask(m.connect(client), typeConnAck)
	if err != nil {
		return err
	}
	if len(body) < 2 {
		return notMQTT
	}
	if body[1] != 0 {
		return refusal(body[1])
	}
	for i, p := range all {
		id, kind := uint16(i+1), byte(typePublish)
		if p.retain {
			kind = typeRetain
		}
		body, err := ask(m.publish(kind, id, p.topic, p.payload), typePubAck)
		if err != nil {
			return err
		}
		if len(body) < 2 || binary.BigEndian.Uint16(body) != id {
			return notMQTT
		}
		if len(body) > 2 && body[2] >= 0x80 {
			return refusal(body[2])
		}
	}
	conn.Write(packet(typeDisconnect, nil)) // the broker has all
	return nil
}

// refusal is a broker's reason code.
type refusal byte

func (r refusal) Error() string {
	reason := fmt.Sprintf("the broker answered 0x%02x", byte(r))
	if meaning := meanings[r]; meaning != "" {
		reason += ": " + meaning
	}
	return reason
}

const otherVersion = "it doesn't speak this version of MQTT; add ?version=3.1.1 to the URL, or take it away"

// meanings are the reason codes of MQTT 5, and of 3.1.1 below 0x80.
var meanings = map[refusal]string{
	0x01: otherVersion,
	0x02: "it doesn't take the client's name",
	0x03: "it is not available",
	0x04: "the user or the password is wrong",
	0x05: "the user may not connect, or the password is wrong",
	0x84: otherVersion,
	0x86: "the user or the password is wrong",
	0x87: "the user may not connect or publish here, or the password is wrong",
	0x88: "it is not available",
	0x89: "it is busy",
	0x8a: "it has banned this client",
	0x90: "it doesn't take the topic",
	0x95: "the message is too large for it",
	0x97: "a quota is exceeded",
	0x9a: "it retains nothing",
	0x9b: "it doesn't take QoS 1",
}

// final are codes that are about the message itself.
var final = map[refusal]bool{0x81: true, 0x82: true, 0x90: true, 0x95: true, 0x99: true}

func (m *MQTT) failed(err error) channel.Verdict {
	if r, ok := err.(refusal); ok {
		return channel.Verdict{Status: int(r), Reason: r.Error(), Final: final[r]}
	}
	return channel.Verdict{Reason: string(cmp.Or(egress.Describe(err, m.client.Timeout), notMQTT))}
}
