"""Text from a model: batched, with a KV cache, token by token to a callback if one is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from .model import Cache, Transformer
from .tokenizer import Text

OnToken = Callable[[int, int], None]  # row of the batch, token


@torch.no_grad()
def generate(
    model: Transformer, prompts: Sequence[Sequence[int]], tokens: int, temperature: float = 0.0, top_k: int = 0,
    generator: torch.Generator | None = None, stop: int | None = None, on_token: OnToken | None = None,
    first: Mapping[int, Tensor] | None = None,
) -> list[list[int]]:  # fmt: skip
    """Up to `tokens` new ids after each prompt (ids, not empty); a row ends at `stop`, which is not returned.

    Prompts of different length need no padding: all are read as far as the shortest goes, then each step takes either
    the next id of a longer prompt or a new one. A prompt longer than the context keeps its end; what is beyond the
    context sees the last `context` tokens. `temperature` 0 takes the most likely token.
    `first` maps a row to the tokens, (V,) of bool, that its first new token may be.
    """
    context = model.shape.context
    device, dtype = model.lm_head.weight.device, model.lm_head.weight.dtype
    rows = [list(prompt[-context:]) for prompt in prompts]
    if not rows or not all(rows):
        raise ValueError("every prompt needs at least one token")
    shortest, longest = min(map(len, rows)), max(map(len, rows))
    cache = Cache(model.shape, len(rows), longest + tokens, dtype, device)
    written: list[list[int]] = [[] for _ in rows]
    open_rows = set(range(len(rows)))
    ids = torch.tensor([row[:shortest] for row in rows], device=device)
    for place in range(shortest, longest + tokens):
        logits = model.logits(model(ids, cache)[:, -1]).float()
        for row, allowed in (first or {}).items():
            if place == len(rows[row]):
                logits[row].masked_fill_(~allowed, float("-inf"))
        chosen = choose(logits, temperature, top_k, generator).tolist()
        for row in range(len(rows)):
            if place < len(rows[row]):
                chosen[row] = rows[row][place]
            elif row in open_rows:
                if chosen[row] == stop or len(written[row]) >= tokens:
                    open_rows.discard(row)
                    continue
                written[row].append(chosen[row])
                if on_token:
                    on_token(row, chosen[row])
        if not open_rows or all(len(written[row]) >= tokens for row in open_rows):
            break
        ids = torch.tensor(chosen, device=device).unsqueeze(1)
    return written


def choose(logits: Tensor, temperature: float, top_k: int, generator: torch.Generator | None) -> Tensor:
    """One token a row of (B, V) logits."""
    if temperature <= 0:
        return logits.argmax(-1)
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        smallest = logits.topk(top_k).values[:, -1:]
        logits = logits.masked_fill(logits < smallest, float("-inf"))
    return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)


def complete(
    model: Transformer, text: Text, prompts: Sequence[str], tokens: int, temperature: float = 0.0, top_k: int = 0,
    seed: int = 0, on_token: OnToken | None = None,
) -> list[str]:  # fmt: skip
    """What the model writes after each prompt, as text; a prompt stands at the start of a document.

    A space at a prompt's end belongs to the word that follows, in training as here: it is taken off, and the first
    token must begin with one. (`on_token` still sees that token with its space.)
    """
    generator = torch.Generator(device=model.lm_head.weight.device).manual_seed(seed)
    spaced = [prompt.endswith(" ") and not prompt[:-1].endswith((" ", "\n")) for prompt in prompts]
    trimmed = [prompt[:-1] if cut else prompt for prompt, cut in zip(prompts, spaced, strict=True)]
    ids = [[text.separator, *row] for row in text.encode(trimmed)]
    opening = torch.zeros(model.shape.vocabulary, dtype=torch.bool, device=model.lm_head.weight.device)
    if any(spaced):
        opening[text.opening_with_space()] = True
    first = {row: opening for row, cut in enumerate(spaced) if cut and bool(opening.any())}
    rows = generate(model, ids, tokens, temperature, top_k, generator, text.separator, on_token, first)
    return [text.decode(row)[row_index in first :] for row_index, row in enumerate(rows)]
