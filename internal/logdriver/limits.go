package logdriver

import (
	"net"
	"net/http"
	"time"
)

const (
	// callTime is how long a call may take to come in, from the connection on.
	callTime = 30 * time.Second
	// readersMax bounds the ReadLogs calls being answered at once: each holds a
	// file, and a follower stays as long as its user.
	readersMax = 1000
	// sendBuffer is what is asked for for each connection, in bytes: the kernel
	// holds up to twice as much of an answer until the Engine reads it. With its
	// default we would be woken three times as often while a long log is read.
	// What it grants is bounded by net.core.wmem_max.
	sendBuffer = 512 << 10
)

// timedListener gives each connection callTime for its call, which is its only
// one. A client that says half of a call and no more would hold its connection
// for ever, and the server's own time limits would end long answers too.
type timedListener struct {
	net.Listener
	callTime time.Duration
}

func (l timedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.SetReadDeadline(time.Now().Add(l.callTime))
	if u, ok := c.(interface{ SetWriteBuffer(bytes int) error }); ok {
		u.SetWriteBuffer(sendBuffer)
	}
	return timedConn{c}, nil
}

type timedConn struct{ net.Conn }

// SetReadDeadline ignores that the server lifts the deadline before it reads.
func (c timedConn) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// cameIn ends the time limit: the call has been read, and its answer may take
// long.
func cameIn(w http.ResponseWriter) {
	http.NewResponseController(w).SetReadDeadline(time.Now().AddDate(100, 0, 0))
}
