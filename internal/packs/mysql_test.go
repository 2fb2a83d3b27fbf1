package packs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func testMariaDB(t *testing.T, m *machine) {
	m.disk("/tmp/mysql", "96m", postgres)
	const data = "/tmp/mysql/data"
	m.dir(data, postgres)
	options := []string{"--no-defaults", "--datadir=" + data, "--skip-networking", "--socket=/tmp/mysql/socket", "--pid-file=/tmp/mysql/pid",
		"--innodb-log-file-size=4M", "--innodb-buffer-pool-size=6M", "--innodb-data-file-path=ibdata1:4M:autoextend", "--innodb-flush-log-at-trx-commit=2", "--innodb-use-native-aio=0", "--secure-file-priv=/tmp"}
	bootstrap := m.command(postgres, append(append([]string{"/usr/sbin/mariadbd"}, options...), "--bootstrap")...) // --no-defaults has to be the first
	script := []io.Reader{strings.NewReader("create database mysql;\nuse mysql;\n")}
	for _, name := range []string{"mysql_system_tables.sql", "mysql_performance_tables.sql", "mysql_system_tables_data.sql"} {
		f, err := os.Open(m.path("/usr/share/mysql/" + name))
		m.must(err)
		defer f.Close()
		script = append(script, f)
	}
	bootstrap.Stdin = io.MultiReader(append(script, strings.NewReader("\nflush privileges;\ncreate user 'app'@'localhost' identified by 'secret';\ngrant all on *.* to 'app'@'localhost';\ncreate user 'few'@'localhost' identified by 'secret';\ngrant select on shop.* to 'few'@'localhost';\ncreate database shop;\n"))...)
	if out, err := bootstrap.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	start := func(m *machine, more ...string) *program {
		return m.start(postgres, append(append([]string{"/usr/sbin/mariadbd"}, options...), more...)...)
	}
	client := func(user, password, queries string) []string {
		return []string{"/usr/bin/mariadb", "--no-defaults", "-S", "/tmp/mysql/socket", "-u", user, "-p" + password, "-f", "-e", queries, "shop"}
	}
	ask := func(user, password, queries string) string {
		return m.run(postgres, client(user, password, queries)...)
	}
	ready := func(p *program) {
		p.Helper()
		p.eventually("answer of MariaDB", func() bool { return strings.Contains(ask("app", "secret", "select 'well'"), "well") })
	}

	t.Run("ordinary", func(t *testing.T) {
		m := &machine{t, m.root}
		var log []string
		for n := range 3 {
			p := start(m, "--log-warnings=9")
			ready(p)
			ask("app", "secret", fmt.Sprintf("create table t%d (n int primary key, s text) engine=InnoDB; insert into t%d values (1, 'errno: 28'), (2, 'mysqld got signal 11')", n, n))
			for range 20 {
				ask("app", "secret", fmt.Sprintf("select * from t%d; insert into t%d values (1, 'twice'); selec 1; select * from nosuch", n, n))
			}
			ask("app", "secret", "check table t0; optimize table t0")
			ask("app", "wrong", "select 1")
			log = append(log, p.end(syscall.SIGTERM)...)
		}
		quiet(t, log, 60)
	})

	t.Run("troubles", func(t *testing.T) {
		m := &machine{t, m.root}
		p := start(m, "--max-connections=10", "--log-warnings=9")
		ready(p)
		for range 6 {
			ask("few", "wrong", "select 1")
		}
		p.says("Access denied for user 'few'", 6)
		letGo := m.hold(11, func() *exec.Cmd { return m.command(postgres, client("app", "secret", "select sleep(600)")...) }) // one more may who has all rights
		p.eventually("client that is refused", func() bool {
			ask("few", "secret", "select 1")
			return strings.Contains(strings.Join(p.written(), "\n"), "Too many connections")
		})
		letGo()
		ready(p)
		ask("app", "secret", "create table damaged (n int, s text) engine=InnoDB; insert into damaged select seq, repeat('x', 500) from seq_1_to_2000; create table aria (n int, s text) engine=Aria transactional=0; insert into aria select seq, repeat('x', 500) from seq_1_to_2000")
		if out := ask("app", "secret", "create table fill engine=InnoDB as select seq, repeat('x', 1000) from seq_1_to_400000"); !strings.Contains(out, "full") {
			t.Fatalf("the disk takes it: %s", out)
		}
		log := p.end(syscall.SIGTERM)
		file := m.path(data + "/shop/damaged.ibd")
		pages, err := os.ReadFile(file)
		m.must(err)
		const page = 16 << 10
		copy(pages[20*page+100:], bytes.Repeat([]byte("damage"), 600))
		m.must(os.WriteFile(file, pages, 0o600))
		p = start(m)
		ready(p)
		ask("app", "secret", "select count(s) from damaged where s like '%y%'")
		p.says("InnoDB", 1)
		log = append(log, p.end(syscall.SIGSEGV)...)
		log = append(log, start(m, "--no-such-option").ended()...)
		provoked(t, "mysql", log, "cannot-start", "crashed", "data-damaged", "disk-full", "out-of-connections", "logins-fail")
	})
}
