"""``pull`` as help and completion see it. The work is done in ``tenth.cli.pull``, without click."""

from __future__ import annotations

import click

from tenth.cli import pull
from tenth.cli.options import RUN


@click.command("pull", help=pull.HELP.partition("\n\n")[2].partition("Options:")[0])
@click.argument("run", required=False, type=RUN)
@click.option("--name", default="", help="Who pulls. Default: your user name.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def pull_command(run: str | None, name: str, as_json: bool) -> int:
    words = [*([run] if run else []), *(["--name", name] if name else []), *(["--json"] if as_json else [])]
    return pull.main(words)
