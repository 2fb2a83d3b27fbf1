package trigger

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"logscan/internal/store"
)

const (
	defaultTimeout = 10 * time.Second
	// maxAnswer is how much of an answer is read, only to be able to use the
	// connection again.
	maxAnswer = 64 << 10
)

// payload is the body of a delivery; see the package's documentation.
type payload struct {
	Mark      string      `json:"mark,omitempty"` // first: receivers may log the beginning only
	Type      string      `json:"type"`
	Timestamp time.Time   `json:"timestamp"`
	Test      bool        `json:"test,omitempty"`
	Data      store.Event `json:"data"`
}

func newPayload(e store.Event, test bool, mark string) ([]byte, error) {
	kind := "logscan.hit"
	if e.Source == store.SourceSystem {
		kind = "logscan.system"
	}
	if e.Metadata == nil {
		e.Metadata = map[string]any{}
	}
	if _, many := e.Metadata[store.InARow]; many && mark != "" {
		e.Message = "[" + mark + "] " + e.Message
	}
	e.CreatedAt = e.CreatedAt.UTC()
	return json.Marshal(payload{Mark: mark, Type: kind, Timestamp: e.CreatedAt, Test: test, Data: e})
}

// signer returns what signs with a secret, or nil for none.
func signer(secret string) (*webhooks.Webhook, error) {
	if secret == "" {
		return nil, nil
	}
	if rest, ok := strings.CutPrefix(secret, "whsec_"); ok && rest != "" {
		if w, err := webhooks.NewWebhook(secret); err == nil {
			return w, nil
		}
	}
	return webhooks.NewWebhookRaw([]byte(secret))
}

// outcome is what became of one attempt.
type outcome struct {
	status int           // 0 where there was no answer
	reason string        // why it failed; "" where it didn't
	final  bool          // failed for good
	wait   time.Duration // what the receiver asks for
}

// sender makes single attempts.
type sender struct {
	client  *http.Client
	timeout time.Duration
	now     func() time.Time
}

func newSender(g *guard, timeout time.Duration, now func() time.Time) *sender {
	return &sender{
		timeout: timeout, now: now,
		client: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				DialContext:            g.dial,
				MaxResponseHeaderBytes: maxAnswer,
				DisableCompression:     true,
				MaxIdleConnsPerHost:    2,
				IdleConnTimeout:        30 * time.Second,
			},
		},
	}
}

// send makes one attempt. It is over after the sender's timeout.
func (s *sender) send(ctx context.Context, t store.Trigger, id string, body []byte) outcome {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.ActionURL, bytes.NewReader(body))
	if err != nil {
		return outcome{reason: "the trigger's URL is not valid"}
	}
	now := s.now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "logscan")
	req.Header.Set(webhooks.HeaderWebhookID, id)
	req.Header.Set(webhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	wh, err := signer(t.ActionSecret)
	if err == nil && wh != nil {
		var signature string
		signature, err = wh.Sign(id, now, body)
		req.Header.Set(webhooks.HeaderWebhookSignature, signature)
	}
	if err != nil {
		return outcome{reason: "the delivery could not be signed"}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return outcome{reason: s.describe(err)}
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // the status has said it all

	out := outcome{status: resp.StatusCode}
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return out
	case code >= 300 && code < 400:
		out.reason = fmt.Sprintf("the receiver answered %d, a redirect; they are not followed", code)
	default:
		out.reason = fmt.Sprintf("the receiver answered %d", code)
		out.final = code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests
		out.wait = retryAfter(resp.Header.Get("Retry-After"), now)
	}
	return out
}

// retryAfter reads the header: seconds or a date. It is bounded by a day.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if v == "" {
		return 0
	}
	var wait time.Duration
	if n, err := strconv.ParseUint(v, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		wait = time.Duration(min(n, uint64(keepTrying/time.Second))) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		wait = at.Sub(now)
	}
	return max(0, min(wait, keepTrying))
}

// describe puts a failure into words of our own. What the libraries say may
// hold the URL, or bytes that the peer sent.
func (s *sender) describe(err error) string {
	var (
		refused  errRefused
		dns      *net.DNSError
		errno    syscall.Errno
		record   tls.RecordHeaderError
		alert    tls.AlertError
		verify   *tls.CertificateVerificationError
		hostname x509.HostnameError
	)
	switch {
	case errors.As(err, &refused):
		return refused.Error()
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the receiver's name does not exist"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("no answer within %v", s.timeout)
	case errors.As(err, &dns):
		return "the receiver's name could not be resolved"
	case errors.As(err, &hostname):
		return "the receiver's certificate is for another name"
	case errors.As(err, &verify):
		return "the receiver's certificate is not trusted or not valid now"
	case errors.As(err, &record):
		return "the receiver does not speak TLS"
	case errors.As(err, &alert):
		return "the receiver refused the TLS handshake"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the receiver closed the connection without an answer"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return "the receiver's answer is not HTTP, or too large"
}
