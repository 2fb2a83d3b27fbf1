package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// forgetting has no more be read of a file, where it isn't in the page cache, than is
// asked for: what is read ahead would stay there.
func forgetting(f *os.File) {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM) // a hint
}

// readAt fills b from an offset of the file. For a reader that stands aside, what wasn't
// in the page cache isn't there afterwards: so much is read that nobody asks for again, and
// it would take the place of what others do.
func (r *Reader) readAt(b []byte, off int64) error {
	if !r.Aside {
		_, err := r.file.ReadAt(b, off)
		return err
	}
	fd := int(r.file.Fd())
	n, err := unix.Preadv2(fd, [][]byte{b}, off, unix.RWF_NOWAIT)
	if n = max(n, 0); n == len(b) {
		return nil
	}
	cold := err == nil || err == unix.EAGAIN // else it can't be known
	if _, err := r.file.ReadAt(b[n:], off+int64(n)); err != nil {
		return err
	}
	if !cold {
		return nil
	}
	from, to := off+int64(n), off+int64(len(b))
	if off == r.cold {
		from = off &^ int64(os.Getpagesize()-1) // the page that the block before has begun
	}
	r.cold = to
	_ = unix.Fadvise(fd, from, to-from, unix.FADV_DONTNEED) // a hint, about whole pages
	return nil
}
