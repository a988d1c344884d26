"""What watchers are shown: texts that the model writes now, and how surprising it found each of their tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .generate import answer, complete, without_space
from .loss import token_log_probs
from .model import Transformer
from .recipe import SampleRecipe
from .tokenizer import Text

Bits = list[tuple[int, float]]
"""For each piece of a text its length in characters, and -log2 of its probability at temperature 1."""


def with_surprisal(
    model: Transformer, text: Text, prompts: Sequence[str], sampling: SampleRecipe, seed: int
) -> list[tuple[str, Bits]]:
    """What the model writes after each prompt, drawn as `sampling` says, with its surprisal.

    Without surprisal where tokens and characters do not come out even: at bytes that never became a character.
    """
    if not prompts:
        return []
    ids: list[list[int]] = [[] for _ in prompts]
    texts = complete(
        model, text, prompts, sampling.tokens, sampling.temperature, sampling.top_k, seed,
        on_token=lambda row, token: ids[row].append(token),
    )  # fmt: skip
    read = text.encode([without_space(prompt) for prompt in prompts])
    prompts_read = [[text.separator, *old] for old in read]
    return [_told(model, text, *one) for one in zip(texts, prompts_read, ids, strict=True)]


def answers(
    model: Transformer, text: Text, prompt: Sequence[int], count: int, sampling: SampleRecipe, seed: int
) -> list[tuple[str, Bits]]:
    """So many answers to a prompt that is given as training reads it, with their surprisal."""
    ids: list[list[int]] = [[] for _ in range(count)]
    texts = answer(
        model, text, [prompt] * count, sampling.tokens, sampling.temperature, sampling.top_k, seed,
        on_token=lambda row, token: ids[row].append(token),
    )  # fmt: skip
    return [_told(model, text, one, prompt, new) for one, new in zip(texts, ids, strict=True)]


def _told(model: Transformer, text: Text, written: str, prompt: Sequence[int], new: Sequence[int]) -> tuple[str, Bits]:
    return written, pieces(text, new, surprisal(model, prompt, new), len(written)) if new else []


@torch.no_grad()
def surprisal(model: Transformer, prompt: Sequence[int], new: Sequence[int]) -> list[float]:
    """Bits of each id of `new`, a context of them at most, after the end of `prompt` that fits before it."""
    new = new[: model.shape.context]
    row = torch.tensor([*prompt, *new], device=model.lm_head.weight.device)[-model.shape.context - 1 :]
    hidden = model(row[None, :-1])[0]
    told = -token_log_probs(hidden, model.lm_head.weight, row[1:])[-len(new) :] / math.log(2)
    return [float(value) for value in told.tolist()]


def pieces(text: Text, ids: Sequence[int], bits: Sequence[float], characters: int) -> Bits:
    """The ids' characters with their bits, those of an unfinished character given to the id that ends it."""
    step, found, left = text.decoder(), [], 0.0
    if len(ids) != len(bits):
        return []
    for token, value in zip(ids, bits, strict=True):
        size, left = len(step(token)), left + value
        if size:
            found.append((size, left))
            left = 0.0
    spare = sum(size for size, _ in found) - characters
    if spare == 1 and found[0][0] > 1:  # the first space stands in the prompt
        found[0], spare = (found[0][0] - 1, found[0][1]), 0
    return [] if spare or left else found
