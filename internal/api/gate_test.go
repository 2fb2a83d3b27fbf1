package api

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// overNet serves a bench's API as it is served over TCP, and returns its
// address and the gate.
func overNet(t *testing.T, b *bench, total, perAddr int) (string, *Gate) {
	t.Helper()
	g := NewGate(testToken, b.handler())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: SameOrigin(g)}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(Bound(l, total, perAddr)) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return l.Addr().String(), g
}

func TestGate(t *testing.T) {
	b := newBench(t)
	b.reasons.Store(&[]Reason{{"settings", "LOGSCAN_X is bad"}})
	addr, g := overNet(t, b, 10, 10)
	var mu sync.Mutex
	var slept []time.Duration
	g.sleep = func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		slept = append(slept, d)
	}
	for _, tt := range []struct {
		name, method, path string
		header             http.Header
		status             int
		says, silent       string
		delayed            bool
	}{
		{"no token", "GET", rulesPath, nil, 401, "docker logscan token", "", false},
		{"no token, no such path", "GET", "/nothing", nil, 401, "", "", false},
		{"no token for metrics", "GET", metricsPath, nil, 401, "", "", false},
		{"no token for the description", "GET", "/openapi.json", nil, 401, "", "", false},
		{"no token for the stream", "GET", streamPath, nil, 401, "", "", false},
		{"no token for a change", "DELETE", rulesPath + "/1", nil, 401, "", "", false},
		{"health without a token", "GET", healthPath, nil, 200, `"degraded"`, "LOGSCAN_X", false},
		{"not quite health", "GET", healthPath + "/", nil, 401, "", "", false},
		{"health by another spelling", "GET", "/./healthz", nil, 401, "", "", false},
		{"wrong token", "GET", rulesPath, bearer(testToken + "x"), 401, "wrong", testToken, true},
		{"part of the token", "GET", rulesPath, bearer(testToken[:20]), 401, "wrong", "", true},
		{"wrong token for health", "GET", healthPath, bearer("x"), 401, "", "", true},
		{"other scheme", "GET", rulesPath, http.Header{"Authorization": {"Basic " + testToken}}, 401, "", "", true},
		{"token in the query", "GET", rulesPath + "?token=" + strings.ReplaceAll(testToken, " ", "+"), nil, 401, "", "", false},
		{"right token", "GET", rulesPath, bearer(testToken), 200, `"items"`, "", false},
		{"right token, other case", "GET", rulesPath, http.Header{"Authorization": {"bearer " + testToken}}, 200, `"items"`, "", false},
		{"health with the token", "GET", healthPath, bearer(testToken), 200, "LOGSCAN_X is bad", "", false},
		{"metrics with the token", "GET", metricsPath, bearer(testToken), 200, "logscan_lines_total", "", false},
		{"the token itself", "GET", tokenPath, bearer(testToken), 404, "unix socket", testToken, false},
		{"the token by another spelling", "GET", "/api/%74oken", bearer(testToken), 404, "unix socket", testToken, false},
		{"page of another site", "GET", rulesPath, with(bearer(testToken), "Origin", "https://evil.example.com"), 403, "origin", "", false},
		{"page without an origin", "GET", rulesPath, with(bearer(testToken), "Origin", "null"), 403, "origin", "", false},
		{"browser says cross-site", "GET", healthPath, http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403, "origin", "", false},
		{"browser says same-site", "POST", rulesPath, with(bearer(testToken), "Sec-Fetch-Site", "same-site"), 403, "origin", "", false},
		{"preflight", "OPTIONS", rulesPath, http.Header{"Origin": {"https://evil.example.com"}, "Access-Control-Request-Method": {"POST"}}, 403, "", "", false},
		{"own page", "GET", rulesPath, with(with(bearer(testToken), "Origin", "http://"+addr), "Sec-Fetch-Site", "same-origin"), 200, `"items"`, "", false},
		{"typed by hand", "GET", rulesPath, with(bearer(testToken), "Sec-Fetch-Site", "none"), 200, `"items"`, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			slept = nil
			req, err := http.NewRequest(tt.method, "http://"+addr+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range tt.header {
				req.Header[k] = v
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.status || !bytes.Contains(body, []byte(tt.says)) || tt.silent != "" && bytes.Contains(body, []byte(tt.silent)) {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			if tt.status >= 400 && resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("content type %q", resp.Header.Get("Content-Type"))
			}
			if tt.status == 401 && resp.Header.Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
			if resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Error("another origin is allowed")
			}
			mu.Lock()
			defer mu.Unlock()
			if (len(slept) > 0) != tt.delayed {
				t.Errorf("answered after %v", slept)
			}
		})
	}
	// The unix socket tells the token.
	if tok := must[Token](t)(b.Token(t.Context())); tok.Token != testToken || tok.Listen == "" {
		t.Errorf("%+v", tok)
	}
	// The client over TCP, its stream included.
	c := DialTCP("http://"+addr+"/", testToken)
	defer c.Close()
	must[[]Rule](t)(c.Rules(t.Context()))
	b.emit(hit(1, "warn", "r"))
	if got, _, err := collect(t.Context(), c, 0, EventQuery{}, 1); err != nil || len(got) != 1 {
		t.Errorf("stream over TCP: %v %v", got, err)
	}
	wrong := DialTCP("http://"+addr, "x")
	defer wrong.Close()
	_, err := wrong.Rules(t.Context())
	wantProblem(t, err, 401, "wrong")
}

func bearer(token string) http.Header {
	return http.Header{"Authorization": {"Bearer " + token}}
}

func with(h http.Header, name, value string) http.Header {
	h = h.Clone()
	h.Set(name, value)
	return h
}

// Wrong tokens are answered later each time, by address; the right one never is.
func TestWrongTokensAreSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate(testToken, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
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
		for n := range 3 * maxAddresses {
			g.delay(fmt.Sprintf("10.%d.%d.%d:1", n>>16&255, n>>8&255, n&255))
			time.Sleep(time.Millisecond)
		}
		if n := len(g.wrong); n > maxAddresses {
			t.Errorf("%d addresses remembered", n)
		}
		if got := g.delay("10.0.11.255:1"); got != 2*firstDelay { // the latest
			t.Errorf("the latest is forgotten: %v", got)
		}
	})
}

// A peer that opens all the connections it can keeps nobody else out, and one
// that leaves makes room.
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
	if served(dial("127.0.0.4")) {
		t.Error("a fourth connection in all is served")
	}
	first.Close()
	deadline := time.Now().Add(30 * time.Second)
	for !served(dial("127.0.0.2")) {
		if time.Now().After(deadline) {
			t.Fatal("no room after one has left")
		}
	}
}
