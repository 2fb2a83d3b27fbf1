package api

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"logscan/internal/action"
	"logscan/internal/incident"
	"logscan/internal/store"
)

// act is the page behind a message's links: it shows the incident and asks; only what
// its button posts changes anything. The link is the permission.
func (s *server) act(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin") // the address is the permission; with none at all, browsers would send the button's Origin as null
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		h.Set("Allow", "GET, POST")
		s.actPage(w, http.StatusMethodNotAllowed, actPage{Title: "Not like this", Problem: "Open the link in a browser."})
		return
	}
	token := strings.TrimPrefix(r.URL.Path, action.Path)
	a, err := action.Verify(s.ActionKey, token, time.Now())
	switch {
	case errors.Is(err, action.ErrExpired):
		s.actPage(w, http.StatusGone, actPage{Title: "Expired", Problem: err.Error() + "."})
		return
	case err != nil || len(s.ActionKey) == 0:
		s.actPage(w, http.StatusForbidden, actPage{Title: "Not a link of logscan's", Problem: action.ErrForged.Error() + "."})
		return
	}
	if s.Store == nil {
		s.actPage(w, http.StatusServiceUnavailable, actPage{Title: "Not yet", Problem: "The database isn't open yet. Try again in a moment."})
		return
	}
	var i incident.Incident
	used := false
	if r.Method == http.MethodPost {
		i, err = s.Store.ChangeIncidentOnce(r.Context(), a.Incident, token, a.Until, func(i *incident.Incident) (incident.Notice, error) {
			return a.Verb.Do(i, time.Now(), "a link in a message")
		})
		used = errors.Is(err, store.ErrUsed)
		if used || errors.Is(err, incident.ErrResolved) {
			i, err = s.Store.Incident(r.Context(), a.Incident)
		}
	} else if used, err = s.Store.Used(r.Context(), token); err == nil {
		i, err = s.Store.Incident(r.Context(), a.Incident)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.actPage(w, http.StatusNotFound, actPage{Title: "Gone", Problem: "The incident is no longer kept."})
		return
	case err != nil:
		s.Logger.Error("link of a message", "err", err)
		s.actPage(w, http.StatusInternalServerError, actPage{Title: "Not done", Problem: "Something went wrong inside logscan; its log says more."})
		return
	}
	page := actPage{Title: fmt.Sprintf("Incident %d", i.ID), Incident: &i}
	switch {
	case used:
		page.Problem = "This link was used before: each is good once."
		s.actPage(w, http.StatusConflict, page)
	case i.State == incident.Resolved && (r.Method != http.MethodPost || a.Verb != action.Resolve):
		page.Problem = "The incident is resolved already."
		s.actPage(w, http.StatusOK, page)
	case r.Method == http.MethodPost:
		page.Done = "Done: the incident is " + string(i.State) + "."
		s.actPage(w, http.StatusOK, page)
	default:
		page.Ask = a.Verb.Label()
		s.actPage(w, http.StatusOK, page)
	}
}

// actPage is what the page says.
type actPage struct {
	Title, Problem, Done string
	Ask                  string // the button's label; "" for no button
	Incident             *incident.Incident
}

func (s *server) actPage(w http.ResponseWriter, status int, p actPage) {
	w.WriteHeader(status)
	if err := actTemplate.Execute(w, p); err != nil {
		s.Logger.Debug("page of a link not sent", "err", err)
	}
}

var actTemplate = template.Must(template.New("act").Parse(`<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>{{.Title}} – logscan</title></head>
<body>
<h1>{{.Title}}</h1>
{{with .Incident}}<dl>
<dt>Severity</dt><dd>{{.Severity}}</dd>
<dt>Rule</dt><dd>{{.Rule}}</dd>
<dt>Workload</dt><dd>{{.Key.Workload}}</dd>
<dt>Container</dt><dd>{{.Container}}</dd>
<dt>State</dt><dd>{{.State}}</dd>
<dt>Seen</dt><dd>{{.Matches}} times, from {{.First.UTC.Format "2006-01-02 15:04:05 UTC"}} to {{.Last.UTC.Format "2006-01-02 15:04:05 UTC"}}</dd>
<dt>Last line</dt><dd><pre>{{.LastText}}</pre></dd>
</dl>{{end}}
{{with .Problem}}<p role="alert">{{.}}</p>{{end}}
{{with .Done}}<p role="status">{{.}}</p>{{end}}
{{with .Ask}}<form method="post"><button type="submit">{{.}}</button></form>{{end}}
</body>
</html>
`))
