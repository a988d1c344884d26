"""``generate`` and ``chat``: text from a model, written in the sandbox and sanitised, on the screen as it comes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from tenth.cli.model.writer import Model, Page, Writer
from tenth.cli.options import RUN, json_option
from tenth.cli.outcome import emit
from tenth.sanitise import plain

F = TypeVar("F", bound=Callable[..., Any])

model_argument = click.argument("run", metavar="[RUN|CHECKPOINT|FOLDER]", required=False, type=RUN)
gate_option = click.option("--gate", type=int, default=None, help="The checkpoint of this gate. Default: the newest.")


def writing_options(function: F) -> F:
    """How to draw tokens, and when to end."""
    options: tuple[Callable[[F], F], ...] = (
        click.option("--stats", is_flag=True, help="Say how fast it was, on standard error."),
        click.option("--stop", multiple=True, help="A text that ends the writing; may be given several times."),
        click.option("--seed", type=int, default=0, show_default=True),
        click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
                     help="Draw from the likeliest that hold this share."),
        click.option("--top-k", type=click.IntRange(0), default=50, show_default=True, help="0: draw from all."),
        click.option("--temperature", type=click.FloatRange(0), default=0.8, show_default=True,
                     help="0: always the likeliest."),
    )  # fmt: skip
    for option in options:
        function = option(function)
    return function


@click.command("generate")
@model_argument
@click.option("--prompt", "prompts", multiple=True, help="What the text begins with; '-': standard input. Repeatable.")
@click.option("--tokens", type=click.IntRange(1, 100_000), default=128, show_default=True, help="How many to write.")
@writing_options
@gate_option
@json_option
def generate_command(
    run: str | None, prompts: Sequence[str], tokens: int, gate: int | None, as_json: bool, stats: bool, **how: Any
) -> None:
    """Write text from a checkpoint of RUN, or from a folder in Hugging Face's layout.

    The digest of a run's checkpoint is checked first. Several prompts are written at once.
    """
    texts = [sys.stdin.read() if prompt == "-" else prompt for prompt in prompts or ("",)]
    model = Model(run, gate, quiet=as_json)
    page = Page(lambda text: click.echo(text, nl=False))

    def show(row: int, piece: str) -> None:  # noqa: ARG001
        if len(texts) == 1 and not as_json:
            page.add(piece)
            sys.stdout.flush()

    with Writer(model) as writer:
        if len(texts) == 1 and not as_json:
            page.add(texts[0])
        done = writer.ask({"prompts": texts, "tokens": tokens, **how}, show)
    if as_json:
        rows = [{"prompt": p, "text": p + t} for p, t in zip(texts, done["texts"], strict=True)]
        emit({"checkpoint": str(model.folder), "texts": rows, "tokens": done["tokens"], "seconds": done["seconds"]})
    elif len(texts) == 1:
        page.end()
        click.echo()
    else:
        whole = [p + t for p, t in zip(texts, done["texts"], strict=True)]
        click.echo("\n\n".join(plain(text, lines=True, limit=200_000) for text in whole))
    say_stats(done, wanted=stats)


def say_stats(done: dict[str, Any], *, wanted: bool) -> None:
    if wanted:
        rate = done["tokens"] / max(done["seconds"], 1e-9)
        click.echo(f"{done['tokens']:,} tokens in {done['seconds']:.2f} s, {rate:,.0f} tokens/s", err=True)


@click.command("chat")
@model_argument
@click.option("--tokens", type=click.IntRange(1, 100_000), default=512, show_default=True, help="Of one answer.")
@writing_options
@gate_option
@json_option
def chat_command(run: str | None, tokens: int, gate: int | None, as_json: bool, stats: bool, **how: Any) -> None:
    """Talk with a model. /reset forgets, /exit leaves; Ctrl-C breaks an answer off.

    A tokenizer with a chat template is used as it says. Without one the model goes on with the text of the talk.
    """
    model = Model(run, gate, quiet=as_json)
    with Writer(model) as writer:
        if not writer.chat and not as_json:
            click.echo(
                "It has no chat template, so it is no assistant: it goes on with your text as with any.", err=True
            )
        talk: list[dict[str, str]] = []
        while (said := _line()) is not None:
            if said.strip() == "/exit":
                return
            if said.strip() == "/reset":
                talk = []
                click.echo("forgotten", err=True)
                continue
            talk.append({"role": "user", "content": said})
            page = Page(lambda text: click.echo(text, nl=False))

            def show(row: int, piece: str, page: Page = page) -> None:  # noqa: ARG001
                if not as_json:
                    page.add(piece)
                    sys.stdout.flush()

            prompt = "".join(turn["content"] for turn in talk)
            done = writer.ask({"messages": talk, "prompts": [prompt], "tokens": tokens, **how}, show)
            if as_json:
                emit(done)
            else:
                page.end()
                click.echo(" [broken off]" if done["broken_off"] else "")
            talk.append({"role": "assistant", "content": done["texts"][0]})
            say_stats(done, wanted=stats)


def _line() -> str | None:
    """What a person types; None at the end of input, or at Ctrl-C while nothing is being written."""
    try:
        return input("> " if sys.stdin.isatty() else "")
    except (EOFError, KeyboardInterrupt):
        return None
