"""What the model writes after fixed prompts, side by side with what the previous checkpoint wrote.

Prompts are the charter's own and the beginnings of held-out documents, whose true continuation stands beside. They and
the seed are the same at every gate, so what the previous checkpoint wrote stands in the evidence of its own gate. All
of it is model output: a claim, to be sanitised before any terminal or page.
"""

from __future__ import annotations

from pathlib import Path

from tenth.trainer import tokenizer
from tenth.trainer.checkpoint import load_model
from tenth.trainer.generate import complete
from tenth.trainer.recipe import load_recipe

from .sealed import Sealed, held_out_texts, write, written_before

DOCUMENTS = 4
PROMPT_CHARACTERS = 160
TRUTH_CHARACTERS = 400
TOKENS = 48
SEED = 20_000


def main(sealed: Sealed) -> None:
    if sealed.checkpoint is None:
        write(sealed, "No checkpoint yet: nothing to complete.", {}, {})
        return
    prompts = [(prompt, "charter", "") for prompt in sealed.prompts] + _from_documents(sealed, sealed.checkpoint)
    if not prompts:
        prompts = [("", "empty", "")]
    recipe = load_recipe(sealed.recipe).sample
    texts = [prompt for prompt, _, _ in prompts]
    now = _write(sealed.checkpoint, texts, recipe.temperature, recipe.top_k)
    before = None
    if sealed.previous:
        before = _written_before(sealed, texts) or _write(sealed.previous, texts, recipe.temperature, recipe.top_k)
    rows = []
    for i, (prompt, source, truth) in enumerate(prompts):
        row = {"prompt": prompt, "source": source, "truth": truth, "greedy": now[0][i], "sampled": now[1][i]}
        if before:
            row |= {"previous_greedy": before[0][i], "previous_sampled": before[1][i]}
        rows.append(row)
    changed = sum(a != b for a, b in zip(now[0], before[0], strict=True)) if before else len(rows)
    headline = f"{len(rows)} prompts completed"
    headline += f"; {changed} greedy completions differ from the previous gate's" if before else ""
    metrics = {"prompts": float(len(rows)), "changed": float(changed), "repeated": _repeated(now[0])}
    write(sealed, headline, metrics, {"completions": rows})


def _from_documents(sealed: Sealed, checkpoint: Path) -> list[tuple[str, str, str]]:
    """(prompt, path, what truly follows), cut at the end of a line where there is one."""
    prompts = []
    for document, text in held_out_texts(sealed, checkpoint, PROMPT_CHARACTERS + TRUTH_CHARACTERS, DOCUMENTS):
        cut = text.rfind("\n", 0, PROMPT_CHARACTERS) + 1 or min(PROMPT_CHARACTERS, len(text) // 2)
        prompts.append((text[:cut], document.path, text[cut : cut + TRUTH_CHARACTERS]))
    return prompts


def _write(checkpoint: Path, prompts: list[str], temperature: float, top_k: int) -> tuple[list[str], list[str]]:
    """Greedy and sampled completions; the same seed at every gate, so that what changes is the model."""
    model = load_model(checkpoint)
    text = tokenizer.from_file(checkpoint / "tokenizer.json")
    heats = [0.0] * len(prompts) + [temperature] * len(prompts)
    both = complete(model, text, prompts * 2, TOKENS, heats, top_k, SEED)  # in one batch: a step costs little more
    return both[: len(prompts)], both[len(prompts) :]


def _written_before(sealed: Sealed, prompts: list[str]) -> tuple[list[str], list[str]] | None:
    """The same of the previous checkpoint from its own gate, if it was given these prompts."""
    rows = written_before(sealed, "completions.json") or []
    same = [row["prompt"] for row in rows] == prompts
    return ([row["greedy"] for row in rows], [row["sampled"] for row in rows]) if same else None


def _repeated(texts: list[str]) -> float:
    """Share of words that repeat one of the eight words before: small models loop, and this falls as they learn."""
    words = [text.split() for text in texts]
    total = sum(map(len, words))
    again = sum(word in row[max(0, i - 8) : i] for row in words for i, word in enumerate(row))
    return again / total if total else 0.0
