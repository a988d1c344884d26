"""The one exit for what a model or a trainer wrote, before it meets a terminal or a page (promise 10).

What comes out holds printable characters only: everything that could steer a terminal, hide, reorder or pile up is
spelled out (``\\x1b``, ``\\u202e``). Does not protect against: text that persuades its reader, letters that look like
other letters, right-to-left letters that a terminal reorders within their own line, and web addresses that a terminal
makes clickable by itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

LIMIT = 4_000
"""Characters of output, unless told otherwise."""
MARKS = 2
"""Combining marks that one letter may carry: enough for every living script's ordinary text."""

SPELLED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that are spelled out: controls, formats (bidi, zero width, tags), surrogates, private use."""
BLANKS = frozenset(
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc" + "".join(map(chr, range(0x180B, 0x1810)))
)
"""Characters that other categories count as letters, marks or symbols, and that show as nothing."""
_ORDINARY = (re.compile("[ -~]*"), re.compile("[ -~\n\t]*"))
"""Texts that need no work, on one line and on several: most of what a model writes."""
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def plain(text: object, *, lines: bool = False, limit: int = LIMIT) -> str:
    """``text`` as harmless text of at most ``limit`` characters. ``lines`` keeps newlines and tabs as they are.

    Without ``lines`` the result is one line. What was cut off is said at the end.
    """
    source = text if isinstance(text, str) else str(text)
    if len(source) <= limit and _ORDINARY[lines].fullmatch(source):
        return source
    out: list[str] = []
    size = 0
    for done, piece in _pieces(source, "\n\t" if lines else ""):
        size += len(piece)
        if size > limit:
            return _cut("".join(out), len(source) - done, limit)
        out.append(piece)
    return "".join(out)


def _pieces(source: str, kept: str) -> Iterator[tuple[int, str]]:
    """Pairs of (characters of ``source`` dealt with before this piece, what to show)."""
    marks = flood = MARKS
    flood = 0
    for place, char in enumerate(source):
        if " " <= char <= "~" or char in kept:
            kind = ""
        else:
            kind = _category(char)
        if kind == "M" and char not in BLANKS:
            marks += 1
            if marks > MARKS:
                flood += 1
                continue
        if flood:
            yield place, f"[+{flood} marks]"
            flood = 0
        if kind == "M" and char not in BLANKS:
            yield place, char
            continue
        # A mark needs a letter to sit on: not a control, a space, or something of ours that stands before it.
        marks = 0 if char not in " \n\t" and kind == "" else MARKS
        if kind == "space":
            yield place, " "
        elif kind == "" and char not in BLANKS:
            yield place, char
        else:
            marks = MARKS
            yield place, spelled(char)
    if flood:
        yield len(source), f"[+{flood} marks]"


def _category(char: str) -> str:
    """``""`` shown as it is, ``"M"`` a combining mark, ``"space"`` an unusual space, ``"spelled"`` spelled out."""
    found = unicodedata.category(char)
    if found in SPELLED or "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef":
        return "spelled"
    if found == "Zs":
        return "space"
    return "M" if found[0] == "M" else ""


def spelled(char: str) -> str:
    """As Python would write it in a text: ``\\x1b``, ``\\u202e``, ``\\U000e0041``."""
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _cut(shown: str, left: int, limit: int) -> str:
    note = f"… [{left:,} more]"
    return shown[: max(0, limit - len(note))] + note if limit > len(note) else "…"[:limit]
