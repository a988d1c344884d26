"""What pages ask for once they are drawn: samples, entries and proofs, curves, reviews; and what is handed in."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from tenth.cli import pull
from tenth.encoding import b64, unb64
from tenth.errors import TenthError, WrongInput
from tenth.sanitise import plain
from tenth.web import curves, drilled, feedback, reviews, statements
from tenth.web.proof import inclusion
from tenth.web.room import Room, Rooms
from tenth.web.trust import refusal, session_of

MOST = 500
Answer = Callable[[Request, Room], Awaitable[Any]]


def about(role: str, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """An answer about the run in the path, for those who have the role; errors in three parts."""

    async def endpoint(request: Request) -> Response:
        rooms: Rooms = request.app.state.rooms
        room = rooms.find(request.path_params["run"])
        if room is None:
            return refusal(404, "there is no such run", f"runs lie in {rooms.folder}")
        session = session_of(request)
        if not session.may(role):
            return refusal(403, f"this needs the role '{role}'", "ask for another link", f"you are a {session.role}")
        try:
            found = await answer(request, room)
        except TenthError as error:
            return refusal(409, plain(error.refused), plain(error.do), plain(error.found))
        return found if isinstance(found, Response) else JSONResponse(found, headers={"Cache-Control": "no-store"})

    return endpoint


def _number(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, "")
    return int(given) if given.isdigit() and len(given) < 18 else default


async def samples(request: Request, room: Room) -> Any:
    query = request.query_params
    if "after" in query:
        return await asyncio.to_thread(room.index.samples_after, _number(request, "after", 0), MOST)
    before, most = _number(request, "before", 1 << 62), min(MOST, _number(request, "most", 200))
    wanted = {"text": query.get("text", "")[:200], "ranked": query.get("ranked") == "1"}
    return await asyncio.to_thread(lambda: room.index.samples(before=before, most=most, **wanted))  # type: ignore[arg-type]


async def before(request: Request, room: Room) -> Any:
    return await asyncio.to_thread(room.index.before, request.path_params["seq"])


async def entries(request: Request, room: Room) -> Any:
    quiet = request.query_params.get("quiet") == "1"
    place = _number(request, "before", 1 << 62)
    return await asyncio.to_thread(lambda: room.index.entries(before=place, quiet=quiet))


async def entry(request: Request, room: Room) -> Any:
    """The bytes of one entry, and what proves that they stand under the log's signed head."""

    def find() -> Any:
        rows = room.index.rows("SELECT * FROM entries WHERE idx = ?", (request.path_params["index"],))
        head = room.index.head
        if not rows or head is None:
            raise WrongInput("this entry is not shown", "it is not in the log, or no head is known yet")
        first = room.index.rows("SELECT * FROM entries WHERE idx = 0")[0]
        return {
            "index": rows[0]["idx"],
            "line": room.line(rows[0]).decode(),
            "shown": plain(
                json.dumps(_legible(room.body(rows[0])), indent=2, ensure_ascii=False), lines=True, limit=200_000
            ),
            "path": [b64(one) for one in inclusion(room.index.leaves()[: head.size], rows[0]["idx"])],
            "head": head.note.decode(),
            "log_key": room.body(first)["log_key"],
        }

    return await asyncio.to_thread(find)


def _legible(body: dict[str, Any]) -> dict[str, Any]:
    """A body, and what was signed in it as people can read it."""
    try:
        signed = json.loads(unb64(body["envelope"]["payload"]))
    except (KeyError, TypeError, ValueError, TenthError):
        return body
    return {"what was signed": signed, **body}


async def series(_request: Request, room: Room) -> Any:
    return await asyncio.to_thread(curves.names, room.index)


async def curve(request: Request, room: Room) -> Any:
    name = request.query_params.get("series", "loss")
    first, last = _number(request, "first", -1), _number(request, "last", -1)
    ends = (None if first < 0 else first, None if last < 0 else last)
    return await asyncio.to_thread(curves.curve, room.index, name, *ends)


