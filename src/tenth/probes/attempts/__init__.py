"""The attempts: each tries one way out, and returns what it got hold of. Run in the sandbox; standard library only.

A module is a subject, and every function in it without a leading underscore an attempt. One that raises, or whose
process is killed, is contained.

Every attempt is harmless even where nothing holds it: it touches only what outside.py laid out, or asks the kernel for
something that cannot be done (a wrong number, a path that does not exist), so that the answer alone tells.
"""

from __future__ import annotations

from collections.abc import Callable

from tenth.probes.attempts import files, kernel, network, privileges, processes
from tenth.probes.attempts.means import Facts

Attempt = Callable[[Facts], object]

ATTEMPTS: dict[str, tuple[str, Attempt]] = {
    name.replace("_", " "): (subject.__name__.rpartition(".")[2], attempt)
    for subject in (network, files, processes, privileges, kernel)
    for name, attempt in vars(subject).items()
    if not name.startswith("_") and getattr(attempt, "__module__", "") == subject.__name__
}
"""Name -> what it is about, and how it is done."""
