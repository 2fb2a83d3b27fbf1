package channeltest

import (
	"net"
	"testing"
	"time"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

// Unreachable shows what a channel says where nobody listens, and where somebody does
// and says nothing. urls are its forms of a URL, by a host and a port.
func Unreachable(t *testing.T, k channel.Kind, urls ...func(hostport string) string) {
	t.Run("nobody there", func(t *testing.T) {
		v := Open(t, k, urls[0]("127.0.0.1:1"), "").Send(t.Context(), Message())
		if v != (channel.Verdict{Reason: "connection refused"}) {
			t.Errorf("%+v", v)
		}
	})
	t.Run("silence", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0") // accepts by its backlog alone
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client := Client(t)
		client.Timeout = 20 * time.Millisecond
		for _, form := range urls {
			u, err := egress.Parse(form(l.Addr().String()))
			if err != nil {
				t.Fatal(err)
			}
			c, err := k.New(channel.Config{URL: u, Client: client})
			if err != nil {
				t.Fatal(err)
			}
			if v := c.Send(t.Context(), Message()); v != (channel.Verdict{Reason: "no answer within 20ms"}) {
				t.Errorf("%+v", v)
			}
		}
	})
}
