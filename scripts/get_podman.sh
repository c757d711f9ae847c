#!/bin/sh
# Get the container engine that tests of containers start: get_podman.sh. A machine that cannot have one runs them not.
set -eu

if [ -n "${ACTLOOP_TEST_ENGINE:-}" ] || [ "$(uname -s)" != Linux ]; then
	exit 0
fi
if command -v podman >/dev/null 2>&1 && command -v runc >/dev/null 2>&1; then
	exit 0
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	printf '==> Installing podman for the tests of containers\n'
	export DEBIAN_FRONTEND=noninteractive
	if apt-get update -qq >>"$log" 2>&1 &&
		apt-get install -y -qq --no-install-recommends podman runc uidmap netavark slirp4netns \
			fuse-overlayfs golang-github-containers-common >>"$log" 2>&1; then
		exit 0
	fi
fi
tail -n 3 "$log" >&2
printf 'actloop: podman could not be installed; tests of containers are skipped. Install podman and runc, or name the\n' >&2
printf 'address of an engine in ACTLOOP_TEST_ENGINE.\n' >&2
