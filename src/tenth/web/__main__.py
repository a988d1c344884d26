"""``python -m tenth.web``: serve the pages, and keep the cord's own process beside them. ``tenth serve`` starts it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import uvicorn

from tenth.web.trust import Place, Seal, Session

RESTART_SECONDS = 0.5
MEEK = 5
"""Nice value of the pages' process: what trains, and what stops it, go first."""


def main() -> int:
    given = arguments()
    place = Place(given.name, given.port, bool(given.tls_key))
    seal = Seal.kept_in(given.secret)
    folder = given.folder.resolve()
    if given.cord:
        from tenth.web.cord import application as cord

        threading.Thread(target=_end_with_parent, daemon=True).start()
        with contextlib.suppress(OSError):  # where this user may: what stops a run waits for nothing that runs
            os.setpriority(os.PRIO_PROCESS, 0, -MEEK)
        config = _config(cord(folder, place, seal), given, given.port + 1)
        return _serve(config, config.bind_socket())
    say_links = partial(_say_links, place, seal, given.invite, as_json=given.json)
    if given.only_links:
        say_links()
        return 0
    from tenth.web.app import application as pages

    config = _config(pages(folder, place, seal), given, given.port)
    listening = config.bind_socket()
    listening.listen()  # a link is followed as soon as it is read
    say_links()
    threading.Thread(target=_keep_cord, args=(_start_cord(),), daemon=True).start()
    os.nice(MEEK)  # after the cord's process was started: that one waits for nobody
    return _serve(config, listening)


def _say_links(place: Place, seal: Seal, invited: list[str], *, as_json: bool) -> None:
    for one in invited:
        name, _, role = one.partition("=")
        link = f"{place.origin}/sign-in?key={seal.link(Session(name, role))}"
        words = f"{name} ({role}), one browser, within 15 minutes:\n  {link}"
        print(json.dumps({"name": name, "role": role, "link": link}) if as_json else words, flush=True)


def arguments() -> argparse.Namespace:
    words = argparse.ArgumentParser(prog="python -m tenth.web")
    words.add_argument("folder", type=Path)
    words.add_argument("--secret", type=Path, required=True, help="file that seals sessions; made if it is missing")
    words.add_argument("--bind", default="127.0.0.1", help="address to listen on")
    words.add_argument("--name", default="localhost", help="host name that browsers use")
    words.add_argument("--port", type=int, default=8710, help="of the pages; the cord has the next one")
    words.add_argument("--tls-cert", type=Path)
    words.add_argument("--tls-key", type=Path)
    words.add_argument("--invite", action="append", default=[], metavar="NAME=ROLE", help="print a sign-in link")
    words.add_argument("--only-links", action="store_true", help="print the links and end")
    words.add_argument("--json", action="store_true", help="print each link as a line of JSON")
    words.add_argument("--cord", action="store_true", help="be the cord's process")
    return words.parse_args()


def _config(app: object, given: argparse.Namespace, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app, host=given.bind, port=port, log_level="warning", access_log=False, server_header=False,  # type: ignore[arg-type]
        date_header=False, lifespan="auto", ws="none", http="h11", timeout_graceful_shutdown=1, timeout_keep_alive=30,
        ssl_certfile=given.tls_cert, ssl_keyfile=given.tls_key,
    )  # fmt: skip


def _serve(config: uvicorn.Config, listening: socket.socket) -> int:
    server = uvicorn.Server(config)
    server.run([listening])
    return 0 if server.started else 1


def _start_cord() -> subprocess.Popen[bytes]:
    """The cord's process. It ends with us: its standard input closes."""
    return subprocess.Popen([sys.executable, "-m", "tenth.web", *sys.argv[1:], "--cord"], stdin=subprocess.PIPE)


def _keep_cord(process: subprocess.Popen[bytes]) -> None:
    """Start the cord's process again if it ends."""
    while True:
        process.wait()
        time.sleep(RESTART_SECONDS)
        process = _start_cord()


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
