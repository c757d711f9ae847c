#!/bin/sh
# Install quietly: pip_install.sh BIN WHAT ARGUMENTS... One line while it works; pip's own words only when it fails.
set -eu
bin=$1 what=$2
shift 2
log=$(mktemp)
pip=
stop() { # a background process of a script does not hear Ctrl-C by itself
	[ -z "$pip" ] || kill "$pip" 2>/dev/null || :
	exit 130
}
trap 'rm -f "$log"' EXIT
trap stop INT TERM

printf '==> Installing %s ' "$what"
start=$(date +%s)
"$bin/python" -m pip install --disable-pip-version-check --no-input "$@" >"$log" 2>&1 &
pip=$!
while kill -0 "$pip" 2>/dev/null; do
	sleep 1
	printf '.'
done
if wait "$pip"; then
	printf ' %s s\n' "$(($(date +%s) - start))"
else
	printf ' failed\n'
	cat "$log" >&2
	exit 1
fi
