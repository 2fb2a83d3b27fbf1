package removal

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// answerTime bounds how long the Engine may take to begin an answer.
const answerTime = 30 * time.Second

// engine asks the Engine at a socket.
type engine struct{ http *http.Client }

func dial(socket string) engine {
	return engine{&http.Client{Transport: &http.Transport{
		DisableKeepAlives:     true,
		ResponseHeaderTimeout: answerTime,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// get asks for path. The paths have no version: what is read here is the same in
// all of them.
func (e engine) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	res, err := e.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("the Engine answers %s to GET %s", res.Status, path)
	}
	return res.Body, nil
}

// destroyed follows the events of containers that were destroyed, beginning with
// the oldest that the Engine remembers. The Engine has begun to listen for new
// ones when it returns.
func (e engine) destroyed(ctx context.Context) (*events, error) {
	body, err := e.get(ctx, "/events", url.Values{
		"since":   {"1"}, // 0 would be now
		"filters": {`{"type":["container"],"event":["destroy"]}`},
	})
	if err != nil {
		return nil, err
	}
	return &events{body, json.NewDecoder(body)}, nil
}

type events struct {
	body io.ReadCloser
	dec  *json.Decoder
}

// next waits for the next event and returns the container's id.
func (e *events) next() (id string, err error) {
	for {
		var ev struct {
			Type, Action string
			Actor        struct{ ID string }
		}
		if err := e.dec.Decode(&ev); err != nil {
			return "", err
		}
		if ev.Type == "container" && ev.Action == "destroy" { // as was asked for
			return ev.Actor.ID, nil
		}
	}
}

// containers returns the ids of all containers, stopped ones too.
func (e engine) containers(ctx context.Context) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	body, err := e.get(ctx, "/containers/json", url.Values{"all": {"1"}})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var list []struct{ ID string }
	if err := json.NewDecoder(body).Decode(&list); err != nil {
		return nil, err
	}
	ids := make(map[string]bool, len(list))
	for _, c := range list {
		ids[c.ID] = true
	}
	return ids, nil
}
