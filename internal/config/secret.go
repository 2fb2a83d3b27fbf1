package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// reference is ${file:PATH} or ${env:NAME}: a secret that stands elsewhere.
var reference = regexp.MustCompile(`\$\{(file|env):([^{}]*)\}`)

// Stored stands for what is kept already for a trigger of this key, or name.
const Stored = "${stored}"

// maxSecret bounds a file that a reference names, in bytes.
const maxSecret = 4096

// Secrets returns what a reference such as ${file:/run/secrets/x} stands for.
type Secrets func(ref string) (string, error)

// Local resolves references by the files and the environment of this process; a path that
// isn't absolute is one below dir.
func Local(dir string) Secrets {
	return func(ref string) (string, error) {
		m := reference.FindStringSubmatch(ref)
		if m == nil {
			return "", errors.New("is neither ${file:PATH} nor ${env:NAME}")
		}
		if m[1] == "env" {
			v, ok := os.LookupEnv(m[2])
			if !ok {
				return "", fmt.Errorf("there is no environment variable %s", m[2])
			}
			return v, nil
		}
		path := m[2]
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
		switch {
		case err != nil:
			return "", err
		case len(b) > maxSecret:
			return "", fmt.Errorf("%s has more than %d bytes", path, maxSecret)
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	}
}

// Given resolves references by what was sent for them.
func Given(secrets map[string]string) Secrets {
	return func(ref string) (string, error) {
		v, ok := secrets[ref]
		if !ok {
			return "", errors.New("nothing was sent for it")
		}
		return v, nil
	}
}

// errUnknown has a field that holds a reference not be looked at.
var errUnknown = errors.New("isn't known here")

// Unknown resolves nothing: where files are only looked at, and what references stand for
// isn't known.
func Unknown(string) (string, error) { return "", errUnknown }

// References are those in a text.
func References(text string) []string { return reference.FindAllString(text, -1) }

// resolved is a text with what its references stand for.
func resolved(text string, secrets Secrets) (out string, err error) {
	out = reference.ReplaceAllStringFunc(text, func(ref string) string {
		v, e := secrets(ref)
		if e != nil && err == nil {
			err = fmt.Errorf("%s: %w", ref, e)
		}
		return v
	})
	return out, err
}
