package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"logscan/internal/api"
	"logscan/internal/app"
)

const (
	defaultHost = "unix:///var/run/docker.sock"
	// pluginSockets is where the Engine shows the sockets that plugins make, in
	// a directory each; it is the same whatever the Engine's exec-root is.
	pluginSockets = "/run/docker/plugins"
	logDriver     = "docker.logdriver/1.0"
	// engineTimeout bounds how long the Engine may take to list its plugins.
	engineTimeout = 15 * time.Second
)

// engineOptions say where the plugin is.
type engineOptions struct {
	socket    string // straight to the plugin
	api       string // over TCP
	plugin    string
	tokenFile string
	hosts     []string
	context   string
	config    string
	sockets   string // pluginSockets but in tests
}

// dockerFlags accepts docker's own global flags, which docker hands on as they
// were given. Those that don't matter here are accepted and ignored.
func (e *engineOptions) dockerFlags(fs *pflag.FlagSet, hidden bool) {
	fs.StringArrayVarP(&e.hosts, "host", "H", nil, "Engine socket to connect to (default "+defaultHost+"), or tcp://HOST:PORT of logscan's own API")
	fs.StringVarP(&e.context, "context", "c", "", "Docker context to use")
	fs.StringVar(&e.config, "config", "", "Location of Docker's client config files")
	fs.BoolP("debug", "D", false, "")
	fs.StringP("log-level", "l", "", "")
	fs.Bool("tls", false, "")
	fs.Bool("tlsverify", false, "")
	for _, name := range []string{"tlscacert", "tlscert", "tlskey"} {
		fs.String(name, "", "")
	}
	fs.VisitAll(func(f *pflag.Flag) {
		if hidden || f.Usage == "" {
			f.Hidden = true
		}
	})
}

// client finds the plugin: its API over TCP if that is asked for, else its
// control socket.
func (c *cli) client(ctx context.Context) (*api.Client, error) {
	if c.conn != nil {
		return c.conn, nil
	}
	host, err := c.apiHost()
	if err != nil {
		return nil, err
	}
	socket := c.engine.socket
	switch path, ok := strings.CutPrefix(host, "unix://"); {
	case ok:
		socket = path
	case host != "":
		return c.dialTCP(host)
	}
	if socket == "" {
		p, err := c.findPlugin(ctx)
		if err != nil {
			return nil, err
		}
		c.engine.plugin = p.Name
		dir := c.engine.sockets
		if dir == "" {
			dir = pluginSockets
		}
		socket = filepath.Join(dir, p.ID, app.ControlSocket)
	}
	socket = strings.TrimPrefix(socket, "unix://")
	c.engine.socket = socket
	c.conn = api.Dial(socket)
	c.conn.Warn = c.warn
	return c.conn, nil
}

// warn tells what is not as it should be although the command did its work.
func (c *cli) warn(text string) {
	fmt.Fprintf(c.err, "Warning: %s\n", clean(text))
}

// apiHost is where logscan's own API is said to be; "" where it isn't said. What
// is given on the command line goes before what the environment says.
func (c *cli) apiHost() (string, error) {
	e := c.engine
	switch {
	case e.socket != "" && e.api != "":
		return "", &usageError{err: errors.New("either --socket or --api, not both")}
	case e.socket != "":
		return "", nil
	case e.api != "":
		return e.api, nil
	}
	if !c.plugin && len(e.hosts) == 1 && isTCP(e.hosts[0]) {
		return e.hosts[0], nil
	}
	if len(e.hosts) > 0 || e.context != "" {
		return "", nil
	}
	return c.getenv("LOGSCAN_HOST"), nil
}

func isTCP(host string) bool {
	scheme, _, _ := strings.Cut(host, "://")
	return scheme == "tcp" || scheme == "http" || scheme == "https"
}

