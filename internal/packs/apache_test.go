package packs

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func testApache(t *testing.T, m *machine) {
	m.dir("/tmp/apache", wwwData)
	m.file("/tmp/apache/index.html", "well\n")
	m.file("/tmp/apache/private.html", "secret\n")
	m.must(os.Chmod(m.path("/tmp/apache/private.html"), 0))
	m.file("/tmp/apache/users", "bob:{SHA}qZk+NkcGgWq6PiVxeFDCbJzQ2J0=\n") // abc
	port := m.port()
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	reached := func() bool { return request("GET", url+"/", "") == 200 }
	start := func(m *machine, more string) *program {
		var modules strings.Builder
		for _, name := range []string{"mpm_event", "authz_core", "authz_user", "authn_core", "authn_file", "auth_basic", "dir", "alias", "autoindex", "proxy", "proxy_http"} {
			fmt.Fprintf(&modules, "LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", name, name)
		}
		m.file("/tmp/apache.conf", modules.String()+fmt.Sprintf(`ServerRoot /tmp/apache
ServerName localhost
Mutex fcntl:/tmp/apache
PidFile /tmp/apache/pid
DefaultRuntimeDir /tmp/apache
Listen 127.0.0.1:%d
ErrorLog /tmp/apache/error.log
LogLevel info
LogFormat "%%h %%l %%u %%t \"%%r\" %%>s %%b" common
CustomLog /tmp/apache/access.log common
DocumentRoot /tmp/apache
StartServers 1
ThreadsPerChild 4
MinSpareThreads 1
MaxSpareThreads 4
ServerLimit 1
MaxRequestWorkers 4
<Location /members>
	AuthType Basic
	AuthName members
	AuthBasicProvider file
	AuthUserFile /tmp/apache/users
	Require valid-user
</Location>
%s
`, port, more))
		return m.start(wwwData, "/usr/sbin/apache2", "-f", "/tmp/apache.conf", "-DFOREGROUND")
	}
	// logged is what its files have, which begin anew with the next start.
	logged := func(m *machine) (log []string) {
		for _, name := range []string{"error", "access"} {
			text, err := os.ReadFile(m.path("/tmp/apache/" + name + ".log"))
			m.must(err)
			log = append(log, strings.Split(strings.TrimSpace(string(text)), "\n")...)
			m.must(os.Remove(m.path("/tmp/apache/" + name + ".log")))
		}
		return log
	}
	login := func(password string) {
		req, err := http.NewRequest("GET", url+"/members", nil)
		m.must(err)
		req.SetBasicAuth("bob", password)
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
		}
	}

	t.Run("ordinary", func(t *testing.T) {
		m := &machine{t, m.root}
		p := start(m, "Redirect /old /\n<Location /no>\nRequire all denied\n</Location>")
		p.eventually("answer", reached)
		for n := range 150 {
			for _, path := range []string{"/", "/old", "/no", "/missing", fmt.Sprintf("/?status=500&n=%d", n)} {
				request("GET", url+path, "")
			}
		}
		login("abc")
		login("wrong")
		m.must(p.cmd.Process.Signal(syscall.SIGUSR1)) // a reload
		p.eventually("answer", reached)
		log := p.end(syscall.SIGTERM)
		quiet(t, append(log, logged(m)...), 750)
	})

	t.Run("troubles", func(t *testing.T) {
		m := &machine{t, m.root}
		closing := m.listen(func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<10)) })
		release := make(chan struct{})
		slow := m.listen(func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1<<10))
			<-release
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		})
		p := start(m, fmt.Sprintf("ProxyPass /gone http://127.0.0.1:%d retry=0\nProxyPass /closing http://127.0.0.1:%d\nProxyPass /slow http://127.0.0.1:%d\n", m.port(), closing, slow))
		p.eventually("answer", reached)
		for range 6 {
			for _, path := range []string{"/gone", "/closing", "/private.html"} {
				request("GET", url+path, "")
			}
		}
		for range 12 {
			login("wrong")
		}
		for range 40 {
			request("GET", url+"/", "")
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { request("GET", url+"/slow", "") })
		}
		p.eventually("server without free workers", func() bool {
			text, _ := os.ReadFile(m.path("/tmp/apache/error.log"))
			return strings.Contains(string(text), "MaxRequestWorkers")
		})
		close(release)
		all.Wait()
		workers := p.children("apache2")
		if len(workers) == 0 {
			t.Fatal("there is no child")
		}
		for _, pid := range workers {
			m.must(syscall.Kill(pid, syscall.SIGSEGV))
		}
		p.eventually("answer of another child", reached)
		log := p.end(syscall.SIGTERM)
		log = append(log, logged(m)...)
		log = append(log, start(m, "NoSuchWord on").ended()...)
		provoked(t, "apache", log, "cannot-start", "no-free-workers", "child-crashed", "backend-unreachable", "backend-slow", "files-denied", "logins-fail", "requests-fail")
	})
}
