package packs

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func testRedis(t *testing.T, m *machine) {
	m.dir("/tmp/redis", wwwData)
	const socket = "/tmp/redis/socket"
	start := func(m *machine, args ...string) *program {
		return m.start(wwwData, append([]string{"/usr/bin/redis-server", "--dir", "/tmp/redis", "--unixsocket", socket}, args...)...)
	}
	say := func(args ...string) string {
		return m.run(wwwData, append([]string{"/usr/bin/redis-cli", "-s", socket}, args...)...)
	}
	ready := func(p *program) {
		p.Helper()
		p.eventually("answer of redis", func() bool { return strings.Contains(say("ping"), "PONG") })
	}

	t.Run("ordinary", func(t *testing.T) {
		m := &machine{t, m.root}
		var log []string
		for range 3 {
			p := start(m, "--port", "0", "--appendonly", "yes", "--save", "1 1", "--loglevel", "verbose")
			ready(p)
			for n := range 50 {
				say("set", fmt.Sprint("key", n), "value")
				say("get", fmt.Sprint("error", n))
			}
			say("no-such-command")
			say("lpush", "key1", "x") // the wrong type
			say("config", "set", "maxmemory", "2mb")
			say("bgrewriteaof")
			p.says("Background AOF rewrite terminated with success", 1)
			say("bgsave", "schedule")
			p.says("Background saving terminated with success", 1)
			log = append(log, p.end(syscall.SIGTERM)...)
		}
		quiet(t, log, 100)
	})

	t.Run("troubles", func(t *testing.T) {
		m := &machine{t, m.root}
		port := strconv.Itoa(m.port())
		m.dir("/tmp/redis/ro", wwwData)
		p := start(m, "--port", port, "--dir", "/tmp/redis/ro", "--save", "")
		ready(p)
		m.must(os.Chmod(m.path("/tmp/redis/ro"), 0o500))
		say("set", "key", "value")
		say("bgsave")
		p.says("Background saving error", 1)
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		m.must(err)
		fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		p.says("SECURITY ATTACK", 1)
		c.Close()
		log := m.start(wwwData, "/usr/bin/redis-server", "--port", port, "--save", "").ended()
		log = append(log, p.end(syscall.SIGSEGV)...)

		m.disk("/tmp/redis/small", "512k", wwwData)
		p = start(m, "--port", "0", "--dir", "/tmp/redis/small", "--save", "", "--appendonly", "yes", "--appendfsync", "no")
		ready(p)
		say("set", "key", strings.Repeat("x", 100<<10))
		for n := range 8 {
			say("set", fmt.Sprint("key", n), strings.Repeat("x", 100<<10))
		}
		p.says("to the AOF file", 1)
		log = append(log, p.end(syscall.SIGKILL)...)

		p = start(m, "--port", "0", "--save", "", "--replicaof", "127.0.0.1 "+strconv.Itoa(m.port()))
		p.says("Error condition on socket for SYNC", 1)
		log = append(log, p.end(syscall.SIGTERM)...)

		m.dir("/tmp/redis/damaged", wwwData)
		m.file("/tmp/redis/damaged/dump.rdb", "REDIS0010\xfa\x09redis-ver")
		log = append(log, start(m, "--port", "0", "--dir", "/tmp/redis/damaged").ended()...)
		m.file("/tmp/redis/damaged/dump.rdb", "no database")
		log = append(log, start(m, "--port", "0", "--dir", "/tmp/redis/damaged").ended()...)
		log = append(log, start(m, "--port", "0", "--no-such-option", "1").ended()...)
		provoked(t, "redis", log, "save-failed", "aof-failed", "data-damaged", "crashed", "cannot-start", "replica-lost-master", "attack")
	})
}
