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

work="" registry="" away="" was="" built="" mounts=()

# fingerprint says what a plugin is: its configuration, as the Engine has it, and
# the files of its root, as they are on the disk. Left out are the places that
# the Engine mounts over, and the empty files that it makes to mount there.
fingerprint() { # plugin's name, directory of its root
	docker plugin inspect -f '{{json .Config}}' "$1"
	(cd "$2" && find . -path ./run -prune -o \( -type f -size +0 -o -type l \) -print0 | sort -z |
		while IFS= read -r -d '' file; do
			if [ -L "$file" ]; then printf '%s -> %s\n' "$file" "$(readlink "$file")"; else sha256sum "$file"; fi
		done)
}

# present is the fingerprint of the plugin that the Engine has.
present() {
	fingerprint "$NAME" "$(docker info -f '{{.DockerRootDir}}')/plugins/$(docker plugin inspect -f '{{.Id}}' "$NAME")/rootfs"
}

# back enables the plugin that was taken away, with its mounts as they were: an
# upgrade keeps settings, but not those. It enables only what was there before, or
# what was built.
back() {
	local now
	now=$(present) || return 1
	if [ "$now" != "$was" ] && [ "$now" != "$built" ]; then
		away=""
		printf '%s\n' "The Engine got another plugin than the one that was built: somebody came in between on this machine." \
			"It is not enabled, and containers that log through $NAME wait. Find out who it was; then: make install" >&2
		return 1
	fi
	local mount
	for mount in "${mounts[@]}"; do
		docker plugin set "$NAME" "$mount" || true
	done
	enable
}

# finish cleans up after an upgrade, whatever ended it. A plugin that was taken
# away is brought back above all: containers wait for it.
finish() {
	[ -z "$away" ] || back || echo "plugin $NAME is disabled and containers wait for it: docker plugin enable --timeout 0 $NAME" >&2
	[ -z "$registry" ] || kill "$registry" 2>/dev/null || true
	[ -z "$work" ] || rm -rf "$work"
}

# listens reports whether a process is the one that listens at a port of
# 127.0.0.1: any user of this machine may have got it first.
listens() { # pid, port
	local inode
	inode=$(awk -v at="$(printf '0100007F:%04X' "$2")" '$2 == at && $4 == "0A" { print $10 }' /proc/net/tcp)
	[ -n "$inode" ] && find "/proc/$1/fd" -lname "socket:\[$inode\]" 2>/dev/null | grep -q .
}

# serve starts a registry on 127.0.0.1 that takes and gives nothing without the
# password, and sets registry to its process and port to where it is. The
# password is in $work alone, which is root's.
serve() {
	local password salt
	password=$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')
	salt=$(head -c 64 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' | head -c 21)
	# The registry takes bcrypt alone. The salt's last letter has but two of its bits.
	PASSWORD=$password perl -e 'print "logscan:", crypt($ENV{PASSWORD}, "\$2b\$08\$" . $ARGV[0] . "."), "\n"' "$salt" >"$work/htpasswd"
	for _ in 1 2 3 4 5; do
		port=$((20000 + RANDOM % 20000))
		cat >"$work/config.yml" <<-END
			version: 0.1
			log: {level: error}
			storage: {filesystem: {rootdirectory: $work/data}}
			auth: {htpasswd: {realm: logscan, path: $work/htpasswd}}
			http: {addr: "127.0.0.1:$port"}
		END
		docker-registry serve "$work/config.yml" >"$work/log" 2>&1 &
		registry=$!
		for _ in $(seq 200); do
			kill -0 "$registry" 2>/dev/null || break
			if listens "$registry" "$port"; then break 2; fi
			sleep 0.05
		done
		kill "$registry" 2>/dev/null || true
		registry=""
	done
	[ -n "$registry" ] || fail "the registry for the upgrade does not start: $(tail -1 "$work/log")"

	# docker reads passwords from its configuration alone. Ours has besides what
	# decides which Engine is meant: the user's context.
	local user=${DOCKER_CONFIG:-$HOME/.docker}
	mkdir "$work/docker"
	[ ! -e "$user/contexts" ] || ln -s "$(realpath "$user/contexts")" "$work/docker/contexts"
	printf '{"auths": {"127.0.0.1:%d": {"auth": "%s"}}, "currentContext": "%s"}\n' \
		"$port" "$(printf 'logscan:%s' "$password" | base64 -w 0)" "$(docker context inspect -f '{{.Name}}' | sed 's/^default$//')" >"$work/docker/config.json"
	export DOCKER_CONFIG=$work/docker
}

upgrade() {
	command -v docker-registry >/dev/null || BUILD=$BUILD "$(dirname "$0")/deps.sh" test
	PATH=$PATH:$(realpath -m "$BUILD")/tools/usr/bin
	trap finish EXIT
	trap 'exit 130' INT TERM HUP
	umask 077
	work=$(mktemp -d)
	local port
	serve

	# The Engine refuses to create a plugin from a layer that it has already, so
	# that the same build again needs a difference.
	cp -R --preserve=mode "$BUILD/plugin" "$work/plugin"
	date +%s.%N >"$work/plugin/rootfs/etc/upgraded"
	local remote=127.0.0.1:$port/logscan:upgrade
	docker plugin create "$remote" "$work/plugin" >/dev/null
	built=$(fingerprint "$remote" "$work/plugin/rootfs") && docker plugin push "$remote" >/dev/null || built=""
	docker plugin rm "$remote" >/dev/null
	[ -n "$built" ] || fail "the upgrade could not be prepared"

	mapfile -t mounts < <(docker plugin inspect -f '{{range .Settings.Mounts}}{{.Name}}.source={{.Source}}{{"\n"}}{{end}}' "$NAME" | grep .)
	was=$(present) || fail "the installed plugin's files can't be read: is this Engine another machine's?"

	# From here until enable, containers' lines wait in their pipes.
	away=1
	if [ "$(docker plugin inspect -f '{{.Enabled}}' "$NAME")" = true ]; then
		whole docker plugin disable -f "$NAME" >/dev/null
	fi
	local status=0
	# By its tag: asked for a digest, Docker 20.10 dies. So back looks at what came.
	whole docker plugin upgrade --grant-all-permissions --skip-remote-check "$NAME" "$remote" >/dev/null || status=$?
	back
	away=""
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
	echo "     docker logscan pack suggest     which rules are ready for what runs here"
	echo "     docker logscan pack add common  what goes wrong in any program"
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
