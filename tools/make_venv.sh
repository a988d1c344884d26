#!/bin/sh
# Make or bring up to date the virtual environment that `make` uses: make_venv.sh FOLDER EXTRAS
#
# A failure leaves no half-made environment: one that this call began is removed, one that was there before is left as
# it was found, without the stamp that would let make believe in it.
set -eu

venv=$1
extras=$2
began=no

say() { printf '%s\n' "$*"; }
refuse() {
    printf '\n%s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}
undo() {
    status=$?
    if [ "$status" -ne 0 ] && [ "$began" = yes ]; then
        rm -rf "$venv"
        say "Nothing was left behind in $venv." >&2
    fi
    exit "$status"
}
trap undo EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in "${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11; do
        if new_enough "$candidate"; then
            say "$candidate"
            return
        fi
    done
}

rm -f "$venv/.ready-trainer" "$venv/.ready-dev"

if [ -e "$venv" ] && ! new_enough "$venv/bin/python"; then
    refuse "The environment in $venv cannot be used." \
        "Its Python is missing, does not start, or is older than 3.11." \
        "Remove it (rm -r $venv) and type the same make command again."
fi

if [ ! -e "$venv" ]; then
    python=$(find_python)
    [ -n "$python" ] || refuse "tenth needs Python 3.11 or newer, and none was found." \
        "Install one, or name it: make demo PYTHON=/path/to/python3.12"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || refuse \
        "This Python cannot make virtual environments: its venv or ensurepip module is missing." \
        "On Debian and Ubuntu: apt-get install python3-venv (as root), then the same make command again." \
        "Or use another Python: make demo PYTHON=/path/to/python3.12"
    began=yes
    say "Making a Python environment in $venv (once) ..."
    "$python" -m venv "$venv" || refuse "The environment could not be made; the lines above say why."
fi

say "Installing tenth[$extras] (the first time this takes some minutes: PyTorch is large) ..."
# PIP_FLAGS is a list of words on purpose.
# shellcheck disable=SC2086
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check ${PIP_FLAGS:-} \
    -c constraints.txt -e ".[$extras]" || refuse \
    "The packages could not be installed; the lines above say why." \
    "Without a network, or behind a proxy or mirror, tell pip about it: make demo PIP_FLAGS=\"...\""
say "Ready."
