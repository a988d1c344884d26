"""Text from a model: batched, with keys and values kept, token by token to a callback if one is given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from .inference import Inference, Reading
from .model import Transformer
from .tokenizer import Text

WORTH_KEEPING = 0.75  # of a batch that are not at their end: moving their keys and values costs about half a step
OnToken = Callable[[int, int], object]  # row of the batch, token; True ends the row
OnText = Callable[[int, str], object]  # row of the batch, what came next in it; True ends the row


@torch.inference_mode()
def generate(
    model: Transformer | Inference, prompts: Sequence[Sequence[int]], tokens: int,
    temperature: float | Sequence[float] = 0.0, top_k: int = 0, generator: torch.Generator | None = None,
    stop: int | Collection[int] | None = None, on_token: OnToken | None = None,
    first: Mapping[int, Tensor] | None = None, top_p: float = 1.0,
) -> list[list[int]]:  # fmt: skip
    """Up to `tokens` new ids after each prompt (ids, not empty); a row ends at a `stop`, which is not returned.

    Prompts may differ in length; at temperature 0 each is continued as if it were alone. A prompt longer than the
    context keeps its end; what is beyond the context sees the last `context` tokens. `temperature` may be one for each
    row; 0 takes the most likely token. `first` maps a row to the tokens, (V,) of bool, that its first new token may be.
    """
    inference = model if isinstance(model, Inference) else Inference(model)
    rows = [list(prompt[-inference.shape.context :]) for prompt in prompts]
    if not rows or not all(rows):
        raise ValueError("every prompt needs at least one token")
    lengths = [len(row) for row in rows]
    longest = max(lengths)
    ends = {stop} if isinstance(stop, int) else set(stop or ())
    written: list[list[int]] = [[] for _ in rows]
    if tokens < 1:
        return written
    reading = Reading(inference, lengths, longest + tokens)
    batch = list(range(len(rows)))  # what stands in each row of it
    open_rows = set(batch)
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=inference.device)
    pick = Sampler(temperature, top_k, top_p, generator, inference.device)
    for number in range(tokens):
        logits = reading.read(ids)
        for row, allowed in (first or {}).items() if number == 0 else ():
            logits[row].masked_fill_(~allowed, float("-inf"))
        chosen = pick(logits)
        for row, token in zip(batch, chosen.tolist(), strict=True):
            if row in open_rows:
                if token in ends:
                    open_rows.discard(row)
                    continue
                written[row].append(token)
                if on_token and on_token(row, token) is True:
                    open_rows.discard(row)
        if not open_rows:
            break
        if len(open_rows) <= WORTH_KEEPING * len(batch):
            kept = [place for place, row in enumerate(batch) if row in open_rows]
            batch, chosen = [batch[place] for place in kept], chosen[kept]
            reading.keep(kept)
            pick.keep(kept)
        ids = chosen[:, None]
    return written


class Sampler:
    """One token a row of (B, V) logits: the likeliest, or drawn from the `top_k` likeliest that hold `top_p`."""

    def __init__(
        self, temperature: float | Sequence[float], top_k: int = 0, top_p: float = 1.0,
        generator: torch.Generator | None = None, device: torch.device | None = None,
    ) -> None:  # fmt: skip
        warmth = list(temperature) if isinstance(temperature, Sequence) else [temperature]
        self._greedy = all(value <= 0 for value in warmth)
        self._mixed = not self._greedy and any(value <= 0 for value in warmth)
        self._warmth = torch.tensor([[value if value > 0 else 1.0] for value in warmth], device=device)
        self._cold = torch.tensor([value <= 0 for value in warmth], device=device)
        self._top_k, self._top_p, self._generator = top_k, top_p, generator

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows of the batch alone."""
        if len(self._cold) > 1:
            self._warmth, self._cold = self._warmth[rows], self._cold[rows]

    def __call__(self, logits: Tensor) -> Tensor:
        """(B,) token ids."""
        if self._greedy:
            return logits.argmax(-1)
        size = logits.shape[-1]
        kept = min(self._top_k or size, size)
        if kept == size and self._top_p >= 1:
            drawn = self._draw((logits / self._warmth).softmax(-1))
        else:  # sorted, the likeliest first: the softmax and the draw see `kept` numbers, not V
            values, places = logits.topk(kept)
            chances = (values / self._warmth).softmax(-1)
            if self._top_p < 1:  # as many as it takes to hold top_p; the likeliest always stays
                chances = chances * (chances.cumsum(-1) - chances < self._top_p)
            drawn = places.gather(1, self._draw(chances)[:, None]).squeeze(1)
        return torch.where(self._cold, logits.argmax(-1), drawn) if self._mixed else drawn

    def _draw(self, chances: Tensor) -> Tensor:
        """One number a row, where torch.multinomial draws one for each token, which takes longer than the model."""
        sums = chances.cumsum(-1, dtype=torch.float64)
        at = torch.rand((len(sums), 1), dtype=torch.float64, device=sums.device, generator=self._generator)
        return torch.searchsorted(sums, at * sums[:, -1:], right=True).squeeze(1).clamp_(max=sums.shape[-1] - 1)


