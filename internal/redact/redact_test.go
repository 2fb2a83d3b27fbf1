package redact

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	awsKey    = "AKIAIOSFODNN7EXAMPLE"
	awsSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	jwt       = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	pem       = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq\n98dfj2ksdf==\n-----END RSA PRIVATE KEY-----"
)

func TestWhatIsSecretIsRedacted(t *testing.T) {
	r := &Redactor{}
	for text, want := range map[string]string{
		"login user=root password=hunter2 from=10.0.0.1":             "login user=root password=[redacted] from=10.0.0.1",
		"DB_PASSWORD=hunter2;user=root":                              "DB_PASSWORD=[redacted];user=root",
		`passwd='a b'  next`:                                         `passwd='[redacted]'  next`,
		`secret="a \" b" next`:                                       `secret="[redacted]" next`,
		`{"user":"root","password":"hunter2","ok":true}`:             `{"user":"root","password":"[redacted]","ok":true}`,
		`{"log":"{\"password\":\"hunter2\",\"a\":1}"}`:               `{"log":"{\"password\":\"[redacted]\",\"a\":1}"}`,
		`{'apiKey': 'abc'}`:                                          `{'apiKey': '[redacted]'}`,
		`{"token":12345}`:                                            `{"token":[redacted]}`,
		`:password=>"hunter2", :user=>"x"`:                           `:password=>"[redacted]", :user=>"x"`,
		`GET /cb?token=abc123&user=x HTTP/1.1`:                       `GET /cb?token=[redacted]&user=x HTTP/1.1`,
		"Server=db;Uid=sa;Pwd=hunter2;":                              "Server=db;Uid=sa;Pwd=[redacted];",
		"Config(password=hunter2)":                                   "Config(password=[redacted])",
		"Authorization: Basic dXNlcjpwYXNz":                          "Authorization: Basic [redacted]",
		`"authorization":"Bearer abc.def"`:                           `"authorization":"Bearer [redacted]"`,
		"sent bearer abcdef0123456789":                               "sent bearer [redacted]",
		"session " + jwt + " ended":                                  "session [redacted] ended",
		"key " + awsKey + " used":                                    "key [redacted] used",
		awsKey + " " + awsSecret:                                     "[redacted] [redacted]",
		"aws_secret_access_key = " + awsSecret:                       "aws_secret_access_key = [redacted]",
		`"SecretAccessKey": "` + awsSecret + `"`:                     `"SecretAccessKey": "[redacted]"`,
		"got " + pem + " here":                                       "got [redacted] here",
		"tail ksdfj2kS==\n-----END PRIVATE KEY-----":                 "[redacted]",
		`{"k":"-----BEGIN PRIVATE KEY-----\nMIIE\n"}`:                `{"k":"[redacted]`,
		"postgres://shop:hunter2@db/shop":                            "postgres://shop:[redacted]@db/shop",
		"card 4111111111111111.":                                     "card [redacted].",
		"card 4111 1111 1111 1111 200 ok":                            "card [redacted] 200 ok",
		"card=5500-0000-0000-0004,378282246310005 3782 822463 10005": "card=[redacted],[redacted] [redacted]",
	} {
		got := string(Apply([]byte(text), r.Spans([]byte(text))))
		if got != want {
			t.Errorf("%q\nis  %q\nnot %q", text, got, want)
		}
		if again := r.Text(got); again != got {
			t.Errorf("%q becomes %q", got, again)
		}
	}
}

