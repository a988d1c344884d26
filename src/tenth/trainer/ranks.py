"""Ranks: the processes that train one model together. Rank 0 starts the others, and they die with it.

Only rank 0 speaks with the supervisor. The others read the lease from a file that it leaves in the work folder, and
since they make the same steps, the end of the tenth needs no message. They talk by TCP over a loopback interface
(gloo), or as NCCL likes it, which a charter has to allow: `[quarantine] loopback = true`.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from tenth.client import Run
from tenth.client.channel import Channel
from tenth.client.frames import Frame
from tenth.client.lease import from_frame

from .errors import RankError

PR_SET_PDEATHSIG = 1
MEETING = "ranks"  # folder in work: what the ranks meet through
PATIENCE = 0.3  # seconds: one rank dies, the others break, and then it can be said which was the first
LEASE, STORE = "lease.json", "store"
PARENT, RANK, SIZE, FOLDER = "TENTH_RANK_ZERO", "RANK", "WORLD_SIZE", "TENTH_MEETING"


@dataclasses.dataclass(frozen=True)
class Place:
    """Which of how many this process is, and where they meet."""

    rank: int
    size: int
    meeting: Path


class _Silent:
    """The channel of a rank that has nothing to say."""

    def send(self, frame: Frame) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


def is_follower() -> bool:
    """Was this process started by rank 0?"""
    return PARENT in os.environ


def follow() -> Run:
    """Join as another rank than 0: the same lease, and a channel that says nothing."""
    parent = int(os.environ[PARENT])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above
        os._exit(1)
    frame = json.loads((Path(os.environ[FOLDER]) / LEASE).read_text("utf-8"))
    return Run(from_frame(frame | {"frame": "lease"}), cast(Channel, _Silent()))


@contextmanager
def started(run: Run, count: int, verb: str) -> Iterator[Place]:
    """The place of this process among `count`. Rank 0 starts the others here, and ends them when the block ends.

    `verb`: what trains a phase of this kind, `tenth-trainer VERB`.

    A rank that dies before that ends rank 0, too, with an error that names it: the others would wait for it for ever.
    """
    if is_follower():
        yield Place(int(os.environ[RANK]), int(os.environ[SIZE]), Path(os.environ[FOLDER]))
        return
    folder = run.work / MEETING
    shutil.rmtree(folder, ignore_errors=True)
    if count == 1:
        yield Place(0, 1, folder)
        return
    if count > (processors := len(os.sched_getaffinity(0))):
        print(f"{count} ranks on {processors} processors: they take turns, which is slower than fewer ranks")
    _need_loopback(count)
    folder.mkdir()
    (folder / LEASE).write_text(json.dumps(dataclasses.asdict(run.lease), default=str), "utf-8")
    followers = _Followers(verb, run.lease.recipe, folder)
    try:
        for rank in range(1, count):
            followers.start(rank, count)
        yield Place(0, count, folder)
    except RuntimeError:  # what the engines raise when the other end of a connection is gone
        followers.refuse_if_dead()
        raise
    finally:
        followers.end()
        shutil.rmtree(folder, ignore_errors=True)


def _need_loopback(count: int) -> None:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    except OSError as error:
        raise RankError(
            f"{count} ranks cannot meet",
            f"the quarantine refuses TCP, over the loopback interface too ({error.strerror})",
            "agree on 'loopback = true' under [quarantine] in the charter, or set ranks = 1",
        ) from None


class _Followers:
    """The processes of ranks 1 and above, as rank 0 sees them."""

    def __init__(self, verb: str, recipe: Path, meeting: Path) -> None:
        self._command = [sys.executable, "-m", "tenth.trainer", verb, str(recipe)]
        self._environment = os.environ | {PARENT: str(os.getpid()), FOLDER: str(meeting)}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ending = False

    def start(self, rank: int, size: int) -> None:
        """From the main thread: the kernel ends a follower when the *thread* that started it ends."""
        environment = self._environment | {RANK: str(rank), SIZE: str(size), "LOCAL_RANK": str(rank)}
        process = subprocess.Popen(self._command, env=environment)
        self._processes.append(process)
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()

    def end(self) -> None:
        self._ending = True
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def refuse_if_dead(self) -> None:
        """Raises RankError if ranks have died; one that breaks because another died is not what ought to be named."""
        time.sleep(PATIENCE)
        ended = {rank: process.poll() for rank, process in enumerate(self._processes, 1)}
        dead = [(rank, status) for rank, status in ended.items() if status and not self._ending]
        if dead:
            named = [death for death in dead if death[1] < 0] or dead
            found = ", ".join(f"rank {rank} {_how(status)}" for rank, status in named)
            raise RankError("Training was stopped.", found, "read above what it said; the last gate stands")

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """The main thread may wait for a rank that is dead, in a call that nothing interrupts."""
        if process.wait() == 0:
            return
        try:
            self.refuse_if_dead()
        except RankError as error:
            if not self._ending:
                self._ending = True
                print(f"tenth-trainer: {error}", file=sys.stderr, flush=True)
                for other in self._processes:
                    other.kill()
                os._exit(1)


def _how(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
