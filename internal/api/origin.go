package api

import (
	"net/http"
	"net/url"
)

// SameOrigin refuses what a browser sends for a page from elsewhere, reads too:
// nothing here is for other sites. net/http's CrossOriginProtection would let
// reads pass.
func SameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A link in a message leads here from elsewhere, and to open it changes
		// nothing.
		opens := isAction(r) && (r.Method == http.MethodGet || r.Method == http.MethodHead)
		if !opens && foreign(r) {
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
