package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
)

// cut is how much of a message is logged behind a prefix.
const cut = 200

// receive takes webhooks at addr and logs each before it is answered: the
// message alone, the message behind "alert: " and cut off, or the whole body.
// The first line says where it listens. It ends with stop.
func receive(addr, what string, stop <-chan struct{}) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	var mu sync.Mutex // one line at a time
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var hook struct {
			Data struct{ Message string }
		}
		if err == nil {
			err = json.Unmarshal(body, &hook)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		line := hook.Data.Message
		switch what {
		case "body":
			line = string(body)
		case "alert":
			line = "alert: " + line
			line = line[:min(len(line), cut)]
		}
		mu.Lock()
		fmt.Println(line)
		mu.Unlock()
	})}
	fmt.Printf("listening on %s\n", l.Addr())
	go func() {
		<-stop
		srv.Close()
	}()
	if err := srv.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}