// dialTCP is for an address of logscan's own API.
func (c *cli) dialTCP(host string) (*api.Client, error) {
	base := host
	if rest, ok := strings.CutPrefix(host, "tcp://"); ok {
		base = "http://" + rest
	}
	u, err := url.Parse(base)
	if err != nil || !isTCP(host) || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.User != nil || u.RawQuery != "" {
		return nil, &usageError{err: advise("tcp://127.0.0.1:8414, https://logscan.example.com or unix:///path/of/the/socket", "%q is no address of logscan's API", redactHost(host))}
	}
	if u.Scheme == "http" && u.Port() == "" {
		return nil, &usageError{err: advise("tcp://"+u.Host+":PORT with the port that the setting LOGSCAN_LISTEN has", "%q has no port", redactHost(host))}
	}
	token := c.getenv("LOGSCAN_TOKEN")
	if c.engine.tokenFile != "" {
		if token, err = c.readSecret("token", c.engine.tokenFile); err != nil {
			return nil, err
		}
	}
	c.engine.socket = host
	c.conn = api.DialTCP(base, strings.TrimSpace(token))
	c.conn.Warn = c.warn
	return c.conn, nil
}

// enginePlugin is what we need of an entry of the Engine's GET /plugins.
type enginePlugin struct {
	ID      string `json:"Id"`
	Name    string
	Enabled bool
	Config  struct {
		Interface struct{ Types []string }
	}
}

// findPlugin asks the Engine for the plugin.
func (c *cli) findPlugin(ctx context.Context) (enginePlugin, error) {
	var none enginePlugin
	host, err := c.engineHost()
	if err != nil {
		return none, err
	}
	path, ok := strings.CutPrefix(host, "unix://")
	if !ok {
		return none, advise("on the machine where the Engine runs: docker logscan …\nLOGSCAN_HOST=tcp://HOST:PORT LOGSCAN_TOKEN=… "+c.name()+" …      (if the plugin there has LOGSCAN_LISTEN set)",
			"the Engine at %s is not on this machine, and logscan's control socket is there", redactHost(host))
	}
	plugins, err := listPlugins(ctx, path)
	if err != nil {
		return none, c.explainEngine(err, host)
	}
	var found, other []enginePlugin
	for _, p := range plugins {
		switch {
		case !sameName(p.Name, c.engine.plugin):
		case !slices.Contains(p.Config.Interface.Types, logDriver):
			other = append(other, p)
		default:
			found = append(found, p)
		}
	}
	enabled := slices.DeleteFunc(slices.Clone(found), func(p enginePlugin) bool { return !p.Enabled })
	switch {
	case len(enabled) == 1:
		return enabled[0], nil
	case len(enabled) > 1:
		var names []string
		for _, p := range enabled {
			names = append(names, p.Name)
		}
		return none, advise(c.name()+" --plugin "+names[0]+" …", "several enabled plugins are called %s: %s", c.engine.plugin, strings.Join(names, ", "))
	case len(found) > 0:
		return none, advise("docker plugin enable --timeout 0 "+found[0].Name, "the plugin %s is installed but disabled", found[0].Name)
	case len(other) > 0:
		return none, advise("docker plugin ls", "the plugin %s is no logging driver", other[0].Name)
	}
	return none, advise("make install                        (in a clone of logscan)\ndocker plugin install --alias logscan REGISTRY/logscan:TAG\n"+
		c.name()+" --plugin NAME …          (if it is installed under another name)",
		"no plugin called %s in the Engine at %s", c.engine.plugin, host)
}

// sameName compares a plugin's name in the Engine with the one asked for,
// which may leave out the tag and the registry.
func sameName(full, want string) bool {
	slash := strings.LastIndex(full, "/") + 1
	untagged := full
	if i := strings.LastIndex(full, ":"); i > slash {
		untagged = full[:i]
	}
	return want == full || want == untagged || want == full[slash:] || want == untagged[slash:]
}

