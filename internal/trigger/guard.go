package trigger

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// lookupTime bounds the look-up of a name when a trigger is saved.
const lookupTime = 2 * time.Second

// Networks that are allowed although they are no part of the internet, and the
// addresses in them, and elsewhere, at which clouds serve credentials to
// whoever asks from inside.
var (
	private4 = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"),
	}
	private6 = []netip.Prefix{netip.MustParsePrefix("fc00::/7")}
	metadata = []netip.Addr{
		netip.MustParseAddr("fd00:ec2::254"),   // AWS
		netip.MustParseAddr("fd20:ce::254"),    // Google
		netip.MustParseAddr("100.100.100.200"), // Alibaba
		netip.MustParseAddr("168.63.129.16"),   // Azure
	}
)

var guardian = ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(private4...), ssrf.WithAllowedV6Prefixes(private6...))

// errRefused is the guard's refusal; it is safe to show.
type errRefused string

func (e errRefused) Error() string { return string(e) }

// guard decides where deliveries may go. It is immutable.
type guard struct {
	hosts    []string // lower case, addresses in their usual form
	networks []netip.Prefix
	resolver *net.Resolver
}

// newGuard takes exact hosts (names or addresses) and CIDRs, and returns those
// that are neither.
func newGuard(allow []string, resolver *net.Resolver) (g *guard, bad []string) {
	g = &guard{resolver: resolver}
	for _, a := range allow {
		a = strings.TrimSpace(a)
		switch {
		case a == "":
		case strings.Contains(a, "/"):
			p, err := netip.ParsePrefix(a)
			if err != nil {
				bad = append(bad, a)
				continue
			}
			g.networks = append(g.networks, p.Masked())
		default:
			g.hosts = append(g.hosts, normal(strings.Trim(a, "[]")))
		}
	}
	return g, bad
}

// normal is a host in the form in which hosts are compared.
func normal(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// address checks an address that host stands for.
func (g *guard) address(host string, ip netip.Addr) error {
	ip = ip.Unmap().WithZone("")
	if slices.Contains(g.hosts, normal(host)) || slices.ContainsFunc(g.networks, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return nil
	}
	var kind string
	switch {
	case ip.IsLoopback():
		kind = "a loopback address"
	case ip.IsLinkLocalUnicast():
		kind = "a link-local address"
	case ip.IsUnspecified():
		kind = "the unspecified address"
	case ip.IsMulticast():
		kind = "a multicast address"
	case slices.Contains(metadata, ip):
		kind = "a cloud's metadata service"
	case guardian.SafeAddr(ip) != nil:
		kind = "a reserved address"
	default:
		return nil
	}
	return errRefused(fmt.Sprintf("%s is %s, where nothing may be sent; LOGSCAN_ALLOW_TARGETS can allow it", ip, kind))
}

// dial is the transport's: it checks each address just before connecting to it,
// when no name can change any more.
func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{
		Resolver: g.resolver,
		ControlContext: func(_ context.Context, _, addr string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(addr)
			if err != nil {
				return errRefused("the target has no IP address")
			}
			return g.address(host, ap.Addr())
		},
	}
	return d.DialContext(ctx, network, addr)
}

// CheckTarget says whether a trigger may send to a URL; allow holds exact hosts
// and CIDRs that are allowed in any case. A name that can't be resolved now is
// accepted, since each address is checked again when it is dialled. The error
// doesn't repeat the URL.
func CheckTarget(rawURL string, allow []string) error {
	g, _ := newGuard(allow, nil)
	return g.target(rawURL)
}

func (g *guard) target(rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return errRefused("is not a valid URL")
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return errRefused("must begin with http:// or https://")
	case host == "":
		return errRefused("has no host")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return errRefused("has a port that is not from 1 to 65535")
		}
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r > '~' || r <= ' ' }) {
		return errRefused("has a host with characters beyond ASCII; write it in its xn-- form")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return g.address(host, ip)
	}
	name := normal(host)
	switch {
	case oddAddress(name):
		return errRefused("has a host that looks like an IP address in an unusual form; write it as four decimal numbers")
	case slices.Contains(g.hosts, name):
		return nil
	case name == "localhost" || strings.HasSuffix(name, ".localhost"):
		return errRefused("localhost is a loopback address, where nothing may be sent; LOGSCAN_ALLOW_TARGETS can allow it")
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	addrs, _ := g.resolver.LookupNetIP(ctx, "ip", name)
	for _, ip := range addrs {
		if err := g.address(name, ip); err != nil {
			return err
		}
	}
	return nil
}

// oddAddress recognises what C libraries and browsers take for an IPv4 address:
// a last label that is a decimal, octal or hexadecimal number.
func oddAddress(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		_, err := strconv.ParseUint(hex, 16, 64)
		return hex == "" || err == nil || errors.Is(err, strconv.ErrRange)
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}
