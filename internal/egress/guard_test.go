package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// check is what is asked of a URL before anything is sent to it.
func check(g *Guard, rawURL string) error {
	u, err := Parse(rawURL)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("must begin with http:// or https://")
	}
	return g.Check(u.Host)
}

// names is a DNS server on loopback. Each look-up of a name takes the next of
// its answers, and the last one stays.
type names struct {
	net.PacketConn
	mu      sync.Mutex
	answers map[string][]string // name → addresses, separated by blanks
	asked   map[string]dnsmessage.Type
}

func newNames(t *testing.T, answers map[string][]string) (*names, *net.Resolver) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{PacketConn: c, answers: answers, asked: map[string]dnsmessage.Type{}}
	t.Cleanup(func() { c.Close() })
	go n.serve()
	return n, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", c.LocalAddr().String())
	}}
}

func (n *names) serve() {
	buf := make([]byte, 4096)
	for {
		size, from, err := n.ReadFrom(buf)
		if err != nil {
			return
		}
		var q dnsmessage.Message
		if q.Unpack(buf[:size]) != nil || len(q.Questions) != 1 {
			continue
		}
		out, err := n.answer(q)
		if err == nil {
			n.WriteTo(out, from)
		}
	}
}

// answer gives A and AAAA records of one answer, which is used up when both have
// been asked for, in whichever order.
func (n *names) answer(q dnsmessage.Message) ([]byte, error) {
	question := q.Questions[0]
	name := strings.TrimSuffix(question.Name.String(), ".")
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true}, Questions: q.Questions}
	n.mu.Lock()
	defer n.mu.Unlock()
	answers := n.answers[name]
	if len(answers) == 0 {
		m.RCode = dnsmessage.RCodeNameError
		return m.Pack()
	}
	for _, a := range strings.Fields(answers[0]) {
		ip := netip.MustParseAddr(a)
		header := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET}
		switch {
		case ip.Is4() && question.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: ip.As4()}})
		case !ip.Is4() && question.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}})
		}
	}
	other := dnsmessage.TypeA
	if question.Type == dnsmessage.TypeA {
		other = dnsmessage.TypeAAAA
	}
	if n.asked[name] == other && len(answers) > 1 {
		n.answers[name] = answers[1:]
		delete(n.asked, name)
	} else {
		n.asked[name] = question.Type
	}
	return m.Pack()
}

