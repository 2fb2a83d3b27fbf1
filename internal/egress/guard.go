package egress

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

// lookupTime bounds the look-up of a name when a target is checked.
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
	metadata = []netip.Prefix{
		netip.MustParsePrefix("fd00:ec2::/32"),      // AWS: instances, time, names, pods' identities
		netip.MustParsePrefix("fd20:ce::254/128"),   // Google
		netip.MustParsePrefix("100.100.100.200/32"), // Alibaba
		netip.MustParsePrefix("168.63.129.16/32"),   // Azure
	}
)

var guardian = ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(private4...), ssrf.WithAllowedV6Prefixes(private6...))

// refusal is the guard's; it is safe to show.
type refusal string

func (e refusal) Error() string { return string(e) }

// Targets are exceptions from where anything may go. What is allowed is so in
// any case.
type Targets struct {
	Allow  []string       // exact hosts (names or addresses) and CIDRs
	Refuse []netip.Prefix // networks to which nothing is sent
	// RefuseOwn refuses the addresses that this host's interfaces have: what it
	// serves there may be meant for its neighbours alone.
	RefuseOwn bool
}

// Guard decides where anything may go. It is immutable.
type Guard struct {
	hosts    []string // lower case, addresses in their usual form
	networks []netip.Prefix
	refused  []netip.Prefix
	own      func(netip.Addr) bool // nil: the host's own addresses are not refused
	resolver *net.Resolver
}

// NewGuard also returns what it can't use of what is allowed. A nil resolver is
// the system's.
func NewGuard(targets Targets, resolver *net.Resolver) (g *Guard, bad []string) {
	g = &Guard{refused: targets.Refuse, resolver: resolver}
	if targets.RefuseOwn {
		g.own = isOwn
	}
	for _, a := range targets.Allow {
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
func (g *Guard) address(host string, ip netip.Addr) error {
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
	case slices.ContainsFunc(metadata, func(p netip.Prefix) bool { return p.Contains(ip) }):
		kind = "a cloud's metadata service"
	case guardian.SafeAddr(ip) != nil:
		kind = "a reserved address"
	case slices.ContainsFunc(g.refused, func(p netip.Prefix) bool { return p.Contains(ip) }):
		kind = "refused by LOGSCAN_REFUSE_TARGETS"
	case g.own != nil && g.own(ip):
		kind = "an address of this host, refused by LOGSCAN_REFUSE_TARGETS"
	default:
		return nil
	}
	return refusal(fmt.Sprintf("%s is %s, where nothing may be sent; LOGSCAN_ALLOW_TARGETS can allow it", ip, kind))
}

// isOwn reports whether an interface of this host has an address, or whether that
// can't be told. The plugin's network is the host's.
func isOwn(ip netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap().WithZone("") == ip
	})
}

// Dial connects to a host and port. It checks each address just before connecting
// to it, when no name can change any more.
func (g *Guard) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{
		Resolver: g.resolver,
		ControlContext: func(_ context.Context, _, addr string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(addr)
			if err != nil {
				return refusal("the target has no IP address")
			}
			return g.address(host, ap.Addr())
		},
	}
	return d.DialContext(ctx, network, addr)
}

// Parse is url.Parse with an error that doesn't repeat the URL.
func Parse(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, refusal("is not a valid URL")
	}
	return u, nil
}

// Check says why nothing may be sent to a host, which may have a port. A name that
// can't be resolved now is accepted, since Dial checks each address again. The
// error doesn't repeat the host.
func (g *Guard) Check(hostport string) error {
	u := url.URL{Host: hostport}
	host := u.Hostname()
	if host == "" {
		return refusal("has no host")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return refusal("has a port that is not from 1 to 65535")
		}
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r > '~' || r <= ' ' }) {
		return refusal("has a host with characters beyond ASCII; write it in its xn-- form")
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return g.address(host, ip)
	}
	name := normal(host)
	switch {
	case oddAddress(name):
		return refusal("has a host that looks like an IP address in an unusual form; write it as four decimal numbers")
	case slices.Contains(g.hosts, name):
		return nil
	case name == "localhost" || strings.HasSuffix(name, ".localhost"):
		return refusal("localhost is a loopback address, where nothing may be sent; LOGSCAN_ALLOW_TARGETS can allow it")
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
