package api

import (
	"cmp"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// A wrong token is answered after firstDelay; each further one from the
	// same address takes twice as long, up to longestDelay, until none has come
	// for forgetAfter.
	firstDelay   = 250 * time.Millisecond
	longestDelay = 8 * time.Second
	forgetAfter  = 15 * time.Minute
	// maxDelayed is how many answers to an address are held back at a time: each
	// holds a connection, and behind a proxy all clients share an address.
	maxDelayed = 8
	// maxAddresses bounds what is remembered; the longest quiet goes first.
	maxAddresses = 1024
)

// network is what counts as one address: an IPv6 host has a whole /64.
func network(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // bits are right, and the zero address has none
	return p
}

// addressOf reads an address with or without a port.
func addressOf(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap(), true
	}
	ip, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return ip.Unmap(), err == nil
}

// Proxies are the networks of proxies that are believed about whom they speak
// for.
type Proxies []netip.Prefix

func (p Proxies) contain(ip netip.Addr) bool {
	return slices.ContainsFunc(p, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// client is the address that a request comes from: the peer's or, where that is
// a proxy, the last one in X-Forwarded-For that is not. Anybody can write what
// stands before it.
func (p Proxies) client(r *http.Request) netip.Addr {
	ip, _ := addressOf(r.RemoteAddr)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !p.contain(ip) {
			break
		}
		before, ok := addressOf(strings.TrimSpace(hop))
		if !ok {
			break
		}
		ip = before
	}
	return ip
}

// delays count the wrong tokens of addresses. Safe concurrently.
type delays struct {
	mu    sync.Mutex // guards wrong
	wrong map[netip.Prefix]attempts
}

// attempts are the wrong tokens of an address.
type attempts struct {
	n       int
	latest  time.Time
	waiting int // answers that are being held back
}

func newDelays() delays { return delays{wrong: map[netip.Prefix]attempts{}} }

// begin counts a wrong token and says for how long its answer is to be held back;
// false where too many are. Each begin that was granted needs an end.
func (d *delays) begin(addr netip.Prefix, now time.Time) (time.Duration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.wrong[addr]
	if now.Sub(a.latest) > forgetAfter {
		a.n = 0
	}
	a.n, a.latest = a.n+1, now
	granted := a.waiting < maxDelayed
	if granted {
		a.waiting++
	}
	d.wrong[addr] = a
	if len(d.wrong) > maxAddresses {
		maps.DeleteFunc(d.wrong, func(_ netip.Prefix, a attempts) bool { return now.Sub(a.latest) > forgetAfter })
	}
	if len(d.wrong) > maxAddresses {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(d.wrong)), func(a, b netip.Prefix) int {
			return cmp.Compare(d.wrong[a].latest.UnixNano(), d.wrong[b].latest.UnixNano())
		})
		delete(d.wrong, oldest)
	}
	return min(firstDelay<<min(a.n-1, 10), longestDelay), granted
}

func (d *delays) end(addr netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a, ok := d.wrong[addr]; ok && a.waiting > 0 { // it may have been forgotten
		a.waiting--
		d.wrong[addr] = a
	}
}

// Limit bounds the connections of a server: PerAddr of one address, but for
// proxies, and Total in all. One more of an address is closed at once. One more
// in all takes the place of the connection that has waited for a request the
// longest, among those of the address that has the most of them: whoever holds
// connections without using them keeps nobody out.
type Limit struct {
	Total, PerAddr int
	Proxies        Proxies

	mu   sync.Mutex // guards the rest
	open map[*limitedConn]bool
	held map[netip.Prefix]int
}

// limitedConn is a connection that a Limit has let in.
type limitedConn struct {
	net.Conn
	addr    netip.Prefix
	waiting bool      // for a request; guarded by Limit.mu, as is since
	since   time.Time // when that began
	free    func()
}

func (c *limitedConn) Close() error {
	c.free()
	return c.Conn.Close()
}

// Apply bounds the connections that srv serves of l. It sets srv.ConnState.
func (m *Limit) Apply(srv *http.Server, l net.Listener) net.Listener {
	m.open, m.held = map[*limitedConn]bool{}, map[netip.Prefix]int{}
	srv.ConnState = func(c net.Conn, state http.ConnState) {
		if c, ok := c.(*limitedConn); ok {
			m.mu.Lock()
			defer m.mu.Unlock()
			c.waiting, c.since = state == http.StateNew || state == http.StateIdle, time.Now()
		}
	}
	return &limitedListener{l, m}
}

type limitedListener struct {
	net.Listener
	limit *Limit
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if in := l.limit.let(c); in != nil {
			return in, nil
		}
		c.Close()
	}
}

// let returns the connection to be served, or nil where there is no room.
func (m *Limit) let(c net.Conn) net.Conn {
	ip, _ := addressOf(c.RemoteAddr().String())
	in := &limitedConn{Conn: c, addr: network(ip), waiting: true, since: time.Now()}
	in.free = sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.dropLocked(in)
	})
	m.mu.Lock()
	if m.held[in.addr] >= m.PerAddr && !m.Proxies.contain(ip) {
		m.mu.Unlock()
		return nil
	}
	var out *limitedConn
	if len(m.open) >= m.Total {
		if out = m.idlestLocked(); out == nil {
			m.mu.Unlock()
			return nil
		}
		m.dropLocked(out)
	}
	m.open[in] = true
	m.held[in.addr]++
	m.mu.Unlock()
	if out != nil {
		out.Close()
	}
	return in
}

func (m *Limit) idlestLocked() (idlest *limitedConn) {
	for c := range m.open {
		if c.waiting && (idlest == nil || m.held[c.addr] > m.held[idlest.addr] || m.held[c.addr] == m.held[idlest.addr] && c.since.Before(idlest.since)) {
			idlest = c
		}
	}
	return idlest
}

func (m *Limit) dropLocked(c *limitedConn) {
	if !m.open[c] {
		return
	}
	delete(m.open, c)
	if m.held[c.addr]--; m.held[c.addr] == 0 {
		delete(m.held, c.addr)
	}
}
