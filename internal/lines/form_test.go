package lines

import (
	"fmt"
	"strings"
	"testing"
)

// examples are records as real programs write them, one of each form at least.
var examples = []struct{ name, text string }{
	{"Java, uncaught", `Exception in thread "main" java.lang.IllegalStateException: no such item
	at Shop.find(Shop.java:14)
	at Shop.main(Shop.java:5)
Caused by: java.util.NoSuchElementException: 42
	at java.base/java.util.Optional.orElseThrow(Optional.java:382)
	at Shop.find(Shop.java:12)
	... 1 more`},
	{"Java, printed", `java.sql.SQLException: ORA-00942: table or view does not exist

	at oracle.jdbc.driver.T4CTTIoer11.processError(T4CTTIoer11.java:509)
	at shop.Cart.load(Cart.java:31)
	Suppressed: java.io.IOException: already closed
		at shop.Cart.close(Cart.java:77)
		... 2 more`},
	{"Kotlin, in a coroutine", `Exception in thread "DefaultDispatcher-worker-1" kotlin.UninitializedPropertyAccessException: lateinit property cart has not been initialized
	at shop.CartKt$main$1.invokeSuspend(Cart.kt:9)
	at kotlin.coroutines.jvm.internal.BaseContinuationImpl.resumeWith(ContinuationImpl.kt:33)
	Suppressed: kotlinx.coroutines.internal.DiagnosticCoroutineContextException: [StandaloneCoroutine{Cancelling}@1b2c, Dispatchers.Default]`},
	{"Python", `Traceback (most recent call last):
  File "/app/shop.py", line 9, in <module>
    find(42)
    ~~~~^^^^
  File "/app/shop.py", line 5, in find
    return items[n]
           ~~~~~^^^
KeyError: 42`},
	{"Python, while handling another", `Traceback (most recent call last):
  File "/app/shop.py", line 5, in find
    return items[n]
KeyError: 42

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/shop.py", line 12, in <module>
    find(42)
shop.errors.NoSuchItem: 42`},
	{"Python, because of another", `Traceback (most recent call last):
  File "/app/shop.py", line 5, in find
    return items[n]
KeyError: 42

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/shop.py", line 12, in <module>
    find(42)
shop.errors.NoSuchItem: 42`},
	{"Python, a group", `  + Exception Group Traceback (most recent call last):
  |   File "/app/shop.py", line 3, in <module>
  |     raise ExceptionGroup("two", [ValueError(1), TypeError(2)])
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: 1
    +---------------- 2 ----------------
    | TypeError: 2
    +------------------------------------`},
	{"Python, psycopg", `Traceback (most recent call last):
  File "/app/shop.py", line 7, in <module>
    cursor.execute("select * from nowhere")
psycopg2.errors.UndefinedTable: relation "nowhere" does not exist
LINE 1: select * from nowhere
                      ^

[SQL: select * from nowhere]
(Background on this error at: https://sqlalche.me/e/20/f405)`},
	{"Go, panic", `panic: no such item

goroutine 1 [running]:
main.find(...)
	/app/shop.go:14
main.(*Shop).serve(0xc0000b2000, {0x4b6d2a, 0x5})
	/app/shop.go:9 +0x4d
created by main.main in goroutine 6
	/app/shop.go:5 +0x2f
exit status 2`},
	{"Go, signal", `panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x45f2a4]

goroutine 1 [running]:
main.main()
	/app/shop.go:7 +0x4`},
	{"Go, panic again", `panic: first [recovered]
	panic: second

goroutine 1 [running]:
panic({0x45b2c0?, 0x484d18?})
	/usr/local/go/src/runtime/panic.go:792 +0x132
main.main()
	/app/shop.go:10 +0x73`},
	{"Go, deadlock", `fatal error: all goroutines are asleep - deadlock!

goroutine 1 [chan receive]:
main.main()
	/app/shop.go:5 +0x1f`},
	{"Node, uncaught", `/app/shop.js:4
  throw new Error("no such item");
  ^

Error: no such item
    at find (/app/shop.js:4:9)
    at Object.<anonymous> (/app/shop.js:7:1)
    at Module._compile (node:internal/modules/cjs/loader:1554:14)
    at node:internal/main/run_main_module:36:49

Node.js v22.14.0`},
	{"Node, with properties", `node:events:497
      throw er; // Unhandled 'error' event
      ^

Error: listen EADDRINUSE: address already in use :::80
    at Server.setupListenHandle [as _listen2] (node:net:1937:16)
    at listenInCluster (node:net:1994:12)
Emitted 'error' event on Server instance at:
    at emitErrorNT (node:net:1973:8) {
  code: 'EADDRINUSE',
  errno: -98,
  port: 80
}

Node.js v22.14.0`},
	{"Node, logged", `TypeError: Cannot read properties of undefined (reading 'price')
    at total (/app/shop.js:12:21)
    at async /app/shop.js:30:5 {
  [cause]: Error: connect ECONNREFUSED 127.0.0.1:5432
      at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1634:16)
}`},
	{".NET, uncaught", `Unhandled exception. System.InvalidOperationException: no such item
 ---> System.Collections.Generic.KeyNotFoundException: The given key '42' was not present in the dictionary.
   at System.Collections.Generic.Dictionary` + "`" + `2.get_Item(TKey key)
   at Shop.Find(Int32 n) in /app/Shop.cs:line 14
   --- End of inner exception stack trace ---
   at Shop.Find(Int32 n) in /app/Shop.cs:line 18
--- End of stack trace from previous location ---
   at Shop.Main(String[] args) in /app/Shop.cs:line 7`},
	{".NET, logged", `fail: Microsoft.AspNetCore.Diagnostics.ExceptionHandlerMiddleware[1]
      An unhandled exception has occurred while executing the request.
      System.InvalidOperationException: no such item
         at Shop.Find(Int32 n) in /app/Shop.cs:line 14`},
	{"Rust", `thread 'main' panicked at src/main.rs:4:5:
no such item
note: run with ` + "`RUST_BACKTRACE=1`" + ` environment variable to display a backtrace`},
	{"Rust, with a trace", `thread 'tokio-runtime-worker' (71) panicked at src/main.rs:9:14:
assertion ` + "`left == right`" + ` failed
  left: 1
 right: 2
stack backtrace:
   0: rust_begin_unwind
             at /rustc/90b35a6/library/std/src/panicking.rs:689:5
   1: core::panicking::panic_fmt
             at /rustc/90b35a6/library/core/src/panicking.rs:80:14
note: Some details are omitted, run with ` + "`RUST_BACKTRACE=full`" + ` for a verbose backtrace.`},
	{"Rust, before 1.73", `thread 'main' panicked at 'no such item', src/main.rs:4:5
note: run with ` + "`RUST_BACKTRACE=1`" + ` environment variable to display a backtrace`},
	{"PHP", `PHP Fatal error:  Uncaught RuntimeException: no such item in /app/shop.php:4
Stack trace:
#0 /app/shop.php(9): find(42)
#1 {main}
  thrown in /app/shop.php on line 4`},
	{"PHP, one behind another", `[02-Jan-2026 15:04:05 UTC] PHP Fatal error:  Uncaught PDOException: gone in /app/db.php:4
Stack trace:
#0 /app/shop.php(9): query()
#1 {main}

Next RuntimeException: no such item in /app/shop.php:11
Stack trace:
#0 {main}
  thrown in /app/shop.php on line 11`},
	{"PostgreSQL", `2026-01-02 15:04:05.123 UTC [71] ERROR:  relation "nowhere" does not exist at character 15
2026-01-02 15:04:05.123 UTC [71] STATEMENT:  select * from nowhere
	where id = 1
	order by id`},
	{"PostgreSQL, with details", `2026-01-02 15:04:05.123 UTC [71] shop@shop ERROR:  duplicate key value violates unique constraint "items_pkey"
2026-01-02 15:04:05.123 UTC [71] shop@shop DETAIL:  Key (id)=(1) already exists.
2026-01-02 15:04:05.123 UTC [71] shop@shop CONTEXT:  SQL statement "insert into items values (1)"
	PL/pgSQL function add() line 3 at SQL statement
2026-01-02 15:04:05.123 UTC [71] shop@shop STATEMENT:  select add()`},
	{"psql", `ERROR:  relation "nowhere" does not exist
LINE 1: select * from nowhere
                      ^`},
	{"JSON", `{
  "level": "error",
  "error": {
    "message": "no such item: }",
    "stack": []
  },
  "ids": [
    1,
    2
  ]
}`},
	{"JSON, an array", `[
  {
    "id": 1
  }
]`},
	{"JSON behind a text", `Response: {
  status: 500,
  headers: { 'content-type': 'text/html' }
}`},
	{"Python, pprint", `{'items': [{'id': 1, 'name': 'a'},
           {'id': 2, 'name': 'b'}],
 'total': 2}`},
}

