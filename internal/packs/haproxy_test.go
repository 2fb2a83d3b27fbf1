package packs

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
)

func testHAProxy(t *testing.T, m *machine) {
	m.dir("/tmp/haproxy", wwwData)
	start := func(m *machine, config string) *program {
		m.file("/tmp/haproxy.cfg", config)
		return m.start(wwwData, "/usr/sbin/haproxy", "-W", "-S", "/tmp/haproxy/master", "-f", "/tmp/haproxy.cfg")
	}
	well := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/well" && r.URL.Path != "/" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(well.Close)
	const head = `global
	log stdout format raw local0
	maxconn 100
defaults
	mode http
	log global
	option httplog
	timeout connect 200ms
	timeout client 5s
	timeout server 200ms
	retries 1
`
	port := m.port()
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	reached := func() bool { return request("GET", url+"/well", "") == 200 }

	t.Run("ordinary", func(t *testing.T) {
		m := &machine{t, m.root}
		p := start(m, head+fmt.Sprintf(`frontend web
	bind 127.0.0.1:%d
	default_backend app
backend app
	option httpchk GET /
	server app1 %s check inter 100ms
`, port, well.Listener.Addr()))
		p.eventually("answer", reached)
		for n := range 200 {
			request("GET", fmt.Sprintf("%s/missing?status=503&n=%d", url, n), "")
			request("POST", url+"/well", "503 sH-- error")
		}
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		m.must(err)
		fmt.Fprint(c, "no request\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
		c.Close()
		m.must(p.cmd.Process.Signal(syscall.SIGUSR2)) // a reload
		p.says("New worker", 2)
		p.eventually("answer", reached)
		quiet(t, p.end(syscall.SIGTERM), 400)
	})

	t.Run("troubles", func(t *testing.T) {
		m := &machine{t, m.root}
		silent := m.listen(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		config := head + fmt.Sprintf(`frontend web
	bind 127.0.0.1:%d
	use_backend gone if { path /gone }
	use_backend silent if { path /silent }
	default_backend app
backend app
	server app1 %s
backend gone
	server gone1 127.0.0.1:%d check inter 50ms fall 1
backend silent
	server silent1 127.0.0.1:%d
`, port, well.Listener.Addr(), m.port(), silent)
		p := start(m, config)
		p.eventually("answer", reached)
		p.says("has no server available", 1)
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() { request("GET", url+[]string{"/gone", "/silent"}[n%2], "") })
		}
		all.Wait()
		p.says(" 503 ", 10)
		p.says(" 504 ", 10)
		workers := p.children("haproxy")
		if len(workers) != 1 {
			t.Fatalf("there are %d workers", len(workers))
		}
		m.must(syscall.Kill(workers[0], syscall.SIGKILL))
		log := p.ended()
		log = append(log, start(m, head+fmt.Sprintf("frontend web\n\tbind 127.0.0.1:%d\n", silent)).ended()...)
		log = append(log, start(m, head+"frontend web\n\tno-such-word\n").ended()...)
		provoked(t, "haproxy", log, "backend-down", "server-down", "cannot-start", "worker-died", "no-server", "server-slow")
	})
}
