package journal

import (
	"math"
	"os"
	"unsafe"

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
	var resident []byte
	page := int64(os.Getpagesize())
	from := off &^ (page - 1)
	switch to := off + int64(len(b)); { // where it can't be known, nothing is dropped
	case !r.Aside:
	case to <= int64(len(r.mapped)):
		resident, _ = inCache(r.mapped[from:to])
	default:
		resident, _ = residentPages(int(r.file.Fd()), from, int(to-from))
	}
	if _, err := r.file.ReadAt(b, off); err != nil {
		return err
	}
	for n := 0; n < len(resident); n++ {
		first := n
		for n < len(resident) && resident[n]&1 == 0 {
			n++
		}
		if n > first {
			_ = unix.Fadvise(int(r.file.Fd()), from+int64(first)*page, int64(n-first)*page, unix.FADV_DONTNEED) // a hint
		}
	}
	return nil
}

// residentPages returns a byte for each page of a part of a file, which begins with a page:
// its lowest bit is 1 where the page is in the page cache.
func residentPages(fd int, from int64, length int) ([]byte, error) {
	if length == 0 {
		return nil, nil
	}
	m, err := unix.Mmap(fd, from, length, unix.PROT_READ, unix.MAP_SHARED) // it is never read
	if err != nil {
		return nil, err
	}
	defer unix.Munmap(m)
	return inCache(m)
}

// inCache is residentPages of what is mapped.
func inCache(m []byte) ([]byte, error) {
	page := os.Getpagesize()
	pages := make([]byte, (len(m)+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		return nil, errno
	}
	return pages, nil
}

// mapWhole maps a file that doesn't grow; nil where that can't be.
func mapWhole(f *os.File) []byte {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 || info.Size() > math.MaxInt {
		return nil
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	return m
}
