"""What is missing on this machine for the whole quarantine, why, and what a person can do about it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tenth.quarantine import landlock, leash, sandbox, seccomp

APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
SWITCHES = (Path("/proc/sys/kernel/unprivileged_userns_clone"), Path("/proc/sys/user/max_user_namespaces"))
INSTALL = {"apt-get": "apt install bubblewrap", "dnf": "dnf install bubblewrap", "pacman": "pacman -S bubblewrap"}
INSTALL |= {"zypper": "zypper install bubblewrap", "apk": "apk add bubblewrap"}


@dataclass(frozen=True)
class Machine:
    """What bears on it, as found."""

    bubblewrap: str
    """``works``, ``forbidden`` or ``missing``."""
    apparmor: bool
    """Programs without a profile may not make user namespaces (Ubuntu 24.04)."""
    switched_off: str | None
    """The kernel's switch that forbids user namespaces."""
    install: str
    """How a package is installed here."""
    landlock: int
    """Version of the kernel's interface; 0: none."""
    filtered: bool
    cgroup: bool
    systemd: bool
    root: bool


def of_this_machine() -> Machine:
    """Look."""
    installed = shutil.which("bwrap") is not None
    return Machine(
        bubblewrap="works" if sandbox.bubblewrap() else "forbidden" if installed else "missing",
        apparmor=_number(APPARMOR) == 1,
        switched_off=next((str(path) for path in SWITCHES if _number(path) == 0), None),
        install=next(
            (words for tool, words in INSTALL.items() if shutil.which(tool)), "install the package bubblewrap"
        ),
        landlock=landlock.version(),
        filtered=seccomp.supported(),
        cgroup=leash.cgroup_parent() is not None,
        systemd=Path("/run/systemd/system").is_dir() and shutil.which("systemd-run") is not None,
        root=os.geteuid() == 0,
    )


def advice(here: Machine) -> list[tuple[str, str]]:
    """Pairs: what does not hold, in plain words, and what to do. Empty where everything holds."""
    rows = []
    if not here.filtered:
        rows.append(
            ("the system calls of trainers are not filtered", "use a machine with an x86_64 or aarch64 processor")
        )
    if here.bubblewrap == "missing":
        rows.append(("walls: bubblewrap is not installed", f"{here.install}; no setting is needed on most systems"))
    if here.bubblewrap == "forbidden":
        rows.append(("walls: bubblewrap is installed, and may not make user namespaces", _allow(here)))
    if here.bubblewrap != "works" and not here.landlock:
        rows.append(
            (
                "rules for files: this kernel has no Landlock, or it is switched off",
                "use Linux 5.13 or newer, with 'landlock' among the boot parameter 'lsm='",
            )
        )
    if not here.cgroup:
        rows.append(("metering: what children that nobody waits for compute is not counted", _delegate(here)))
        if here.landlock < sandbox.FENCE:
            rows.append(
                (
                    "stopping: a trainer built to fork faster than it is stopped may run on for up to 5 seconds",
                    "the same, or use Linux 6.12 or newer",
                )
            )
    return rows


def _allow(here: Machine) -> str:
    if here.apparmor:
        return "as root, add the AppArmor profile for /usr/bin/bwrap that docs/threat-model.md has (Ubuntu 24.04)"
    if here.switched_off:
        return f"as root, set {here.switched_off} to {15000 if 'max' in here.switched_off else 1}"
    return "inside a container, let whoever starts it allow user namespaces; or run tenth on the machine itself"


def _delegate(here: Machine) -> str:
    if here.systemd:
        user = "" if here.root else "--user "
        return f"start it in a cgroup of its own: systemd-run {user}--scope -p Delegate=yes tenth run charter.toml"
    return "let whoever starts this machine or container hand tenth a cgroup v2 folder that it may write to"


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
