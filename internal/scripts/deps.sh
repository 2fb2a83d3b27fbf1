#!/usr/bin/env bash
# Installs what building (build), testing (test), lint (lint), measuring (bench),
# building the newest Engine (engine29) or cross-building (a GNU triple) needs and
# this machine lacks. It says what it does, and does nothing when nothing is missing.
set -euo pipefail

packages=() # to install
unpack=()   # to unpack into $BUILD/tools: installed, it would start a service
programs=() # what makes the programs that tests watch
have() { command -v "$1" >/dev/null; }
need() { have "$1" || packages+=("${@:2}"); }

have go || {
	echo "logscan is built with Go, which is not here: https://go.dev/doc/install" >&2
	exit 1
}
for what in "$@"; do
	case $what in
	build)
		need gcc gcc libc6-dev
		need git git
		[ -e /usr/include/stdlib.h ] || packages+=(libc6-dev)
		[ -e /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
		;;
	test)
		need dockerd docker.io
		# From Debian 13 on, the docker command is a package of its own.
		have docker || { apt-cache show docker-cli >/dev/null 2>&1 && packages+=(docker-cli); }
		need docker-compose docker-compose
		need busybox busybox-static
		need mkfs.ext4 e2fsprogs
		need ps procps
		need curl curl
		have docker-registry || unpack+=(docker-registry)
		have prometheus-alertmanager || unpack+=(prometheus-alertmanager)
		need unshare util-linux
		have mosquitto || unpack+=(mosquitto)
		need mosquitto_sub mosquitto-clients
		# What the importer is compared with: their files, and fail2ban's own code.
		need python3 python3
		need grep grep
		[ -d "${BUILD:-build}/tools/etc/logcheck" ] || unpack+=(logcheck-database)
		[ -d "${BUILD:-build}/tools/etc/fail2ban" ] || unpack+=(fail2ban)
		programs=("$(dirname "$0")/programs.sh" programs servers)
		;;
	lint)
		need shellcheck shellcheck
		;;
	engine29)
		[ -e /usr/include/seccomp.h ] || packages+=(libseccomp-dev)
		need pkg-config pkg-config
		;;
	bench) # what there is to compare with
		[ -e /usr/include/hs/hs.h ] || packages+=(libvectorscan-dev)
		need g++ g++
		need rg ripgrep
		need zstdcat zstd
		need pkg-config pkg-config
		;;
	*)
		need "$what-gcc" "gcc-${what//_/-}"
		[ -e "/usr/$what/include/stdlib.h" ] || packages+=("libc6-dev-$(case $what in aarch64*) echo arm64 ;; *) echo amd64 ;; esac)-cross")
		;;
	esac
done
if [ ${#packages[@]} = 0 ] && [ ${#unpack[@]} = 0 ]; then
	"${programs[@]:-true}"
	exit
fi

if ! have apt-get; then
	echo "missing here: ${packages[*]} ${unpack[*]} (Debian's names); please install them" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "missing here: ${packages[*]} ${unpack[*]}; run 'make deps' as root, which installs them" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "apt-get update"
apt-get update -qq
for p in "${unpack[@]}"; do # its libraries are installed: they start nothing
	for lib in $(apt-cache depends "$p" | sed -n 's/^  Depends: \(lib.*\)/\1/p'); do
		dpkg-query -W -f '${db:Status-Status}' "$lib" 2>/dev/null | grep -qx installed || packages+=("$lib")
	done
done
if [ ${#packages[@]} -gt 0 ]; then
	echo "apt-get install ${packages[*]}"
	apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
for p in "${unpack[@]}"; do
	tools=${BUILD:-build}/tools
	echo "unpacking Debian's $p into $tools (not installed: nothing of it is started)"
	mkdir -p "$tools"
	dir=$(mktemp -d)
	# apt drops its rights for downloads and needs a directory it may write to.
	chown _apt "$dir" 2>/dev/null || true
	(cd "$dir" && apt-get download -qq "$p")
	dpkg-deb -x "$dir"/*.deb "$tools"
	rm -rf "$dir"
	for program in "$tools"/usr/sbin/*; do
		[ ! -e "$program" ] || ln -sf "../sbin/${program##*/}" "$tools/usr/bin/"
	done
done
"${programs[@]:-true}"
