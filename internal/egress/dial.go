package egress

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// Dial connects to a host and port for one exchange that isn't HTTP. The exchange
// lasts as long as a request with its answer may, and no longer than ctx; what is
// read of it is as much as of an answer's headers. With a tls.Config the connection
// is TLS.
func (c *Client) Dial(ctx context.Context, addr string, secure *tls.Config) (net.Conn, error) {
	deadline := time.Now().Add(c.Timeout)
	dialing, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := c.Guard.Dial(dialing, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(deadline)
	e := &exchange{Conn: conn, left: maxHeader, stop: context.AfterFunc(ctx, func() { conn.Close() })}
	if secure == nil {
		return e, nil
	}
	client := tls.Client(e, secure)
	if err := client.HandshakeContext(dialing); err != nil {
		e.Close()
		return nil, err
	}
	return client, nil
}

// exchange is a connection of which a bounded number of bytes is read.
type exchange struct {
	net.Conn
	left int
	stop func() bool
}

func (e *exchange) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, Failure("the receiver's answer is too large")
	}
	n, err := e.Conn.Read(p[:min(len(p), e.left)])
	e.left -= n
	return n, err
}

func (e *exchange) Close() error {
	e.stop()
	return e.Conn.Close()
}
