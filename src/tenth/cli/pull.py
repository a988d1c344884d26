"""``tenth pull``: stop a run, now. Asks nothing, and imports so little that it starts at once."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
import time

from tenth.cli.find import RUNS, find_run, is_live, is_run, runs_under
from tenth.cli.outcome import DONE, ERROR, emit, say_error
from tenth.cli.wire import Wire
from tenth.errors import RunRefused, TenthError

ANSWER_SECONDS = 2.0
"""A supervisor that does not say within this time that the stop holds is killed, and all of its tree with it."""
RECORD_SECONDS = 30.0
"""So long it may take to put the stop on record, once it holds: a disk may be slow, and nothing computes meanwhile."""

Stopped = tuple[str, dict[str, object]]
"""What happened, in words and as facts."""

HELP = """Usage: tenth pull [RUN] [--name NAME] [--json]

  Stop the run, now. No reason is asked, and nothing is lost: the trainer is
  frozen, and goes on from there once every signatory has consented.

  RUN is a run directory, or the name of a run under ./runs or the beginning
  of one. Without it, the newest run that has a supervisor is stopped.

  If the supervisor does not answer within two seconds it is killed, and the
  trainer dies with it; the run then goes back to its last checkpoint.

Options:
  --name NAME  Who pulls. Default: your user name.
  --json       Print one line of JSON.
  --help       Show this message and exit.
"""


def main(arguments: list[str]) -> int:
    """Returns the exit code: 0 when the stop holds."""
    wanted: str | None = None
    name, as_json, rest = "", False, list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ("--help", "-h"):
            print(HELP, end="")
            return DONE
        if word == "--json":
            as_json = True
        elif word == "--name" and rest:
            name = rest.pop(0)
        elif word.startswith("--name="):
            name = word[7:]
        elif not word.startswith("-") and wanted is None:
            wanted = word
        else:
            # A stop is never refused for a word too many: it is said, and the run is stopped.
            print(f"'{word[:40]}' means nothing to pull, and is passed over", file=sys.stderr)
    try:
        text, facts = stop(_target(wanted), name or user_name())
    except TenthError as error:
        say_error(error.parts(), as_json=as_json)
        return ERROR
    if as_json:
        emit(facts)
    else:
        print(text)
    return DONE


def user_name() -> str:
    """For the record only: a pull is not signed."""
    name = os.environ.get("USER") or os.environ.get("LOGNAME")
    if not name:
        import pwd

        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            name = str(os.getuid())
    return name


def _target(wanted: str | None) -> str:
    if wanted is not None:
        return find_run(wanted)
    if is_run("."):
        return os.path.abspath(".")
    live = [path for path in runs_under() if is_live(path)]
    if live:
        for other in live[1:]:
            print(f"also there: {other}  (tenth pull {os.path.basename(other)})", file=sys.stderr)
        return os.path.abspath(live[0])
    raise RunRefused("nothing was stopped", f"no run under ./{RUNS} has a supervisor", "name the run: tenth pull PATH")


def stop(run: str, name: str) -> Stopped:
    """Ask; without an answer, kill. When this returns, nothing of the run computes any more."""
    label, began = os.path.basename(run), time.monotonic()
    try:
        wire = Wire(run, ANSWER_SECONDS)
    except RunRefused:
        pid = _starting(run)
        if pid is not None:
            return _kill(pid, label, run)
        return _nothing(run, f"nothing is running: no supervisor holds {label}")
    pid = struct.unpack("3i", wire.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    answer, patience = None, ANSWER_SECONDS
    try:
        wire.send({"do": "pull", "name": name})
        while answer is None and not wire.ended:
            wire.socket.settimeout(max(0.05, patience - (time.monotonic() - began)))
            for message in wire.receive():
                answer = message if "ok" in message else answer
                patience = RECORD_SECONDS if message.get("on") == "stopped" else patience
    except (OSError, ValueError):
        pass
    finally:
        wire.close()
    if answer is None:
        return _kill(pid, label, run)
    if not answer.get("ok"):
        if "closed" in str((answer.get("error") or {}).get("found", "")):
            return _nothing(run, f"nothing is running: {label} is closed")
        return _kill(pid, label, run)
    status, milliseconds = answer.get("status") or {}, answer.get("stopped_ms", 0.0)
    processes = answer.get("processes") or 0
    what = f"{processes} processes stopped in {milliseconds:.1f} ms" if processes else "nothing was training"
    kept = "; nothing is lost" if status.get("frozen") else ""
    text = f"{label} is HALTED: {what}{kept}. To go on, a signatory reopens it: tenth reopen"
    facts = {"run": run, "stopped": True, "running": True, "killed": False, "stance": status.get("stance")}
    return text, {**facts, "stopped_ms": milliseconds, "processes": processes}


def _nothing(run: str, text: str) -> Stopped:
    return text, {"run": run, "stopped": True, "running": False}


def _starting(run: str) -> int | None:
    """The process that holds the run's lock although nothing listens yet; None if nobody holds it."""
    import fcntl

    try:
        lock = os.open(os.path.join(run, "supervisor.lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        words = os.read(lock, 20).decode("ascii", "replace").strip()
        return int(words) if words.isdigit() and int(words) > 1 else None
    finally:
        os.close(lock)
    return None


def _kill(pid: int, label: str, run: str) -> Stopped:
    """The last word: SIGKILL to the supervisor; the kernel takes the trainer's tree with it (promise 6)."""
    try:
        process = os.pidfd_open(pid)
        signal.pidfd_send_signal(process, signal.SIGKILL)
        gone = bool(select.select([process], [], [], ANSWER_SECONDS)[0])
        os.close(process)
    except ProcessLookupError:
        gone = True
    except OSError as error:
        raise RunRefused(
            f"{label} could not be stopped", f"process {pid}: {error.strerror}", f"kill -9 {pid}"
        ) from None
    if not gone:
        raise RunRefused(f"{label} could not be stopped", f"process {pid} does not die", "stop the machine")
    text = f"{label}: the supervisor did not answer and was killed; the trainer died with it. To go on: tenth run {run}"
    return text, {"run": run, "stopped": True, "running": True, "killed": True, "supervisor": pid}
