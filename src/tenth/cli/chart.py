"""Small drawings made of characters: a curve in braille dots, a bar, the ten segments of an epoch."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

ACCENT = "#2aa1a1"
ALARM = "bold #e5484d"
DIM = "dim"

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Braille dots of one character, by row and column (Unicode block U+2800)."""


def ink(text: str, style: str) -> Text:
    """A beginning in ``style``: what is appended has its own, which ``Text(text, style)`` would not grant it."""
    return Text().append(text, style)


def curve(values: Sequence[float], width: int, height: int) -> list[str]:
    """``values`` as ``height`` lines of ``width`` braille characters, two by four dots each, joined up vertically."""
    across, down = 2 * width, 4 * height
    cells = [[0] * width for _ in range(height)]
    points = columns(values, across)
    low, high = spread(values)
    before: int | None = None
    for x, value in enumerate(points):
        y = round((high - value) / (high - low) * (down - 1))
        first, last = (y, y) if before is None else (min(y, before), max(y, before))
        for row in range(first, last + 1):
            cells[row // 4][x // 2] |= _DOTS[row % 4][x % 2]
        before = y
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in row) for row in cells]


def smoothed(values: Sequence[float]) -> list[float]:
    """An exponential moving average that forgets within a fiftieth of what there is."""
    keep = 1 - 1 / max(1.0, len(values) / 50)
    result: list[float] = []
    for value in values:
        result.append(value if not result else keep * result[-1] + (1 - keep) * value)
    return result


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value, a little apart even where all are the same.

    The highest few are left off: a loss begins so high that nothing after its first moments could be told apart.
    """
    ordered = sorted(values)
    low, high = ordered[0], ordered[min(len(ordered) - 1, int(len(ordered) * 0.97))]
    return (low, high) if high - low > 1e-9 else (low - 0.5, high + 0.5)


def columns(values: Sequence[float], most: int) -> list[float]:
    """At most ``most`` averages over equal stretches of ``values``, kept within their spread."""
    low, high = spread(values)
    count = min(most, len(values))
    result = []
    for place in range(count):
        stretch = values[place * len(values) // count : (place + 1) * len(values) // count]
        result.append(min(high, max(low, sum(stretch) / len(stretch))))
    return result


def bar(share: float, width: int, style: str = ACCENT) -> Text:
    """A line filled up to ``share``, with half-character steps."""
    halves = round(max(0.0, min(1.0, share)) * width * 2)
    full, half = divmod(halves, 2)
    text = ink("━" * full + ("╸" if half else ""), style)
    return text.append("─" * (width - full - half), "dim")


def segments(done: float, of: int, width: int, style: str = ACCENT) -> Text:
    """``of`` pieces of a line, of which ``done`` (a fraction counts) are filled; without gaps where they do not fit."""
    if of * 3 > width:
        return bar(done / of, width, style)
    text = Text()
    for number in range(of):
        start, end = number * (width + 1) // of, (number + 1) * (width + 1) // of - 1
        text.append_text(bar(done - number, end - start, style))
        if number < of - 1:
            text.append(" ")
    return text


def heading(title: str, width: int, note: str = "") -> Text:
    """A title, and a thin line to the edge."""
    text = ink(f"{title} ", "bold")
    text.append("─" * max(0, width - cell_len(title) - 1 - (cell_len(note) + 1 if note else 0)), "dim")
    return text.append(f" {note}", "dim") if note else text


def fit(text: Text, width: int) -> Text:
    """One line of exactly ``width`` cells."""
    line = text.copy()
    line.no_wrap = True
    line.truncate(width, overflow="ellipsis", pad=True)
    return line


def side_by_side(
    left: Sequence[Text], right: Sequence[Text], left_width: int, right_width: int, gap: int
) -> list[Text]:
    """Two columns of lines."""
    lines = []
    for row in range(max(len(left), len(right))):
        one = fit(left[row] if row < len(left) else Text(), left_width)
        two = fit(right[row] if row < len(right) else Text(), right_width)
        lines.append(Text().append_text(one).append(" " * gap).append_text(two))
    return lines
