package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stopped makes the logs of n containers that stopped just now, a line each.
func stopped(t *testing.T, root string, n int) {
	t.Helper()
	for i := range n {
		path := filepath.Join(root, fmt.Sprintf("%064x", i))
		if err := writeMeta(path, Container{Name: "c", Options: DefaultOptions}, false); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(segmentPath(path, 0, rawSuffix), frame(1, 1, 50), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// withoutDescriptors runs f while the process can open no more files.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 64
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var taken []*os.File
	defer func() {
		for _, f := range taken {
			f.Close()
		}
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}()
	for {
		file, err := os.Open(os.DevNull)
		if errors.Is(err, unix.EMFILE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, file)
	}
	f()
}

// A log whose directory can't be listed for a moment is no old log and no empty
// one: neither age nor budget removes it, whether or not it can be removed by then.
func TestUnlistableLogsAreKept(t *testing.T) {
	const n = 100
	for name, during := range map[string]func(t *testing.T, d *Dir){
		"without descriptors": func(t *testing.T, d *Dir) {
			list := d.readDir
			// Descriptors are back as soon as the listing has failed.
			d.readDir = func(name string) (entries []os.DirEntry, err error) {
				withoutDescriptors(t, func() { entries, err = list(name) })
				if !errors.Is(err, unix.EMFILE) {
					t.Errorf("listed without descriptors: %v", err)
				}
				return entries, err
			}
		},
		"input/output error": func(_ *testing.T, d *Dir) {
			d.readDir = func(name string) ([]os.DirEntry, error) {
				return nil, &os.PathError{Op: "readdirent", Path: name, Err: unix.EIO}
			}
		},
		"the file handle is stale": func(_ *testing.T, d *Dir) {
			d.readDir = func(name string) ([]os.DirEntry, error) {
				return nil, &os.PathError{Op: "open", Path: name, Err: unix.ESTALE}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			stopped(t, root, n)
			var losses []Loss
			d, err := OpenDir(Config{Root: root, StoppedAge: 720 * time.Hour, Budget: 1, OnLoss: func(l Loss) { losses = append(losses, l) }})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			during(t, d)
			d.retain()
			for _, i := range d.List() {
				if i.Err == nil {
					t.Errorf("%s: %d bytes, last written %s, of a directory that can't be listed", i.ID, i.Bytes, i.Latest)
				}
			}
			left, err := os.ReadDir(root)
			if err != nil || len(left) != n || len(losses) > 0 {
				t.Fatalf("%d logs of %d are left, %v; reported: %v", len(left), n, err, losses)
			}
			d.readDir = os.ReadDir
			for _, i := range d.List() {
				if i.Err != nil || i.Bytes == 0 || i.Latest.IsZero() {
					t.Errorf("listed again: %d bytes, last written %s, %v", i.Bytes, i.Latest, i.Err)
				}
			}
		})
	}
}

// A log without any file has no age.
func TestNoTimeNeverAges(t *testing.T) {
	root := t.TempDir()
	stopped(t, root, 1)
	d, err := OpenDir(Config{Root: root, StoppedAge: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.readDir = func(string) ([]os.DirEntry, error) { return nil, nil }
	d.retain()
	if left, err := os.ReadDir(root); err != nil || len(left) != 1 {
		t.Errorf("%d logs are left, %v", len(left), err)
	}
}