// Each example is one record, whatever is before and behind it.
func TestForms(t *testing.T) {
	for _, tt := range examples {
		t.Run(tt.name, func(t *testing.T) {
			texts := strings.Split(tt.text, "\n")
			all := append(append([]string{"GET /cart 200"}, texts...), "GET /items 200", "GET / 200")
			want := fmt.Sprintf("GET /cart 200 | %s | GET /items 200 | GET / 200", strings.Join(texts, "↵"))
			if got := recordsOf(all); got != want {
				t.Errorf("\ngot  %s\nwant %s", got, want)
			}
			if got := recordsOf(append(texts, texts...)); !repeats(tt.text) && got != strings.Join(texts, "↵")+" | "+strings.Join(texts, "↵") {
				t.Errorf("twice: %s", got)
			}
		})
	}
}

// repeats reports whether a record would go on with the same again: nothing tells there.
func repeats(text string) bool {
	return strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")
}

// recordsOf shows the records of lines that are a millisecond apart.
func recordsOf(texts []string) string {
	var r Records
	var out []string
	give := func(r *Record) {
		var b []string
		for _, l := range r.Lines {
			b = append(b, string(l.Text))
		}
		out = append(out, strings.Join(b, "↵"))
	}
	for n, text := range texts {
		r.Add(&Line{Stream: "stderr", TimeNano: 1e18 + int64(n)*1e6, Text: []byte(text), From: int64(n), To: int64(n + 1)}, nil, give)
	}
	r.End(never, give)
	return strings.Join(out, " | ")
}

