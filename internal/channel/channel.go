// Package channel has what all ways of telling people share: what a message is,
// what a channel is, and how a message becomes text. Each channel is a package
// beneath it.
//
// What a channel promises:
//   - Send makes one attempt, of a bounded time, through package egress; the
//     caller alone decides when there is another one. The same message gives the
//     same requests each time, with the service's own idempotency key where it has
//     one.
//   - A Verdict's reason has no URL, no token and nothing that the receiver sent.
//   - A line that a container wrote is text wherever it is shown: it can't mention
//     anybody, forge a link, leave its block, add a header or reorder what is
//     beside it.
package channel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"logscan/internal/egress"
)

// Channel tells people through one service. It is safe concurrently.
type Channel interface {
	Send(ctx context.Context, m Message) Verdict
}

// Verdict is what became of one attempt. The zero Verdict is success.
type Verdict struct {
	Status int           // of the answer; 0 where there was none, or no number
	Reason string        // why it failed; "" where it didn't
	Final  bool          // failed for good: another attempt would end alike
	Wait   time.Duration // what the receiver asks for
	// Ref is by what the service knows the message that shows an incident now, for
	// the next message about it; "" for nothing new.
	Ref string
	// Said is what the receiver answered, bounded and printable. It may quote
	// what was sent and is for who tests a channel alone.
	Said string
}

// Config is what a channel is made of.
type Config struct {
	URL    *url.URL
	Secret string // a token, password or key, where the URL doesn't hold it
	Client *egress.Client
}

// Kind is a service that messages can be sent to.
type Kind struct {
	Scheme  string   // of its URLs: "ntfy"
	Plain   bool     // "ntfy+http" is the same without TLS
	Other   []string // further schemes, such as "smtps"
	Title   string   // "ntfy"
	Example string   // a URL
	Secret  string   // what the secret is; "" where there is none
	// Target is the host that a URL leads to, and its port; nil: the URL's own.
	Target func(*url.URL) (host string)
	// Single says that a message has one notice: each incident is a thing of its
	// own there. Messages about it come in their order.
	Single bool
	// Refers reports whether what becomes of an incident is shown in one place,
	// to which messages about it alone refer; nil: never.
	Refers func(*url.URL) bool
	// Asked says that the service tells what people press below a message, where it
	// is asked: people need not reach logscan.
	Asked bool
	// Acknowledges says that the service keeps that an incident was acknowledged.
	Acknowledges bool
	// Resend is how often what is open is told again, as it was told last, because the
	// service forgets it, or is to: see Message.Again. Only a Single kind has it; 0 is
	// never.
	Resend time.Duration
	// CheckSecret says why a new secret can't be used, where New takes it; nil:
	// it can.
	CheckSecret func(string) error
	// New checks all that can be checked without sending. Its error is a reason
	// for users, without a secret; it is an ErrSecret where the secret is wrong,
	// and else about the URL.
	New func(Config) (Channel, error)
}

// ErrSecret marks what is wrong with a secret.
var ErrSecret = errors.New("secret")

// SecretError is a reason for users that is an ErrSecret.
type SecretError string

func (e SecretError) Error() string { return string(e) }

// Is implements errors.Is's.
func (e SecretError) Is(target error) bool { return target == ErrSecret }

// Has reports whether a URL's scheme is the kind's.
func (k Kind) Has(scheme string) bool {
	return scheme == k.Scheme || k.Plain && scheme == k.Scheme+"+http" || slices.Contains(k.Other, scheme)
}

// Base is the address at which a URL's service is reached: https where the scheme
// is the service's, http behind "+http".
func Base(u *url.URL) *url.URL {
	b := &url.URL{Scheme: "https", Host: u.Host}
	if strings.HasSuffix(u.Scheme, "+http") {
		b.Scheme = "http"
	}
	return b
}

// BaseAt is Base of a service that is at a host where a URL names none.
func BaseAt(u *url.URL, host string) *url.URL {
	b := Base(u)
	if b.Host == "" {
		b.Host = host
	}
	return b
}

// Judge turns a service's answer into a verdict, as most services mean it: 2xx is
// success; final are the statuses that no other attempt changes (nil: 400, 410, 413,
// 415 and 422; proxies answer 404 while what is behind them starts, and 401 or 403
// while a secret is being changed).
func Judge(a egress.Answer, err error, final []int) Verdict {
	if err != nil {
		return Verdict{Reason: err.Error()}
	}
	if final == nil {
		final = finalStatuses
	}
	v := Verdict{Status: a.Status, Said: Line(string(a.Body), maxSaid)}
	switch code := a.Status; {
	case code >= 200 && code < 300:
	case code >= 300 && code < 400:
		v.Reason = fmt.Sprintf("the receiver answered %d, a redirect; they are not followed", code)
	default:
		v.Reason = fmt.Sprintf("the receiver answered %d", code)
		v.Final = slices.Contains(final, code)
		v.Wait = a.RetryAfter()
	}
	return v
}

// maxSaid is how many bytes of an answer a verdict has.
const maxSaid = 300

var finalStatuses = []int{
	http.StatusBadRequest, http.StatusGone, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
}

// PostJSON posts v to a URL, with headers besides.
func PostJSON(ctx context.Context, c *egress.Client, to string, headers map[string]string, v any) (egress.Answer, error) {
	return SendJSON(ctx, c, http.MethodPost, to, headers, v)
}

// SendJSON is PostJSON with another method.
func SendJSON(ctx context.Context, c *egress.Client, method, to string, headers map[string]string, v any) (egress.Answer, error) {
	body, err := encode(v)
	if err != nil {
		return egress.Answer{}, egress.Failure("the message can't be encoded")
	}
	req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(body))
	if err != nil {
		return egress.Answer{}, egress.Failure("the trigger's URL is not valid")
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	return c.Do(req)
}

func encode(v any) (string, error) {
	var body strings.Builder
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return body.String(), err
}

// JSONSize is how many bytes a text takes in what SendJSON sends, without quotes.
func JSONSize(s string) int {
	encoded, _ := encode(s) // a string can always be encoded
	return len(encoded) - len("\"\"\n")
}
