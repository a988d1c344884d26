"""The pages server, put together: rooms, index, pages, api, stream, assets; and the guard around it all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp

from tenth.web import api, assets, pages
from tenth.web.room import Rooms
from tenth.web.stream import stream
from tenth.web.trust import Guard, Place, Seal

OPEN = ("/sign-in", "/static/")
"""What a browser sees before it is signed in."""


def application(folder: Path, place: Place, seal: Seal, began: Callable[[], None] = lambda: None) -> ASGIApp:
    """Shows every run below ``folder``. ``began`` is called once it listens to them."""
    rooms = Rooms(folder)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(rooms.keep())
        began()
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    routes = [
        *pages.ROUTES,
        *api.ROUTES,
        Route("/events", stream),
        Route("/static/{version}/{name:path}", assets.serve),
    ]
    compressed = Middleware(GZipMiddleware, minimum_size=1_000, compresslevel=6)
    app = Starlette(routes=routes, lifespan=lifespan, middleware=[compressed], exception_handlers={404: pages.missing})
    app.state.rooms, app.state.seal, app.state.place = rooms, seal, place
    app.state.assets = assets.Assets.read()
    app.state.pages = pages.Pages(app.state.assets, place)

    def refused(text: str, do: str, status: int) -> ASGIApp:
        drawn: pages.Pages = app.state.pages
        return drawn.draw("refused.html", status=status, refused=text, do=do)

    return Guard(app, place=place, seal=seal, port=place.port, origin=place.origin, open_paths=OPEN, page=refused)
