package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"logscan/internal/journal"
)

// record is what is kept on disk about an attachment, in a file named as its
// FIFO.
type record struct {
	ContainerID string    `json:"container_id"`
	Since       time.Time `json:"since"`
}

const (
	recordSuffix = ".json"
	tmpSuffix    = ".tmp"
	recordMax    = 64 << 10 // bytes that are read of one
	// recordPatience is how long all that can't be read may keep the others waiting.
	recordPatience = 5 * time.Second
)

func (i *Ingest) recordPath(name string) string {
	return filepath.Join(i.cfg.RecordDir, name+recordSuffix)
}

// remember writes a record. The rename commits it.
func (i *Ingest) remember(name string, r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(i.cfg.RecordDir, 0o700); err != nil {
		return err
	}
	path := i.recordPath(name)
	file, err := os.OpenFile(path+tmpSuffix, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+tmpSuffix, path)
	}
	if err != nil {
		os.Remove(path + tmpSuffix)
	}
	return err
}

func (i *Ingest) forget(name string) {
	if err := os.Remove(i.recordPath(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		i.log.Warn("remove attachment record", "err", err)
	}
}

// recall reads the record of a FIFO; false if there is none that makes sense. A
// disk that fails is tried again until then: without its record, a container's
// lines would go on under another name.
func (i *Ingest) recall(name string, then time.Time) (record, bool) {
	r, err := readRecord(i.recordPath(name))
	for ; errors.Is(err, unix.EIO) && time.Now().Before(then); r, err = readRecord(i.recordPath(name)) {
		time.Sleep(retryAfter)
	}
	if err == nil && !journal.ValidID(r.ContainerID) {
		err = fmt.Errorf("no container in it")
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		i.log.Error("attachment record", "fifo", name, "err", err)
	}
	return r, err == nil
}

func readRecord(path string) (r record, err error) {
	file, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer file.Close()
	return r, json.NewDecoder(io.LimitReader(file, recordMax)).Decode(&r)
}
