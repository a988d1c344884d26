"""A trainer that tries every door, writes what it found into its checkpoint, and leaves.

What to try stands in ``wishes.json`` beside the charter: {"read": [paths], "list": [folders], "write": [paths],
"tcp": port, "udp": port, "unix": [paths], "abstract": name, "pids": [ids]}. Each attempt ends up in ``loot`` as what it
gave (true where that is nothing), or as the error.
"""

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import door


def attempt(action: Callable[[], Any]) -> Any:
    try:
        value = action()
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return True if value is None else value


def connect(kind: socket.SocketKind, address: Any, family: socket.AddressFamily = socket.AF_INET) -> None:
    with socket.socket(family, kind) as sock:
        sock.settimeout(2)
        sock.connect(address)
        sock.send(b"hello from inside")


want = json.loads(Path("wishes.json").read_text())
lease = door.hello()
loot: dict[str, Any] = {}
for path in want.get("read", []):
    loot[f"read {path}"] = attempt(lambda path=path: bool(Path(path).read_bytes()))
for path in want.get("list", []):
    loot[f"list {path}"] = attempt(lambda path=path: os.listdir(path))
for path in want.get("write", []):
    loot[f"write {path}"] = attempt(lambda path=path: Path(path).write_text("stolen") and None)
for path in want.get("unix", []):
    loot[f"unix {path}"] = attempt(lambda path=path: connect(socket.SOCK_STREAM, path, socket.AF_UNIX))
if name := want.get("abstract"):
    loot["abstract"] = attempt(lambda: connect(socket.SOCK_STREAM, "\0" + name, socket.AF_UNIX))
if port := want.get("tcp"):
    loot["tcp"] = attempt(lambda: connect(socket.SOCK_STREAM, ("127.0.0.1", port)))
if port := want.get("udp"):
    # Sending always succeeds on a loopback of one's own: whether it arrived is for the listener to say.
    loot["udp"] = attempt(lambda: connect(socket.SOCK_DGRAM, ("127.0.0.1", port)))
for pid in want.get("pids", []):
    loot[f"signal {pid}"] = attempt(lambda pid=pid: os.kill(pid, signal.SIGCONT))
loot["processes"] = attempt(lambda: sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit()))
loot["environment"] = sorted(os.environ)
loot["work"] = attempt(lambda: Path(lease["work"], "mine").write_text("mine") and None)
door.done(lease, loot=json.dumps(loot))
