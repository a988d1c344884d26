"""Who may ask, and from where: links that sign a browser in, sessions, hosts, origins, and the policy in every answer.

The roles are a convenience of the page. What makes a statement count is its signature, which the supervisor verifies.
Does not protect against: other programs of the same user, and whoever reads a link before it is used.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ROLES = ("reader", "watcher", "signatory")
"""Each may do what those before it may."""
COOKIE = "tenth_session"
LINK_SECONDS = 15 * 60.0
SESSION_SECONDS = 12 * 3600.0
MAX_BODY = 1 << 20
LINKS = "Open the link that 'tenth serve' printed, or make one: tenth serve --link NAME"
HEADERS = {
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


@dataclass(frozen=True)
class Place:
    """Where the control room listens, and by which names it answers."""

    host: str
    port: int
    tls: bool = False

    @property
    def origin(self) -> str:
        usual = 443 if self.tls else 80
        return f"{'https' if self.tls else 'http'}://{self.authority(self.port, usual)}"

    @property
    def cord_origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.authority(self.port + 1)}"

    def authority(self, port: int, usual: int = 0) -> str:
        return self.host if port == usual else f"{self.host}:{port}"

    @property
    def policy(self) -> str:
        """The Content-Security-Policy: scripts from here and from nowhere else, and no text that becomes markup."""
        parts = {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self'",
            "worker-src": "'self'",
            "connect-src": f"'self' {self.cord_origin}",
            "form-action": "'self'",
            "frame-ancestors": "'none'",
            "base-uri": "'none'",
            "require-trusted-types-for": "'script'",
            "trusted-types": "tenth",
        }
        return "; ".join(f"{name} {value}" for name, value in parts.items())


@dataclass(frozen=True)
class Session:
    """A browser that was signed in."""

    name: str
    role: str

    def may(self, role: str) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


class Seal:
    """Makes and reads the texts that sign a browser in. One secret, kept in a file that only this user can read."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._used: set[str] = set()

    @classmethod
    def kept_in(cls, path: Path) -> Seal:
        """The secret of earlier, so that a server that starts again knows its browsers; made if it is missing."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return cls(path.read_bytes())
        with os.fdopen(file, "wb") as fresh:
            fresh.write(secrets.token_bytes(32))
        return cls(path.read_bytes())

    def link(self, session: Session) -> str:
        """The key of a sign-in link: for one use, within a quarter of an hour."""
        return self._make("link", session, time.time() + LINK_SECONDS)

    def use(self, key: str) -> Session | None:
        """Who a link signs in; None if it is forged, too old, or was used before."""
        session = self._read("link", key)
        if session is None or key in self._used:
            return None
        self._used.add(key)
        return session

    def cookie(self, session: Session) -> str:
        return self._make("session", session, time.time() + SESSION_SECONDS)

    def session(self, headers: Headers) -> Session | None:
        try:
            jar = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return None
        return self._read("session", jar[COOKIE].value) if COOKIE in jar else None

    def _make(self, use: str, session: Session, until: float) -> str:
        facts = [use, session.name, session.role, round(until), secrets.token_hex(8)]
        text = base64.urlsafe_b64encode(json.dumps(facts).encode()).decode().rstrip("=")
        return f"{text}.{self._mac(text)}"

    def _read(self, use: str, value: str) -> Session | None:
        text, _, mac = value.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(text).encode()):
            return None
        facts = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return Session(facts[1], facts[2]) if facts[0] == use and time.time() < facts[3] else None

    def _mac(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()


class Guard:
    """Around an application: refuses what comes from elsewhere, and writes the policy into every answer."""

    def __init__(
        self, app: ASGIApp, *, place: Place, seal: Seal, port: int, origin: str, open_paths: tuple[str, ...] = (),
        page: Callable[[str, str, int], ASGIApp] | None = None,
    ) -> None:  # fmt: skip
        """``port`` is the one this application listens on; ``origin`` that of the pages which may ask it.

        ``page`` draws a refusal for somebody who opened a page, from what was refused, what to do, and the status.
        """
        self.app, self.place, self.seal, self._page = app, place, seal, page
        self.hosts = {place.authority(port), place.authority(port, 443 if place.tls else 80)}
        self.origin, self.open_paths = origin, open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refused(scope, headers)
        if refused is not None:
            await refused(scope, receive, self._answering(send))
            return
        scope.setdefault("state", {})["session"] = self.seal.session(headers)
        if scope["state"]["session"] is None and not scope["path"].startswith(self.open_paths):
            refused = refusal(401, "you are not signed in", LINKS)
            if self._page and "text/html" in headers.get("accept", ""):
                refused = self._page("You are not signed in.", LINKS, 401)
            await refused(scope, receive, self._answering(send))
            return
        await self.app(scope, receive, self._answering(send))

    def _refused(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        if headers.get("host", "") not in self.hosts:  # another site's name was pointed at this address
            return refusal(421, "this is not the server of that name", f"open {self.place.origin}")
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and origin != self.origin:
            return refusal(403, "a page of another site asked for this", f"do it on {self.place.origin}")
        if origin is not None and origin != self.origin:
            return refusal(403, "a page of another site asked for this", f"do it on {self.place.origin}")
        if int(headers.get("content-length") or 0) > MAX_BODY:
            return refusal(413, "this is too long", f"at most {MAX_BODY:,} bytes")
        return None

    def _answering(self, send: Send) -> Send:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                extra = {**HEADERS, "Content-Security-Policy": self.place.policy}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in extra.items()
                        if name.lower().encode() not in given
                    ),
                ]
            await send(message)

        return answer


def refusal(code: int, refused: str, do: str = "", found: str = "") -> Response:
    """Every error is said in three parts."""
    return JSONResponse({"error": {"refused": refused, "found": found, "do": do}}, status_code=code)


def session_of(request: Request) -> Session:
    session: Any = request.state.session
    assert isinstance(session, Session)
    return session
