#!/bin/sh
# Get the container engines that tests of containers start, podman and Docker: get_engines.sh. Without, these are skipped.
set -eu

if [ -n "${ACTLOOP_TEST_ENGINE:-}" ] || [ "$(uname -s)" != Linux ]; then
	exit 0
fi

log=$(mktemp)
denied=
trap 'rm -f "$log" $denied' EXIT
trap 'exit 130' INT TERM

# Installing an engine is not to start it: tests start their own, and end them. A policy of this machine may say so, too.
deny_starts() {
	if [ ! -e /usr/sbin/policy-rc.d ]; then
		denied=/usr/sbin/policy-rc.d
		printf '#!/bin/sh\nexit 101\n' >"$denied"
		chmod 755 "$denied"
	fi
	policy=0
	/usr/sbin/policy-rc.d docker start >/dev/null 2>&1 || policy=$?
	[ "$policy" = 101 ]
}

may_install() {
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1
}

# Nothing that is installed is removed or replaced for it, such as another build of the same engine.
install() {
	may_install || return 1
	export DEBIAN_FRONTEND=noninteractive
	if [ ! -s "$log" ]; then
		apt-get update -qq >>"$log" 2>&1 || return 1
		printf 'Package lists are up to date.\n' >>"$log"
	fi
	printf '==> Installing %s for the tests of containers\n' "$1"
	apt-get install -y -qq --no-install-recommends --no-upgrade --no-remove "$@" >>"$log" 2>&1
}

if ! command -v podman >/dev/null 2>&1 || ! command -v runc >/dev/null 2>&1; then
	if ! install podman runc uidmap netavark slirp4netns fuse-overlayfs golang-github-containers-common; then
		tail -n 3 "$log" >&2
		printf 'actloop: podman could not be installed; tests of containers are skipped. Install podman and runc, or\n' >&2
		printf 'name the address of an engine in ACTLOOP_TEST_ENGINE.\n' >&2
	fi
fi

if ! command -v dockerd >/dev/null 2>&1 && [ ! -x /usr/sbin/dockerd ]; then
	if may_install && deny_starts && install docker.io; then
		if command -v systemctl >/dev/null 2>&1; then # nor is it to start with the machine
			systemctl disable docker.service docker.socket containerd.service >>"$log" 2>&1 || true
		fi
	else
		tail -n 3 "$log" >&2
		printf 'actloop: docker.io could not be installed; tests of containers run without Docker.\n' >&2
	fi
fi
