"""Text to token ids and back: byte-level BPE trained on the corpus, plain bytes, or a tokenizer.json that is brought.

All three are `tokenizers` objects, so that one tokenizer.json says everything; the library is imported when needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from .errors import RecipeError

END_OF_TEXT = "<|endoftext|>"

# Words keep one leading character, numbers come in threes, and punctuation takes the line break *and the next line's
# indentation* with it: on Python source that saves 5 % of the tokens against the pattern that stops at the line break.
PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+(?:\r?\n[ \t]*)?|\s*[\r\n]+[ \t]*|\s+(?!\S)|\s+"


class Text:
    """A tokenizer with a separator that stands before every document."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._merge = inner.model.tokenize
        separator = inner.token_to_id(END_OF_TEXT)
        if separator is None:
            separator = next(
                (inner.token_to_id(t) for t in ("</s>", "<s>", "<|im_end|>") if inner.token_to_id(t)), None
            )
        if separator is None:
            raise RecipeError(
                "The tokenizer was refused.", f"it has no {END_OF_TEXT}", f"add the special token {END_OF_TEXT}"
            )
        self.separator: int = separator
        self.vocabulary: int = inner.get_vocab_size(with_added_tokens=True)

    def encode(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._inner.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_word(self, word: bytes) -> list[int]:
        """Ids of an ASCII word as a byte-level BPE's pattern cuts it: past the library's own cutting."""
        return [token.id for token in self._merge(word.decode("ascii").translate(_byte_letters()))]

    def decode(self, ids: list[int]) -> str:
        """Text of the ids, bytes that are no UTF-8 replaced, special tokens left out."""
        text: str = self._inner.decode(ids, skip_special_tokens=True)
        return text

    def decoder(self) -> Callable[[int], str]:
        """A function from token to what it adds to the text: "" until its bytes are whole characters."""
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=True)
        return lambda token: stream.step(self._inner, token) or ""

    def opening_with_space(self) -> list[int]:
        """Ids of the tokens that begin with a space and go on after it (byte-level BPE writes a space as U+0120)."""
        return [n for token, n in self._inner.get_vocab().items() if token[:1] == "\u0120" and token.strip("\u0120")]

    def to_json(self) -> str:
        text: str = self._inner.to_str()
        return text


@cache
def _byte_letters() -> dict[int, str]:
    """The letter that a byte-level BPE knows each ASCII byte by."""
    from tokenizers import pre_tokenizers

    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return {byte: level.pre_tokenize_str(chr(byte))[0][0] for byte in range(128)}


def from_json(text: str) -> Text:
    from tokenizers import Tokenizer

    try:
        return Text(Tokenizer.from_str(text))
    except RecipeError:
        raise
    except Exception as error:  # the library raises nothing narrower
        raise RecipeError("The tokenizer was refused.", str(error), "give a tokenizer.json") from error


def from_file(path: Path) -> Text:
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise RecipeError("The tokenizer was refused.", str(error), "give a readable tokenizer.json") from error
    return from_json(text)


def byte_tokenizer() -> Text:
    """One token a byte and the separator: 257 entries."""
    return _bpe([], 257)


def training_bytes(vocabulary: int) -> int:
    """How much text a BPE of so many entries is trained on: at 4,096 entries it learns nothing from more."""
    return 2_000 * max(vocabulary, 2_000)


def train_bpe(texts: Iterable[str], vocabulary: int, words: str = "") -> Text:
    """Byte-level BPE; the same texts give the same entries. No token goes beyond a word.

    `words`: a pattern of what is one word in these texts; what it leaves is cut as any text.
    """
    return _bpe(texts, vocabulary, f"{words}|{PATTERN}" if words else PATTERN)


def _bpe(texts: Iterable[str], vocabulary: int, pattern: str = PATTERN) -> Text:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END_OF_TEXT], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )  # fmt: skip
    inner.train_from_iterator(texts, trainer)
    # The saved form is read back so that a fresh tokenizer and a restored one are the same object in every respect.
    return from_json(json.dumps(json.loads(inner.to_str()), ensure_ascii=False, sort_keys=True))