async def submit(request: Request, room: Room) -> Any:
    """Carry a signed statement to the supervisor, which verifies it."""
    envelope = (await _object(request)).get("envelope")
    # Where checkpoints are sealed, the signer's share comes along, which only the supervisor can open.
    share = envelope.pop("share", None) if isinstance(envelope, dict) else None
    if told := await asyncio.to_thread(drilled.take, room, envelope):
        return {"drill": told}
    answer = await room.ask(do="submit", envelope=envelope, share=share)
    await asyncio.to_thread(drilled.recorded, room, envelope)
    return {"index": answer["index"], "status": answer["status"]}


async def draft(request: Request, room: Room) -> Any:
    """What a passkey would sign here and now."""
    said = await _object(request)
    status = (await room.ask(do="status"))["status"]
    return await asyncio.to_thread(statements.draft, room, status["anchor"], said)


async def second_cord(request: Request, room: Room) -> Any:
    """The way that is left when the cord's own port does not answer."""
    return await asyncio.to_thread(stopped, room.path, session_of(request).name)


def stopped(run: Path, name: str) -> dict[str, Any]:
    """As ``tenth pull``: the run is stopped when this returns."""
    text, facts = pull.stop(str(run), name)
    return {"text": text, **facts}


async def verify(_request: Request, room: Room) -> Any:
    """``tenth verify``, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tenth.cli", "verify", "--json", str(room.path), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    try:
        return json.loads(said)
    except ValueError:
        raise WrongInput("the run was not verified", f"'tenth verify' ended with status {process.returncode}") from None


async def pack(request: Request, room: Room) -> Any:
    """The auditor's pack, or the review pack for a signatory on another machine."""
    words, name = (
        (("export", "-o"), f"{room.name}.tar.gz")
        if request.path_params["kind"] == "audit"
        else (("review", "--export"), f"{room.name}-gate-{room.status.get('gate', 0)}.zip")
    )
    folder = tempfile.TemporaryDirectory(prefix="tenth-web-")
    target = Path(folder.name) / name
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tenth.cli", words[0], str(room.path), words[1], str(target), "--json",
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    if await process.wait() != 0 or not target.is_file():
        folder.cleanup()
        raise WrongInput("no pack was made", f"'tenth {words[0]}' ended with status {process.returncode}")
    return FileResponse(target, filename=name, background=BackgroundTask(folder.cleanup))


async def review(request: Request, room: Room) -> Any:
    said = await _object(request)
    return await asyncio.to_thread(reviews.add, room, session_of(request).name, said)


async def reviewed(_request: Request, room: Room) -> Any:
    return await asyncio.to_thread(reviews.of, room)


async def to_judge(request: Request, room: Room) -> Any:
    return await asyncio.to_thread(feedback.asks, room, session_of(request).name, dict(request.query_params))


async def judged(request: Request, room: Room) -> Any:
    said = await _object(request)
    return await asyncio.to_thread(feedback.take, room, session_of(request).name, said)


async def _object(request: Request) -> dict[str, Any]:
    """The body, a JSON object: a form of another site cannot send one."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise WrongInput("this is refused", "it is not sent as JSON")
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise WrongInput("this is refused", f"it is not JSON: {error}"[:200]) from None
    if not isinstance(found, dict):
        raise WrongInput("this is refused", "it is not an object")
    return found


def _route(path: str, role: str, answer: Answer, method: str = "GET") -> Route:
    return Route(f"/api/r/{{run}}/{path}", about(role, answer), methods=[method])


ROUTES = [
    _route("samples", "reader", samples),
    _route("samples/{seq:int}/before", "reader", before),
    _route("entries", "reader", entries),
    _route("entry/{index:int}", "reader", entry),
    _route("series", "reader", series),
    _route("curve", "reader", curve),
    _route("reviews", "reader", reviewed),
    _route("reviews", "watcher", review, "POST"),
    _route("feedback", "watcher", to_judge),
    _route("feedback", "watcher", judged, "POST"),
    _route("pull", "watcher", second_cord, "POST"),
    _route("submit", "signatory", submit, "POST"),
    _route("draft", "signatory", draft, "POST"),
    _route("verify", "reader", verify, "POST"),
    _route("pack/{kind:str}", "reader", pack),
]
