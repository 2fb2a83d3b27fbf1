#!/usr/bin/env bash
# Builds the newest Docker Engine from its Go modules into a directory, to test
# on: engine29.sh DIR. It takes a few minutes once, and nothing when what is
# there was built from the same versions. Debian's docker command speaks to it.
set -euo pipefail

dockerd=github.com/moby/moby/v2/cmd/dockerd@v2.0.0-beta.24 # the 29 line
containerd=github.com/containerd/containerd/v2/cmd
containerd_version=v2.4.2
runc=github.com/opencontainers/runc@v1.5.2

dir=$(realpath -m "$1")
want="$dockerd $containerd@$containerd_version $runc"
[ "$(cat "$dir/built" 2>/dev/null || true)" != "$want" ] || exit 0

echo "building the Engine into $dir"
mkdir -p "$dir"
rm -f "$dir/built"
export GOBIN=$dir
unset GOARCH GOFLAGS # for this machine
cd / # outside of any module
CGO_ENABLED=0 go install -tags no_btrfs,no_zfs,no_devmapper \
	"$containerd/containerd@$containerd_version" "$containerd/containerd-shim-runc-v2@$containerd_version"
CGO_ENABLED=1 go install -tags exclude_graphdriver_btrfs "$dockerd"
CGO_ENABLED=1 go install -tags seccomp "$runc"
echo "$want" >"$dir/built"
