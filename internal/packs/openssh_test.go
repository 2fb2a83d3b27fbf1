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

func testOpenSSH(t *testing.T, m *machine) {
	m.dir("/srv/ssh", wwwData)
	m.must(os.Chmod(m.path("/srv/ssh"), 0o755))
	for _, key := range []string{"host", "user", "stranger"} {
		if out := m.run(wwwData, "/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/srv/ssh/"+key); out != "" {
			t.Fatal(out)
		}
	}
	public, err := os.ReadFile(m.path("/srv/ssh/user.pub"))
	m.must(err)
	m.file("/srv/ssh/authorized", string(public))
	m.must(os.Chown(m.path("/srv/ssh/authorized"), wwwData, wwwData))
	m.file("/tmp/askpass", "#!/bin/sh\necho wrong\n")
	m.must(os.Chmod(m.path("/tmp/askpass"), 0o755))
	port := m.port()
	start := func(m *machine, more string) *program {
		m.file("/srv/sshd.conf", fmt.Sprintf("ListenAddress 127.0.0.1:%d\nPidFile none\nUsePAM no\nMaxAuthTries 20\nAuthorizedKeysFile /srv/ssh/authorized\n%s\n", port, more))
		return m.start(wwwData, "/usr/sbin/sshd", "-D", "-e", "-f", "/srv/sshd.conf")
	}
	ssh := func(user string, more ...string) string {
		args := append([]string{"/usr/bin/ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/srv/ssh/known", "-p", strconv.Itoa(port)}, more...)
		cmd := m.command(wwwData, append(args, user+"@127.0.0.1", "echo", "well")...)
		cmd.Env = append(cmd.Env, "SSH_ASKPASS=/tmp/askpass", "SSH_ASKPASS_REQUIRE=force")
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	byKey := []string{"-o", "IdentityFile=/srv/ssh/user", "-o", "BatchMode=yes"}

	t.Run("ordinary", func(t *testing.T) {
		m := &machine{t, m.root}
		p := start(m, "HostKey /srv/ssh/host\nLogLevel VERBOSE")
		p.says("Server listening", 1)
		for range 8 {
			if out := ssh("www-data", byKey...); !strings.Contains(out, "well") {
				t.Fatal(out)
			}
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			m.must(err)
			fmt.Fprint(c, "GET / HTTP/1.1\r\n\r\n")
			c.Close()
		}
		ssh("nobody", "-o", "IdentityFile=/srv/ssh/stranger", "-o", "BatchMode=yes")
		ssh("www-data", "-o", "NumberOfPasswordPrompts=1")
		p.says("Failed password", 1)
		quiet(t, p.end(syscall.SIGTERM), 60)
	})

	t.Run("troubles", func(t *testing.T) {
		m := &machine{t, m.root}
		p := start(m, "HostKey /srv/ssh/host\nMaxStartups 2:100:2")
		p.says("Server listening", 1)
		for n := range 5 {
			ssh([]string{"www-data", "admin"}[n%2], "-o", "NumberOfPasswordPrompts=3")
			ssh("www-data", "-o", "KexAlgorithms=diffie-hellman-group1-sha1")
		}
		p.says("Failed password", 10)
		m.must(os.Chmod(m.path("/srv/ssh/authorized"), 0o666))
		ssh("www-data", byKey...)
		p.says("bad ownership or modes", 1)
		var many []net.Conn
		for range 4 {
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			m.must(err)
			many = append(many, c)
		}
		p.says("MaxStartups throttling", 1)
		for _, c := range many {
			c.Close()
		}
		log := m.start(wwwData, "/usr/sbin/sshd", "-D", "-e", "-f", "/srv/sshd.conf").ended()
		log = append(log, p.end(syscall.SIGTERM)...)
		m.must(os.Chmod(m.path("/srv/ssh/host"), 0o644))
		log = append(log, start(m, "HostKey /srv/ssh/host").ended()...)
		log = append(log, start(m, "NoSuchWord yes").ended()...)
		provoked(t, "openssh", log, "passwords-guessed", "cannot-start", "keys-refused", "flooded", "no-common-cipher")
	})
}
