package channeltest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

// Request is one that a Receiver got.
type Request struct {
	Method, Host string
	URI          string // path and query, as they came
	Header       http.Header
	Body         string
}

// JSON decodes the body, which must be one value, sent as JSON.
func (r Request) JSON(t testing.TB) (v map[string]any) {
	t.Helper()
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	if err := json.Unmarshal([]byte(r.Body), &v); err != nil {
		t.Errorf("the body is not JSON: %v", err)
	}
	return v
}

// Form decodes the body, which must be a form.
func (r Request) Form(t testing.TB) url.Values {
	t.Helper()
	if got := r.Header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
		t.Errorf("content type %q", got)
	}
	v, err := url.ParseQuery(r.Body)
	if err != nil {
		t.Errorf("the body is not a form: %v", err)
	}
	return v
}

// Answer is what a Receiver answers.
type Answer struct {
	Status int // 0 for 200
	Header map[string]string
	Body   string
	Close  bool // the connection instead
}

// Receiver is a service on loopback that records what it gets.
type Receiver struct {
	Host string // and port

	mu       sync.Mutex
	requests []Request
	answer   Answer
	answers  map[string]Answer // by path
}

// Receive starts a receiver for the length of a test. It answers 200.
func Receive(t testing.TB) *Receiver {
	r := &Receiver{}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.Host = strings.TrimPrefix(s.URL, "http://")
	return r
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	r.mu.Lock()
	r.requests = append(r.requests, Request{q.Method, q.Host, q.RequestURI, q.Header, string(body)})
	a, own := r.answers[q.URL.Path]
	if !own {
		a = r.answer
	}
	r.mu.Unlock()
	if a.Close {
		panic(http.ErrAbortHandler)
	}
	for name, value := range a.Header {
		w.Header().Set(name, value)
	}
	if a.Status != 0 {
		w.WriteHeader(a.Status)
	}
	io.WriteString(w, a.Body)
}

// Answer sets what is answered from now on.
func (r *Receiver) Answer(a Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = a
}

// AnswerAt sets what is answered at a path from now on.
func (r *Receiver) AnswerAt(path string, a Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers == nil {
		r.answers = map[string]Answer{}
	}
	r.answers[path] = a
}

// Take returns the requests since the last call.
func (r *Receiver) Take() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.requests
	r.requests = nil
	return all
}

// One is Take where there must be one.
func (r *Receiver) One(t testing.TB) Request {
	t.Helper()
	all := r.Take()
	if len(all) != 1 {
		t.Fatalf("%d requests, not 1", len(all))
	}
	return all[0]
}

// Client is one that may send to loopback.
func Client(t testing.TB) *egress.Client {
	g, bad := egress.NewGuard(egress.Targets{Allow: []string{"127.0.0.1"}}, nil)
	if bad != nil {
		t.Fatal(bad)
	}
	c := egress.NewClient(g, time.Minute, func() time.Time { return At })
	t.Cleanup(c.Close)
	return c
}

// Open returns the channel of a kind that a URL and a secret stand for.
func Open(t testing.TB, k channel.Kind, rawURL, secret string) channel.Channel {
	t.Helper()
	c, err := open(t, k, rawURL, secret)
	if err != nil {
		t.Fatalf("%s: %v", rawURL, err)
	}
	return c
}

func open(t testing.TB, k channel.Kind, rawURL, secret string) (channel.Channel, error) {
	u, err := egress.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if !k.Has(u.Scheme) {
		t.Errorf("%s is no scheme of %s", u.Scheme, k.Title)
	}
	return k.New(channel.Config{URL: u, Secret: secret, Client: Client(t)})
}

// Refuse checks that URLs and secrets are refused: each case is a URL, a secret and
// a part of the reason.
func Refuse(t *testing.T, k channel.Kind, cases ...[3]string) {
	for _, c := range cases {
		_, err := open(t, k, c[0], c[1])
		switch {
		case err == nil:
			t.Errorf("%s (%q) is accepted", c[0], c[1])
		case !strings.Contains(err.Error(), c[2]):
			t.Errorf("%s (%q): %q doesn't say %q", c[0], c[1], err, c[2])
		case len(c[1]) > 3 && strings.Contains(err.Error(), c[1]):
			t.Errorf("%s (%q): %q has the secret", c[0], c[1], err)
		}
	}
}
