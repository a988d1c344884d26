"""A picture of the live view at one moment of a recorded demo: ``python -m tenth.cli.demo.picture RECORDING OUT.svg``.

A recording is what ``tenth demo --record FILE`` keeps: the messages of the control socket, with the times they came at.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from tenth.cli.demo.cast import labels
from tenth.cli.live.following import Following
from tenth.cli.live.view import View
from tenth.cli.live.watching import KEYS
from tenth.cli.wire import Message

WIDTH, HEIGHT = 120, 36
GROUND, INK, RED, TEAL, AMBER = (17, 20, 24), (214, 218, 224), (229, 72, 77), (42, 161, 161), (214, 160, 60)
BLUE, VIOLET, GREY, WHITE = (90, 140, 220), (170, 120, 200), (110, 118, 129), (255, 255, 255)
THEME = TerminalTheme(
    GROUND,
    INK,
    [GROUND, RED, TEAL, AMBER, BLUE, VIOLET, TEAL, INK],
    [GREY, RED, TEAL, AMBER, BLUE, VIOLET, TEAL, WHITE],
)
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: system-ui, sans-serif; font-size: 18px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own, without its fonts from elsewhere: a picture in a README must not call out."""


def recorded(path: Path) -> Iterator[tuple[float, Message]]:
    with path.open() as file:
        for line in file:
            now, message = json.loads(line)
            yield now, message


def at_moment(messages: Iterator[tuple[float, Message]], reached: Callable[[Following], bool]) -> Following:
    """What a watcher knew when ``reached`` first held; at the end if it never did."""
    following = Following()
    for now, message in messages:
        following.heed(message, now)
        if reached(following):
            break
    return following


def moment(gate: int, fraction: float) -> Callable[[Following], bool]:
    """In the tenth after ``gate``, when ``fraction`` of it is done and figures are there to be seen."""

    def reached(following: Following) -> bool:
        there = following.status.get("gate") == gate and following.training and (following.fraction or 0) >= fraction
        return there and following.seconds_to_gate is not None

    return reached


def draw(following: Following, width: int = WIDTH, height: int = HEIGHT) -> str:
    """The SVG."""
    view = View(following, keys=KEYS, labels=labels(following.status["signatories"]))
    console = Console(
        width=width, height=height, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor",
        legacy_windows=False,
    )  # fmt: skip
    console.print(view, height=height)
    return console.export_svg(title="tenth demo", theme=THEME, code_format=FORMAT, unique_id="tenth")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--gate", type=int, default=4)
    parser.add_argument("--fraction", type=float, default=0.6)
    options = parser.parse_args()
    following = at_moment(recorded(options.recording), moment(options.gate, options.fraction))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(draw(following))
    return 0


if __name__ == "__main__":
    sys.exit(main())
