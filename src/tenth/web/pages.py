"""The pages, drawn on the server so that they can be read before any script runs: runs, live, gate, log, sign-in."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from tenth.cli import words
from tenth.errors import BrokenPromise
from tenth.web import curves, dossier, drilled, reviews
from tenth.web.assets import Assets
from tenth.web.feedback import batches
from tenth.web.room import Room, Rooms
from tenth.web.stream import brief
from tenth.web.trust import COOKIE, SESSION_SECONDS, Place, Seal, Session, refusal

TEMPLATES = Path(__file__).parent / "templates"
FIRST_SAMPLES, FIRST_ENTRIES = 40, 100


class Pages:
    """Templates, and what every one of them is given."""

    def __init__(self, assets: Assets, place: Place) -> None:
        self._place, self._assets = place, assets
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._templates.globals |= {"asset": assets.url, "words": words, "data": embedded}

    def draw(self, template: str, *, status: int = 200, **facts: Any) -> Response:
        given = {"place": self._place, "assets": self._assets, "session": None, "room": None, **facts}
        html = self._templates.get_template(template).render(given)
        return HTMLResponse(html, status_code=status, headers={"Cache-Control": "no-store"})


def embedded(value: Any) -> Markup:
    """JSON inside a script element of a type that no browser runs: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704 (what could be markup was just spelled out)


def waiting(room: Room) -> str:
    """Who must act now, in a few words, and how many alarms there were."""
    said = f"alarms: {room.alarms}" if room.alarms else ""
    return "; ".join(filter(None, (_waiting(room), said)))


def _waiting(room: Room) -> str:
    status = room.status
    stance = status.get("stance", "")
    if room.broken:
        return "promise 7 is broken: look at the log"
    if room.trouble:
        return room.trouble
    if not room.live and stance not in ("CLOSED", ""):
        return "no supervisor holds it"
    if stance == "GATE":
        if status["objections"]:
            return f"{words.names(status['objections'])} objected"
        return f"waiting for {words.names(status['waiting_for'])}" if status["waiting_for"] else "everyone consents"
    if stance == "HALTED":
        return "waiting for a signatory to reopen"
    return {"RUNNING": "training", "GATHERING": "gathering evidence", "CLOSED": "over"}.get(stance, "being read")


async def runs(request: Request) -> Response:
    rooms: Rooms = request.app.state.rooms
    found = sorted(
        rooms.rooms.values(), key=lambda room: (not room.live, room.status.get("stance") == "CLOSED", room.name)
    )
    lines = await asyncio.to_thread(lambda: {room.name: curves.sparkline(room.index) for room in found})
    rows = [{"room": room, "waiting": waiting(room), "line": lines[room.name]} for room in found]
    given = {room.name: {**brief(room), "line": lines[room.name]} for room in found}
    return _draw(request, "runs.html", rows=rows, given=given, unreadable=rooms.unreadable, folder=str(rooms.folder))


async def live(request: Request, room: Room) -> Response:
    def gather() -> dict[str, Any]:
        entries, last = room.index.sizes()
        return {
            "samples": room.index.samples(most=FIRST_SAMPLES),
            "series": curves.names(room.index),
            "cursor": [entries, last],
            **brief(room),
        }

    given = await asyncio.to_thread(gather)
    return _draw(request, "live.html", room=room, waiting=waiting(room), given=given)


async def gate(request: Request, room: Room) -> Response:
    path = request.path_params.get("path")
    broken, facts = None, None
    try:
        facts = await asyncio.to_thread(shown_to, room, path, request.state.session)
    except BrokenPromise as error:
        broken = error.parts()
    said = await asyncio.to_thread(reviews.of, room)
    recipe = dict(facts["subjects"])["recipe"] if facts else ""
    fed = await asyncio.to_thread(batches, room, recipe)
    entries, last = room.index.sizes()
    given = {
        **brief(room),
        "cursor": [entries, last],
        "path": facts and facts["path"],
        "digest": facts and facts["digest"],
    }
    given |= {name: facts and facts[name] for name in ("people", "entry", "newest", "subjects")}
    given["drill"] = await asyncio.to_thread(drilled.owes, room, request.state.session.name)
    given["passkeys"] = [name for name, key in room.charter.signatories.items() if getattr(key, "site", "")]
    return _draw(
        request, "gate.html", room=room, waiting=waiting(room), facts=facts, given=given, broken=broken,
        reviews=said, batches=fed,
    )  # fmt: skip


