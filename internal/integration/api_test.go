package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"logscan/internal/enginetest"
)

// engineAPI asks the Engine for something, without a docker command, of which
// hundreds would take longer than what they ask for. body and answer may be
// nil.
func engineAPI(client *http.Client, method, path string, body, answer any) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, "http://engine/v1.41"+path, in)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, b)
	}
	if err == nil && answer != nil {
		err = json.Unmarshal(b, answer)
	}
	return err
}

// containerConfig is what the Engine makes a container of.
type containerConfig struct {
	Image           string
	Cmd             []string
	Env             []string          `json:",omitempty"`
	Labels          map[string]string `json:",omitempty"`
	NetworkDisabled bool
	HostConfig      struct {
		NetworkMode string
		LogConfig   struct {
			Type   string
			Config map[string]string
		}
	}
}

func logscanContainer(opts map[string]string, command ...string) containerConfig {
	c := containerConfig{Image: enginetest.Image, Cmd: command}
	c.HostConfig.NetworkMode = "none"
	c.HostConfig.LogConfig.Type = enginetest.Plugin
	c.HostConfig.LogConfig.Config = opts
	return c
}

// create makes a container and returns its id.
func create(t testing.TB, client *http.Client, c containerConfig) string {
	t.Helper()
	var made struct{ ID string }
	if err := engineAPI(client, http.MethodPost, "/containers/create", c, &made); err != nil {
		t.Fatal(err)
	}
	return made.ID
}
