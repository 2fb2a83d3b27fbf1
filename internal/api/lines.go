package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"logscan/internal/fields"
	"logscan/internal/query"
)

const (
	ndjson    = "application/x-ndjson"
	wentWrong = "something went wrong inside logscan; its log says more"
)

// registerLines has an operation be answered in lines of JSON, each a Record.
func registerLines[Record, In any](api huma.API, op huma.Operation, answer func(api huma.API, hc huma.Context, in *In)) {
	op.Responses = map[string]*huma.Response{"200": {
		Description: "OK", Content: map[string]*huma.MediaType{ndjson: {Schema: api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Record](), true, "")}},
	}}
	huma.Register(api, op, func(_ context.Context, in *In) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) { answer(api, hc, in) }}, nil
	})
}

// linesAnswer is one of lines of JSON that is streamed.
type linesAnswer struct {
	w        http.ResponseWriter
	buf      *bufio.Writer
	enc      *json.Encoder
	stands   func() bool   // whether the token is good still
	patience time.Duration // how long the client may take for what it is sent at once
	begun    bool
	failed   bool // the client is gone, or may hear no more
}

func (a *linesAnswer) record(r any) error {
	if !a.begun {
		a.begun = true
		a.w.Header().Set("Content-Type", ndjson)
		a.extend()
	}
	err := a.enc.Encode(r)
	a.failed = a.failed || err != nil
	return err
}

// extend gives the client time for what it is sent next.
func (a *linesAnswer) extend() {
	// Where that can't be set, the answer has the time that all have.
	_ = http.NewResponseController(a.w).SetWriteDeadline(time.Now().Add(a.patience))
}

// flush sends what was written.
func (a *linesAnswer) flush() error {
	if a.buf.Buffered() == 0 && !a.begun {
		return nil
	}
	if !a.stands() {
		a.failed = true
		return errTokenRemoved
	}
	a.extend()
	err := errors.Join(a.buf.Flush(), http.NewResponseController(a.w).Flush())
	a.failed = a.failed || err != nil
	return err
}

// answerLines begins an answer.
func (s *server) answerLines(hc huma.Context, patience time.Duration) *linesAnswer {
	_, w := humago.Unwrap(hc)
	a := &linesAnswer{w: w, buf: bufio.NewWriterSize(w, 32<<10), stands: func() bool { return s.Tokens.stand(hc.Context()) }, patience: patience}
	a.enc = json.NewEncoder(a.buf)
	a.enc.SetEscapeHTML(false)
	return a
}

// endLines ends an answer by a record that says that it is whole or, where err isn't nil,
// by one that says that it isn't, or by a refusal where nothing came of it.
func (s *server) endLines(api huma.API, hc huma.Context, a *linesAnswer, err error, whole, failed any) {
	switch {
	case err == nil:
		err = errors.Join(a.record(whole), a.flush())
	case hc.Context().Err() != nil || a.failed:
	case a.begun:
		s.Logger.Error("query of logs", "err", err)
		err = errors.Join(a.record(failed), a.flush())
	default:
		s.refuseLines(api, hc, err)
		return
	}
	if err != nil && hc.Context().Err() == nil {
		s.Logger.Debug("query of logs ended early", "err", err)
	}
}

// refuseLines answers a query of which nothing came.
func (s *server) refuseLines(api huma.API, hc huma.Context, err error) {
	status, text := http.StatusInternalServerError, wentWrong
	var details []error
	var wrong *fields.Error
	switch {
	case errors.As(err, &wrong):
		status, text = http.StatusUnprocessableEntity, wrong.Error()
		details = append(details, &huma.ErrorDetail{Location: "query." + wrong.Field, Message: wrong.Reason})
	case errors.Is(err, query.ErrNoContainer):
		status, text = http.StatusNotFound, err.Error()
	case errors.Is(err, query.ErrBusy):
		status, text = http.StatusServiceUnavailable, err.Error()
		hc.SetHeader("Retry-After", "5")
	default:
		s.Logger.Error("query of logs", "err", err)
	}
	// The connection's client is the one to say so if this fails.
	_ = huma.WriteErr(api, hc, status, text, details...)
}
