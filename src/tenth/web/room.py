"""One run as the control room knows it: what its supervisor says, its index, and who waits for news.

Status comes from the supervisor while one lives; afterwards from the newest entries of the log, as far as they tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tenth import charter as charters
from tenth.charter import Charter
from tenth.cli.find import is_run
from tenth.cli.live import raised
from tenth.errors import BrokenPromise, RunRefused, TenthError, WrongInput
from tenth.web.index import Index

BATCH_SECONDS = 0.1
"""News is gathered this long before anybody is told."""
BEHIND = 2_000
"""Rows of one reading: with so many, the next one follows at once."""
IDLE_SECONDS = 1.0
"""How often a run is looked at that says nothing by itself."""
ANSWER_SECONDS = 30.0
MAX_MESSAGE = 16 << 20
STANCE_AFTER = {
    "opened": "GATHERING",
    "sealed": "GATE",
    "leased": "RUNNING",
    "reached": "GATHERING",
    "pulled": "HALTED",
    "tripped": "HALTED",
    "reopened": "GATHERING",
    "adjusted": "GATHERING",
    "closed": "CLOSED",
}
"""Where a run stands after its last event that moves it (docs/formats.md, section 6)."""

Message = dict[str, Any]


class Room:
    """One run. ``follow`` is its task; everything else may be asked at any time."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self.charter: Charter = charters.parse((path / "charter.toml").read_bytes())
        self.index = Index(path)
        self.status: Message = {}
        self.live = False
        """A supervisor answers."""
        self.progress: Message = {}
        self.pace: float | None = None
        """Tokens a second, over the last seconds, as claimed."""
        self.broken: dict[str, str] | None = None
        self.trouble = ""
        """Why this page cannot follow the run; what it shows is old then."""
        self.alarms = 0
        """What a watcher beside the run has raised (tenth.cli.live.raised)."""
        self.indexing = True
        self.version = 0
        """Rises whenever status or progress changes."""
        self._wake, self._news = asyncio.Event(), asyncio.Condition()
        self._marks: list[tuple[float, float]] = []
        self._presences: dict[str, tuple[int, asyncio.Task[None]]] = {}

    async def follow(self) -> None:
        """Until cancelled: listen to the supervisor, keep the index, tell who waits."""
        listener = asyncio.create_task(self._listen())
        try:
            while True:
                moved = await self._take_in()
                if not moved:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), IDLE_SECONDS * (5 if self.over else 1))
                await asyncio.sleep(BATCH_SECONDS if moved < BEHIND else 0)
                self._wake.clear()
        finally:
            listener.cancel()
            for _, task in self._presences.values():
                task.cancel()

    async def _take_in(self) -> int:
        """Returns how many rows were new."""
        if self.broken:
            return 0
        try:
            moved = await asyncio.to_thread(self.index.update)
            alarms = await asyncio.to_thread(raised.count, self.path)
        except BrokenPromise as error:
            self.broken, moved = {**error.parts(), "promise": str(error.promise)}, 0
            self.version += 1
        except (sqlite3.Error, OSError) as error:  # a full disk, say: the run is not touched by it
            said, moved = f"this page cannot follow: {error}", 0
            self.version += said != self.trouble
            self.trouble = said
        else:
            self.version += bool(self.trouble) + (alarms != self.alarms)
            self.trouble, self.alarms = "", alarms
        if moved < BEHIND and self.indexing:
            self.indexing = False
            self.version += 1
            await self._tell()
        if moved:
            if not self.live:
                await asyncio.to_thread(self._from_log)
                self.version += 1
            await self._tell()
        return moved

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def news(self, seconds: float) -> None:
        """Until something is new, or the time is over."""
        async with self._news:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), seconds)

    # --- the supervisor ----------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Hear the supervisor, as long and as often as there is one."""
        while True:
            with contextlib.suppress(OSError, ValueError, RunRefused):
                async for message in self._watch(None):
                    self._heed(message)
            before = (self.live, self.status)
            if self.live:
                self.live = False
                self.progress, self.pace = {}, None
            await asyncio.to_thread(self._from_log)
            if before != (self.live, self.status):
                self.version += 1
                await self._tell()
            await asyncio.sleep(IDLE_SECONDS * (5 if self.over else 0.5))

    @property
    def over(self) -> bool:
        """Closed, and nobody holds it: nothing follows."""
        return not self.live and self.status.get("stance") == "CLOSED"

    async def _watch(self, name: str | None) -> AsyncIterator[Message]:
        reader, writer = await connect(self.path)
        try:
            writer.write(json.dumps({"do": "watch", "name": name}).encode() + b"\n")
            while line := await reader.readline():
                yield json.loads(line)
        finally:
            writer.close()

    def _heed(self, message: Message) -> None:
        if "status" in message:
            self.status, self.live = message["status"], True
            self.version += 1
        if message.get("on") == "progress":
            self._progress(message)
        self._wake.set()

    def _progress(self, message: Message) -> None:
        self.progress = message["progress"]
        self.status = {**self.status, "spent": message["spent"]}
        now = time.monotonic()
        self._marks = [mark for mark in self._marks if now - mark[0] < 8 and mark[1] <= self.progress["tokens"]]
        self._marks.append((now, self.progress["tokens"]))
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        self.pace = (last - first) / (ended - began) if ended - began > 0.5 else self.pace
        self.version += 1

    def _from_log(self) -> None:
        """What the log alone tells of a run that nobody holds."""
        moved = self.index.last(*STANCE_AFTER)
        if self.live or moved is None:
            return
        gate = self.index.last("sealed", "reached")
        at = self.body(gate)["gate"] if gate else 0
        spent = self.index.last("sealed", "metered", "reached", "pulled", "tripped")
        nothing = {"device_seconds": 0.0, "flop": 0.0}
        self.status = {
            "run": self.name,
            "stance": STANCE_AFTER[moved["event"]],
            "gate": at,
            "gates": self.charter.gates,
            "signatories": sorted(self.charter.signatories),
            "consents": [],
            "objections": [],
            "waiting_for": [],
            "spent": self.body(spent)["spent"] if spent else nothing,
            "ceiling": self.charter.ceiling.record(),
            "entries": self.index.sizes()[0],
            "supervisor": None,
        }

    def body(self, row: Message) -> Message:
        """The body of an entry of the index."""
        found: Message = json.loads(self.line(row))["body"]
        return found

    def line(self, row: Message) -> bytes:
        """The bytes of an entry, as the log has them."""
        with (self.path / "log" / "entries.jsonl").open("rb") as file:
            return os.pread(file.fileno(), row["size"], row["at"])

    async def ask(self, **request: Any) -> Message:
        """One request to the supervisor. A refusal is raised as WrongInput, its absence as RunRefused."""
        reader, writer = await connect(self.path)
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            answer = json.loads(await asyncio.wait_for(reader.readline(), ANSWER_SECONDS) or b"{}")
        except TimeoutError:
            raise RunRefused("the supervisor does not answer", "it is busy or stuck", "the cord stops it") from None
        finally:
            writer.close()
        if not answer.get("ok"):
            parts = answer.get("error") or {"refused": "the supervisor is gone"}
            raise WrongInput(*(str(parts.get(name, "")) for name in ("refused", "found", "do")))
        return dict(answer)

    # --- who is there ------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def present(self, name: str) -> AsyncIterator[None]:
        """``name`` has this run before their eyes: the supervisor is told where the charter makes it matter."""
        matters = self.charter.watch.unwatched == "wait" and name in {*self.charter.signatories, *self.charter.watchers}
        if not matters:
            yield
            return
        count, task = self._presences.get(name) or (0, asyncio.create_task(self._be_present(name)))
        self._presences[name] = (count + 1, task)
        try:
            yield
        finally:
            count, task = self._presences.pop(name)
            if count > 1:
                self._presences[name] = (count - 1, task)
            else:
                task.cancel()

    async def _be_present(self, name: str) -> None:
        while True:
            with contextlib.suppress(OSError, ValueError, RunRefused):
                async for _ in self._watch(name):
                    pass
            await asyncio.sleep(IDLE_SECONDS)


