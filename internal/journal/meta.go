package journal

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// metaMax bounds what is read of a container.json in bytes.
const metaMax = 16 << 20

func readMeta(path string) (Container, error) {
	var c Container
	f, err := os.Open(filepath.Join(path, metaName))
	if err != nil {
		return c, err
	}
	defer f.Close()
	err = json.NewDecoder(io.LimitReader(f, metaMax)).Decode(&c)
	return c, err
}

// readMetaUntil does so, and tries again for as long as the disk fails.
func readMetaUntil(path string, until time.Time) (Container, error) {
	for {
		c, err := readMeta(path)
		if !errors.Is(err, unix.EIO) || time.Now().After(until) {
			return c, err
		}
		time.Sleep(writeAgain)
	}
}

// writeMeta replaces container.json in one step; its directory is made if need be.
// Synced, what was there before or this is there after a power cut.
func writeMeta(path string, c Container, sync bool) error {
	b, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return replaceFile(filepath.Join(path, metaName), append(b, '\n'), sync)
}

// replaceFile replaces a file in one step.
func replaceFile(name string, b []byte, sync bool) error {
	f, err := os.OpenFile(name+tmpSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && sync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(name+tmpSuffix, name)
	}
	if err != nil {
		os.Remove(name + tmpSuffix)
		return err
	}
	if sync {
		return syncDir(filepath.Dir(name))
	}
	return nil
}

// syncDir makes the names in a directory outlast a power cut.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
