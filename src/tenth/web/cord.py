"""The cord's own server: one process, one port, one task. It stops a run as ``tenth pull`` does, and shares nothing.

Also says whether the cord is live: whether the supervisor answered just now.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tenth.cli import pull
from tenth.cli.find import is_run
from tenth.cli.wire import Wire
from tenth.errors import RunRefused, TenthError
from tenth.web.trust import Guard, Place, Seal, refusal, session_of

ALIVE_SECONDS = 2.0
PULLERS = 8
"""Pulls that are under way at once."""


def application(folder: Path, place: Place, seal: Seal) -> ASGIApp:
    """The cord for every run below ``folder``."""
    app = Starlette(
        routes=[
            Route("/cord/{run}/pull", _pull, methods=["POST", "OPTIONS"]),
            Route("/cord/{run}/alive", _alive, methods=["GET", "OPTIONS"]),
        ]
    )
    app.state.folder, app.state.origin, app.state.asked = folder, place.origin, {}
    app.state.pulls = ThreadPoolExecutor(PULLERS)  # for nothing else
    return Guard(app, place=place, seal=seal, port=place.port + 1, origin=place.origin)


def _run(request: Request) -> Path | None:
    name = request.path_params["run"]
    path: Path = request.app.state.folder / name
    return path if "/" not in name and not name.startswith(".") and is_run(os.fspath(path)) else None


async def _pull(request: Request) -> Response:
    """Stop first. No reason is asked; whoever may see the cord may pull it, except readers."""
    run = _run(request)
    session = session_of(request)
    if run is None or not session.may("watcher"):
        return _shared(request, refusal(403 if run else 404, "nothing was stopped", "tenth pull, from a shell"))
    pulls: ThreadPoolExecutor = request.app.state.pulls
    return _shared(request, await asyncio.get_running_loop().run_in_executor(pulls, _stop, run, session.name))


def _stop(run: Path, name: str) -> Response:
    try:
        text, facts = pull.stop(os.fspath(run), name)
    except TenthError as error:
        return refusal(500, error.refused, error.do, error.found)
    return JSONResponse({"text": text, **facts})


async def _alive(request: Request) -> Response:
    run = _run(request)
    if run is None:
        return _shared(request, refusal(404, "there is no such run"))
    asked: dict[Path, asyncio.Task[dict[str, Any]]] = request.app.state.asked
    if run not in asked or asked[run].done():  # many tabs, one question: none of them stands in a pull's way
        asked[run] = asyncio.create_task(asyncio.to_thread(_ask, run))
    return _shared(request, JSONResponse(await asyncio.shield(asked[run])))


def _ask(run: Path) -> dict[str, Any]:
    """A whole round: to the supervisor and back."""
    try:
        wire = Wire(run, ALIVE_SECONDS)
    except RunRefused:
        return {"live": False, "held": False}
    try:
        status = wire.ask({"do": "status"})["status"]
        return {"live": True, "held": True, "stance": status["stance"]}
    except TenthError:
        return {"live": False, "held": True}  # it hangs: not live, and no reason to believe that nothing runs
    finally:
        wire.close()


def _shared(request: Request, response: Response) -> Response:
    """The pages lie on another port of this host: their origin, and no other, may read the answer."""
    response.headers["Access-Control-Allow-Origin"] = request.app.state.origin
    response.headers["Access-Control-Allow-Credentials"] = "true"
    response.headers["Vary"] = "Origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-site"
    response.headers["Cache-Control"] = "no-store"
    return response
