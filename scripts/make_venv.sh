#!/bin/sh
# Make a virtual environment: make_venv.sh PYTHON FOLDER. Says what to install where something is missing.
set -eu
python=$1 folder=$2

fail() {
	printf 'actloop: %s\n' "$1" >&2
	exit 1
}

command -v "$python" >/dev/null 2>&1 ||
	fail "there is no '$python'. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"
version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])') || fail "'$python' does not run"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
	fail "'$python' is Python $version; 3.11 or newer is needed. Name one: make PYTHON=/path/to/python3.11"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
	fail "Python $version cannot make environments. On Debian and Ubuntu: apt-get install python${version%.*}-venv"

printf '==> An environment in %s, with Python %s\n' "$folder" "$version"
if [ -x "$folder/bin/python" ] && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
	exit 0 # one that was left behind when the last try was broken off, or that the user made
fi
rm -rf "$folder"
"$python" -m venv "$folder"
