"""The operations that programs are chained of: each one line of real Python, from one kind of value to another."""

from __future__ import annotations

from dataclasses import dataclass

LIST, TEXT, NUMBER = "list", "text", "number"
"""A list of integers, a text of small and capital letters, an integer."""
KINDS = (LIST, TEXT, NUMBER)


@dataclass(frozen=True)
class Operation:
    """``code`` is an expression in ``x``."""

    name: str
    takes: str
    gives: str
    code: str


OPERATIONS = tuple(
    Operation(*row)
    for row in (
        ("reverse", LIST, LIST, "x[::-1]"),
        ("sort", LIST, LIST, "sorted(x)"),
        ("tail", LIST, LIST, "x[1:]"),
        ("front", LIST, LIST, "x[:-1]"),
        ("rotate", LIST, LIST, "x[1:] + x[:1]"),
        ("mirror", LIST, LIST, "x + x[::-1]"),
        ("evens", LIST, LIST, "[n for n in x if n % 2 == 0]"),
        ("odds", LIST, LIST, "[n for n in x if n % 2]"),
        ("positive", LIST, LIST, "[n for n in x if n > 0]"),
        ("every second", LIST, LIST, "x[::2]"),
        ("increase", LIST, LIST, "[n + 1 for n in x]"),
        ("double", LIST, LIST, "[n * 2 for n in x]"),
        ("square", LIST, LIST, "[n * n % 100 for n in x]"),
        ("negate", LIST, LIST, "[-n for n in x]"),
        ("magnitude", LIST, LIST, "[abs(n) for n in x]"),
        ("distinct", LIST, LIST, "list(dict.fromkeys(x))"),
        ("running sum", LIST, LIST, "[sum(x[: i + 1]) for i in range(len(x))]"),
        ("running most", LIST, LIST, "[max(x[: i + 1]) for i in range(len(x))]"),
        ("differences", LIST, LIST, "[b - a for a, b in zip(x, x[1:])]"),
        ("sum", LIST, NUMBER, "sum(x)"),
        ("count", LIST, NUMBER, "len(x)"),
        ("most", LIST, NUMBER, "max(x, default=0)"),
        ("least", LIST, NUMBER, "min(x, default=0)"),
        ("first", LIST, NUMBER, "x[0] if x else 0"),
        ("letters", LIST, TEXT, "''.join(chr(97 + n % 26) for n in x)"),
        ("add one", NUMBER, NUMBER, "x + 1"),
        ("times three", NUMBER, NUMBER, "x * 3"),
        ("remainder", NUMBER, NUMBER, "x % 7"),
        ("digits", NUMBER, LIST, "[int(d) for d in str(abs(x))]"),
        ("count up", NUMBER, LIST, "list(range(abs(x) % 10))"),
        ("spelling", NUMBER, TEXT, "str(x)"),
        ("backwards", TEXT, TEXT, "x[::-1]"),
        ("capitals", TEXT, TEXT, "x.upper()"),
        ("swap case", TEXT, TEXT, "x.swapcase()"),
        ("in order", TEXT, TEXT, "''.join(sorted(x))"),
        ("once each", TEXT, TEXT, "''.join(dict.fromkeys(x))"),
        ("no vowels", TEXT, TEXT, "''.join(c for c in x if c not in 'aeiou')"),
        ("drop first", TEXT, TEXT, "x[1:]"),
        ("length", TEXT, NUMBER, "len(x)"),
        ("codes", TEXT, LIST, "[ord(c) % 32 for c in x]"),
    )
)
BY_NAME = {one.name: one for one in OPERATIONS}
