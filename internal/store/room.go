package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SQLite maps the index of its log, the file -shm, into memory. That the disk has
// room for it, it makes sure of by a byte in each 4 KiB (os_unix.c, unixShmMap).
// Where the filesystem's blocks are smaller, what is between stays a hole, and on
// a full disk whoever touches it is ended by SIGBUS. So there has to be room
// before a database is opened, and then the holes are filled.

// roomMin is what has to be free on the disk before a database is opened, in
// bytes: SQLite's index grows by 32 KiB at a time.
const roomMin = 64 << 10

// haveRoom returns an error where the disk is as good as full.
func haveRoom(path string) error {
	dir := filepath.Dir(path)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if free := int64(st.Bavail) * st.Bsize; free < roomMin {
		return fmt.Errorf("%d KiB are free where it is, %d are needed: %w", free>>10, roomMin>>10, unix.ENOSPC)
	}
	return nil
}

// fillHoles gives the index of an open database all of its blocks. The file it
// returns, nil where there is no index, is to be closed after the database and no
// sooner: a process that closes a file loses all of its POSIX locks on it, and
// SQLite's are such.
func fillHoles(path string) (*os.File, error) {
	f, err := os.OpenFile(path+"-shm", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() > 0 {
		err = unix.Fallocate(int(f.Fd()), 0, 0, info.Size())
		if err == unix.EOPNOTSUPP { // nor are there holes where nothing can be allocated
			err = nil
		}
	}
	if err != nil {
		return f, fmt.Errorf("room for %s: %w", f.Name(), err)
	}
	return f, nil
}