// Every spelling of an address where nothing may be sent is refused when a
// trigger is saved, and what is allowed is not.
func TestTargets(t *testing.T) {
	_, resolver := newNames(t, map[string][]string{
		"public.test":   {"93.184.216.34 2606:2800:220:1:248:1893:25c8:1946"},
		"private.test":  {"192.168.1.7 fd12:3456::7"},
		"loopback.test": {"127.0.0.1"},
		"six.test":      {"::1"},
		"mapped.test":   {"::ffff:127.0.0.1"},
		"metadata.test": {"169.254.169.254"},
		"mixed.test":    {"93.184.216.34 127.0.0.1"},
	})
	const (
		loopback  = "a loopback address"
		linkLocal = "a link-local address"
		odd       = "an IP address in an unusual form"
		ascii     = "beyond ASCII"
		reserved  = "a reserved address"
		metadata  = "a cloud's metadata service"
		ok        = ""
	)
	for url, want := range map[string]string{
		"http://example.com/":                           ok,
		"https://example.com:8443/hook?x=1":             ok,
		"http://bob:hunter2@example.com/":               ok,
		"http://public.test":                            ok,
		"http://93.184.216.34":                          ok,
		"http://[2606:2800:220:1:248:1893:25c8:1946]":   ok,
		"http://private.test":                           ok,
		"http://10.1.2.3":                               ok,
		"http://172.16.0.1":                             ok,
		"http://192.168.0.1:9000":                       ok,
		"http://100.64.1.1":                             ok,
		"http://[fd12:3456:789a::1]":                    ok,
		"http://not-there.test":                         ok, // it may be, by the time of the first delivery
		"http://example.com:":                           ok,
		"http://xn--mller-kva.example":                  ok,
		"http://host_with_underscore":                   ok,
		"http://127.0.0.1@example.com/":                 ok, // a user's name
		"http://example.com/?u=http://127.0.0.1":        ok,
		"http://example.com#@127.0.0.1/":                ok,
		"http://127.0.0.1":                              loopback,
		"http://127.255.255.254:8080/x":                 loopback,
		"http://example.com@127.0.0.1/":                 loopback,
		"http://example.com:80@127.0.0.1:90/":           loopback,
		"http://[::1]":                                  loopback,
		"http://[0:0:0:0:0:0:0:1]":                      loopback,
		"http://[::ffff:127.0.0.1]":                     loopback,
		"http://[::ffff:7f00:1]":                        loopback,
		"http://[::FFFF:7F00:0001]":                     loopback,
		"http://localhost":                              loopback,
		"http://LocalHost.:80":                          loopback,
		"http://a.localhost":                            loopback,
		"http://loopback.test":                          loopback,
		"http://LOOPBACK.TEST.":                         loopback,
		"http://six.test":                               loopback,
		"http://mapped.test":                            loopback,
		"http://mixed.test":                             loopback,
		"http://metadata.test":                          linkLocal,
		"http://169.254.169.254/latest/meta-data":       linkLocal,
		"http://[::ffff:169.254.169.254]":               linkLocal,
		"http://[fe80::1]":                              linkLocal,
		"http://[fe80::1%25eth0]":                       linkLocal,
		"http://[fd00:ec2::254]":                        metadata,
		"http://[fd00:ec2::23]":                         metadata,
		"http://[fd00:ec2:ffff::1]":                     metadata,
		"http://100.100.100.200":                        metadata,
		"http://168.63.129.16":                          metadata,
		"http://0.0.0.0":                                "the unspecified address",
		"http://[::]":                                   "the unspecified address",
		"http://[::ffff:0.0.0.0]":                       "the unspecified address",
		"http://224.0.0.1":                              "a multicast address",
		"http://[ff02::1]":                              "a multicast address",
		"http://255.255.255.255":                        reserved,
		"http://0.1.2.3":                                reserved,
		"http://240.0.0.1":                              reserved,
		"http://192.0.2.1":                              reserved,
		"http://[::127.0.0.1]":                          reserved, // IPv4-compatible
		"http://[64:ff9b::7f00:1]":                      reserved, // NAT64
		"http://[64:ff9b::169.254.169.254]":             reserved,
		"http://[2002:7f00:1::]":                        reserved, // 6to4
		"http://[2001:0:7f00:1::]":                      reserved, // Teredo
		"http://[fec0::1]":                              reserved, // site-local
		"http://2130706433":                             odd,
		"http://0":                                      odd,
		"http://127.1":                                  odd,
		"http://127.0.1":                                odd,
		"http://0177.0.0.1":                             odd,
		"http://127.0.0.01":                             odd,
		"http://017700000001":                           odd,
		"http://0x7f.1":                                 odd,
		"http://0x7f.0.0.0x1":                           odd,
		"http://0X7F000001":                             odd,
		"http://0x7f000001.":                            odd,
		"http://127.0.0.1.":                             odd,
		"http://1.2.3.4.5":                              odd,
		"http://99999999999999999999999999":             odd,
		"http://0xfffffffffffffffffffffffffffffff":      odd,
		"http://256.256.256.256":                        odd,
		"http://１２７.0.0.1":                              ascii,
		"http://127。0。0。1":                              ascii,
		"http://ⓛocalhost":                              ascii,
		"http://loc\u00adalhost":                        ascii,
		"http://müller.example":                         ascii,
		"http://%E2%93%9Bocalhost":                      ascii,
		"http://%31%32%37.0.0.1":                        "not a valid URL",
		"http://127.0.0.1\\@example.com":                "not a valid URL",
		"http://exa mple.com":                           "not a valid URL",
		"http://example.com:port":                       "not a valid URL",
		"http://[::1":                                   "not a valid URL",
		"http://example.com\r\nHost: x":                 "not a valid URL",
		"://example.com":                                "not a valid URL",
		"http://example.com:0":                          "a port",
		"http://example.com:65536":                      "a port",
		"http://example.com:99999999999999999999999999": "a port",
		"http://":                  "no host",
		"http:///hook":             "no host",
		"http://:80":               "no host",
		"http:example.com":         "no host",
		"https://bob@/":            "no host",
		"":                         "http:// or https://",
		"/hook":                    "http:// or https://",
		"example.com":              "http:// or https://",
		"//example.com":            "http:// or https://",
		"ftp://example.com":        "http:// or https://",
		"file:///etc/passwd":       "http:// or https://",
		"unix:///run/docker.sock":  "http:// or https://",
		"gopher://example.com":     "http:// or https://",
		"javascript:alert(1)":      "http:// or https://",
		"HTTP://example.com":       ok,
		"HTTPS://EXAMPLE.COM":      ok,
		"httpx://example.com":      "http:// or https://",
		"http+unix://%2Frun%2Fd.s": "",
	} {
		if strings.HasPrefix(url, "http+unix") {
			want = "not a valid URL"
		}
		g, _ := NewGuard(Targets{}, resolver)
		err := check(g, url)
		switch {
		case want == ok && err != nil:
			t.Errorf("%q is refused: %v", url, err)
		case want != ok && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want a refusal with %q", url, err, want)
		case err != nil && (strings.Contains(err.Error(), "://e") || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("%q is repeated: %v", url, err)
		}
	}
}

// What an operator allows is allowed exactly.
func TestAllowedTargets(t *testing.T) {
	_, resolver := newNames(t, map[string][]string{"hooks.test": {"127.0.0.1"}, "other.test": {"127.0.0.1"}, "net.test": {"127.8.0.1"}})
	g, bad := NewGuard(Targets{Allow: []string{" 127.0.0.1 ", "[::1]", "Hooks.Test.", "127.8.0.0/16", "::ffff:169.254.1.1", "", "10.0.0.0/40", "1/2/3"}}, resolver)
	if strings.Join(bad, " ") != "10.0.0.0/40 1/2/3" {
		t.Errorf("not allowed: %q", bad)
	}
	for url, want := range map[string]bool{
		"http://127.0.0.1:80":            true,
		"http://[::ffff:127.0.0.1]":      true,
		"http://[::1]":                   true,
		"http://[0::1]":                  true,
		"http://hooks.test":              true,
		"http://HOOKS.test.":             true,
		"http://127.8.9.9":               true,
		"http://net.test":                true,
		"http://169.254.1.1":             true,
		"http://127.0.0.2":               false,
		"http://127.9.0.1":               false,
		"http://other.test":              false, // a name is not its address
		"http://sub.hooks.test":          true,  // resolves to nothing
		"http://localhost":               false,
		"http://2130706433":              false,
		"http://169.254.169.254":         false,
		"http://0x7f.1":                  false,
		"http://127.0.0.1.":              false,
		"http://[64:ff9b::127.0.0.1]":    false,
		"http://hooks.test@127.0.0.2/":   false,
		"ftp://127.0.0.1":                false,
		"http://127.0.0.1:0":             false,
		"http://[::ffff:127.8.1.1]:1/x":  true,
		"http://[::ffff:127.10.1.1]:1/x": false,
	} {
		if err := check(g, url); (err == nil) != want {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func get(t *testing.T, g *Guard, url string) (Answer, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return NewClient(g, 0, nil).Do(req)
}

// TestNamesAreCheckedWhenTheyAreDialled has a name stand for a harmless address
// while the trigger is saved and for another one when the delivery is sent.
func TestNamesAreCheckedWhenTheyAreDialled(t *testing.T) {
	reached := atomic.Int64{}
	r := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer r.Close()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(r.URL, "http://"))
	const harmless = "93.184.216.34"
	for name, answers := range map[string][]string{
		"loopback": {harmless, "127.0.0.1"},
		"both":     {harmless, "127.0.0.1 ::1"},
		"mapped":   {harmless, "::ffff:127.0.0.1"},
		"zero":     {harmless, "0.0.0.0"}, // Linux connects it to loopback
		"none":     {harmless, "::"},
		"metadata": {harmless, "169.254.169.254"},
	} {
		_, resolver := newNames(t, map[string][]string{"rebind.test": answers})
		g, _ := NewGuard(Targets{}, resolver)
		url := "http://rebind.test:" + port + "/hook"
		if err := check(g, url); err != nil {
			t.Errorf("%s: refused when saved: %v", name, err)
		}
		if a, err := get(t, g, url); err == nil || !strings.Contains(err.Error(), "where nothing may be sent") || a.Status != 0 {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d deliveries reached loopback", n)
	}
	// The same road is open where it is allowed: the names do resolve.
	_, resolver := newNames(t, map[string][]string{"rebind.test": {"127.0.0.1"}})
	g, _ := NewGuard(Targets{Allow: []string{"rebind.test"}}, resolver)
	if a, err := get(t, g, "http://rebind.test:"+port); err != nil || a.Status != 200 || reached.Load() != 1 {
		t.Errorf("allowed: %+v, %v", a, err)
	}
}

// What an operator refuses is refused besides, the host's own addresses by a word
// of their own; what is allowed is allowed all the same.
func TestRefusedTargets(t *testing.T) {
	refused := []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24"), netip.MustParsePrefix("fd00:7::/32")}
	for _, c := range []struct {
		url     string
		targets Targets
		want    string // "": nothing is refused
	}{
		{"http://192.168.7.9", Targets{Refuse: refused}, "192.168.7.9 is refused by LOGSCAN_REFUSE_TARGETS"},
		{"http://[::ffff:192.168.7.9]", Targets{Refuse: refused}, "refused by LOGSCAN_REFUSE_TARGETS"},
		{"http://[fd00:7::1]", Targets{Refuse: refused}, "refused by LOGSCAN_REFUSE_TARGETS"},
		{"http://192.168.8.9", Targets{Refuse: refused}, ""},
		{"http://192.168.7.9", Targets{Refuse: refused, Allow: []string{"192.168.7.9"}}, ""},
		{"http://127.0.0.1", Targets{Refuse: refused}, "a loopback address"},
		{"http://10.1.1.1", Targets{}, ""},
		{"http://10.1.1.1", Targets{RefuseOwn: true}, "an address of this host"},
		{"http://10.1.1.1", Targets{RefuseOwn: true, Allow: []string{"10.1.1.0/24"}}, ""},
		{"http://10.1.1.2", Targets{RefuseOwn: true}, ""},
	} {
		g, _ := NewGuard(c.targets, nil)
		if g.own != nil {
			g.own = func(ip netip.Addr) bool { return ip == netip.MustParseAddr("10.1.1.1") }
		}
		if err := check(g, c.url); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s with %+v: %v, want %q", c.url, c.targets, err, c.want)
		}
	}

	addrs, err := net.InterfaceAddrs()
	if err != nil || len(addrs) == 0 {
		t.Fatalf("this host's addresses: %v, %v", addrs, err)
	}
	for _, a := range addrs {
		if ip := netip.MustParsePrefix(a.String()).Addr(); !isOwn(ip) {
			t.Errorf("%s isn't taken for an own address", ip)
		}
	}
	if isOwn(netip.MustParseAddr("198.18.255.254")) {
		t.Error("another's address is taken for an own one")
	}
}
