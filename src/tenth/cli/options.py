"""Arguments and options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from tenth.cli.find import runs_under
from tenth.cli.people import Chosen

F = TypeVar("F", bound=Callable[..., Any])


class RunName(click.ParamType[str]):
    """A run: the path of its directory, its name under ./runs, or the beginning of the name."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        found = [path.rpartition("/")[2] for path in runs_under()]
        return [CompletionItem(name) for name in found if name.startswith(incomplete)] or [
            CompletionItem(incomplete, type="dir")
        ]


RUN = RunName()
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

run_argument = click.argument("run", required=False, type=RUN)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
note_option = click.option("--note", default="", help="A few words, signed and kept in the log.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask before signing.")
name_option = click.option(
    "--name", default=None, help="Who watches: the charter's name for you. Default: your user name."
)


@dataclass(frozen=True)
class Signing:
    """How a verb signs: with which key, whether it asks first, whether for real, and how it says what it did."""

    chosen: Chosen
    yes: bool
    dry_run: bool
    as_json: bool


def key_options(command: F) -> F:
    """``--key``, ``--as`` and ``--passphrase-file``, handed on as ``chosen``."""
    options = (
        click.option("--passphrase-file", type=FILE, help="A file that holds the key's passphrase."),
        click.option("--as", "person", metavar="NAME", help="Which signatory signs, when keys of several lie here."),
        click.option("--key", type=FILE, help="The Ed25519 private key to sign with, such as ~/.ssh/id_ed25519."),
    )
    return _folded(command, "chosen", Chosen, ("key", "person", "passphrase_file"), options)


def signing_options(command: F) -> F:
    """Those of ``key_options``, ``--yes``, ``--dry-run`` and ``--json``, handed on together as ``how``."""
    options = (json_option, dry_run_option, yes_option)
    return key_options(_folded(command, "how", Signing, ("chosen", "yes", "dry_run", "as_json"), options))


def _folded(
    command: F, name: str, make: Callable[..., Any], parts: Sequence[str], options: Sequence[Callable[[Any], Any]]
) -> F:
    """The command with these options, whose values it is given as one argument."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return command(*args, **{name: make(*(kwargs.pop(part) for part in parts))}, **kwargs)

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    if hasattr(command, "__click_params__"):
        wrapped.__click_params__ = command.__click_params__  # type: ignore[attr-defined]
    for option in options:
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]
