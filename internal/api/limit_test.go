package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// Wrong tokens are answered later each time, by address; the right one never is.
func TestWrongTokensAreSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tokens Tokens
		tokens.SetAdmin(testToken)
		g := NewGate(&tokens, nil, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
		try := func(remote, token string) time.Duration {
			r := httptest.NewRequest("GET", rulesPath, nil)
			r.RemoteAddr = remote
			r.Header.Set("Authorization", "Bearer "+token)
			began := time.Now()
			g.ServeHTTP(httptest.NewRecorder(), r)
			return time.Since(began)
		}
		for i, want := range []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second} {
			if got := try(fmt.Sprintf("192.0.2.1:%d", 1000+i), "x"); got != want {
				t.Errorf("attempt %d: %v, want %v", i, got, want)
			}
			if got := try("192.0.2.1:999", testToken); got != 0 {
				t.Errorf("the right token waits %v", got)
			}
		}
		if got := try("192.0.2.2:1", "x"); got != firstDelay {
			t.Errorf("another address: %v", got)
		}
		if try("[2001:db8:0:1::1]:1", "x"); try("[2001:db8:0:1:ffff::2]:1", "x") != 2*firstDelay {
			t.Error("an IPv6 host has many addresses, and they count as many")
		}
		if try("[::ffff:192.0.2.2]:1", "x") != 2*firstDelay {
			t.Error("an IPv4 address in IPv6 form counts as another")
		}
		time.Sleep(forgetAfter + time.Second)
		if got := try("192.0.2.1:1", "x"); got != firstDelay {
			t.Errorf("after a long while: %v", got)
		}
		begin := func(addr string) time.Duration {
			a := network(netip.MustParseAddr(addr))
			delay, granted := g.delays.begin(a, time.Now())
			if !granted {
				t.Errorf("%s: too many", addr)
			}
			g.delays.end(a)
			return delay
		}
		for n := range 3 * maxAddresses {
			begin(fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255))
			time.Sleep(time.Millisecond)
		}
		if n := len(g.delays.wrong); n > maxAddresses {
			t.Errorf("%d addresses remembered", n)
		}
		if got := begin("10.0.11.255"); got != 2*firstDelay { // the latest
			t.Errorf("the latest is forgotten: %v", got)
		}
	})
}

// Many clients behind one proxy: wrong tokens hold a bounded number of
// connections, and the right one is answered at once all the while.
func TestDelayedAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tokens Tokens
		tokens.SetAdmin(testToken)
		served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {})
		g := NewGate(&tokens, Proxies{netip.MustParsePrefix("10.0.0.0/8")}, served)
		try := func(remote, forwarded, token string) (*httptest.ResponseRecorder, time.Duration) {
			r := httptest.NewRequest("GET", rulesPath, nil)
			r.RemoteAddr = remote
			r.Header.Set("Authorization", "Bearer "+token)
			if forwarded != "" {
				r.Header.Set("X-Forwarded-For", forwarded)
			}
			w, began := httptest.NewRecorder(), time.Now()
			g.ServeHTTP(w, r)
			return w, time.Since(began)
		}
		const plain = "192.0.2.1:9" // a proxy that nobody has named
		for range maxDelayed {
			go try(plain, "", "x")
		}
		synctest.Wait()
		w, took := try(plain, "", "x")
		if after := w.Header().Get("Retry-After"); w.Code != 429 || took != 0 || after != "8" || w.Header().Get("Connection") != "close" {
			t.Errorf("one more wrong token: %d after %v, Retry-After %q", w.Code, took, after)
		}
		if w, took := try(plain, "", testToken); w.Code != 200 || took != 0 {
			t.Errorf("the right token: %d after %v", w.Code, took)
		}
		time.Sleep(longestDelay)
		if w, took := try(plain, "", "x"); w.Code != 401 || took != longestDelay {
			t.Errorf("when those were answered: %d after %v", w.Code, took)
		}
		// Behind a proxy that was named, each client has its own delay.
		for _, client := range []string{"203.0.113.1", "203.0.113.2:99", "1.1.1.1, 203.0.113.3", "1.1.1.1, 203.0.113.4, 10.9.9.9", "[2001:db8::1]:80"} {
			if w, took := try("10.1.2.3:9", client, "x"); w.Code != 401 || took != firstDelay {
				t.Errorf("%s: %d after %v", client, w.Code, took)
			}
		}
		// What others write there is not believed.
		try("198.51.100.1:9", "203.0.113.9", "x")
		if _, took := try("198.51.100.1:9", "203.0.113.10", "x"); took != 2*firstDelay {
			t.Errorf("another address for the asking: %v", took)
		}
		try("10.1.2.3:9", "", "x")
		if _, took := try("10.1.2.3:9", "nonsense", "x"); took != 2*firstDelay {
			t.Errorf("a proxy without X-Forwarded-For: %v", took)
		}
	})
}

// A peer that opens all the connections it can keeps nobody else out, one that
// leaves makes room, and so do those that only wait.
func TestConnectionsAreBounded(t *testing.T) {
	b := newBench(t)
	addr, _ := overNet(t, b, 3, 2)
	dial := func(from string) net.Conn {
		t.Helper()
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	served := func(c net.Conn) bool {
		fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			io.Copy(io.Discard, resp.Body)
		}
		return err == nil && resp.StatusCode == 200
	}
	first, second := dial("127.0.0.2"), dial("127.0.0.2")
	if !served(first) || !served(second) {
		t.Fatal("the first two are not served")
	}
	if served(dial("127.0.0.2")) {
		t.Error("a third connection of one address is served")
	}
	if !served(dial("127.0.0.3")) {
		t.Error("another address is kept out")
	}
	if !served(dial("127.0.0.4")) {
		t.Error("connections without a request keep another address out")
	}
	if served(first) && served(second) {
		t.Error("four connections are open")
	}
	first.Close()
	second.Close()
	deadline := time.Now().Add(30 * time.Second) // the server has to see that they left
	for !served(dial("127.0.0.2")) {
		if time.Now().After(deadline) {
			t.Fatal("no room after one has left")
		}
	}
}

// Connections that are in use don't give way.
func TestBusyConnectionsStay(t *testing.T) {
	m := &Limit{Total: 2, PerAddr: 2, Proxies: Proxies{netip.MustParsePrefix("192.0.2.9/32")}}
	srv := &http.Server{}
	m.Apply(srv, nil)
	let := func(addr string) net.Conn {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { theirs.Close() })
		return m.let(&namedConn{ours, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))})
	}
	a, b := let("192.0.2.1:1"), let("192.0.2.2:1")
	srv.ConnState(a, http.StateActive)
	srv.ConnState(b, http.StateActive)
	if let("192.0.2.3:1") != nil {
		t.Error("a third connection beside two busy ones")
	}
	srv.ConnState(b, http.StateIdle)
	c := let("192.0.2.3:1")
	if c == nil {
		t.Fatal("no connection in place of an idle one")
	}
	if _, err := b.Write([]byte("x")); err == nil {
		t.Error("the idle one is open still")
	}
	if _, open := m.held[network(netip.MustParseAddr("192.0.2.2"))]; open || len(m.open) != 2 {
		t.Errorf("held %v", m.held)
	}
	a.Close()
	c.Close()
	for range 2 {
		if let("192.0.2.9:1") == nil {
			t.Error("a proxy is bounded before the total is reached")
		}
	}
}

// namedConn has an address of its own.
type namedConn struct {
	net.Conn
	addr net.Addr
}

func (c *namedConn) RemoteAddr() net.Addr { return c.addr }
