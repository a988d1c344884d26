"""What the model writes after fixed prompts, side by side with what the previous checkpoint wrote.

Prompts are the charter's own and the beginnings of held-out documents, or the prompts of held-out rows, with the true
continuation or answer beside. They and the seed are the same at every gate, so what the previous checkpoint wrote
stands in the evidence of its own gate. All of it is model output: a claim, to be sanitised before any terminal or page.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tenth.trainer import tokenizer
from tenth.trainer.checkpoint import load_model
from tenth.trainer.generate import answer, complete
from tenth.trainer.recipe import SampleRecipe, load_recipe
from tenth.trainer.rows import answered

from .sealed import Sealed, held_out_answers, held_out_texts, write, written_before

DOCUMENTS = 4
PROMPT_CHARACTERS = 160
TRUTH_CHARACTERS = 400
TOKENS = 48
SEED = 20_000


def main(sealed: Sealed) -> None:
    if sealed.checkpoint is None:
        write(sealed, "No checkpoint yet: nothing to complete.", {}, {})
        return
    prompts = [Prompt(prompt, "charter") for prompt in sealed.prompts]
    prompts += _from_rows(sealed, sealed.checkpoint) or _from_documents(sealed, sealed.checkpoint)
    prompts = prompts or [Prompt("", "empty")]
    recipe = load_recipe(sealed.recipe).sample
    now = _write(sealed.checkpoint, prompts, recipe)
    before = (_written_before(sealed, prompts) or _write(sealed.previous, prompts, recipe)) if sealed.previous else None
    rows = []
    for i, prompt in enumerate(prompts):
        row = {"prompt": prompt.text, "source": prompt.source, "truth": prompt.truth,
               "greedy": now[0][i], "sampled": now[1][i]}  # fmt: skip
        if before:
            row |= {"previous_greedy": before[0][i], "previous_sampled": before[1][i]}
        rows.append(row)
    changed = sum(a != b for a, b in zip(now[0], before[0], strict=True)) if before else len(rows)
    headline = f"{len(rows)} prompts completed"
    headline += f"; {changed} greedy completions differ from the previous gate's" if before else ""
    metrics = {"prompts": float(len(rows)), "changed": float(changed), "repeated": _repeated(now[0])}
    write(sealed, headline, metrics, {"completions": rows})


@dataclass(frozen=True)
class Prompt:
    """What is to be continued; `truth` is what really follows, if anything does."""

    text: str
    source: str
    truth: str = ""
    ids: tuple[int, ...] = ()
    """A row's prompt as training reads it."""


def _from_rows(sealed: Sealed, checkpoint: Path) -> list[Prompt]:
    """Up to the first answer of each row."""
    text, prompts = tokenizer.from_file(checkpoint / "tokenizer.json"), []
    for document, marked in held_out_answers(sealed, checkpoint, DOCUMENTS):
        asked, truth = answered(marked)[0]
        prompts.append(Prompt(text.decode(asked), document.path, text.decode(truth)[:TRUTH_CHARACTERS], tuple(asked)))
    return prompts


def _from_documents(sealed: Sealed, checkpoint: Path) -> list[Prompt]:
    """Cut at the end of a line where there is one."""
    prompts = []
    for document, text in held_out_texts(sealed, checkpoint, PROMPT_CHARACTERS + TRUTH_CHARACTERS, DOCUMENTS):
        cut = text.rfind("\n", 0, PROMPT_CHARACTERS) + 1 or min(PROMPT_CHARACTERS, len(text) // 2)
        prompts.append(Prompt(text[:cut], document.path, text[cut : cut + TRUTH_CHARACTERS]))
    return prompts


def _write(checkpoint: Path, prompts: list[Prompt], recipe: SampleRecipe) -> tuple[list[str], list[str]]:
    """Greedy and sampled completions; the same seed at every gate, so that what changes is the model."""
    model = load_model(checkpoint)
    text = tokenizer.from_file(checkpoint / "tokenizer.json")
    texts, rows = [one.text for one in prompts if not one.ids], [one.ids for one in prompts if one.ids]

    def heats(count: int) -> list[float]:
        """Both in one batch: a step costs little more."""
        return [0.0] * count + [recipe.temperature] * count

    found = complete(model, text, texts * 2, TOKENS, heats(len(texts)), recipe.top_k, SEED) if texts else []
    more = answer(model, text, rows * 2, TOKENS, heats(len(rows)), recipe.top_k, SEED) if rows else []
    return found[: len(texts)] + more[: len(rows)], found[len(texts) :] + more[len(rows) :]


def _written_before(sealed: Sealed, prompts: list[Prompt]) -> tuple[list[str], list[str]] | None:
    """The same of the previous checkpoint from its own gate, if it was given these prompts."""
    rows = written_before(sealed, "completions.json") or []
    same = [row["prompt"] for row in rows] == [prompt.text for prompt in prompts]
    return ([row["greedy"] for row in rows], [row["sampled"] for row in rows]) if same else None


def _repeated(texts: list[str]) -> float:
    """Share of words that repeat one of the eight words before: small models loop, and this falls as they learn."""
    words = [text.split() for text in texts]
    total = sum(map(len, words))
    again = sum(word in row[max(0, i - 8) : i] for row in words for i, word in enumerate(row))
    return again / total if total else 0.0