async def connect(run: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the run's control socket. Raises RunRefused when no supervisor listens."""
    try:
        folder = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Through the descriptor, because a socket's own path may have 107 bytes only.
            return await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/control.sock", limit=MAX_MESSAGE)
        finally:
            os.close(folder)
    except OSError as error:
        found = error.strerror or str(error)
        raise RunRefused(f"no supervisor holds {run.name}", found, f"start one: tenth run {run}") from None


class Rooms:
    """Every run below a folder. Runs that come later are found, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rooms: dict[str, Room] = {}
        self.unreadable: dict[str, str] = {}
        """Name of a run that cannot be shown -> why."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def keep(self) -> None:
        """Until cancelled: look for runs."""
        try:
            while True:
                self._look()
                await asyncio.sleep(2 * IDLE_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _look(self) -> None:
        try:
            names = {entry.name for entry in os.scandir(self.folder) if not entry.name.startswith(".")}
        except OSError:  # away for now: what is known stays
            return
        for name in sorted(names - self.rooms.keys()):
            if not is_run(str(self.folder / name)):
                continue
            try:
                room = Room(self.folder / name)
            except (TenthError, OSError) as error:
                self.unreadable[name] = str(error)
                continue
            self.unreadable.pop(name, None)
            self.rooms[name] = room
            task = asyncio.create_task(room.follow())
            self._tasks.add(task)

    def find(self, name: str) -> Room | None:
        return self.rooms.get(name)
