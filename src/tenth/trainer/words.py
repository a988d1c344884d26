"""Text to packed tokens, fast: a word that was seen before is looked up, only a new one goes through the library.

The pattern that cuts words runs on bytes, where it means the same as tokenizer.PATTERN does on ASCII text. A stretch
with other characters goes to the library as a whole; stretches are cut only where the first sign of a line begins,
after its indentation: what takes a line break takes the blanks behind it, so every word ends there, whatever stands
around it. tests/trainer/test_words.py holds both ways to the same tokens.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterator

from .tokenizer import PATTERN, Text

# What is optional there is two alternatives here, each known by its first byte, and they stand by how often they match.
WORD = re.compile(
    rb"[^\r\nA-Za-z0-9][A-Za-z]+|[A-Za-z]+|[^\sA-Za-z0-9]+(?:\r?\n[ \t]*)?|[0-9]{1,3}| [^\sA-Za-z0-9]+(?:\r?\n[ \t]*)?"
    rb"|\s*[\r\n]+[ \t]*|\s+(?!\S)|\s+"
)
LINE = re.compile(rb"\n[ \t]*(?=[!-~])")
PIECE = 1 << 20  # bytes; a longer text is encoded piece by piece, cut at line ends
REMEMBERED = 400_000  # words, about 60 MB


class Encoder:
    """UTF-8 to tokens packed as little-endian uint16 (or uint32, for more than 65,536 entries)."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._code = "H" if text.vocabulary <= 1 << 16 else "I"
        about = json.loads(text.to_json())
        self._special = [token["content"].encode() for token in about["added_tokens"]]
        self._by_words = _is_ours(about)
        self._seen = _Seen(lambda word: self._pack(text.encode_word(word)))
        self.separator = self._pack([text.separator])

    def encode(self, content: bytes) -> bytes:
        """The separator, then the tokens of `content`, which must be valid UTF-8; nothing for nothing."""
        return self.separator + self.encode_on(content) if content else b""

    def encode_on(self, content: bytes) -> bytes:
        """The tokens alone."""
        return b"".join(map(self._piece, _pieces(content)))

    def _piece(self, content: bytes) -> bytes:
        if not self._by_words or any(token in content for token in self._special):
            return self._by_library([content])
        if content.isascii():
            return self._words(content)
        return b"".join(self._words(s) if s.isascii() else self._by_library([s]) for s in _stretches(content))

    def _words(self, content: bytes) -> bytes:
        if len(self._seen) > REMEMBERED:
            self._seen.clear()
        return b"".join(map(self._seen.__getitem__, WORD.findall(content)))

    def _by_library(self, contents: list[bytes]) -> bytes:
        return b"".join(map(self._pack, self._text.encode([content.decode() for content in contents])))

    def _pack(self, ids: list[int]) -> bytes:
        return array(self._code, ids).tobytes()


class _Seen(dict[bytes, bytes]):
    """What was made of each word; of a new one it is made when it is asked for."""

    def __init__(self, make: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, word: bytes) -> bytes:
        made = self[word] = self._make(word)
        return made


def _is_ours(about: dict[str, object]) -> bool:
    """Does a tokenizer.json cut its words by our pattern, and nothing before or after it?"""
    cut, form = about.get("pre_tokenizer"), about.get("model")
    if about.get("normalizer") or not isinstance(cut, dict) or not isinstance(form, dict):
        return False
    steps = cut.get("pretokenizers") or [{}, {}]
    return (
        len(steps) == 2
        and steps[0].get("pattern") == {"Regex": PATTERN}
        and (steps[0].get("behavior"), steps[0].get("invert")) == ("Isolated", False)
        and (steps[1].get("type"), steps[1].get("use_regex")) == ("ByteLevel", False)
        and steps[1].get("add_prefix_space") is False
        and form.get("type") == "BPE"
        and form.get("dropout") is None
    )


def _stretches(content: bytes) -> Iterator[bytes]:
    """Cut where lines begin; neighbours that are ASCII, or that are not, stay together."""
    start = at = 0
    plain = True
    for cut in [match.end() for match in LINE.finditer(content)] + [len(content)]:
        ascii_line = content[at:cut].isascii()
        if ascii_line != plain and at > start:
            yield content[start:at]
            start = at
        plain, at = ascii_line, cut
    yield content[start:]


def _pieces(content: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        stop = at + PIECE
        if stop < len(content):
            stop = content.rfind(b"\n", at, stop) + 1 or stop
            while stop < len(content) and content[stop] & 0xC0 == 0x80:  # never inside a character
                stop += 1
        yield content[at:stop]
        at = stop
