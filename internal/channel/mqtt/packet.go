package mqtt

import (
	"bufio"
	"encoding/binary"
	"io"

	"logscan/internal/egress"
)

// The types of packets, with their flags, in the first byte.
const (
	typeConnect    = 0x10
	typeConnAck    = 0x20
	typePublish    = 0x32 // QoS 1
	typeRetain     = 0x33 // QoS 1, retained
	typePubAck     = 0x40
	typeDisconnect = 0xe0
)

// maxAnswer is how many bytes a packet of a broker has: all that it says here is
// short.
const maxAnswer = 8 << 10

// packet puts a type and a length before what a packet says.
func packet(kind byte, body []byte) []byte {
	b := binary.AppendUvarint([]byte{kind}, uint64(len(body))) // MQTT's way is the same up to 28 bits
	return append(b, body...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// connect asks for a session that ends with the connection.
func (m *MQTT) connect(client string) []byte {
	const cleanStart, hasPassword, hasUser = 0x02, 0x40, 0x80
	flags := byte(cleanStart)
	if m.user != "" {
		flags |= hasUser
	}
	if m.password != "" {
		flags |= hasPassword
	}
	b := append(appendString(nil, "MQTT"), m.version, flags, 0, 60) // kept alive for a minute, longer than it is needed
	b = m.properties(b)
	b = appendString(b, client)
	if m.user != "" {
		b = appendString(b, m.user)
	}
	if m.password != "" {
		b = appendString(b, m.password)
	}
	return packet(typeConnect, b)
}

// publish is one message under an id.
func (m *MQTT) publish(kind byte, id uint16, topic string, payload []byte) []byte {
	const utf8, contentType = 0x01, 0x03
	b := binary.BigEndian.AppendUint16(appendString(nil, topic), id)
	if len(payload) == 0 {
		b = m.properties(b)
	} else {
		b = m.properties(b, append([]byte{utf8, 1, contentType}, appendString(nil, "application/json")...)...)
	}
	return packet(kind, append(b, payload...))
}

// properties are those of a packet; before MQTT 5 there are none.
func (m *MQTT) properties(b []byte, properties ...byte) []byte {
	if m.version < version5 {
		return b
	}
	return append(append(b, byte(len(properties))), properties...) // fewer than 128 bytes
}

// read returns the next packet's type and what it says.
func read(r *bufio.Reader) (kind byte, body []byte, err error) {
	if kind, err = r.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, nil, err
	}
	if n > maxAnswer {
		return 0, nil, notMQTT
	}
	body = make([]byte, n)
	_, err = io.ReadFull(r, body)
	return kind, body, err
}

const notMQTT = egress.Failure("the receiver's answer is not MQTT")
