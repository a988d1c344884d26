"""``witness``: keep the newest heads of other people's logs, and cosign only those that go on from them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from tenth.charter import NAME
from tenth.cli import words
from tenth.cli.options import FILE, dry_run_option, json_option, key_options
from tenth.cli.outcome import emit
from tenth.cli.people import Chosen, KeyFile, home, keys_here, read_public, unlock
from tenth.cli.record.asking import ask, take
from tenth.encoding import digest
from tenth.errors import BadKey, WrongInput
from tenth.keys import SigningKey
from tenth.log.entry import timestamp
from tenth.sanitise import plain
from tenth.witness.cosigner import Cosigner
from tenth.witness.memory import Known, Memory
from tenth.witness.note import WITNESS, NamedKey
from tenth.witness.request import MOST_REQUEST_BYTES, Request

PORT = 8712


@click.group("witness")
def witness_command() -> None:
    """Witness other people's logs, or have the log of a run witnessed.

    A witness remembers the newest head of each log it was told of, and cosigns only heads that go on from it: a log
    that was cut back or rewritten gets no cosignature. What it remembers lies in $TENTH_HOME/witness, or
    ~/.config/tenth/witness. Witness on a machine that the run's people do not control.
    """


witness_command.add_command(ask)
witness_command.add_command(take)


def key_of(chosen: Chosen) -> tuple[str, Callable[[], SigningKey], Memory]:
    """Name of the witness, how to unlock its key, and what it remembers. Raises BadKey if it is not clear who."""
    one = _key_file(chosen)
    name = chosen.person or one.name
    if not NAME.fullmatch(name):
        raise BadKey("this cannot be a witness's name", repr(name)[:60], "give the charter's name for it: --as NAME")

    def unlocked() -> SigningKey:
        key = unlock(one.path, chosen.passphrase_file)
        if key.public != one.public:
            raise BadKey(f"the key {one.path} is not used", "its .pub file is of another key", "mend the .pub file")
        return key

    # One key, one memory, whatever it is called: a cosignature does not name its witness.
    return name, unlocked, Memory(home() / "witness" / digest(one.public.raw)[:16])


def _key_file(chosen: Chosen) -> KeyFile:
    if chosen.key is not None:
        if found := read_public(chosen.key.with_name(chosen.key.name + ".pub")):
            return found
        return KeyFile(chosen.key.name, chosen.key, unlock(chosen.key, chosen.passphrase_file).public)
    found_here = keys_here()
    fits = [one for one in found_here if chosen.person in (None, one.name)]
    if len(fits) == 1:
        return fits[0]
    here = words.names(one.name for one in found_here)
    what = "more than one key lies here" if fits else "there is no key of that name here"
    raise BadKey("it is not clear who witnesses", f"{what}: {here}", "say who: --as NAME; or tenth key new NAME")


@witness_command.command("serve")
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True)
@key_options
@json_option
def serve(bind: str, port: int, chosen: Chosen, as_json: bool) -> None:
    """Answer over HTTP (C2SP tlog-witness), until Ctrl-C."""
    from tenth.witness.serving import Server

    name, unlocked, memory = key_of(chosen)
    cosigner = Cosigner(name, unlocked(), memory)

    def say(text: str) -> None:
        now = timestamp(time.time())
        emit({"time": now, "said": text}) if as_json else click.echo(f"{words.clock(now)}  {plain(text, limit=300)}")

    try:
        listening = Server((bind, port), cosigner, say)
    except OSError as error:
        where = f"{bind}, port {port}: {error.strerror or error}"
        raise WrongInput("the witness was not started", where, "give another --port, or --bind") from None
    with listening as server:
        host, bound = server.server_address[:2]
        url = f"http://{f'[{host!s}]' if ':' in str(host) else str(host)}:{bound}"
        logs = words.count(len(memory.all()), "log")
        say(f"{name} witnesses {logs} at {url}")
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            pass


@witness_command.command("sign")
@click.argument("request", type=FILE)
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Where to write the cosigned head.")
@key_options
@dry_run_option
@json_option
def sign(request: Path, output: Path | None, chosen: Chosen, dry_run: bool, as_json: bool) -> None:
    """Cosign the head in REQUEST, a file that 'tenth witness ask' wrote, if it goes on from the last one.

    Send back the file that this writes: beside REQUEST, named .cosigned, unless -o names another.
    """
    with request.open("rb") as file:
        asked = Request.parse(file.read(MOST_REQUEST_BYTES + 1))
    head = asked.checkpoint
    target = output or request.with_suffix(".cosigned")
    if target.exists():
        raise WrongInput(f"{target} was not written", "it exists", "choose another name: -o FILE")
    name, unlocked, memory = key_of(chosen)
    facts: dict[str, object] = {"witness": name, "log": head.origin, "entries": head.size, "head": head.root.hex()}
    if dry_run:
        known = memory.recall(head.origin)
        old = known.checkpoint.size if known and known.checkpoint else 0
        text = f"would cosign {head.origin} at {head.size} entries, if it goes on from the {old} cosigned before"
        emit({"would": text, **facts}) if as_json else click.echo(plain(text))
        return
    cosigned = Cosigner(name, unlocked(), memory).cosign(asked)
    target.write_bytes(cosigned.note)
    if as_json:
        emit({**facts, "file": str(target)})
    else:
        click.echo(plain(f"{name} has cosigned {head.origin} at {head.size} entries: {target}"))


@witness_command.command("add")
@click.argument("log")
@key_options
@dry_run_option
@json_option
def add(log: str, chosen: Chosen, dry_run: bool, as_json: bool) -> None:
    """Cosign LOG from now on: the name and key of a log, as 'tenth witness ask' prints them."""
    key = NamedKey.parse(log)
    name, _, memory = key_of(chosen)
    if dry_run:
        emit({"would": "add", "log": key.line}) if as_json else click.echo(plain(f"would add {key.name}"))
        return
    fresh = memory.add(key)
    if as_json:
        emit({"witness": name, "log": key.name, "new": fresh})
    else:
        click.echo(plain(f"{name} witnesses {key.name} from now on" if fresh else f"{name} knows {key.name} already"))


@witness_command.command("list")
@key_options
@json_option
def list_(chosen: Chosen, as_json: bool) -> None:
    """Show what this witness remembers, the files it lies in, and the lines for a charter."""
    name, _, memory = key_of(chosen)
    public = _key_file(chosen).public
    rows = [_row(known, memory, NamedKey(name, WITNESS, public)) for known in memory.all()]
    if as_json:
        emit({"witness": name, "key": public.line, "logs": rows})
        return
    for row in rows:
        when = f"cosigned {row['time']}" if row["time"] else "nothing cosigned yet"
        click.echo(plain(f"{row['log']}  {row['entries']} entries, {when}"))
        click.echo(f"  {plain(row['file'])}")
    if not rows:
        click.echo(f"{name} knows no log yet: tenth witness add LOG")
    if sys.stdout.isatty():
        click.echo(f'\nFor a charter:\n\n[[witness]]\nname = "{name}"\nkey = "{public.line}"')


def _row(known: Known, memory: Memory, mine: NamedKey) -> dict[str, object]:
    head = known.checkpoint
    when = head.cosigned_at(mine) if head else None
    return {
        "log": known.log.name,
        "key": known.log.line,
        "entries": head.size if head else 0,
        "head": head.root.hex() if head else None,
        "time": timestamp(when) if when is not None else None,
        "file": str(memory.path(known.log.name)),
    }
