// Package webhook sends messages as JSON to a URL, in the way of Standard Webhooks
// (https://www.standardwebhooks.com).
package webhook

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

// minKey and maxKey bound what a whsec_ secret stands for, by Standard Webhooks.
const minKey, maxKey = 24, 64 // bytes

// Kind is a webhook's.
var Kind = channel.Kind{
	Scheme: "https", Other: []string{"http"}, Title: "webhook", Example: "https://hooks.example.com/logscan",
	Secret: "signs what is sent", CheckSecret: checkSecret,
	New: func(c channel.Config) (channel.Channel, error) {
		return &Webhook{client: c.Client, url: c.URL.String(), secret: c.Secret}, nil
	},
}

// Webhook posts to one URL.
type Webhook struct {
	client      *egress.Client
	url, secret string
}

// Payload is the body of a webhook, with D as what there is to say.
type Payload[D any] struct {
	Mark      string    `json:"mark,omitempty"` // first: receivers may log the beginning only
	Type      string    `json:"type"`           // "logscan.incident", "logscan.hit" or "logscan.system"
	Timestamp time.Time `json:"timestamp"`
	Test      bool      `json:"test,omitempty"`
	Data      D         `json:"data"`
}

// data is what there is to say.
type data struct {
	Title   string           `json:"title"`
	Notices []channel.Notice `json:"notices"`
	Held    channel.Held     `json:"held,omitzero"`
	URL     string           `json:"url,omitempty"`
}

// Send implements channel.Channel.
func (w *Webhook) Send(ctx context.Context, m channel.Message) channel.Verdict {
	body, err := json.Marshal(Payload[data]{Mark: m.Mark, Type: "logscan.incident", Timestamp: m.At.UTC(), Test: m.Test, Data: data{m.Heading(), m.Notices, m.Held, m.URL}})
	if err != nil {
		return channel.Verdict{Reason: "the message can't be encoded", Final: true}
	}
	return w.Post(ctx, m.ID, body)
}

// Post sends a body under an id, the same in each attempt.
func (w *Webhook) Post(ctx context.Context, id string, body []byte) channel.Verdict {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return channel.Verdict{Reason: "the trigger's URL is not valid"}
	}
	now := w.client.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(webhooks.HeaderWebhookID, id)
	req.Header.Set(webhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	wh, err := signer(w.secret)
	if err == nil && wh != nil {
		var signature string
		signature, err = wh.Sign(id, now, body)
		req.Header.Set(webhooks.HeaderWebhookSignature, signature)
	}
	if err != nil {
		return channel.Verdict{Reason: "the delivery could not be signed"}
	}
	a, err := w.client.Do(req)
	return channel.Judge(a, err, nil)
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

// checkSecret refuses a secret that looks like one of Standard Webhooks and isn't:
// taken as the text that it is, it would sign so that no receiver can verify it.
func checkSecret(secret string) error {
	encoded, ok := strings.CutPrefix(secret, "whsec_")
	if !ok {
		return nil
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case err != nil:
		return errors.New("begins with whsec_, but what follows is not base64; was its end, such as =, lost in copying?")
	case len(key) < minKey || len(key) > maxKey:
		return fmt.Errorf("stands for %d bytes; a whsec_ secret has from %d to %d", len(key), minKey, maxKey)
	}
	return nil
}