def shown_to(room: Room, path: str | None, session: Session) -> dict[str, Any] | None:
    """The dossier; in the place of the one on the table its drill, to those who have yet to answer it."""
    facts = dossier.gate(room, f"gates/{path}" if path else None)
    if facts and facts["newest"] and session.may("signatory") and (drill := drilled.asks(room, session.name)):
        facts = drilled.shown(room, drill, session.name)
    return facts


async def log(request: Request, room: Room) -> Response:
    entries, last = room.index.sizes()
    rows = await asyncio.to_thread(lambda: room.index.entries(most=FIRST_ENTRIES, quiet=True))
    head = room.index.head
    given = {**brief(room), "cursor": [entries, last], "rows": rows}
    return _draw(
        request, "log.html", room=room, waiting=waiting(room), rows=rows, given=given, size=entries,
        root=head.root.hex() if head else "",
    )  # fmt: skip


async def feedback(request: Request, room: Room) -> Response:
    entries, last = room.index.sizes()
    kind = "proposal" if request.url.path.endswith("/grade") else "pair"
    return _draw(
        request, "feedback.html", room=room, waiting=waiting(room), kind=kind,
        given={**brief(room), "cursor": [entries, last]},
    )  # fmt: skip


async def person(request: Request) -> Response:
    return _draw(request, "person.html")


async def sign_in(request: Request) -> Response:
    """Show whom the link signs in; the button does it, so that nothing that merely looks at a link uses it up."""
    return _draw(request, "sign_in.html", key=request.query_params.get("key", ""))


async def sign_in_now(request: Request) -> Response:
    seal: Seal = request.app.state.seal
    place: Place = request.app.state.place
    form = (await request.body()).decode("ascii", "replace")
    session = seal.use(form.removeprefix("key="))
    if session is None:
        return _draw(request, "refused.html", status=403, refused="This link does not sign anybody in.",
                     do="A link serves once, for a quarter of an hour. Another: tenth serve --link NAME")  # fmt: skip
    answer = RedirectResponse("/", status_code=303)
    answer.set_cookie(
        COOKIE, seal.cookie(session), max_age=round(SESSION_SECONDS), httponly=True, samesite="strict",
        secure=place.tls, path="/",
    )  # fmt: skip
    return answer


def _draw(request: Request, template: str, **facts: Any) -> Response:
    pages: Pages = request.app.state.pages
    return pages.draw(template, **{"session": request.state.session, **facts})


def about(page: Any) -> Any:
    """A page about the run in the path."""

    async def endpoint(request: Request) -> Response:
        room = request.app.state.rooms.find(request.path_params["run"])
        if room is None:
            return _draw(
                request, "refused.html", status=404, refused="There is no such run.", do="Go back to the list of runs."
            )
        answer: Response = await page(request, room)
        return answer

    return endpoint


async def missing(request: Request, _error: Exception) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return _draw(request, "refused.html", status=404, refused="There is no such page.", do="Go back to the runs.")
    return refusal(404, "there is no such page")


ROUTES = [
    Route("/", runs),
    Route("/sign-in", sign_in, methods=["GET"]),
    Route("/sign-in", sign_in_now, methods=["POST"]),
    Route("/person", person),
    Route("/r/{run}", about(live)),
    Route("/r/{run}/gate", about(gate)),
    Route("/r/{run}/gate/{path}", about(gate)),
    Route("/r/{run}/log", about(log)),
    Route("/r/{run}/feedback", about(feedback)),
    Route("/r/{run}/feedback/grade", about(feedback)),
]
