"""What did each phase of the demo do? Its figures, from the evidence that was sealed at its gates, and its claims."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tenth import charter as charters
from tenth.cli.demo.folder import Say
from tenth.cli.replay import replay
from tenth.cli.words import count
from tenth.log.entry import Entry

Metrics = Mapping[str, float]


def tell(run: Path, votes: Counter[str], say: Say) -> None:
    """One block for each phase. ``votes``: the simulated annotators', ``a`` for what was written before the last."""
    entries = replay(run).log.entries
    charter = charters.parse((run / "charter.toml").read_bytes())
    say("\nWhat each phase did, by the evidence sealed at its gates")
    for number, phase in enumerate(charter.phases):
        first, last = number * charter.gates_per_epoch, (number + 1) * charter.gates_per_epoch
        for place, line in enumerate(_lines(run, entries, first, last)):
            say(f"  {phase.name if place == 0 else '':<10} {line}")
    figures = f"{votes['b']} for what it writes after the phase, {votes['a']} for before, {votes['tie']} ties"
    say(f"  {'':<10} {votes.total()} votes of simulated annotators, blind, on puzzles that nobody trained on:")
    say(f"  {'':<10} {figures}")
    say("  So few puzzles and votes leave much to chance, and no control ran: this says what changed, not why.")


def _lines(run: Path, entries: Sequence[Entry], first: int, last: int) -> Iterator[str]:
    """Of the phase between two gates."""
    reached = [entry.body for entry in entries if entry.event == "reached" and first < entry.body["gate"] <= last]
    losses = [f"{loss:.3f}" if (loss := body["claims"]["loss"]) is not None else "none" for body in reached]
    yield f"loss {losses[0]} after its first tenth, {losses[-1]} after its last, as the trainer claims"
    began, ended = (_panel(run, entries, gate, "bits-per-byte") for gate in (first + 1, last))
    if "bits_per_byte" in began.keys() & ended.keys():
        change = f"{began['bits_per_byte']:.2f} after its first tenth, {ended['bits_per_byte']:.2f} after its last"
        yield f"bits per byte on {ended['documents']:.0f} held-out texts: {change}"
    began, ended = (_panel(run, entries, gate, "puzzles") for gate in (first, last))
    names = {count(depth, "step"): f"pass_at_1_depth_{depth}" for depth in (1, 2, 3)}
    tried = [
        f"{steps} {began[name]:.3f}, {ended[name]:.3f}"
        for steps, name in names.items()
        if name in began.keys() & ended.keys()
    ]
    if tried:
        yield f"pass@1 on held-out puzzles before, after: {'; '.join(tried)}"


def _panel(run: Path, entries: Sequence[Entry], gate: int, name: str) -> Metrics:
    """The figures of the newest dossier of a gate; none where nothing was measured."""
    paths = [entry.body["path"] for entry in entries if entry.event == "sealed" and entry.body["gate"] == gate]
    file = run / paths[-1] / "evidence" / name / "summary.json"
    metrics: dict[str, Any] = json.loads(file.read_text("utf-8"))["metrics"] if file.exists() else {}
    return metrics
