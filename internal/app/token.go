package app

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"strings"
)

// tokenFile, in the data directory, holds the generated token.
const tokenFile = "api-token"

// loadToken reads the generated token, or makes one. It returns one also where
// it could not be kept.
func loadToken(path string) (string, error) {
	b, err := os.ReadFile(path)
	if token := strings.TrimSpace(string(b)); err == nil && len(token) >= minToken {
		return token, os.Chmod(path, 0o600)
	}
	token := rand.Text()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return token, err
	}
	_, err = f.WriteString(token + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return token, err
	}
	return token, os.Rename(tmp, path)
}
