#!/usr/bin/env bash
# Puts the plugin in $BUILD/plugin into the Engine that `docker` speaks to.
#
#   install.sh check       is there an Engine, and may we?
#   install.sh install     create and enable it, or upgrade the one that is there
#   install.sh uninstall   remove it, its logs, rules and events
#
# An upgrade keeps the plugin's identity, settings and data. The Engine takes
# upgrades from registries only, so one runs on loopback for as long as it takes.
# Containers go on writing meanwhile: their lines wait in their pipes.
set -euo pipefail

NAME=${NAME:-logscan}
BUILD=${BUILD:-build}
CLI_DIR=${CLI_DIR:-/usr/local/lib/docker/cli-plugins}

fail() {
	printf '%s\n' "$@" >&2
	exit 1
}

check() {
	[ "$(id -u)" = 0 ] || fail "run this as root"
	command -v docker >/dev/null || fail \
		"there is no Docker here. On Debian: apt-get install docker.io" \
		"(or see https://docs.docker.com/engine/install/). To see logscan work without one: make demo"
	local why
	why=$(docker version --format '{{.Server.Version}}' 2>&1 >/dev/null) || fail \
		"no Docker Engine answers: $why" \
		"On Debian: apt-get install docker.io, then systemctl start docker." \
		"To see logscan work without one: make demo"
}

installed() { docker plugin inspect "$NAME" >/dev/null 2>&1; }

enable() {
	local said
	for _ in 1 2 3 4 5; do
		# Without --timeout 0, the Engine would cut `docker logs -f` after 30 seconds.
		said=$(docker plugin enable --timeout 0 "$NAME" 2>&1) && return
		# A busy Engine may still be taking away the mounts of the disabled plugin.
		case $said in *'setting up propagated mount'*) sleep 1 ;; *) break ;; esac
	done
	echo "$said" >&2
	return 1
}

# whole runs a command to its end, whatever is typed at the terminal. The Engine
# goes on with what a broken off docker command asked for: enabling the plugin
# while it is being disabled or upgraded leaves one that is away, or that has lost
# its mounts with the files it was started from.
whole() { setsid --wait "$@"; }

work= registry= away= socket=
# back enables the plugin that was taken away, with its mounts as they were: an
# upgrade keeps settings, but not those.
back() {
	[ -z "$socket" ] || docker plugin set "$NAME" "dockersock.source=$socket" || true
	enable
}

# finish cleans up after an upgrade, whatever ended it. A plugin that was taken
# away is brought back above all: containers wait for it.
finish() {
	[ -z "$away" ] || back || echo "plugin $NAME is disabled and containers wait for it: docker plugin enable --timeout 0 $NAME" >&2
	[ -z "$registry" ] || kill "$registry" 2>/dev/null || true
	[ -z "$work" ] || rm -rf "$work"
}

upgrade() {
	command -v docker-registry >/dev/null || BUILD=$BUILD "$(dirname "$0")/deps.sh" test
	PATH=$PATH:$(realpath -m "$BUILD")/tools/usr/bin
	trap finish EXIT
	trap 'exit 130' INT TERM HUP
	work=$(mktemp -d)
	local port try
	for try in 1 2 3 4 5; do
		port=$((20000 + RANDOM % 20000))
		printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:%d"}\n' \
			"$work/data" "$port" >"$work/config.yml"
		docker-registry serve "$work/config.yml" >"$work/log" 2>&1 &
		registry=$!
		for _ in $(seq 100); do
			kill -0 "$registry" 2>/dev/null || break
			if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break 2; fi
			sleep 0.05
		done
		kill "$registry" 2>/dev/null || true
		registry=
	done
	[ -n "$registry" ] || fail "the registry for the upgrade does not start: $(tail -1 "$work/log")"

	# The Engine refuses to create a plugin from a layer that it has already, so
	# that the same build again needs a difference.
	cp -R "$BUILD/plugin" "$work/plugin"
	date +%s.%N >"$work/plugin/rootfs/etc/upgraded"
	local remote=127.0.0.1:$port/logscan:upgrade
	docker plugin create "$remote" "$work/plugin" >/dev/null
	docker plugin push "$remote" >/dev/null || { docker plugin rm "$remote" >/dev/null; fail "the upgrade could not be prepared"; }
	docker plugin rm "$remote" >/dev/null

	socket=$(docker plugin inspect -f '{{range .Settings.Mounts}}{{if eq .Name "dockersock"}}{{.Source}}{{end}}{{end}}' "$NAME")

	# From here until enable, containers' lines wait in their pipes.
	away=1
	if [ "$(docker plugin inspect -f '{{.Enabled}}' "$NAME")" = true ]; then
		whole docker plugin disable -f "$NAME" >/dev/null
	fi
	local status=0
	whole docker plugin upgrade --grant-all-permissions --skip-remote-check "$NAME" "$remote" >/dev/null || status=$?
	back
	away=
	[ $status = 0 ] || fail "the upgrade failed; the version that was installed runs on"
}

install_plugin() {
	check
	if installed; then
		echo "Upgrading plugin $NAME …"
		upgrade
		echo "Upgraded: logs, rules, events and settings are kept; containers went on writing."
	else
		docker plugin create "$NAME" "$BUILD/plugin" >/dev/null
		enable
		echo "Installed and enabled plugin $NAME."
	fi
	install -D -m 0755 "$BUILD/logscan" "$CLI_DIR/docker-logscan"
	echo "Try: docker run --rm --log-driver $NAME busybox echo hello"
	echo "     docker logscan --help"
}

users() { # running containers that log through the plugin
	local ids
	ids=$(docker ps -q)
	[ -z "$ids" ] || docker inspect -f '{{.Name}} {{.HostConfig.LogConfig.Type}}' $ids |
		while read -r name driver; do
			[ "${driver%:latest}" != "$NAME" ] || echo "${name#/}"
		done
}

uninstall() {
	check
	if installed; then
		local running
		running=$(users | paste -sd' ' -)
		[ -z "$running" ] || fail \
			"these containers log through $NAME and would block: $running" \
			"Stop them first."
		docker plugin disable -f "$NAME" >/dev/null 2>&1 || true
		docker plugin rm -f "$NAME" >/dev/null
		echo "Removed plugin $NAME with its logs, rules and events."
	else
		echo "Plugin $NAME is not installed."
	fi
	rm -f "$CLI_DIR/docker-logscan"
}

case ${1-} in
check) check ;;
install) install_plugin ;;
uninstall) uninstall ;;
*) fail "usage: install.sh check|install|uninstall" ;;
esac
