"""The one event stream of a browser: every run in brief, and all that is new in the runs it looks at.

A browser says after which entry and which sample of each run it wants to go on, so nothing is lost with a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tenth.web.room import BATCH_SECONDS, Room, Rooms
from tenth.web.trust import refusal, session_of

AT_ONCE = 1_000
"""Samples of one batch: ten times this a second."""
BEAT_SECONDS = 2.0
"""A stream that has no news still says that it is there."""
MOST_RUNS = 8
"""Runs that one browser looks at closely."""


class Cursor:
    """How far one browser has read one run."""

    def __init__(self, room: Room, entry: int, sample: int) -> None:
        self.room, self.entry, self.sample, self.version = room, entry, sample, -1

    def news(self) -> dict[str, Any] | None:
        """What came since; None if nothing did."""
        index, found = self.room.index, {}
        entries, samples = index.sizes()
        if entries > self.entry:
            query = "SELECT idx, time, event, words FROM entries WHERE idx >= ? ORDER BY idx LIMIT ?"
            found["entries"] = rows = index.rows(query, (self.entry, AT_ONCE))
            self.entry = rows[-1]["idx"] + 1
        if samples > self.sample:
            found["samples"] = rows = index.samples_after(self.sample, AT_ONCE)
            self.sample = rows[-1]["seq"]
        if self.room.version != self.version:
            self.version = self.room.version
            found |= brief(self.room)
        return {"run": self.room.name, **found, "cursor": [self.entry, self.sample]} if found else None


def brief(room: Room) -> dict[str, Any]:
    """Where a run stands, in what every page shows of it."""
    return {
        "status": room.status,
        "live": room.live,
        "progress": room.progress,
        "pace": room.pace,
        "broken": room.broken,
        "trouble": room.trouble,
        "indexing": room.indexing,
        "alarms": room.alarms,
    }


async def stream(request: Request) -> Response:
    """``?want=NAME:ENTRIES:SAMPLES,...``; a ``Last-Event-ID`` of the same form goes before it."""
    rooms: Rooms = request.app.state.rooms
    wanted = request.headers.get("last-event-id") or request.query_params.get("want", "")
    cursors = []
    for part in filter(None, wanted.split(",")[:MOST_RUNS]):
        name, _, rest = part.partition(":")
        places = rest.split(":")
        room = rooms.find(name)
        if room is None or len(places) != 2 or not all(place.isdigit() for place in places):
            return refusal(400, "this stream is refused", "reload the page", f"{part[:80]!r} is no run and place")
        cursors.append(Cursor(room, int(places[0]), int(places[1])))
    name = session_of(request).name
    return StreamingResponse(
        _events(rooms, cursors, name),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(rooms: Rooms, cursors: list[Cursor], name: str) -> AsyncIterator[bytes]:
    async with contextlib.AsyncExitStack() as stack:
        for cursor in cursors:
            await stack.enter_async_context(cursor.room.present(name))
        seen: dict[str, int] = {}
        quiet = 0.0
        yield b"retry: 500\n\n"
        while True:
            messages = [news for cursor in cursors if (news := await asyncio.to_thread(cursor.news))]
            for run, room in rooms.rooms.items():
                if seen.get(run) != room.version and all(cursor.room is not room for cursor in cursors):
                    seen[run] = room.version
                    messages.append({"run": run, **brief(room)})
            quiet = 0.0 if messages else quiet + BATCH_SECONDS
            if messages or quiet >= BEAT_SECONDS:
                quiet = 0.0
                places = ",".join(f"{one.room.name}:{one.entry}:{one.sample}" for one in cursors)
                data = json.dumps(messages, ensure_ascii=False, separators=(",", ":"))
                yield f"id: {places}\ndata: {data}\n\n".encode("utf-8", "replace")
            await asyncio.sleep(BATCH_SECONDS)
