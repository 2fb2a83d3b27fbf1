package enginetest

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Registry starts a registry on loopback that ends with the Engine and returns
// its host:port.
func (e *Engine) Registry() string {
	e.t.Helper()
	// A port that was free a moment ago; another program might take it now.
	for range 5 {
		addr, err := FreeAddr()
		if err != nil {
			e.t.Fatal(err)
		}
		if e.startRegistry(addr) {
			return addr
		}
	}
	e.t.Fatal("no registry could be started")
	return ""
}

func (e *Engine) startRegistry(addr string) bool {
	e.t.Helper()
	dir := filepath.Join(e.Dir, "registry")
	config := fmt.Sprintf(`version: 0.1
log: {level: error}
storage:
  filesystem: {rootdirectory: %s}
http: {addr: %s}
`, dir, addr)
	file := filepath.Join(e.Dir, "registry.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		e.t.Fatal(err)
	}
	p, err := e.Engine.Run("docker-registry", "serve", file)
	if err != nil {
		e.t.Fatalf("%v (Debian: apt-get install docker-registry)", err)
	}
	client := &http.Client{Timeout: time.Second}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if res, err := client.Get("http://" + addr + "/v2/"); err == nil {
			res.Body.Close()
			return res.StatusCode == http.StatusOK
		}
		select {
		case <-p.Done():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// FreeAddr returns a loopback address whose port nobody listens on now.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
