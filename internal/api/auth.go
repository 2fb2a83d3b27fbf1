package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"logscan/internal/store"
)

// Scope is what a token is good for; each includes those before it.
type Scope string

const (
	// ScopeMetrics reads /metrics.
	ScopeMetrics Scope = "metrics"
	// ScopeRead reads all but secrets and tokens.
	ScopeRead Scope = "read"
	// ScopeWrite changes what is watched and who is told of it, but not where
	// anything is sent, nor what only an admin could put back: it makes and
	// removes no trigger, and changes no URL and no secret.
	ScopeWrite Scope = "write"
	// ScopeAdmin does everything. The token of LOGSCAN_TOKEN, or the generated
	// one, has it, and so has the unix socket.
	ScopeAdmin Scope = "admin"
)

// Scopes are all there are, in their order.
var Scopes = []Scope{ScopeMetrics, ScopeRead, ScopeWrite, ScopeAdmin}

// includes reports whether s is enough where need is required.
func (s Scope) includes(need Scope) bool {
	have := slices.Index(Scopes, s)
	return have >= 0 && have >= slices.Index(Scopes, need)
}

// caller is who a request over TCP comes from.
type caller struct {
	scope Scope // "" without a token
	hash  [sha256.Size]byte
}

type callerKey struct{}

func overTCP(ctx context.Context) bool { return ctx.Value(callerKey{}) != nil }

// may reports whether the caller has a scope. Without a caller the request came
// over the unix socket.
func may(ctx context.Context, need Scope) bool {
	c, ok := ctx.Value(callerKey{}).(caller)
	return !ok || c.scope.includes(need)
}

// Tokens are those that open the API over TCP. Safe concurrently.
type Tokens struct {
	mu   sync.RWMutex // guards good
	good map[int64]caller
}

// adminToken stands for the id of the token that isn't stored.
const adminToken = 0

// SetAdmin makes token, which must not be empty, the admin's.
func (t *Tokens) SetAdmin(token string) {
	t.add(store.Token{ID: adminToken, Scope: string(ScopeAdmin), Hash: sha256.Sum256([]byte(token))})
}

// Load adds the stored tokens.
func (t *Tokens) Load(ctx context.Context, st *store.Store) error {
	stored, err := st.Tokens(ctx)
	for _, s := range stored {
		t.add(s)
	}
	return err
}

func (t *Tokens) add(s store.Token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.good == nil {
		t.good = map[int64]caller{}
	}
	t.good[s.ID] = caller{Scope(s.Scope), s.Hash}
}

func (t *Tokens) remove(id int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.good, id)
}

// find returns the caller whose token has a hash. Hashes have one length, and
// all are compared, so that the time tells nothing.
func (t *Tokens) find(hash [sha256.Size]byte) (found caller, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, c := range t.good {
		if subtle.ConstantTimeCompare(hash[:], c.hash[:]) == 1 {
			found, ok = c, true
		}
	}
	return found, ok
}

// stand reports whether the token that a request came with is good still.
func (t *Tokens) stand(ctx context.Context) bool {
	c, tcp := ctx.Value(callerKey{}).(caller)
	if !tcp {
		return true
	}
	_, ok := t.find(c.hash)
	return ok
}

// newToken returns a token and what is stored of it.
func newToken() (string, [sha256.Size]byte) {
	token := "logscan_" + rand.Text()
	return token, sha256.Sum256([]byte(token))
}

// Gate stands before the API where it listens on TCP: without a token nothing
// gets through but the short form of /healthz, and the page behind a message's link. A wrong token is answered late,
// and later each time; a right one at once, whatever came before it from there.
// That slows guessing down as far as an address's connections are bounded
// (Limit); what makes it hopeless is the length of tokens.
//
// A name that is made to point here (DNS rebinding) gains nothing: a page under
// it doesn't have a token, which no browser adds by itself. So any Host will
// do, and those who reach the API by a name of their own need no setting.
type Gate struct {
	tokens  *Tokens
	proxies Proxies
	next    http.Handler
	delays  delays
	sleep   func(time.Duration)
}

// NewGate returns the gate before next.
func NewGate(tokens *Tokens, proxies Proxies, next http.Handler) *Gate {
	return &Gate{tokens: tokens, proxies: proxies, next: next, delays: newDelays(), sleep: time.Sleep}
}

func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	c, right := g.tokens.find(sha256.Sum256([]byte(strings.TrimSpace(token))))
	right = right && strings.EqualFold(scheme, "Bearer")
	if right || token == "" && (r.URL.Path == healthPath || isAction(r)) {
		g.next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
		return
	}
	w.Header().Set("Connection", "close") // the body is not read
	status, detail := http.StatusUnauthorized, "this needs the header Authorization: Bearer TOKEN; `docker logscan token` shows the token"
	if token != "" {
		addr := network(g.proxies.client(r))
		delay, granted := g.delays.begin(addr, time.Now())
		if granted {
			detail = "the token is wrong; `docker logscan token` shows the right one"
			g.sleep(delay)
			g.delays.end(addr)
		} else {
			status, detail = http.StatusTooManyRequests, "too many wrong tokens from this address"
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(delay.Seconds()))))
		}
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="logscan"`)
	}
	refuse(w, status, detail)
}

// scopeOf is what an operation requires: reading for a GET and writing for all
// else, unless it is an exception.
func scopeOf(method, id string) Scope {
	switch id {
	case "get-health":
		return "" // without a token too, if less
	case "get-metrics":
		return ScopeMetrics
	case "create-trigger", "delete-trigger", "get-token", "list-tokens", "create-token", "delete-token":
		return ScopeAdmin
	}
	if method == http.MethodGet {
		return ScopeRead
	}
	return ScopeWrite
}

// authorize refuses operations that the caller's token isn't good for.
func authorize(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		op := ctx.Operation()
		need := scopeOf(op.Method, op.OperationID)
		if need == "" || may(ctx.Context(), need) {
			next(ctx)
			return
		}
		// The connection's client is the one to say so if this fails.
		_ = huma.WriteErr(api, ctx, http.StatusForbidden, outOfScope(ctx.Context(), need))
	}
}

// outOfScope says what a token lacks.
func outOfScope(ctx context.Context, need Scope) string {
	c, _ := ctx.Value(callerKey{}).(caller)
	return fmt.Sprintf("the token's scope is %s; this needs %s", c.scope, need)
}
