#!/bin/sh
# What tests want from the operating system: bubblewrap, the strongest of the quarantines, and a Chromium, in which the
# control room is tested. Without them tenth uses the protections that need no package, and the tests of either are
# skipped; this says so and is not an error.
set -eu

loudly() {
    printf '\n*** %s is not installed%s.\n' "$1" "$2" >&2
    printf '*** %s To install it, as root:\n' "$3" >&2
    printf '***   %s\n\n' "$4" >&2
}

# want NAME WHAT-IS-LOST HOW-BY-HAND APT-PACKAGE COMMAND...: install APT-PACKAGE unless one of the COMMANDs is there.
want() {
    name="$1" lost="$2" how="$3" package="$4"
    shift 4
    for command in "$@"; do
        if command -v "$command" >/dev/null 2>&1; then return 0; fi
    done
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        loudly "$name" "" "$lost" "$how"
        return 0
    fi
    echo "Installing $package (apt-get) ..."
    install || { apt-get update -qq >/dev/null 2>&1 && install; } || loudly "$name" " and apt-get could not install it" "$lost" "$how"
}
install() { apt-get install -y -qq --no-install-recommends "$package" >/dev/null 2>&1; }
export DEBIAN_FRONTEND=noninteractive

want bubblewrap "The quarantine then holds less, and its tests are skipped." \
    "Debian, Ubuntu: apt-get install bubblewrap    Fedora: dnf install bubblewrap    Arch: pacman -S bubblewrap" \
    bubblewrap bwrap
want "A Chromium" "The control room is then not tested in a browser." \
    "Debian: apt-get install chromium-headless-shell    Fedora: dnf install chromium    Arch: pacman -S chromium" \
    chromium-headless-shell chromium-headless-shell chromium chromium-browser google-chrome
