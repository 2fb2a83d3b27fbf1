package egress

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func dialled(t *testing.T, ctx context.Context, timeout time.Duration) (ours, theirs net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g, _ := NewGuard(Targets{Allow: []string{"127.0.0.1"}}, nil)
	if ours, err = NewClient(g, timeout, nil).Dial(ctx, l.Addr().String(), nil); err != nil {
		t.Fatal(err)
	}
	if theirs, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

func TestAnExchangeIsBounded(t *testing.T) {
	t.Run("in time", func(t *testing.T) {
		ours, _ := dialled(t, t.Context(), 10*time.Millisecond)
		if _, err := ours.Read(make([]byte, 1)); Describe(err, time.Second) != "no answer within 1s" {
			t.Error(err)
		}
	})
	t.Run("by its context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ours, _ := dialled(t, ctx, time.Hour)
		cancel()
		if _, err := ours.Read(make([]byte, 1)); err == nil {
			t.Error("read after its end")
		}
	})
	t.Run("in size", func(t *testing.T) {
		ours, theirs := dialled(t, t.Context(), time.Hour)
		go io.WriteString(theirs, strings.Repeat("x", 1<<20))
		if b, err := io.ReadAll(ours); len(b) != maxHeader || Describe(err, 0) != "the receiver's answer is too large" {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})
	t.Run("in where it leads", func(t *testing.T) {
		g, _ := NewGuard(Targets{}, nil)
		if _, err := NewClient(g, 0, nil).Dial(t.Context(), "127.0.0.1:1", nil); !strings.Contains(string(Describe(err, 0)), "a loopback address") {
			t.Error(err)
		}
	})
}
