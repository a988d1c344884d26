"""``data``: folders of text, JSON lines, Parquet and Hugging Face datasets to token shards that a charter can name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenth.cli.options import FOLDER, dry_run_option, json_option
from tenth.cli.outcome import emit
from tenth.errors import WrongInput
from tenth.sanitise import plain

if TYPE_CHECKING:
    from tenth.trainer.prepare import Progress
    from tenth.trainer.shards import Prepared
    from tenth.trainer.sources import Folders

EVERY = 5.0  # seconds between lines where nobody sits at a terminal


@click.command("data")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=FOLDER, help="The folder to make.")
@click.option(
    "--tokenizer", "chosen", default="bpe", show_default=True, help="bpe, bytes, or the path of a tokenizer.json."
)
@click.option("--vocabulary", type=click.IntRange(257), default=4096, show_default=True, help="Entries of the bpe.")
@click.option(
    "--held-out", type=click.FloatRange(0, 0.5), default=0.03, show_default=True, metavar="SHARE",
    help="Share of the documents kept away from training.",
)  # fmt: skip
@click.option("--workers", type=click.IntRange(1), default=None, help="Processes. Default: one for each processor.")
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Files to leave out, by name; may be given several times."
)
@click.option("--text-column", default="text", show_default=True, metavar="NAME", help="Where rows hold their text.")
@dry_run_option
@json_option
def data_command(
    sources: tuple[Path, ...], out: Path, chosen: str, vocabulary: int, held_out: float, workers: int | None,
    exclude: tuple[str, ...], text_column: str, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Prepare the data of a run: tokens in shards, and an index of the documents behind them.

    A SOURCE is a folder of text or code, a .jsonl file (or .jsonl.gz, .jsonl.zst), a .parquet file, a folder of
    these, or a Hugging Face dataset on disk. Interrupted, the same command goes on from where it stopped.
    """
    try:
        from tenth.trainer.errors import TrainerError
        from tenth.trainer.prepare import Job, Settings
        from tenth.trainer.sources import Folders
        from tenth.trainer.tokenizer import from_file
    except ImportError as error:
        raise WrongInput("no data was prepared", f"{error.name} is missing", "pip install 'tenth[trainer]'") from None
    try:
        given = chosen if chosen in ("bpe", "bytes") else from_file(Path(chosen)).to_json()
        _refuse_out_in_source(sources, out)
        about = {"sources": [path.resolve().name for path in sources], "exclude": list(exclude)}
        settings = Settings(given, vocabulary, held_out, text_column)
        source = Folders(sources, exclude, text_column)
        if dry_run:
            _say_sources(source, as_json=as_json)
            return
        with _shown(quiet=as_json) as show:
            prepared = Job(source, out, settings, workers or len(os.sched_getaffinity(0)), show, about=about).run()
    except TrainerError as error:
        raise WrongInput(error.refused, error.found, error.do) from None
    except ImportError as error:
        raise WrongInput("no data was prepared", f"{error.name} is missing", "pip install 'tenth[trainer]'") from None
    except KeyboardInterrupt:
        raise WrongInput("the preparation stopped", "you broke off", "the same command goes on from there") from None
    _say(prepared, as_json=as_json)


def _refuse_out_in_source(sources: tuple[Path, ...], out: Path) -> None:
    for source in sources:
        if out.resolve().is_relative_to(source.resolve()):
            raise WrongInput("the folder is refused", f"{out} lies in the source {source}", "name a folder outside")


@contextmanager
def _shown(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, a line now and then elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        with _bar(console) as show:
            yield show
    else:
        yield _Lines()


@contextmanager
def _bar(console: Any) -> Iterator[Callable[[Progress], None]]:
    from rich import progress as bars

    columns = [
        bars.TextColumn("{task.description}"), bars.BarColumn(), bars.DownloadColumn(), bars.TransferSpeedColumn(),
        bars.TextColumn("{task.fields[documents]:,} documents"), bars.TimeRemainingColumn(),
    ]  # fmt: skip
    with bars.Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None, documents=0)

        def show(now: Progress) -> None:
            bar.update(
                task, description=now.doing, completed=now.bytes, total=now.total or None, documents=now.documents
            )

        yield show


class _Lines:
    """Prints what is done, at most every few seconds."""

    def __init__(self) -> None:
        self._doing, self._last = "", 0.0
        self._began, self._before = 0.0, 0

    def __call__(self, now: Progress) -> None:
        clock = time.monotonic()
        if now.doing != self._doing:
            self._doing, self._began, self._before = now.doing, clock, now.bytes
            click.echo(f"{now.doing} ...", err=True)
        elif clock - self._last < EVERY:
            return
        else:
            rate = (now.bytes - self._before) / 1e6 / max(1e-9, clock - self._began)
            left = (now.total - now.bytes) / 1e6 / rate if rate else 0.0
            click.echo(
                f"{now.bytes / 1e6:,.0f} of {now.total / 1e6:,.0f} MB, {rate:.1f} MB/s, {now.documents:,} documents, "
                f"{left:,.0f} s left", err=True,
            )  # fmt: skip
        self._last = clock


def _say_sources(source: Folders, *, as_json: bool) -> None:
    read = [file.size for file in source.inventory() if not file.why_not]
    if as_json:
        emit({"files": len(read), "bytes": sum(read)})
    else:
        click.echo(f"would read {sum(read):,} bytes in {len(read):,} files")


def _say(prepared: Prepared, *, as_json: bool) -> None:
    about = prepared.manifest
    if as_json:
        kept = {key: about[key] for key in ("settings", "vocabulary", "train", "held_out", "report")}
        emit({"folder": str(prepared.folder), "manifest": prepared.digest, **kept})
        return
    for side, name in (("train", "to train on"), ("held_out", "held out")):
        click.echo(f"{about[side]['tokens']:>15,} tokens of {about[side]['documents']:,} documents {name}")
    left_out = {name: count for name, count in about["report"].items() if name != "bytes" and count}
    if left_out:
        found = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in left_out.items())
        click.echo(f"{'found':>15} {found}: see skipped.jsonl")
    click.echo(f"\n{plain(str(prepared.folder))} is ready. In the charter: data = [{plain(prepared.folder.name)!r}]")
