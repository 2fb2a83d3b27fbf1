// Copyplugin is the peer that shows what `docker logs` through a plugin costs at
// least: it answers with the frames of a file, as they are. It keeps nothing.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"

	"github.com/docker/docker/daemon/logger"
	"github.com/docker/go-plugins-helpers/sdk"
)

func main() {
	h := sdk.NewHandler(`{"Implements": ["LogDriver"]}`)
	h.HandleFunc("/LogDriver.Capabilities", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"Cap": logger.Capability{ReadLogs: true}})
	})
	for _, call := range []string{"Start", "Stop"} {
		h.HandleFunc("/LogDriver."+call+"Logging", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") })
	}
	h.HandleFunc("/LogDriver.ReadLogs", func(w http.ResponseWriter, _ *http.Request) {
		f, err := os.Open("/logs/frames")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer f.Close()
		io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{f}, make([]byte, 128<<10))
	})
	log.Fatal(h.ServeUnix("copyplugin", 0))
}
