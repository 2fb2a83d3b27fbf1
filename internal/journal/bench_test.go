package journal

import (
	"fmt"
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkIngest carries lines from a pipe to a journal: one at a time, as most
// containers write, and a full pipe at once.
func BenchmarkIngest(b *testing.B) {
	for name, lines := range map[string]int{"a line": 1, "16 KiB": 120, "256 KiB": 2000} {
		b.Run(name, func(b *testing.B) {
			d, err := OpenDir(Config{Root: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			j, err := d.Create(Container{ID: testID, Options: Options{MaxSize: 20 << 20, MaxFile: 2}})
			if err != nil {
				b.Fatal(err)
			}
			a := j.Attach(false)
			var p [2]int
			if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
				b.Fatal(err)
			}
			defer unix.Close(p[0])
			defer unix.Close(p[1])
			unix.FcntlInt(uintptr(p[0]), unix.F_SETPIPE_SZ, 1<<20)
			var batch []byte
			for i := range lines {
				batch = append(batch, frame(i, int64(1e18)+int64(i), 100)...)
			}
			b.SetBytes(int64(len(batch)))
			for n := 0; b.Loop(); n++ {
				if m, err := unix.Write(p[1], batch); err != nil || m != len(batch) {
					b.Fatal(m, err)
				}
				for got := 0; got < len(batch); {
					m, err := a.Ingest(p[0], 1<<20)
					if err != nil {
						b.Fatal(fmt.Sprint(n, got), err)
					}
					got += m
				}
				if n%100 == 0 {
					j.SetHold(1 << 62)
					j.trim()
				}
			}
		})
	}
}
