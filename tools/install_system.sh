#!/bin/sh
# What tests want from the operating system: bubblewrap, the strongest of the quarantines. Without it tenth uses the
# protections that need no package, and the tests of bubblewrap are skipped; this says so and is not an error.
set -eu

loudly() {
    printf '\n*** bubblewrap is not installed%s.\n' "$1" >&2
    printf '*** The quarantine then holds less, and its tests are skipped. To install it, as root:\n' >&2
    printf '***   Debian, Ubuntu: apt-get install bubblewrap    Fedora: dnf install bubblewrap    Arch: pacman -S bubblewrap\n\n' >&2
}

if command -v bwrap >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    loudly ""
    exit 0
fi

echo "Installing bubblewrap (apt-get) ..."
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -qq --no-install-recommends bubblewrap >/dev/null 2>&1; }
install || { apt-get update -qq >/dev/null 2>&1 && install; } || loudly " and apt-get could not install it"
