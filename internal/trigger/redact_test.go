package trigger

import (
	"encoding/base64"
	"strings"
	"testing"
)

// What a receiver quotes of what it was sent tells neither URL nor secret.
func TestRedact(t *testing.T) {
	basic := base64.StdEncoding.EncodeToString([]byte("bob:hunter2"))
	long := strings.Repeat("k", 200) + strings.Repeat("e", 200)
	for _, tt := range []struct{ url, secret, said, want string }{
		{"https://h.example.com/T0/n0b0dy-kn0ws", "", "", ""},
		{"https://h.example.com/T0/n0b0dy-kn0ws", "", "thanks from h.example.com", "thanks from h.example.com"},
		{"https://h.example.com/T0/n0b0dy-kn0ws", "", "no POST /T0/n0b0dy-kn0ws here", "no POST ******** here"},
		{"https://h.example.com/T0/n0b0dy-kn0ws", "", `{"path":"\/T0\/N0B0DY-KN0WS"}`, `{"path":"\/T0\/********"}`},
		{"https://h.example.com/x?auth=t%2Fk3n+1", "", "bad token t/k3n 1, t%2fk3n+1", "bad token ********, ********"},
		{"https://bob:hunter2@h.example.com/", "", "who is bob with hunter2 or " + basic, "who is bob with ******** or ********"},
		{"telegram://123456:AAbb-cc@api.telegram.org/-100", "", "Unauthorized: bot123456:AAbb-cc", "Unauthorized: bot********"},
		{"ntfy://ntfy.example.com/topic", "tk_secret", "Bearer tk_secret is bad for topic", "Bearer ******** is bad for ********"},
		{"ntfy://ntfy.example.com/topic", `a"<b`, `got "a\"<b" a&#34;&lt;b a%22%3Cb`, `got "********" ******** ********`},
		{"https://h.example.com/", "whsec_c2VjcmV0", "key c2VjcmV0", "key ********"},
		{"https://h.example.com/", "x y", "x y and x  y", "******** and x  y"},
		{"mailto:ops@example.com?server=smtp.example.com:587&user=me@example.com", "pa55", "smtp.example.com: <OPS@example.com> not for me@example.com, pa55", "smtp.example.com: <********> not for ********, ********"},
		{"https://h.example.com/n0b0dy-kn0ws", "", "it was n0b0dy-k…", "it was ********…"},
		{"https://h.example.com/n0b0dy-kn0ws", "", "it was n0b0dy-k", "it was ********…"},
		{"https://h.example.com/", long, "sent " + long[:250] + "…", "sent ********…"},
	} {
		if got := (Trigger{ActionURL: tt.url, ActionSecret: tt.secret}).redact(tt.said); got != tt.want {
			t.Errorf("%s, %s: of %q is left %q", tt.url, tt.secret, tt.said, got)
		}
	}
}
