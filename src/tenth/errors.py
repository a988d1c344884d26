"""One exception tree: what was refused, what was found, what to do next.

TenthError
├── WrongInput          somebody gave us something we cannot use: say so, change nothing
│   ├── BadEncoding     bytes that are not the canonical form of anything
│   ├── BadKey          a key file or key line that cannot be used
│   ├── BadCharter      a charter that is not a charter
│   ├── BadStatement    a consent (or objection, ...) that is not one, or not for this moment
│   ├── Unlawful        an event that the law of the run does not allow here and now
│   └── RunRefused      a run that cannot be begun, continued or reached from here
└── BrokenPromise       something already written does not hold: never caught outside ``main``
"""

from __future__ import annotations


class TenthError(Exception):
    """An error in three parts. ``do`` may be empty where there is nothing to be done."""

    def __init__(self, refused: str, found: str = "", do: str = "") -> None:
        super().__init__(refused, found, do)
        self.refused, self.found, self.do = refused, found, do

    def __str__(self) -> str:
        return "; ".join(part for part in (self.refused, self.found, self.do) if part)

    def parts(self) -> dict[str, str]:
        return {"refused": self.refused, "found": self.found, "do": self.do}


class WrongInput(TenthError):
    """The caller's input is refused; nothing was changed."""


class BadEncoding(WrongInput):
    """Bytes that are not what they should encode."""


class BadKey(WrongInput):
    """A key that cannot be read, or is not an Ed25519 key."""


class BadCharter(WrongInput):
    """A charter with an unknown, missing, duplicated or ill-typed key."""


class BadStatement(WrongInput):
    """A signed statement that is malformed, forged, or meant for another run or moment."""


class Unlawful(WrongInput):
    """The transition table has no such arrow, or its guard says no."""


class RunRefused(WrongInput):
    """A run that cannot be begun, continued or reached."""


class BrokenPromise(TenthError):
    """Something on record contradicts promise ``promise`` (docs/promises.md), first seen at ``entry``."""

    def __init__(self, promise: int, refused: str, found: str = "", *, entry: int | None = None) -> None:
        super().__init__(refused, found, "keep this folder as it is, and compare it with another copy")
        self.promise, self.entry = promise, entry
