"""``serve``: the control room, in processes of its own (docs/control-room.md)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import click

from tenth.charter import NAME
from tenth.cli import pull
from tenth.cli.find import RUNS
from tenth.cli.options import FILE, FOLDER, json_option
from tenth.cli.people import home
from tenth.errors import WrongInput

PORT = 8710
LOOPBACK = ("127.0.0.1", "::1", "localhost")
ROLES = ("reader", "watcher", "signatory")


@click.command("serve")
@click.argument("folder", type=FOLDER, default=Path(RUNS))
@click.option(
    "--port", type=click.IntRange(1024, 65534), default=PORT, show_default=True, help="The cord has the next."
)
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address to listen on. Another needs --tls-cert.")
@click.option("--host-name", default="localhost", show_default=True, help="The name that browsers use.")
@click.option("--tls-cert", type=FILE, help="Certificate chain (PEM).")
@click.option("--tls-key", type=FILE, help="Its private key (PEM).")
@click.option("--invite", multiple=True, metavar="NAME[=ROLE]", help="Print a link for one more browser.")
@click.option("--link", "only", metavar="NAME[=ROLE]", help="Print a link for a server that runs already, and end.")
@json_option
def serve_command(
    folder: Path, port: int, bind: str, host_name: str, tls_cert: Path | None, tls_key: Path | None,
    invite: tuple[str, ...], only: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Show every run below FOLDER in a browser: watch, pull the cord, review, sign.

    Prints a link that signs one browser in, once, within a quarter of an hour; --invite makes more. ROLE is reader
    (sees), watcher (also reviews and pulls) or signatory (also hands in signed statements; this is the default).
    """
    if bind not in LOOPBACK and not (tls_cert and tls_key):
        found = f"it would listen on {bind} without a certificate"
        raise WrongInput("the control room was not started", found, "give --tls-cert and --tls-key")
    if not folder.is_dir():
        raise WrongInput("the control room was not started", f"there is no folder {folder}", "name the runs' folder")
    words = ["--bind", bind, "--name", host_name, *(["--json"] if as_json else [])]
    words += ["--tls-cert", str(tls_cert), "--tls-key", str(tls_key)] if tls_cert and tls_key else []
    command = server(folder, port, [only] if only else [pull.user_name(), *invite])
    os.execv(sys.executable, [*command, *words, *(["--only-links"] if only else [])])  # noqa: S606 (our own module)


def server(folder: Path, port: int, invited: list[str]) -> list[str]:
    """The command that serves ``folder`` and prints a link for each of ``invited``. Raises WrongInput."""
    missing = [name for name in ("starlette", "uvicorn", "jinja2") if find_spec(name) is None]
    if missing:
        do = f"{Path(sys.executable).name} -m pip install 'tenth[web]'"
        raise WrongInput("the control room was not started", f"it needs {', '.join(missing)}, not installed here", do)
    words = ["--port", str(port), "--secret", str(home() / "web" / "secret")]
    for one in invited:
        name, _, role = one.partition("=")
        if (role or ROLES[-1]) not in ROLES or not NAME.fullmatch(name):
            do = "NAME as in a charter, ROLE one of " + ", ".join(ROLES)
            raise WrongInput("nobody was invited", f"{one!r} is not NAME or NAME=ROLE", do)
        words += ["--invite", f"{name}={role or ROLES[-1]}"]
    return [sys.executable, "-m", "tenth.web", str(folder), *words]


def _free_port() -> int:
    """The usual one and the next, or the next two that nobody listens on."""
    for port in range(PORT, PORT + 100, 2):
        with socket.socket() as pages, socket.socket() as cord:
            if pages.connect_ex(("127.0.0.1", port)) and cord.connect_ex(("127.0.0.1", port + 1)):
                return port
    raise WrongInput("the control room was not started", f"every port from {PORT} is taken", "end what listens there")


@contextmanager
def beside(folder: Path, invited: str) -> Iterator[str]:
    """Serve ``folder`` while something else goes on here; gives the link, and opens it where there is a screen."""
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [*server(folder, _free_port(), [invited]), "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise WrongInput("the control room was not started", "its process ended", "tenth serve says why")
        link = str(json.loads(line)["link"])
        if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
            webbrowser.open(link)
        yield link
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
