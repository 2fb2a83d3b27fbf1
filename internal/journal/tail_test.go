package journal

import (
	"bytes"
	"testing"
)

// What the tail gives is what was added last and without a gap.
func TestTail(t *testing.T) {
	var x tail
	if b := x.from(0); b != nil {
		t.Errorf("%q of nothing", b)
	}
	x.add(100, []byte("ab"))
	x.add(102, []byte("cd"))
	for pos, want := range map[int64]string{99: "", 100: "abcd", 102: "cd", 104: "", 105: ""} {
		if got := string(x.from(pos)); got != want {
			t.Errorf("from %d: %q, want %q", pos, got, want)
		}
	}
	x.add(110, []byte("ef")) // something between wasn't added
	if x.from(102) != nil || string(x.from(110)) != "ef" {
		t.Errorf("after a gap: %+v", x)
	}
	x.add(112, bytes.Repeat([]byte("x"), tailMax-1))
	if x.from(110) != nil || len(x.from(112)) != tailMax-1 {
		t.Errorf("after its bound: from %d, %d bytes", x.at, len(x.b))
	}
}
