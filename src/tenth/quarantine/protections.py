"""Which protections this machine holds: part of every dossier, so it is signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenth.quarantine import landlock, sandbox, seccomp


@dataclass(frozen=True)
class Protection:
    """One thing that the trainer cannot do here, or can."""

    name: str
    holds: bool
    how: str

    def record(self) -> dict[str, Any]:
        return {"name": self.name, "holds": self.holds, "how": self.how}


def protections(cgroup: bool) -> list[Protection]:
    """What holds here, by which means."""
    walls, rules, screen = sandbox.bubblewrap() is not None, landlock.version(), seccomp.supported()
    missing = "not held: bubblewrap is not installed or not allowed here"
    spaces = "namespaces of bubblewrap" if walls else missing
    files = "only what it needs exists" if walls else f"Landlock {rules}" if rules else missing
    sockets = spaces if walls else "no such sockets: system-call filter" if screen else missing
    return [
        Protection("no network", walls or screen, sockets),
        Protection("reads and writes only its own files", walls or rules > 0, files),
        Protection("keys, log and control socket out of reach", walls or rules > 0, files),
        Protection("cannot signal other processes", walls or rules >= 6, spaces if walls else files),
        Protection("cannot see other processes", walls, spaces),
        Protection("system calls filtered", screen, "seccomp" if screen else "not held: unknown processor"),
        Protection("no capabilities, gains no privileges", True, "no_new_privs, empty bounding set"),
        Protection("dies with the supervisor", True, "parent-death signal and end-of-file on its channel"),
        Protection("whole tree stopped at once", True, "cgroup freezer" if cgroup else "SIGSTOP until all are still"),
        Protection("dead children metered", True, "cgroup cpu.stat" if cgroup else "processor time of waited children"),
        Protection("no core dumps", True, "resource limit"),
    ]