// Where traces stand behind the line that says what went wrong, they are part of one
// record with it, from the second one on.
func TestHeaders(t *testing.T) {
	for _, tt := range []struct{ header, trace string }{
		{"2026-01-02 15:04:05,123 ERROR [main] shop.Cart - no such item", "java.lang.IllegalStateException: no such item\n\tat shop.Cart.find(Cart.java:14)"},
		{"ERROR:root:no such item", "Traceback (most recent call last):\n  File \"/app/shop.py\", line 5, in find\n    return items[n]\nKeyError: 42"},
		{"2026/01/02 15:04:05 http: panic serving 127.0.0.1:40404: no such item", "goroutine 7 [running]:\nnet/http.(*conn).serve.func1()\n\t/usr/local/go/src/net/http/server.go:1947 +0xbe"},
		{"[2026-01-02 15:04:05] production.ERROR: no such item {\"exception\":\"[object] (Exception(code: 0): no such item at /app/shop.php:4)", "[stacktrace]\n#0 /app/shop.php(9): find(42)\n#1 {main}\n\"}"},
	} {
		both := append([]string{tt.header}, strings.Split(tt.trace, "\n")...)
		one := strings.Join(both, "↵")
		want := tt.header + " | " + strings.ReplaceAll(tt.trace, "\n", "↵") + " | GET / 200 | " + one + " | " + one + " | GET / 200"
		texts := append(append(append(append([]string{}, both...), "GET / 200"), both...), both...)
		if got := recordsOf(append(texts, "GET / 200")); got != want {
			t.Errorf("\ngot  %s\nwant %s", got, want)
		}
	}
}

// What looks like the rest of a record and isn't stays by itself.
func TestFalseFriends(t *testing.T) {
	for _, text := range []string{
		" one\n two\n  three\n\tfour",
		"shopping list:\n  - milk\n  - bread\n    - rye",
		"services:\n  web:\n    image: nginx\n    ports:\n      - \"80:80\"",
		"NAME      STATUS    PORTS\nweb       running   80/tcp\n          exited",
		"  at the office\n  from my phone",
		"GET / 200\n\nGET / 200\n\n",
		"#1 done\n#2 done\n# a comment",
		"ERROR: one blank behind the colon\n  hint: none",
		"ERROR something failed\nERROR something else failed",
		"Error in line 4\n  of the file",
		"[1/3] fetching\n[2/3] building\n[3/3] pushing",
		"[2026-01-02 15:04:05] INFO: a, b,\n[2026-01-02 15:04:06] INFO: c, d,",
		"{\"level\":\"info\",\"msg\":\"a\"}\n{\"level\":\"info\",\"msg\":\"b\"}",
		"{\"level\":\"info\",\"msg\":\"{\"}\n[]\n{}",
		"/healthz:80 is up\n/var/log/x.log: 3 lines",
		"goroutine pool has 7 workers\nthread 'main' started\npanic button pressed",
		"note: this is a note\nTraceback is off\ninfo: started [ok] in 3 s\n      indented",
		"Exceptions: 0\nErrors: 3\n  of which fatal: 0",
		"12:00:01 LOG:  checkpoint starting: time\n12:00:02 LOG:  checkpoint complete",
		"... 3 more",
		"Caused a problem\n}\n]",
		"\r\n \r",
	} {
		texts := strings.Split(text, "\n")
		if got, want := recordsOf(texts), strings.Join(texts, " | "); got != want {
			t.Errorf("\ngot  %q\nwant %q", got, want)
		}
		// Neither where traces stand behind such lines.
		trace := []string{"header", "goroutine 7 [running]:", "main.main()"}
		want := "header | goroutine 7 [running]:↵main.main() | x | " + strings.Join(texts, " | ")
		if got := recordsOf(append(append(trace, "x"), texts...)); got != want {
			t.Errorf("behind a trace\ngot  %q\nwant %q", got, want)
		}
	}
}
