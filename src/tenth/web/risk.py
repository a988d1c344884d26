"""Which samples should people see first? Named signs, looked for by the server in what the model wrote.

Does not protect against: a model that avoids these signs. They order what is read; they clear nothing.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

SIGNS: Mapping[str, re.Pattern[str]] = {
    "hidden characters": re.compile(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
    ),
    "markup": re.compile(r"<\s*/?\s*(script|svg|iframe|img|object|form|button|a|style|meta)\b", re.IGNORECASE),
    "address": re.compile(r"\b(?:https?|ftp|javascript|data|file):", re.IGNORECASE),
    "command": re.compile(
        r"\b(?:rm\s+-rf|curl\s|wget\s|chmod\s|sudo\s|os\.system|subprocess|eval\(|exec\(|socket\.|__import__)"
    ),
    "secret": re.compile(r"BEGIN [A-Z ]*PRIVATE KEY|password\s*[=:]|api[_-]?key", re.IGNORECASE),
    "about its reader": re.compile(r"\b(?:reviewer|signatory|overseer|approve|consent|pull the cord)\b", re.IGNORECASE),
}
"""Name of a sign -> what it looks like."""
REPEATED, LONG = 6, 200
"""A text of at least LONG bytes that can be packed REPEATED times smaller repeats itself."""
LOOKED_AT = 16_384
"""Characters of a sample; the frames of the trainer hold no more."""


def signs(text: str) -> list[str]:
    """The signs in what the model wrote."""
    looked = text[:LOOKED_AT]
    found = [name for name, pattern in SIGNS.items() if pattern.search(looked)]
    data = looked.encode("utf-8", "replace")
    repeated = len(data) >= LONG and len(zlib.compress(data, 1)) * REPEATED < len(data)
    return found + (["repetition"] if repeated else [])
