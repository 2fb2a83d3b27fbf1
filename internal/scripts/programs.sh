#!/usr/bin/env bash
# Makes $BUILD/NAME.tar for each NAME, a root filesystem with programs of Debian's, their
# libraries, and busybox for a shell: of the name programs, the default, with nginx, redis
# and PostgreSQL, for `docker import` too; of the name servers with Apache, HAProxy, MariaDB
# and OpenSSH. The packages are unpacked, not installed: nothing is started here, and no
# image is pulled. Does nothing when it is there already, and newer than this.
set -euo pipefail

if [ $# -gt 1 ]; then
	for name in "$@"; do "$0" "$name"; done
	exit
fi
name=${1:-programs}
case $name in
programs)
	what='nginx, redis and PostgreSQL'
	wanted=(nginx redis-server postgresql)
	ours='nginx|redis|postgresql-[0-9]|postgresql-client-[0-9]'
	;;
servers)
	what='Apache, HAProxy, MariaDB and OpenSSH'
	wanted=(apache2-bin haproxy mariadb-server-core mariadb-client-core openssh-server openssh-client)
	ours='apache2-bin|haproxy|mariadb-(server|client)-core|openssh-(server|client|sftp)'
	;;
*)
	echo "usage: $0 [programs|servers]" >&2
	exit 2
	;;
esac
build=${BUILD:-build}
out=$build/$name.tar
if [ "$out" -nt "$0" ]; then
	exit 0
fi
if ! command -v apt-get >/dev/null; then
	echo "$what come from Debian's packages, and there is no apt-get here" >&2
	exit 1
fi
mkdir -p "$build"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"

# The closure of what they depend on, as far as it is libraries; without LLVM,
# which PostgreSQL has for compiling queries only, and without Perl.
needed() {
	apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
		"${wanted[@]}" 2>/dev/null |
		grep -E "^(lib|zlib|$ours)[^:]*$" | grep -vE 'llvm|perl|debconf|libz3|installer|elogind|dbd-' | sort -u
}
packages=$(needed)
if [ -z "$packages" ]; then
	apt-get update -qq
	packages=$(needed)
fi
echo "unpacking Debian's $what into $out (not installed: nothing is started)"
mkdir "$dir/debs" "$dir/root"
# apt drops its rights for downloads and needs a directory it may write to.
chown _apt "$dir/debs" 2>/dev/null || true
# shellcheck disable=SC2086 # package names, one a word
(cd "$dir/debs" && apt-get download -qq busybox-static tzdata $packages)

root=$dir/root
mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
for d in bin sbin lib lib64; do ln -s "usr/$d" "$root/$d"; done
for deb in "$dir"/debs/*.deb; do
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink --no-same-owner \
		--exclude='./usr/share/doc*' --exclude='./usr/share/man*' --exclude='./usr/share/locale*' --exclude='./usr/lib/postgresql/*/lib/bitcode*'
done
for applet in sh cat sleep echo mkdir chmod chown ls kill seq wget grep head nc printf su; do
	[ -e "$root/usr/bin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"
done
for program in "$root"/usr/lib/postgresql/*/bin/*; do
	ln -s "${program#"$root"}" "$root/usr/bin/$(basename "$program")" 2>/dev/null || true
done
mkdir -p "$root"/{tmp,run,var/log/nginx,var/lib/nginx,etc}
chmod 1777 "$root/tmp" "$root/run"
printf 'root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\npostgres:x:70:70::/tmp:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nwww-data:x:33:\npostgres:x:70:\n' >"$root/etc/group"
tar -C "$root" --owner=0 --group=0 -cf "$out.tmp" .
mv "$out.tmp" "$out"