def complete(
    model: Transformer | Inference, text: Text, prompts: Sequence[str], tokens: int,
    temperature: float | Sequence[float] = 0.0, top_k: int = 0, seed: int = 0, top_p: float = 1.0,
    ends: Collection[str] = (), on_text: OnText | None = None, stop: Collection[int] = (),
    on_token: OnToken | None = None,
) -> list[str]:  # fmt: skip
    """What the model writes after each prompt, as text; a prompt stands at the start of a document.

    A space at a prompt's end belongs to the word that follows, in training as here: it is taken off, and the first
    token must begin with one. A text ends before the first of `ends` that it contains, or at a token of `stop`.
    `on_text` hears the text as it comes, in whole characters.
    """
    inference = model if isinstance(model, Inference) else Inference(model)
    trimmed = [without_space(prompt) for prompt in prompts]
    spaced = [len(short) < len(prompt) for short, prompt in zip(trimmed, prompts, strict=True)]
    ids = [[text.separator, *row] for row in text.encode(trimmed)]
    opening = torch.zeros(inference.shape.vocabulary, dtype=torch.bool, device=inference.device)
    if any(spaced):
        opening[text.opening_with_space()] = True
    first = {row: opening for row, cut in enumerate(spaced) if cut and bool(opening.any())}
    streams = [Stream(text, ends, row, on_text, without_space=row in first) for row in range(len(ids))]
    generator = torch.Generator(device=inference.device).manual_seed(seed)
    generate(
        inference, ids, tokens, temperature, top_k, generator, {text.separator, *stop}, _each(streams, on_token),
        first, top_p,
    )  # fmt: skip
    return [stream.close() for stream in streams]


def answer(
    model: Transformer | Inference, text: Text, prompts: Sequence[Sequence[int]], tokens: int,
    temperature: float | Sequence[float] = 0.0, top_k: int = 0, seed: int = 0, on_token: OnToken | None = None,
) -> list[str]:  # fmt: skip
    """What the model writes after each prompt that is given in tokens, as training reads it."""
    inference = model if isinstance(model, Inference) else Inference(model)
    generator = torch.Generator(device=inference.device).manual_seed(seed)
    written = generate(inference, prompts, tokens, temperature, top_k, generator, text.separator, on_token)
    return list(map(text.decode, written))


def without_space(prompt: str) -> str:
    """The prompt without a space at its end, which belongs to the word that follows."""
    return prompt[:-1] if prompt.endswith(" ") and not prompt[:-1].endswith((" ", "\n")) else prompt


def converse(
    model: Inference, text: Text, prompt: str, tokens: int, temperature: float = 0.0, top_k: int = 0, seed: int = 0,
    top_p: float = 1.0, ends: Collection[str] = (), on_text: OnText | None = None, stop: Collection[int] = (),
    on_token: OnToken | None = None,
) -> str:  # fmt: skip
    """The answer to a prompt that a chat template has written: nothing is put before it or taken off its end."""
    stream = Stream(text, ends, 0, on_text)
    generator = torch.Generator(device=model.device).manual_seed(seed)
    generate(
        model, text.encode([prompt]), tokens, temperature, top_k, generator, {text.separator, *stop},
        _each([stream], on_token), top_p=top_p,
    )  # fmt: skip
    return stream.close()


def _each(streams: Sequence[Stream], on_token: OnToken | None) -> OnToken:
    def take(row: int, token: int) -> bool:
        if on_token:
            on_token(row, token)
        return streams[row].take(token)

    return take


class Stream:
    """One row's tokens turned into text as they come: whole characters, and nothing from an end text onwards."""

    def __init__(
        self, text: Text, ends: Collection[str] = (), row: int = 0, on_text: OnText | None = None,
        without_space: bool = False,
    ) -> None:  # fmt: skip
        """`without_space`: the first character is a space that the prompt has already."""
        self._text, self._ends, self._row, self._on_text = text, tuple(filter(None, ends)), row, on_text
        self._decode, self._cut = text.decoder(), int(without_space)
        self._ids: list[int] = []
        self._found, self._shown, self._ended = "", 0, False

    def take(self, token: int) -> bool:
        """Whether the row ends with this token."""
        self._ids.append(token)
        self._found += self._decode(token)
        places = [at for at in map(self._found.find, self._ends) if at >= 0]
        if places:
            self._found, self._ended = self._found[: min(places)], True
        self._show(len(self._found) if self._ended else len(self._found) - self._held_back())
        return self._ended

    def close(self) -> str:
        """All of the text; what was held back is shown."""
        if not self._ended:
            whole = self._text.decode(self._ids)
            self._found = whole if whole.startswith(self._found) else self._found  # bytes that never became a character
        self._show(len(self._found))
        self._ended = True
        return self._found[self._cut :]

    def _held_back(self) -> int:
        """How many characters at the end may be the beginning of an end text."""
        longest = max(map(len, self._ends), default=1) - 1
        for size in range(min(longest, len(self._found)), 0, -1):
            if any(end.startswith(self._found[-size:]) for end in self._ends):
                return size
        return 0

    def _show(self, upto: int) -> None:
        piece = self._found[max(self._shown, self._cut) : upto]
        self._shown = max(self._shown, upto)
        if piece and self._on_text and self._on_text(self._row, piece) is True:
            self._found, self._ended = self._found[: self._shown], True