func TestWhatIsNoSecretStays(t *testing.T) {
	r := &Redactor{}
	for _, text := range []string{
		"user=root status=200 path=/login", "max_tokens=512 total_tokens: 80", `unexpected token: "}"`[:17], "wrong password: try again",
		"password= next", `{"token":null,"secret":""}`, "if password == nil {", "bearer authentication failed", "eyJ is no token", "AKIA is no key",
		"at 1767366245000000000 4111111111111112 0.4111111111111111 4111111111111111000000", "id a4111111111111111", "4111.111111111111",
		"https://example.com:8080/a@b", "sha " + strings.Repeat("0a", 20), "-----BEGIN PUBLIC KEY-----", "PWDX=/app", "", "password", "key=",
		"2026-01-02 15:04:05 4000 1234 5678 9012",
	} {
		if got := r.Text(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestFurtherExpression(t *testing.T) {
	for further, want := range map[string]string{
		`sess-\w+`:           "id [redacted] pin=1234",
		`pin=(\d+)`:          "id sess-abc pin=[redacted]",
		`sess-(\w+)|pin=(.)`: "id sess-[redacted] pin=[redacted]234",
	} {
		r, err := New(further)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Text("id sess-abc pin=1234"); got != want {
			t.Errorf("%s: %q", further, got)
		}
	}
	if _, err := New("("); err == nil {
		t.Error("a broken expression was taken")
	}
	var none *Redactor
	if got := none.Text("password=x"); got != "password=x" || none.Spans([]byte("password=x")) != nil {
		t.Error("no redactor found something")
	}
}

// A key on several lines is one secret.
func TestLines(t *testing.T) {
	in := bytes.Split([]byte("before\n"+pem+"\nafter"), []byte("\n"))
	got := (&Redactor{}).Lines(in)
	want := []string{"before", Mark, Mark, Mark, Mark, "after"}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for n, l := range got {
		if string(l) != want[n] {
			t.Errorf("line %d is %q", n, l)
		}
	}
}

func TestNothingSecretTakesNoMemory(t *testing.T) {
	r := &Redactor{}
	text := []byte("2026-01-02T15:04:05Z INFO request handled path=/api/v1/items/42 status=200 dur=12ms user=alice request=8a7b6c5d4e3f2a1b0c9d8e")
	if n := testing.AllocsPerRun(100, func() { r.Spans(text) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzSpans(f *testing.F) {
	for _, text := range []string{pem, jwt, awsKey + awsSecret, `{"password":"\"`, `token='\`, "4111 1111-1111 1111", "secret=" + Mark, "://a:b@", "bearer \xff", "KEY-----END PRIVATE KEY-----"} {
		f.Add([]byte(text), []byte(text))
	}
	further, err := New(`sess-(\w*)|x*`)
	if err != nil {
		f.Fatal(err)
	}
	card := regexp.MustCompile(`\b4111111111111111\b`)
	f.Fuzz(func(t *testing.T, before, after []byte) {
		text := fmt.Appendf(nil, "%s password=hunter2XYZ 4111111111111111 \n%s", before, after)
		for _, r := range []*Redactor{{}, further} {
			last := -1
			spans := r.Spans(text)
			for _, s := range spans {
				if s.From <= last || s.To <= s.From || s.To > len(text) {
					t.Fatalf("spans %v of %d bytes", spans, len(text))
				}
				last = s.To
			}
			told := Apply(text, spans)
			if bytes.Contains(told, []byte("hunter2XYZ")) && !bytes.Contains(append(slices.Clone(before), after...), []byte("hunter2")) {
				t.Errorf("%q is told as %q", text, told)
			}
			if card.Match(told) && !card.Match(before) && !card.Match(after) {
				t.Errorf("%q is told as %q", text, told)
			}
			lines := bytes.Split(text, []byte("\n"))
			if got := r.Lines(lines); len(got) != len(lines) {
				t.Errorf("%d lines became %d", len(lines), len(got))
			}
		}
	})
}

// BenchmarkSpans is the cost of a text of which something is kept.
func BenchmarkSpans(b *testing.B) {
	for name, text := range map[string]string{
		"nothing":  "2026-01-02T15:04:05Z INFO request handled path=/api/v1/items/42 status=200 dur=12ms user=alice request=8a7b6c5d4e3f2a1b0c9d8e",
		"password": "2026-01-02T15:04:05Z INFO login failed path=/api/v1/login status=401 user=alice password=hunter2 request=8a7b6c5d4e3f2a1b0c",
		"hostile":  strings.Repeat(`password\\":"\"AKIA-----BEGIN PRIVATE KEY----- bearer://4111 1111 `, 300),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				(&Redactor{}).Spans([]byte(text))
			}
		})
	}
}
