"""The loop around a watched run: hears its messages, a person's keys and Ctrl-C, and shows what there is to see."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import time
import tty
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from rich.console import Console
from rich.live import Live

from tenth.cli import words
from tenth.cli.live.following import QUIET, Following
from tenth.cli.live.view import View
from tenth.cli.outcome import emit
from tenth.cli.wire import Message, Wire
from tenth.sanitise import plain

REDRAW_SECONDS = 0.2
"""Four or five pictures a second: calm for the eye, and next to nothing beside the training."""


_SEQUENCES = re.compile(rb"\x1b(\[[0-9;?]*[ -/]*[@-~]|O.)?")
"""What arrows and function keys send; a key that was typed right after one must not be lost with it."""


class Show(Protocol):
    """Something that shows messages."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def heed(self, message: Message) -> None: ...
    def draw(self) -> None: ...


class LiveShow:
    """The live view, on the terminal's second screen, so that what was there before comes back."""

    def __init__(self, view: View, console: Console | None = None) -> None:
        self.view = view
        self.console = console or Console()
        self._live: Live | None = None

    def start(self) -> None:
        self._live = Live(
            self.view,
            console=self.console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def stop(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def heed(self, message: Message) -> None:
        pass

    def draw(self) -> None:
        if self._live:
            self._live.refresh()


class LineShow:
    """One plain line for each event: for pipes and files."""

    SAMPLE_SECONDS, PROGRESS_SECONDS = 15.0, 10.0
    PROMPT, WRITTEN = 60, 160
    """Characters of a sample's prompt, its end, and of what was written after it."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self._progress = self._sample = 0.0
        self._round: deque[Message] = deque(maxlen=24)
        self._shown: Counter[str] = Counter()

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def heed(self, message: Message) -> None:
        now = time.monotonic()
        if message.get("on") == "sample":
            self._round.append(message["sample"])
            return
        self._show_sample(now)
        match message.get("on"):
            case "entry" if message["entry"]["event"] not in QUIET:
                entry = message["entry"]
                print(f"{words.clock(entry['time'])} {entry['index']:>5}  {words.entry_words(entry)}", flush=True)
            case "progress" if now - self._progress > self.PROGRESS_SECONDS:
                self._progress = now
                print(self._pace(message["progress"]), flush=True)

    def _show_sample(self, now: float) -> None:
        """Of those that came together, one whose prompt was shown least often, the last of these."""
        together = list(self._round)
        self._round.clear()
        if not together or now - self._sample <= self.SAMPLE_SECONDS:
            return
        self._sample = now
        sample = min(reversed(together), key=lambda one: self._shown[one["prompt"]])
        self._shown[sample["prompt"]] += 1
        prompt = plain(sample["prompt"])
        short = prompt if len(prompt) <= self.PROMPT else f"…{prompt[-self.PROMPT :]}"
        print(f"           sample  {short}{plain(sample['text'], limit=self.WRITTEN)}", flush=True)

    def _pace(self, frame: Message) -> str:
        loss = f"loss {frame['loss']:.3f}" if frame.get("loss") is not None else "no loss"
        pace, left = self._following.tokens_per_second, self._following.seconds_to_gate
        parts = [f"step {frame['step']:,}", loss]
        parts += [f"{pace:,.0f} tokens/s"] if pace else []
        parts += [f"{words.duration(left)} to the next gate"] if left is not None else []
        return "           " + ", ".join(parts)

    def draw(self) -> None:
        pass


class JsonShow:
    """The messages as they come, one line of JSON each."""

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def heed(self, message: Message) -> None:
        emit(message)

    def draw(self) -> None:
        pass


class Screen:
    """Follows one connection until it ends or somebody leaves."""

    def __init__(
        self, wire: Wire, following: Following, show: Show, *, keys: Mapping[str, Callable[[], None]] | None = None,
        interrupted: Callable[[], None] | None = None, heard: Callable[[Message], None] | None = None,
    ) -> None:  # fmt: skip
        """``keys``: what a key does. ``interrupted``: what Ctrl-C does. ``heard``: is told every message."""
        self.wire, self.following, self.show = wire, following, show
        self._keys, self._interrupted, self._heard = keys or {}, interrupted, heard
        self._leaving = False

    def leave(self) -> None:
        self._leaving = True

    def follow(self, name: str | None) -> None:
        """Ask to watch, then show until the end. ``name`` is who watches."""
        self.take(self.wire.ask({"do": "watch", "name": name}))
        with _interrupts(self._interrupted), single_keys() as keyboard:
            self.show.start()
            try:
                while not self.wire.ended and not self._leaving:
                    self._turn(keyboard)
            finally:
                self.show.stop()

    def take(self, message: Message) -> None:
        self.following.heed(message, time.monotonic())
        self.show.heed(message)
        if self._heard:
            self._heard(message)

    def _turn(self, keyboard: int | None) -> None:
        """Hear for a moment, then draw once."""
        until = time.monotonic() + REDRAW_SECONDS
        sources: list[Wire | int] = [self.wire] if keyboard is None else [self.wire, keyboard]
        while (left := until - time.monotonic()) > 0 and not self.wire.ended and not self._leaving:
            ready = select.select(sources, [], [], left)[0]
            if self.wire in ready:
                try:
                    for message in self.wire.receive():
                        self.take(message)
                except ConnectionError:
                    self.wire.ended = True
            if keyboard is not None and keyboard in ready:
                self._key(os.read(keyboard, 64))
        self.following.tick(time.monotonic())
        self.show.draw()

    def _key(self, keys: bytes) -> None:
        for char in typed(keys).lower():
            if action := self._keys.get(char):
                action()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Leave the live view for a moment, with an ordinary terminal."""
        self.show.stop()
        try:
            with ordinary_keys():
                yield
        finally:
            self.show.start()


def typed(keys: bytes) -> str:
    """The characters among what a keyboard sent."""
    return _SEQUENCES.sub(b"", keys).decode(errors="ignore")


def on_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextmanager
def _interrupts(action: Callable[[], None] | None) -> Iterator[None]:
    """Ctrl-C does ``action`` at once, wherever the loop is."""
    if action is None:
        yield
        return

    def caught(_number: int, _frame: FrameType | None) -> None:
        action()

    before = signal.signal(signal.SIGINT, caught)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def single_keys() -> Iterator[int | None]:
    """Keys without Enter, unless standard input is no terminal."""
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        yield None
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextmanager
def ordinary_keys() -> Iterator[None]:
    """Keys with Enter, and shown, while single keys are read around it."""
    if not sys.stdin.isatty():
        yield
        return
    keyboard = sys.stdin.fileno()
    now = termios.tcgetattr(keyboard)
    usual = termios.tcgetattr(keyboard)
    usual[3] |= termios.ICANON | termios.ECHO
    try:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, usual)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, now)
