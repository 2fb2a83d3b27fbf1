package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"
)

func FuzzRetryAfter(f *testing.F) {
	for _, v := range []string{"", "0", "120", "-1", "99999999999999999999999", "Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", " 5 ", "1e3"} {
		f.Add(v, int64(1_700_000_000))
	}
	f.Fuzz(func(t *testing.T, v string, now int64) {
		a := Answer{Header: http.Header{"Retry-After": {v}}, At: time.Unix(now%(1<<33), 0)}
		if d := a.RetryAfter(); d < 0 || d > MaxWait {
			t.Fatalf("%q: %v", v, d)
		}
	})
}

// No spelling of an address gets one past the guard that it refuses.
func FuzzTarget(f *testing.F) {
	for _, v := range []string{
		"http://127.0.0.1/", "http://2130706433/", "http://0177.0.0.1/", "http://0x7f.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]:80/", "https://[fe80::1%25eth0]/",
		"http://localhost./", "http://user:pass@169.254.169.254/", "ftp://h/", "http://10.0.0.1:65536/", "http://h:0/", "//h", "http://", "http://①②⑦.0.0.1/", "http://127。0。0。1/",
	} {
		f.Add(v)
	}
	deaf := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no resolver") }}
	f.Fuzz(func(t *testing.T, raw string) {
		g, _ := NewGuard(Targets{}, deaf)
		u, err := url.Parse(raw)
		if err != nil || g.Check(u.Host) != nil {
			return
		}
		if u.Hostname() == "" {
			t.Fatalf("%q is accepted", raw)
		}
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil && (ip.Unmap().IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast()) {
			t.Fatalf("%q is accepted", raw)
		}
	})
}
