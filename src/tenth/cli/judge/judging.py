"""The screen of ``feedback``: two samples side by side, or one proposal, and one key for each answer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping

import click
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from tenth.cli import pull, words
from tenth.cli.chart import ACCENT, ALARM, fit, heading, ink, side_by_side
from tenth.cli.live.screen import ordinary_keys, single_keys, typed
from tenth.errors import TenthError
from tenth.feedback.asking import Ask
from tenth.feedback.desk import Annotator
from tenth.feedback.events import Event
from tenth.sanitise import plain

PAIR_KEYS: Mapping[str, str] = {"1": "first", "2": "second", "0": "tie", "b": "bad", "s": "skip", "f": "flag"}
GRADE_KEYS: Mapping[str, str] = {"1": "useful", "2": "junk", "3": "unsafe", "s": "skip"}
PAIR_LEGEND = (
    ("1", "first"), ("2", "second"), ("0", "tie"), ("b", "both bad"), ("s", "skip"), ("e", "edit first"),
    ("E", "edit second"), ("f", "flag"), ("u", "undo"), ("space", "more"), ("p", "pull the cord"), ("q", "leave"),
)  # fmt: skip
GRADE_LEGEND = (
    ("1", "useful"), ("2", "junk"), ("3", "unsafe"), ("s", "skip"), ("u", "undo"), ("space", "more"),
    ("p", "pull the cord"), ("q", "leave"),
)  # fmt: skip
MOST_TEXT, PROMPT_LINES, TWO_COLUMNS = 16_000, 6, 80


class Judging:
    """One annotator's session. ``run`` returns when they leave, or when nothing is left to be judged."""

    def __init__(self, annotator: Annotator, kind: str, console: Console | None = None) -> None:
        self.me, self.kind, self.console = annotator, kind, console or Console()
        self.ask: Ask | None = None
        self.page, self.notice = 0, ""
        self._since = 0.0
        self._said: list[tuple[Event, Ask]] = []
        """What was said here, and to what: for undo."""
        self._live: Live | None = None

    def run(self) -> int:
        """How many judgements were made, undone ones not counted."""
        self._next()
        with single_keys() as keyboard, Live(self, console=self.console, screen=True, auto_refresh=False) as live:
            self._live = live
            while self.ask is not None and keyboard is not None:
                live.refresh()
                for key in typed(os.read(keyboard, 64)):
                    if key == "q" or self.ask is None:
                        return len(self._said)
                    self.key(key)
        return len(self._said)

    def key(self, key: str) -> None:
        """What one key does."""
        answers = PAIR_KEYS if self.kind == "pair" else GRADE_KEYS
        self.notice = ""
        try:
            if key in answers:
                self._answer(answers[key])
            elif key in "eE" and self.kind == "pair":
                self._edit("first" if key == "e" else "second")
            elif key == "u":
                self._undo()
            elif key == " ":
                self.page += 1
            elif key == "p":
                self.notice = pull.stop(str(self.me.desk.table.folder.parent), self.me.by)[0]
        except TenthError as error:
            self.notice = str(error)

    def _answer(self, answer: str) -> None:
        assert self.ask
        facts = {"answer": answer, "seconds": self._seconds()}
        if self.kind == "pair":
            facts["shown"] = self.ask.shown
        self._keep("judged" if self.kind == "pair" else "graded", facts)

    def _keep(self, event: str, facts: dict[str, object]) -> None:
        assert self.ask
        self._said.append((self.me.say(event, self.ask.item, **facts), self.ask))
        self._next()

    def _edit(self, side: str) -> None:
        """In the person's own editor, and as plain text: an editor may obey what stands in a file.

        A text that is not plain is written from the beginning: what stands for it on the screen is not what it says.
        """
        assert self.ask
        assert self._live
        seconds, shown = self._seconds(), self.texts[side == "second"]
        before = shown if plain(shown, lines=True, limit=MOST_TEXT) == shown else ""
        self._live.stop()
        if before != shown:
            click.echo("Not all of it can be shown as it is: write it from the beginning.", err=True)
        with ordinary_keys():
            text = click.edit(before, require_save=True)
        self._live.start(refresh=True)
        if text is None or (text := text.rstrip("\n")) == before.rstrip("\n") or not text.strip():
            self.notice = "nothing was changed"
            return
        self._keep("edited", {"side": side, "shown": self.ask.shown, "text": text, "seconds": seconds})

    def _undo(self) -> None:
        if not self._said:
            self.notice = "there is nothing to undo in this sitting"
            return
        event, ask = self._said[-1]
        self.me.say("undone", event.digest)
        self._said.pop()
        self._next(ask)

    def _next(self, ask: Ask | None = None) -> None:
        self.ask = ask or self.me.desk.ask(self.me.by, self.kind)
        self.page, self._since = 0, time.monotonic()

    def _seconds(self) -> float:
        return round(min(time.monotonic() - self._since, 86_400.0), 1)

    @property
    def texts(self) -> list[str]:
        """What is shown: the first sample and the second, or the proposal."""
        assert self.ask
        item = self.me.desk.item(self.ask.item)
        return [str(item[side]) for side in self.ask.shown] if self.kind == "pair" else [str(item["text"])]

    # --- the picture -------------------------------------------------------------------------------------------------

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        yield Text("\n").join(
            [fit(line, options.max_width) for line in self._lines(options.max_width, height)][:height]
        )

    def _lines(self, width: int, height: int) -> Iterator[Text]:
        """``height`` lines: who judges, the prompt, what is judged, the keys."""
        if self.ask is None:
            return
        name = plain(self.me.desk.table.run, limit=40)
        yield heading(
            f"{name}: which is better?" if self.kind == "pair" else f"{name}: worth a round?", width, self._count()
        )
        used = 1
        if self.kind == "pair":
            prompt = self._wrapped(str(self.me.desk.item(self.ask.item)["prompt"]), width)[:PROMPT_LINES]
            yield from (ink(line.plain, ACCENT) for line in prompt)
            used += len(prompt)
        legend = self._legend(width)
        room = max(3, height - used - len(legend) - 2)
        lines = self._sides(width, room)
        yield Text()
        yield from lines
        yield from [Text()] * (height - used - 1 - len(lines) - len(legend))
        yield from legend

    def _sides(self, width: int, room: int) -> list[Text]:
        if self.kind != "pair" or width < TWO_COLUMNS:
            each = room // len(self.texts)
            return [line for number in range(len(self.texts)) for line in self._column(number, width, each)]
        half = (width - 3) // 2
        left, right = self._column(0, half, room), self._column(1, half, room)
        return side_by_side(left, right, half, width - 3 - half, 3)

    def _column(self, number: int, width: int, room: int) -> list[Text]:
        """One text, from the page that was asked for; when all of it was seen, from its start again."""
        lines = self._wrapped(self.texts[number], width)
        rows = max(1, room - 1)
        pages = max(1, -(-len(lines) // rows))
        page = self.page % pages
        more = f"part {page + 1} of {pages}" if pages > 1 else ""
        shown = lines[page * rows : (page + 1) * rows]
        return [heading(str(number + 1) if self.kind == "pair" else "proposal", width, more), *shown]

    def _wrapped(self, text: str, width: int) -> list[Text]:
        """Through the sanitising exit (promise 10)."""
        safe = Text(plain(text, lines=True, limit=MOST_TEXT).replace("\t", "    "))
        return list(safe.wrap(self.console, width, overflow="fold"))

    def _count(self) -> str:
        return f"{words.count(len(self._said), 'judgement')} in this sitting, as {self.me.by}"

    def _legend(self, width: int) -> list[Text]:
        text = Text()
        for key, what in PAIR_LEGEND if self.kind == "pair" else GRADE_LEGEND:
            text.append(key, "bold").append(f" {what}   ", "dim")
        lines = list(text.wrap(self.console, width))
        return [*([ink(plain(self.notice, limit=300), ALARM)] if self.notice else []), *lines]
