package where

import (
	"strings"
	"testing"
)

// levelOf is a line's level, as conditions see it.
func levelOf(t testing.TB, line string) string {
	t.Helper()
	var b Builder
	n := b.Add(must(t, "level exists"))
	s := b.Build().Acquire()
	defer s.Release()
	s.Reset([]byte(line))
	text, _ := s.Text(n)
	return text
}

func must(t testing.TB, text string) *Condition {
	t.Helper()
	c, err := Parse(text, Compile)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

// The level is found however it is written, and nothing else is taken for it. A line of
// the table is a level, a tab and a line; - is none.
func TestLevel(t *testing.T) {
	for row := range strings.Lines(levelTable) {
		want, line, ok := strings.Cut(strings.TrimSuffix(row, "\n"), "\t")
		if !ok {
			continue
		}
		line = strings.NewReplacer(`\e`, "\x1b", `\t`, "\t").Replace(line)
		if want == "-" {
			want = ""
		}
		if got := levelOf(t, line); got != want {
			t.Errorf("%q instead of %q: %s", got, want, line)
		}
	}
}

const levelTable = `
info	{"level":"info","msg":"error"}
warn	{"time":"2026-01-01T00:00:00Z","level":"WARN","msg":"x"}
error	{"lvl":"eror","msg":"x"}
error	{"severity":"ERROR","message":"x"}
fatal	{"severity":"EMERGENCY","message":"x"}
warn	{"@timestamp":"2026-05-20T11:45:06Z", "log.level": "WARN", "message":"x"}
warn	{"log":{"level":"warning"},"message":"x"}
error	{"level":50,"time":1,"pid":1,"hostname":"h","msg":"pino"}
warn	{"name":"bunyan","level":40,"msg":"x","v":0}
info	{"level":35,"msg":"a level of one's own in pino"}
error	{"version":"1.1","host":"gelf","short_message":"x","level":3}
fatal	{"level":0}
error	{"message":"monolog","level":400,"level_name":"ERROR"}
fatal	{"level":600}
warn	{"severityNumber":13}
error	{"levelno":40,"msg":"python"}
info	{"levelname":"INFO"}
warn	{"level":"WARN+2"}
info	{"level":"\u001b[32minfo\u001b[39m","message":"winston"}
error	{"@t":"2026","@mt":"Payment {Id} failed","@l":"Error"}
info	{"@t":"2026","@mt":"Payment {Id} made"}
warn	{"LogLevel":"Warning","Category":"x"}
info	{"record":{"level":{"name":"INFO","no":20}}}
info	{"t":{"$date":"2026"},"s":"I","c":"NETWORK","id":1,"ctx":"main","msg":"x"}
debug	{"t":{"$date":"2026"},"s":"D2","c":"NETWORK"}
error	{"PRIORITY":"3","MESSAGE":"x"}
info	{"priority":1,"level":"info"}
error	{"level":"gold","severity":"error"}
-	{"level":"gold","player":"x"}
-	{"msg":"ERROR: level=error"}
-	{"level":9}
-	{"level":null}
-	{"http":{"level":"error"}}
error	web-1  | {"level":"error","msg":"x"}
error	2026-01-01T00:00:00Z {"level":"error"}
info	2026-03-04T09:55:49.954054+02:00\tINFO\tserver/http.go:47\trequest served\t{"method": "GET", "path": "/x", "status": 200}
error	<14>{"level":"error"}
info	<14>{"msg":"error"}
info	time="2026-06-10T16:52:38.087Z" level=info msg="error"
warn	ts=2026-01-08T15:52:56.573877+02:00 caller=scrape.go:377642 level=warn component="scrape manager" msg="Error on x"
error	time=2026-04-23T17:45:10Z level=ERROR msg="cache miss"
info	logger=context t=2026-01-01T00:00:00Z lvl=info msg=x
error	msg="long way" a=1 b=2 c=3 d=4 severity=error
-	job=sessions-359059 state=failed dur=169ms error=no
-	msg="level=error"
warn	2026-01-01 00:00:00 WARN app: could not set level=error
error	ERROR could not set level=debug
info	2026-04-06T09:59:25Z pid=85 tid=yh13 class=HardJob jid=e2cebb5475def5d8ac98a0c1 elapsed=0.5 INFO: done
info	14:51:25.935 request_id=FwM6apYc4nJpfCcQDTnG [info] GET /reviews?id=731&sort=asc
fatal	[2026-06-04 06:35:16 +0000] [13] [CRITICAL] WORKER TIMEOUT (pid:43)
info	I, [2026-06-17T05:32:28.421032 #66]  INFO -- : [82a2906e] Started GET
fatal	F, [2026-06-17T05:32:28.421032 #66] FATAL -- : x
error	2026-05-09 02:16:46,142 - shop.orders - ERROR - Failed to charge card
warn	2026-05-09 02:16:46,142 - root - WARNING - x
info	2026-10-18 18:43:48.532 UTC [9030] LOG:  duration: 12.186 ms  statement: SELECT error
fatal	2026-07-12 00:42:19.541 UTC [930274] FATAL:  password authentication failed for user "svc-backup"
error	2026-05-15 03:10:05.588 CEST [6] bob@shop ERROR:  deadlock detected
-	2026-05-28 09:06:07.133 UTC [60] DETAIL:  Key (id)=(880784) already exists.
error	2026/09/09 01:14:48 [error] 54#74: *8 connect() failed (111: Connection refused)
info	2026/05/05 19:23:13 [notice] 1#1: start worker process 13
warn	1:M 26 Mar 2026 10:08:06.858 # Can't save in background: fork: Out of memory
info	1:M 22 Jan 2026 18:53:43.049 * Ready to accept connections tcp
warn	1:C 23 May 2026 22:59:07.867 # WARNING Memory overcommit must be enabled!
warn	2026-07-24 03:12:02,555 WARN  [HikariPool-7 housekeeper] com.zaxxer.hikari.pool.HikariPool - x
warn	[2026-05-02 19:48:13,306] WARN [Producer clientId=producer-2] Connection to node 2
error	[2026-01-03 01:37:24,823: ERROR/ForkPoolWorker-4] Task shop.tasks.send_mail
info	2026-10-08 01:04:24.068002+00:00 [info] <0.616764.0> accepting AMQP connection
info	2026-05-06T07:26:44.149753Z 0 [System] [MY-010931] [Server] /usr/sbin/mysqld: ready for connections.
info	2026-02-14T23:23:13.452397Z 3562 [Note] [MY-010926] [Server] Access denied
warn	2026-01-25T10:33:38.690389Z 900908 [Warning] [MY-013360] [Server] Plugin
error	2026-01-25T10:33:38.690389Z 900908 [ERROR] [MY-013360] [Server] Plugin
debug	2026-04-18T00:04:53Z [DEBUG] heartbeat seq=99 lag=678µs
info	info: Microsoft.AspNetCore.Hosting.Diagnostics[8]
error	fail: Microsoft.AspNetCore.Server.Kestrel[13]
fatal	crit: Microsoft.AspNetCore.Hosting.Diagnostics[6]
info	INFO[7871] A group of walrus emerges from the ocean      animal=orders size=95
error	ERRO[0000] x
info	INFO:     177.123.48.174:22573 - "GET /audit HTTP/1.1" 200 OK
error	[Wed Jul 15 07:22:27.482681 2026] [php:error] [pid 11:tid 790585] [client 89.88.207.66:45260] PHP Fatal error: x
warn	[Wed Jul 15 07:22:27.482681 2026] [ssl:warn] [pid 11] x
error	[Mon Dec 05 18:40:54 2005] [error] mod_jk child workerEnv in error state 6
error	[2026-01-17 16:27:12] production.ERROR: SQLSTATE[23000]: Integrity constraint violation
error	E0102 15:04:05.000000       1 reflector.go:138] Failed to watch
info	I0102 15:04:05.000000       1 main.go:1] error
info	[10:00:00 INF] Started
error	[10:00:00 ERR] x
warn	2026-01-01 00:00:00.0000|WARN|Logger|x
info	2026-06-04 06:35:16.123 | INFO     | app.main:run:12 - x
info	2026-06-04 06:35:16.123 | SUCCESS  | app.main:run:12 - x
info	2026-01-01T00:00:00.000Z [INFO]  agent: Started
warn	[2026-01-01T00:00:00,000][WARN ][o.e.d.x] [node] error
error	2026-01-01T00:00:00Z E! [inputs.x] Error in plugin
info	2026-01-01T00:00:00Z I! Loaded inputs: cpu
error	npm ERR! code ELIFECYCLE
warn	npm warn deprecated x
error	npm error code 1
fatal	PHP Fatal error:  Uncaught Error: x
warn	PHP Warning:  x
info	[29-May-2026 10:00:00] NOTICE: fpm is running, pid 1
error	Error: connect ECONNREFUSED 211.25.106.184:6380
fatal	panic: runtime error: invalid memory address
fatal	fatal error: all goroutines are asleep - deadlock!
fatal	FATAL ERROR: Reached heap limit Allocation failed
warn	WARNING:root:x
error	ERROR:__main__:x
info	\e[32minfo\e[39m: listening
error	\e[31mERROR\e[0m x
info	\e[2m2026-01-01T00:00:00.000000Z\e[0m \e[32m INFO\e[0m \e[2mapp::net\e[0m: x
error	[2026-01-01T00:00:00Z ERROR app] x
info	[2026-01-01T00:00:00Z INFO  app] x
info	[I 2026-01-01 10:00:00.123 ServerApp] x
error	[E 10:00:00.123 NotebookApp] x
warn	[W] x
info	2026-01-01T00:00:00.000+0000 I NETWORK  [conn1] end connection
error	01-02 12:00:00.000  1234  5678 E ActivityManager: x
warn	W/System.err(123): x
info	2026-03-04T09:55:49.954+02:00  INFO 1 --- [main] c.e.App : Started
error	09:55:49.123 [main] ERROR c.e.Foo - x
error	[main] ERROR c.e.Foo - x
error	2026-03-27 09:56:29,205 ERROR [http-nio-8080-exec-77] c.e.shop.OrderController - x
info	2026-03-04T09:55:49.954054+02:00\tinfo\tserver/http.go:47\tx
error	web-1  | 2026-03-04 09:55:49 ERROR x
error	<11>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick
error	<11>app: x
warn	<11>app: [warn] x
warn	Jun 17 22:34:21 mail postfix/smtpd[3133]: warning: hostname x does not resolve
error	Dec 10 10:13:59 LabSZ sshd[24833]: error: Received disconnect
-	Dec 10 10:13:59 LabSZ sshd[24833]: Failed password for error from 1.2.3.4
warn	2026-01-01T00:00:00.123456+00:00 host postfix/smtpd[1]: warning: x
info	081110 220637 32 INFO dfs.FSNamesystem: BLOCK* NameSystem.delete
info	2016-09-29 00:00:46, Info                  CSI    00000008@2016/9/28:16:00:46.635 x
warn	2015-07-29 19:29:03,816 - WARN  [RecvWorker:188978561024:QuorumCnxManager$RecvWorker@765] - x
info	[2026-01-01, 10:00:00 UTC] {taskinstance.py:1150} INFO - error
error	2026.01.01 10:00:00.000000 [ 1 ] {} <Error> App: x
info	/docker-entrypoint.sh: info: Looking for scripts
info	10-listen-on-ipv6-by-default.sh: info: Getting the checksum of x
error	SEVERE: x
debug	FINE: x
-	An error occurred (ThrottlingException) when calling the PutLogEvents operation
-	error reading file: no such file
-	Error reading file: no such file
-	2026/06/28 03:45:22 http: panic serving 138.63.163.81:5432: runtime error
-	2026/06/28 03:45:22 error in middleware
-	2026/06/28 03:45:22 Warning signs are everywhere
-	404 ERROR for /x
-	3 errors found
-	5 ERROR lines seen
-	Status: ERROR while x
-	Result of the check: ERROR
-	The ERROR was mended
-	DISK ERROR on sda
-	disk: ERROR seen
-	all is fine: really
-	fine: thanks
-	config: loaded
-	log: rotated
-	[error handler] started
-	[config] loaded
-	[my errors] x
-	31.188.165.105 - error [30/Jul/2026:04:46:06 +0000] "GET /error HTTP/1.0" 304 -
-	"ERROR: x"
-	GET /error 500
-	level
-	level error
-	java.lang.IllegalStateException: ERROR
-	\tat com.example.Error.main(Error.java:1)
-	Caused by: java.net.SocketTimeoutException: Read timed out
-	Traceback (most recent call last):
-	WARNINGS: 3
-	ERRORS found
-	<999>x
-	<
-	[
-	[[[[
-	E
-	-
-	
`
