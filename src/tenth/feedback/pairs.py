"""Which two samples can be laid side by side? Two to the same prompt, of the same tenth, or from a file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tenth.encoding import digest, parse, read_plain
from tenth.errors import BadEncoding, WrongInput
from tenth.feedback.table import Item

TENTHS = 2
"""Samples of this many tenths, the newest: older ones were written by another model."""
PROPOSE = "# propose"
"""How a prompt begins that asks for a task of self-play (tenth.environments)."""
SHARDS = 200
"""No more shards than these, the newest: some forty thousand samples."""


def of_run(run: Path) -> list[Item]:
    """Pairs and proposals among the samples of the newest tenths. More samples add some, and change none."""
    found: dict[tuple[int, str], list[tuple[str, str]]] = defaultdict(list)
    proposed: dict[tuple[int, str], Item] = {}
    for line, sample in _newest(run):
        gate, prompt, text = sample["gate"], sample["prompt"], sample["text"]
        if prompt.startswith(PROPOSE):
            proposed[gate, text] = {"kind": "proposal", "text": text, "gate": gate}
        else:
            found[gate, prompt].append((text, digest(line)))
    compared: list[Item] = [
        {"kind": "pair", "prompt": prompt, "a": a, "b": b, "gate": gate, "samples": [one, other]}
        for (gate, prompt), texts in found.items()
        for (a, one), (b, other) in _two_by_two(texts)
        if a != b
    ]
    return compared + list(proposed.values())


def of_file(path: Path) -> list[Item]:
    """From JSON lines: ``prompt`` and ``completions`` (two or more), or ``prompt`` and ``completion``, one a line.

    ``gold`` (0 or 1), beside two completions, says which is better: such pairs test the annotators, and train nothing.
    """
    found: list[Item] = []
    singles: dict[str, list[str]] = defaultdict(list)
    for number, row in _rows(path):
        prompt, texts, gold = row.get("prompt"), row.get("completions"), row.get("gold")
        if isinstance(prompt, str) and isinstance(row.get("completion"), str):
            singles[prompt].append(row["completion"])
            continue
        if not isinstance(prompt, str) or not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
            _refuse(path, number, "a prompt, and completions or a completion")
        if gold is not None and (gold not in (0, 1) or len(texts) != 2):
            _refuse(path, number, "gold 0 or 1, beside two completions")
        known = {} if gold is None else {"gold": "ab"[gold]}
        found += [{"kind": "pair", "prompt": prompt, "a": a, "b": b, **known} for a, b in _two_by_two(texts)]
    for prompt, texts in singles.items():
        found += [{"kind": "pair", "prompt": prompt, "a": a, "b": b} for a, b in _two_by_two(texts)]
    return found


def proposals(path: Path) -> list[Item]:
    """From JSON lines with ``text`` or ``prompt``: what self-play proposed."""
    found: list[Item] = []
    for number, row in _rows(path):
        text = row.get("text", row.get("prompt"))
        if not isinstance(text, str):
            _refuse(path, number, "a text or a prompt")
        found.append({"kind": "proposal", "text": text})
    return found


def _two_by_two(texts: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Neighbours, each in one pair; those that say the same are passed over."""
    return ((a, b) for a, b in zip(texts[::2], texts[1::2], strict=False) if a != b)


def _newest(run: Path) -> list[tuple[bytes, dict[str, Any]]]:
    """Lines and samples of the newest tenths, in order."""
    found: list[tuple[bytes, dict[str, Any]]] = []
    newest = -1
    for path in sorted((run / "samples").glob("[0-9]*.jsonl"), reverse=True)[:SHARDS]:
        shard = list(_samples(path))
        newest = max([newest, *(sample["gate"] for _, sample in shard)])
        young = [one for one in shard if one[1]["gate"] > newest - TENTHS]
        if shard and not young:
            break
        found = young + found
    return found


def _samples(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for line in read_plain(path).split(b"\n")[:-1]:
        try:
            sample = parse(line, "a sample")
            sound = all(isinstance(sample[name], str) for name in ("prompt", "text")) and type(sample["gate"]) is int
            if sound and sample["text"].strip():
                yield line, sample
        except (BadEncoding, KeyError, TypeError):
            continue  # none that the supervisor wrote


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip():
            row = parse(line, f"line {number} of {path.name}")
            if not isinstance(row, dict):
                _refuse(path, number, "an object")
            yield number, row


def _refuse(path: Path, number: int, wanted: str) -> NoReturn:
    raise WrongInput(f"{path} cannot be read", f"line {number} does not have what it needs", f"give it {wanted}")
