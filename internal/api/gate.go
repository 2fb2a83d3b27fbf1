package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
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
	// maxAddresses bounds what is remembered; the longest quiet goes first.
	maxAddresses = 1024
)

// SameOrigin refuses what a browser sends for a page from elsewhere, reads too:
// nothing here is for other sites. net/http's CrossOriginProtection would let
// reads pass.
func SameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if foreign(r) {
			w.Header().Set("Connection", "close")
			refuse(w, http.StatusForbidden, "requests from pages of other origins are refused")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "": // no browser, or an old one
	default:
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host == "" || u.Host != r.Host
}

type gateKey struct{}

// passage is how a request came over TCP.
type passage struct{ anonymous bool }

func overTCP(ctx context.Context) bool { return ctx.Value(gateKey{}) != nil }

// anonymous reports a request over TCP without the token.
func anonymous(ctx context.Context) bool {
	p, ok := ctx.Value(gateKey{}).(passage)
	return ok && p.anonymous
}

// Gate stands before the API where it listens on TCP: without the token nothing
// gets through but the short form of /healthz. A wrong token is answered late,
// and later each time; the right one at once, whatever came before it from
// there. That the answer holds a connection is what slows guessing down, since
// an address has a bounded number of them (Bound).
//
// A name that is made to point here (DNS rebinding) gains nothing: a page under
// it doesn't have the token, which no browser adds by itself. So any Host will
// do, and those who reach the API by a name of their own need no setting.
type Gate struct {
	hash  [sha256.Size]byte
	next  http.Handler
	now   func() time.Time
	sleep func(time.Duration)

	mu    sync.Mutex // guards wrong
	wrong map[netip.Prefix]attempts
}

// attempts are the wrong ones of an address.
type attempts struct {
	n      int
	latest time.Time
}

// NewGate returns the gate of a token, which must not be empty.
func NewGate(token string, next http.Handler) *Gate {
	return &Gate{hash: sha256.Sum256([]byte(token)), next: next, now: time.Now, sleep: time.Sleep, wrong: map[netip.Prefix]attempts{}}
}

func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	// Hashes have one length, so that the time tells nothing of the token's.
	hash := sha256.Sum256([]byte(strings.TrimSpace(token)))
	right := subtle.ConstantTimeCompare(hash[:], g.hash[:]) == 1 && strings.EqualFold(scheme, "Bearer")
	p := passage{anonymous: !right}
	if right || token == "" && r.URL.Path == healthPath {
		g.next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), gateKey{}, p)))
		return
	}
	detail := "this needs the header Authorization: Bearer TOKEN; `docker logscan token` shows the token"
	if token != "" {
		detail = "the token is wrong; `docker logscan token` shows the right one"
		g.sleep(g.delay(r.RemoteAddr))
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="logscan"`)
	w.Header().Set("Connection", "close") // the body is not read
	refuse(w, http.StatusUnauthorized, detail)
}

// delay counts a wrong token and says how long its answer takes.
func (g *Gate) delay(remote string) time.Duration {
	addr := network(remote)
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.wrong[addr]
	if now.Sub(a.latest) > forgetAfter {
		a.n = 0
	}
	a.n, a.latest = a.n+1, now
	g.wrong[addr] = a
	if len(g.wrong) > maxAddresses {
		maps.DeleteFunc(g.wrong, func(_ netip.Prefix, a attempts) bool { return now.Sub(a.latest) > forgetAfter })
	}
	if len(g.wrong) > maxAddresses {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(g.wrong)), func(a, b netip.Prefix) int {
			return cmp.Compare(g.wrong[a].latest.UnixNano(), g.wrong[b].latest.UnixNano())
		})
		delete(g.wrong, oldest)
	}
	return min(firstDelay<<min(a.n-1, 10), longestDelay)
}

// network is what counts as one address: an IPv6 host has a whole /64.
func network(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // bits are right
	return p
}

// Bound returns a listener that has at most total connections open, and perAddr
// of one address. One more is closed at once, so that those who hold theirs
// don't keep others from being seen.
func Bound(l net.Listener, total, perAddr int) net.Listener {
	return &boundListener{Listener: l, total: total, perAddr: perAddr, open: map[netip.Prefix]int{}}
}

type boundListener struct {
	net.Listener
	total, perAddr int

	mu   sync.Mutex // guards n and open
	n    int
	open map[netip.Prefix]int
}

func (l *boundListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := network(c.RemoteAddr().String())
		if l.take(addr) {
			return &boundConn{Conn: c, free: sync.OnceFunc(func() { l.give(addr) })}, nil
		}
		c.Close()
	}
}

func (l *boundListener) take(addr netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n >= l.total || l.open[addr] >= l.perAddr {
		return false
	}
	l.n++
	l.open[addr]++
	return true
}

func (l *boundListener) give(addr netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n--
	if l.open[addr]--; l.open[addr] == 0 {
		delete(l.open, addr)
	}
}

type boundConn struct {
	net.Conn
	free func()
}

func (c *boundConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
