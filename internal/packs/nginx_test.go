package packs

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nginxConfig is a configuration with some servers' directives.
func nginxConfig(connections int, server string) string {
	return fmt.Sprintf(`daemon off;
error_log stderr notice;
pid /tmp/nginx/pid;
worker_processes 1;
events { worker_connections %d; }
http {
	access_log /tmp/nginx/access.log combined;
	client_body_temp_path /tmp/nginx/body;
	proxy_temp_path /tmp/nginx/proxy;
	fastcgi_temp_path /tmp/nginx/fastcgi;
	uwsgi_temp_path /tmp/nginx/uwsgi;
	scgi_temp_path /tmp/nginx/scgi;
	%s
}
`, connections, server)
}

// request makes a request and returns its status; 0 where there is no answer.
func request(method, url, body string) int {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// listen answers each connection by a function, until the test ends.
func (m *machine) listen(serve func(net.Conn)) int {
	m.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	m.must(err)
	m.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func testNginx(t *testing.T, m *machine) {
	m.dir("/tmp/nginx", wwwData)
	start := func(m *machine, config string) *program {
		m.file("/tmp/nginx.conf", config)
		return m.start(wwwData, "/usr/sbin/nginx", "-e", "stderr", "-c", "/tmp/nginx.conf")
	}
	port := m.port()
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	reached := func() bool { return request("GET", url+"/well", "") == 200 }

	t.Run("ordinary", func(t *testing.T) {
		m := &machine{t, m.root}
		m.file("/tmp/nginx/index.html", "well\n")
		config := nginxConfig(512, fmt.Sprintf(`server { listen 127.0.0.1:%d; root /tmp/nginx; location /well { return 200 "well\n"; } location /old { return 301 /; } location /no { deny all; } location /in { proxy_pass http://127.0.0.1:%d/well; } }`, port, port))
		p := start(m, config)
		p.eventually("answer", reached)
		for n := range 200 {
			for _, path := range []string{"/", "/index.html", "/old", "/no", "/in", "/missing", fmt.Sprintf("/?q=500&n=%d", n), "/well/error/failed"} {
				request("GET", url+path, "")
			}
		}
		request("POST", url+"/", strings.Repeat("x", 100<<10))
		m.must(p.cmd.Process.Signal(syscall.SIGHUP))
		p.says("gracefully shutting down", 1)
		p.eventually("answer", reached)
		log := p.end(syscall.SIGQUIT)
		access, err := os.ReadFile(m.path("/tmp/nginx/access.log"))
		m.must(err)
		quiet(t, append(log, strings.Split(strings.TrimSpace(string(access)), "\n")...), 1600)
	})

	t.Run("troubles", func(t *testing.T) {
		m := &machine{t, m.root}
		m.disk("/tmp/nginx/small", "64k", wwwData)
		m.file("/tmp/nginx/private", "secret\n")
		m.must(os.Chmod(m.path("/tmp/nginx/private"), 0))
		m.must(os.Remove(m.path("/tmp/nginx/access.log")))
		silent := m.listen(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		closing := m.listen(func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<10)) })
		wide := m.listen(func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1<<10))
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Wide: %s\r\n\r\n", bytes.Repeat([]byte("x"), 64<<10))
		})
		config := nginxConfig(512, fmt.Sprintf(`server {
		listen 127.0.0.1:%d;
		root /tmp/nginx;
		location /well { return 200 "well\n"; }
		location /gone { proxy_pass http://127.0.0.1:%d; }
		location /silent { proxy_read_timeout 50ms; proxy_pass http://127.0.0.1:%d; }
		location /closing { proxy_pass http://127.0.0.1:%d; }
		location /wide { proxy_pass http://127.0.0.1:%d; }
		location /tls { proxy_pass https://127.0.0.1:%d; }
		location /name { set $to nobody-is-called-so; proxy_pass http://$to; }
		location /upload { client_max_body_size 10; proxy_pass http://127.0.0.1:%d; }
		location /full { client_body_temp_path /tmp/nginx/small; client_body_buffer_size 1k; proxy_pass http://127.0.0.1:%d; }
	}`, port, m.port(), silent, closing, wide, wide, closing, closing))
		p := start(m, config)
		p.eventually("answer", reached)
		for range 3 {
			for _, path := range []string{"/gone", "/silent", "/closing", "/wide", "/tls", "/name", "/private"} {
				request("GET", url+path, "")
			}
		}
		request("POST", url+"/upload", "more than ten bytes")
		request("POST", url+"/full", strings.Repeat("x", 256<<10))
		for range 60 {
			request("GET", url+"/well", "")
		}
		worker := p.children("worker")
		if len(worker) != 1 {
			t.Fatalf("there are %d workers", len(worker))
		}
		m.must(syscall.Kill(worker[0], syscall.SIGKILL))
		p.says("exited on signal 9", 1)
		p.eventually("answer of another worker", reached)

		second := m.start(wwwData, "/usr/sbin/nginx", "-e", "stderr", "-c", "/tmp/nginx.conf")
		log := second.ended()
		log = append(log, p.end(syscall.SIGQUIT)...)

		few := start(m, nginxConfig(6, fmt.Sprintf(`server { listen 127.0.0.1:%d; location /well { return 200 "well\n"; } }`, port)))
		p.eventually("answer", reached)
		for range 8 {
			c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
			if err == nil {
				t.Cleanup(func() { c.Close() })
			}
		}
		few.says("worker_connections are not enough", 1)
		log = append(log, few.end(syscall.SIGTERM)...)
		wrong := start(m, "server { }\n")
		log = append(log, wrong.ended()...)
		access, err := os.ReadFile(m.path("/tmp/nginx/access.log"))
		m.must(err)
		log = append(log, strings.Split(strings.TrimSpace(string(access)), "\n")...)
		provoked(t, "nginx", log, "cannot-start", "upstream-unreachable", "upstream-slow", "upstream-tls", "upstream-header-too-big",
			"name-not-resolved", "worker-died", "limit-reached", "files-failed", "upload-too-large", "requests-fail")
	})
}
