"""The control room for tests: the real server over real runs, and a real browser in front of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from core.live import wait_for

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def browser_path() -> str | None:
    """The system's own Chromium; playwright's download is not used."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def free_ports() -> int:
    """The first of two neighbouring ports of this machine that nobody listens on.

    Below those that the kernel gives to whoever connects: one of them may be taken before a server binds it.
    """
    for port in range(10_000 + os.getpid() % 1_000 * 20, 32_000, 2):
        with contextlib.ExitStack() as stack:
            try:
                for one in (port, port + 1):
                    sock = stack.enter_context(socket.socket())
                    sock.bind(("127.0.0.1", one))
            except OSError:
                continue
            return port
    raise AssertionError("no two ports are free")


class Served:
    """``tenth serve`` over a folder of runs."""

    def __init__(self, runs: Path, home: Path, port: int | None = None) -> None:
        self.runs, self.home, self.port = runs, home, port or free_ports()
        self.process: subprocess.Popen[bytes] | None = None
        self.links: dict[str, str] = {}
        self.log = home / "serve.log"
        home.mkdir(parents=True, exist_ok=True)

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def cord(self) -> str:
        return f"http://localhost:{self.port + 1}"

    def start(self, *invited: str) -> Served:
        invited = invited or ("ada=signatory", "lin=watcher", "rea=reader")
        words = [f"--invite={one}" for one in invited]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tenth.cli",
                    "serve",
                    str(self.runs),
                    "--port",
                    str(self.port),
                    "--json",
                    *words,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TENTH_HOME": str(self.home), "USER": "operator"},
            )
        wait_for(lambda: self._listens(self.port) and self._listens(self.port + 1), "the control room to listen")
        for line in self.log.read_text().splitlines():
            if line.startswith("{"):
                facts = json.loads(line)
                self.links[facts["name"]] = facts["link"]
        return self

    def _listens(self, port: int) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as sock:
            sock.settimeout(1)
            return sock.connect_ex(("127.0.0.1", port)) == 0

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(15)
        self.process = None

    def link(self, name: str) -> str:
        """A fresh link, as ``tenth serve --link`` makes it beside a running server."""
        words = ["serve", str(self.runs), "--port", str(self.port), "--json", "--link", name]
        said = subprocess.run(
            [sys.executable, "-m", "tenth.cli", *words],
            capture_output=True,
            check=True,
            env={**os.environ, "TENTH_HOME": str(self.home)},
            timeout=30,
        ).stdout
        return str(json.loads(said)["link"])


class Client:
    """A person without a browser: requests with a session."""

    def __init__(self, served: Served, name: str | None = None) -> None:
        self.served = served
        self._jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar), _Stay)
        self.cookie = ""
        if name is not None:
            self.sign_in(served.links[name])

    def sign_in(self, link: str) -> int:
        key = re.search(r"key=(.+)$", link)
        assert key
        status, headers, _ = self.ask("POST", "/sign-in", f"key={key[1]}".encode(), **{"Content-Type": FORM})
        self.cookie = headers.get("set-cookie", "").partition(";")[0]
        return status

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, base: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """``(status, headers, body)``. The ``Origin`` is that of the pages unless another one is given."""
        given = {"Origin": self.served.origin, **({"Cookie": self.cookie} if self.cookie else {}), **headers}
        request = urllib.request.Request((base or self.served.origin) + path, body, given, method=method)
        for name, value in given.items():
            if not value:
                request.remove_header(name)
        try:
            with self._opener.open(request, timeout=20) as answer:
                return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()

    def json(self, method: str, path: str, value: Any = None, **headers: str) -> tuple[int, Any]:
        body = None if value is None else json.dumps(value).encode()
        sent = {"Content-Type": "application/json"} if body is not None else {}
        status, _, answer = self.ask(method, path, body, **{**sent, **headers})
        return status, json.loads(answer)


FORM = "application/x-www-form-urlencoded"


class _Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are looked at, not followed."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """Somebody with a browser of their own, signed in. Keeps what the browser complained about."""

    def __init__(self, browser: Any, served: Served, name: str, **options: Any) -> None:
        self.served = served
        self.context = browser.new_context(viewport={"width": 1400, "height": 900}, **options)
        self.complaints: list[str] = []
        self.context.on("weberror", lambda error: self.complaints.append(f"error: {error.error}"))
        self.context.on("console", self._console)
        page = self.context.new_page()
        page.goto(served.links.pop(name) if name in served.links else served.link(name))
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{served.origin}/")
        self.page = page

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def tab(self, path: str, *, wait: str = "load") -> Any:
        page = self.context.new_page()
        page.goto(self.served.origin + path, wait_until=wait)
        return page

    def until(self, page: Any, words: str, selector: str = "#stand", seconds: float = 15) -> None:
        page.locator(selector, has_text=words).first.wait_for(timeout=seconds * 1000)

    def close(self) -> None:
        self.context.close()


def poll(page: Any, script: str, seconds: float = 15) -> Any:
    """The first true value of ``script``. Asked from outside: the pages' policy forbids what playwright does inside."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := page.evaluate(script):
            return value
        page.wait_for_timeout(30)
    raise AssertionError(f"waited {seconds:g} s for {script}")
