"""Inside the sandbox: attack a zygote in every way of probes.py; if all is held, be one for each inherited socket.

``python -m tenth.jail DESCRIPTOR ...``, each the end of a socket pair of records (SOCK_SEQPACKET) whose other end
somebody asks through (wire.py). It ends when all of those are closed, and with an error when a zygote ends before.
Without a descriptor it only attacks, and prints a row for each probe. Whoever starts it chooses the sandbox.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tenth.jail import policy, probes, wire

ZYGOTE = Path(__file__).with_name("zygote.py")
MODULES = (
    "bisect",
    "collections.abc",
    "copy",
    "functools",
    "heapq",
    "itertools",
    "math",
    "operator",
    "random",
    "re",
    "string",
)
"""What a program may import; more of them make every fork slower."""


def main(descriptors: Sequence[str]) -> int:
    try:
        rows = attacked()
    except wire.JailError as error:  # a zygote that an attack has broken
        print(f"not held: {error}", file=sys.stderr)
        return 1
    escaped = [f"{row['name']} ({row['verdict']}: {row['said'][:100]})" for row in rows if not row["contained"]]
    if not descriptors:
        print(json.dumps(rows))
    if escaped:
        print(f"not held: {'; '.join(escaped)}", file=sys.stderr)
    if escaped or not descriptors:
        return int(bool(escaped))
    for one in descriptors:
        _zygote(int(one))
        os.close(int(one))  # so that its other end hears when the zygote is gone
    for _ in descriptors:
        if os.wait()[1] != 0:
            return 1
    return 0


def attacked() -> list[dict[str, Any]]:
    """What became of each probe in a zygote of its own, in this very sandbox."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = _zygote(theirs.fileno())
    theirs.close()
    with process, ours, wire.Jail([ours]) as jail:
        outcomes = list(jail.run_all(probe.program() for probe in probes.PROBES))
    return [probe.record(outcome) for probe, outcome in zip(probes.PROBES, outcomes, strict=True)]


def _zygote(descriptor: int) -> subprocess.Popen[bytes]:
    given = {
        "filter": policy.program().hex(),
        "modules": list(MODULES),
        "answer_bytes": wire.MAX_ANSWER,
    }
    command = [sys.executable, "-P", "-s", "-S", "-B", str(ZYGOTE), str(descriptor), json.dumps(given)]
    bind = {"LD_BIND_NOW": "1"}  # or each program looks the same functions of libraries up again
    return subprocess.Popen(
        command, pass_fds=[descriptor], stdout=subprocess.DEVNULL, env={"PYTHONHASHSEED": "0", **bind},
        start_new_session=True,  # Linux shares processors out by session: each zygote gets a share of its own
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
