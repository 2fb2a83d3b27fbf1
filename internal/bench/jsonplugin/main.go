// Jsonplugin is the peer to measure against: a logging plugin as most are, made
// of docker/go-plugins-helpers, containerd/fifo and the generated decoder. Each
// line is decoded, encoded as JSON and written to a file. It can't be read back.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/containerd/fifo"
	"github.com/docker/docker/api/types/plugins/logdriver"
	"github.com/docker/docker/daemon/logger"
	"github.com/docker/docker/daemon/logger/jsonfilelog"
	"github.com/docker/go-plugins-helpers/sdk"
	protoio "github.com/gogo/protobuf/io"
	"golang.org/x/sys/unix"
)

// maxFrame bounds a frame in bytes.
const maxFrame = 1e6

type request struct {
	File string
	Info logger.Info
}

type driver struct {
	mu      sync.Mutex
	streams map[string]chan struct{} // closed at a FIFO's end
}

func main() {
	d := &driver{streams: map[string]chan struct{}{}}
	h := sdk.NewHandler(`{"Implements": ["LogDriver"]}`)
	h.HandleFunc("/LogDriver.Capabilities", func(w http.ResponseWriter, _ *http.Request) {
		// Otherwise the Engine would keep a copy of its own.
		json.NewEncoder(w).Encode(map[string]any{"Cap": logger.Capability{ReadLogs: true}})
	})
	h.HandleFunc("/LogDriver.StartLogging", func(w http.ResponseWriter, r *http.Request) { d.answer(w, r, d.start) })
	h.HandleFunc("/LogDriver.StopLogging", func(w http.ResponseWriter, r *http.Request) { d.answer(w, r, d.stop) })
	log.Fatal(h.ServeUnix("jsonplugin", 0))
}

func (d *driver) answer(w http.ResponseWriter, r *http.Request, do func(request) error) {
	var req request
	err := json.NewDecoder(r.Body).Decode(&req)
	if err == nil {
		err = do(req)
	}
	var res struct{ Err string }
	if err != nil {
		res.Err = err.Error()
	}
	json.NewEncoder(w).Encode(res)
}

func (d *driver) start(req request) error {
	req.Info.LogPath = "/logs/" + req.Info.ContainerID + ".json"
	l, err := jsonfilelog.New(req.Info)
	if err != nil {
		return err
	}
	f, err := fifo.OpenFifo(context.Background(), req.File, unix.O_RDONLY, 0o700)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	d.mu.Lock()
	d.streams[req.File] = ended
	d.mu.Unlock()
	go func() {
		defer close(ended)
		defer f.Close()
		defer l.Close()
		if err := consume(f, l); err != nil && err != io.EOF {
			log.Print(err)
		}
	}()
	return nil
}

func consume(r io.Reader, l logger.Logger) error {
	dec := protoio.NewUint32DelimitedReader(r, binary.BigEndian, maxFrame)
	defer dec.Close()
	var buf logdriver.LogEntry
	for {
		if err := dec.ReadMsg(&buf); err != nil {
			return err
		}
		msg := logger.NewMessage()
		msg.Source, msg.Timestamp = buf.Source, time.Unix(0, buf.TimeNano)
		msg.Line = append(msg.Line[:0], buf.Line...)
		if err := l.Log(msg); err != nil {
			return err
		}
		buf.Reset()
	}
}

// stop forgets the stream; its lines are written until the Engine closes it.
func (d *driver) stop(req request) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.streams, req.File)
	return nil
}

func init() {
	if err := os.MkdirAll("/logs", 0o755); err != nil {
		log.Fatal(err)
	}
}