// engineHost finds the Engine as docker does: flag, DOCKER_HOST, context.
func (c *cli) engineHost() (string, error) {
	e := c.engine
	hosts := slices.Compact(slices.Clone(e.hosts)) // completion parses them twice
	switch {
	case len(hosts) > 1:
		return "", &usageError{err: errors.New("please give one -H only")}
	case len(hosts) == 1 && e.context != "":
		return "", &usageError{err: errors.New("either --host or --context, not both")}
	case len(hosts) == 1:
		return normalHost(hosts[0]), nil
	}
	name := e.context
	if name == "" {
		if h := c.getenv("DOCKER_HOST"); h != "" {
			return normalHost(h), nil
		}
		name = c.getenv("DOCKER_CONTEXT")
	}
	dir := e.config
	if dir == "" {
		dir = c.getenv("DOCKER_CONFIG")
	}
	if dir == "" {
		dir = filepath.Join(c.getenv("HOME"), ".docker")
	}
	if name == "" {
		var cfg struct {
			CurrentContext string `json:"currentContext"`
		}
		// Docker itself tells about a config file that it can't read.
		if b, err := os.ReadFile(filepath.Join(dir, "config.json")); err == nil {
			json.Unmarshal(b, &cfg)
		}
		name = cfg.CurrentContext
	}
	if name == "" || name == "default" {
		return defaultHost, nil
	}
	sum := sha256.Sum256([]byte(name))
	b, err := os.ReadFile(filepath.Join(dir, "contexts", "meta", hex.EncodeToString(sum[:]), "meta.json"))
	var meta struct {
		Endpoints map[string]struct{ Host string }
	}
	if err == nil {
		err = json.Unmarshal(b, &meta)
	}
	if err != nil {
		return "", advise("docker context ls", "docker context %q can't be read: %w", name, err)
	}
	return normalHost(meta.Endpoints["docker"].Host), nil
}

func normalHost(h string) string {
	switch {
	case h == "", h == "unix://":
		return defaultHost
	case strings.HasPrefix(h, "/"):
		return "unix://" + h
	}
	return h
}

// redactHost takes credentials out of an address like ssh://user:pass@host.
func redactHost(h string) string {
	scheme, rest, ok := strings.Cut(h, "://")
	if i := strings.LastIndex(rest, "@"); ok && i >= 0 {
		return scheme + "://" + rest[i+1:]
	}
	return h
}

// listPlugins asks the Engine at a unix socket for its plugins.
func listPlugins(ctx context.Context, socket string) ([]enginePlugin, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	var d net.Dialer
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", socket)
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/plugins", nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body := io.LimitReader(resp.Body, 16<<20)
	if resp.StatusCode != http.StatusOK {
		var msg struct{ Message string }
		json.NewDecoder(body).Decode(&msg)
		return nil, fmt.Errorf("the Engine refused to list its plugins: %s %s", resp.Status, msg.Message)
	}
	var plugins []enginePlugin
	if err := json.NewDecoder(body).Decode(&plugins); err != nil {
		return nil, fmt.Errorf("the Engine's list of plugins: %w", err)
	}
	return plugins, nil
}

func (c *cli) explainEngine(err error, host string) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return advise("sudo "+c.name()+" …", "no permission to use the Docker Engine at %s", host)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return advise("systemctl start docker      (is the Engine running?)\n"+c.hostAdvice(),
			"no Docker Engine answers at %s", host)
	case errors.Is(err, context.DeadlineExceeded):
		return advise("systemctl status docker", "the Docker Engine at %s did not answer within %v", host, engineTimeout)
	}
	return fmt.Errorf("ask the Engine at %s: %w", host, err)
}

func (c *cli) hostAdvice() string {
	if c.plugin {
		return "docker -H unix://SOCKET logscan …      (if its socket is elsewhere)"
	}
	return "logscan -H unix://SOCKET …      (if its socket is elsewhere)"
}
