package packs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func testPostgreSQL(t *testing.T, m *machine) {
	m.file("/tmp/password", "secret\n")
	m.dir("/tmp/postgresql", postgres)
	const data = "/tmp/postgresql/data"
	if out := m.run(postgres, "/usr/bin/initdb", "-k", "-D", data, "-A", "scram-sha-256", "--pwfile=/tmp/password", "--locale=C", "--wal-segsize=1"); !strings.Contains(out, "Success") {
		t.Fatal(out)
	}
	start := func(m *machine, options ...string) *program {
		args := []string{"/usr/bin/postgres", "-D", data, "-k", "/tmp/postgresql", "-c", "listen_addresses=", "-c", "dynamic_shared_memory_type=mmap",
			"-c", "fsync=off", "-c", "shared_buffers=1MB", "-c", "max_wal_size=4MB", "-c", "log_line_prefix=%m [%p] "}
		for _, o := range options {
			args = append(args, "-c", o)
		}
		return m.start(postgres, args...)
	}
	client := func(user, database, password string, queries ...string) *exec.Cmd {
		args := []string{"/usr/bin/psql", "-X", "-A", "-t", "-w", "-h", "/tmp/postgresql", "-U", user, "-d", database}
		for _, q := range queries {
			args = append(args, "-c", q)
		}
		cmd := m.command(postgres, args...)
		cmd.Env = append(cmd.Env, "PGPASSWORD="+password)
		return cmd
	}
	psql := func(user, database, password string, queries ...string) string {
		out, err := client(user, database, password, queries...).CombinedOutput()
		if err != nil {
			return string(out) + err.Error()
		}
		return string(out)
	}
	ask := func(queries ...string) string { return psql("postgres", "postgres", "secret", queries...) }
	ready := func(p *program) {
		p.Helper()
		p.eventually("answer of PostgreSQL", func() bool { return strings.TrimSpace(ask("select 1")) == "1" })
	}

	t.Run("ordinary", func(t *testing.T) {
		m := &machine{t, m.root}
		var log []string
		for n := range 3 {
			p := start(m, "log_statement=ddl", "log_connections=on", "log_disconnections=on", "log_checkpoints=on", "log_lock_waits=on", "log_autovacuum_min_duration=0", "log_min_duration_statement=0")
			ready(p)
			ask(fmt.Sprintf("create table t%d (n int primary key, s text)", n), fmt.Sprintf("insert into t%d select n, 'FATAL: panic, no space left' from generate_series(1, 1000) n", n), "vacuum analyze", "checkpoint")
			for k := range 20 {
				ask(fmt.Sprintf("select count(*) from t%d where n > %d", n, k), "selec 1")
				ask(fmt.Sprintf("insert into t%d values (1, 'twice')", n))
				ask("select 1 / 0", "select * from no_such_table")
			}
			psql("postgres", "no_such_database", "secret", "select 1")
			log = append(log, p.end(syscall.SIGINT)...)
		}
		quiet(t, log, 500)
	})

	t.Run("troubles", func(t *testing.T) {
		m := &machine{t, m.root}
		p := start(m, "max_connections=5", "superuser_reserved_connections=1", "max_locks_per_transaction=10", "deadlock_timeout=100ms", "archive_mode=on", "archive_command=false", "max_wal_senders=0")
		ready(p)
		for range 5 {
			psql("postgres", "postgres", "wrong", "select 1")
		}
		ask("create table a (n int)", "insert into a values (1)", "create table b (n int)", "insert into b values (1)", "create user app password 'secret'")
		ask("do $$ begin for n in 1..2000 loop execute 'create table many' || n || ' (n int)'; end loop; end $$")

		var both sync.WaitGroup
		for _, tables := range [][2]string{{"a", "b"}, {"b", "a"}} {
			both.Go(func() {
				ask("begin", "update "+tables[0]+" set n = 2",
					"do $$ begin while not exists (select from pg_locks where relation = '"+tables[1]+"'::regclass and mode = 'RowExclusiveLock') loop perform pg_sleep(0.01); end loop; end $$",
					"update "+tables[1]+" set n = 2", "commit")
			})
		}
		both.Wait()
		p.says("deadlock detected", 1)

		letGo := m.hold(10, func() *exec.Cmd { return client("app", "postgres", "secret", "select pg_sleep(600)") })
		p.eventually("client that is refused", func() bool {
			log := strings.Join(p.written(), "\n")
			return strings.Contains(log, "too many clients already") || strings.Contains(log, "connection slots are reserved")
		})
		letGo()
		ready(p)
		ask("select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(600)'")
		ask("select pg_switch_wal()")
		p.says("archive command failed", 1)

		where := strings.TrimSpace(ask("select pg_relation_filepath('a')"))
		var busy sync.WaitGroup
		busy.Go(func() { ask("select pg_sleep(60)") })
		var backend int
		p.eventually("a query that sleeps", func() bool {
			backend, _ = strconv.Atoi(strings.TrimSpace(ask("select pid from pg_stat_activity where query = 'select pg_sleep(60)'")))
			return backend > 0
		})
		m.must(syscall.Kill(backend, syscall.SIGKILL))
		busy.Wait()
		p.says("database system is ready to accept connections", 2)
		ready(p)
		m.disk("/tmp/small", "1m", postgres)
		ask("create tablespace small location '/tmp/small'")
		if out := ask("create table fill tablespace small as select repeat('x', 1000) from generate_series(1, 3000)"); !strings.Contains(out, "could not extend file") {
			t.Fatalf("the disk takes it: %s", out)
		}
		again := start(m) // while the first one runs
		log := again.ended()
		log = append(log, p.end(syscall.SIGINT)...)

		file := m.path(data + "/" + where)
		page, err := os.ReadFile(file)
		m.must(err)
		copy(page[4096:], bytes.Repeat([]byte("damage"), 600))
		m.must(os.WriteFile(file, page, 0o600))
		p = start(m, "max_wal_senders=0")
		ready(p)
		ask("select * from a")
		p.says("invalid page in block", 1)
		log = append(log, p.end(syscall.SIGINT)...)

		m.must(os.WriteFile(m.path(data+"/PG_VERSION"), []byte("9.6\n"), 0o600))
		log = append(log, start(m).ended()...)
		provoked(t, "postgresql", log, "disk-full", "crashed", "data-damaged", "out-of-connections", "out-of-memory", "cannot-start", "replication-broken", "logins-fail", "deadlocks")
	})
}
