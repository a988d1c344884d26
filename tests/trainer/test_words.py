"""Words that are looked up are the tokens that the library gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenth.trainer import tokenizer, words
from tenth.trainer.words import Encoder

SAMPLE = "def f(x):\n    return x + 1234  # one\r\n\n\tif x:\n        y = 'caf\u00e9'\n" * 30
TEXT = tokenizer.train_bpe([SAMPLE], 330)
ENCODER = Encoder(TEXT)
SIGNS = [*"ab Z09_.,()'\r\t\x0b\x0c\x1c\x1f\x7f\u00e9\u00b2\u4e00\u00a0\u0085\u2028\n", "\n ", "\n\t", ")\n  "]


@given(st.lists(st.sampled_from(SIGNS), max_size=60).map("".join))
def test_both_ways_give_the_same_tokens(text: str) -> None:
    assert np.frombuffer(ENCODER.encode_on(text.encode()), np.uint16).tolist() == TEXT.encode([text])[0]


@pytest.mark.parametrize("text", [SAMPLE, "a\n<|endoftext|>\nb", "x\ny \u00b2\nz\u00e9\nw" * 9])
def test_source_special_tokens_and_other_scripts_as_well(text: str) -> None:
    assert np.frombuffer(ENCODER.encode_on(text.encode()), np.uint16).tolist() == TEXT.encode([text])[0]


def test_a_document_begins_with_the_separator_and_nothing_gives_nothing() -> None:
    assert np.frombuffer(ENCODER.encode(b"x"), np.uint16).tolist()[0] == TEXT.separator
    assert ENCODER.encode(b"") == b""


def test_forgetting_words_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "REMEMBERED", 3)
    encoder = Encoder(TEXT)
    for line in SAMPLE.splitlines():
        assert encoder.encode(line.encode()) == ENCODER.encode(line.encode())


def test_another_tokenizer_is_left_to_the_library() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.train_from_iterator([SAMPLE], trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>"]))
    other = tokenizer.from_json(inner.to_str())
    assert np.frombuffer(Encoder(other).encode_on(b"return x"), np.uint16).tolist() == other.encode(["return x"])[0]
