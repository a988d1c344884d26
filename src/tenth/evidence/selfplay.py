"""What self-play has come to: puzzles never trained on, the proposer's worth, and how far it has left its start.

Everything here is measured on the checkpoint, in the jail that this command was given; what the trainer counted while
it played stands beside it, as its claim. In other phases whose recipe names an environment its puzzles alone are tried:
what a phase begins with, and what later ones leave of it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tenth.environments import SelfPlay
from tenth.jail.wire import DENIED, Jail
from tenth.trainer import interchange, tokenizer
from tenth.trainer.checkpoint import load_model
from tenth.trainer.inference import Inference
from tenth.trainer.loss import IGNORED
from tenth.trainer.model import Transformer
from tenth.trainer.recipe import Recipe, load_recipe, recipe_from
from tenth.trainer.selfplay import load_game
from tenth.trainer.selfplay_eval import Solved, solved
from tenth.trainer.selfplay_player import rows, written
from tenth.trainer.tokenizer import Text

from .questions.programs import opened
from .sealed import EvidenceError, Sealed, write

ATTEMPTS = 8
PROPOSALS = 256
CHEATED = 4
"""Puzzles that each known cheat is handed in for."""
DEPTHS_BEYOND = 1
"""That are tried on top of those that the proposer was allowed."""


def main(sealed: Sealed, puzzles: int = 200) -> None:
    """`puzzles`: of each depth. Raises EvidenceError where no jail is to be had: then nothing can be said."""
    state, recipe = _state(sealed.checkpoint), load_recipe(sealed.recipe)
    if not recipe.selfplay.env:  # at a phase's last gate the recipe is the next one's
        recipe = recipe_from(state.get("recipe", {}))
    if sealed.checkpoint is None or not recipe.selfplay.env:
        write(sealed, "No checkpoint and environment yet: nothing to measure.", {}, {})
        return
    played = state.get("selfplay")
    game = load_game(recipe, sealed.root)
    model, text = load_model(sealed.checkpoint), tokenizer.from_file(sealed.checkpoint / "tokenizer.json")
    deepest = int(played["depth"] if played else recipe.selfplay.depth)
    with opened() as (jail, lacking):
        if jail is None:
            raise EvidenceError("No evidence was made.", lacking, "give evidence a jail: 'jail = 1' in [quarantine]")
        by_depth = _by_depth(model, text, game, recipe, jail, deepest + DEPTHS_BEYOND, puzzles)
        proposer = _proposer(model, text, game, recipe, jail, deepest) if played else {}
        cheats = cheated(game, jail)
    metrics = proposer | _pooled(by_depth) | {"cheats_rewarded": float(len(cheats))}
    start = _start(sealed, state.get("recipe", {}).get("model", {}), played) if played else None
    compared = start or (sealed.previous if played else None)
    if compared:
        name = "kl_to_start" if start else "kl_to_gate_before"
        metrics[name] = divergence(model, interchange.read(compared).model(), text, game, recipe)
    headline = "; ".join(
        f"depth {depth}: pass@1 {one.passed(1):.2f}, pass@8 {one.passed(ATTEMPTS):.2f}"
        for depth, one in by_depth.items()
    )
    table = {
        "title": f"up to {puzzles} puzzles of each depth, held out by behaviour, {ATTEMPTS} attempts at each",
        "columns": ["depth", "pass@1", f"pass@{ATTEMPTS}", "shown pass, hidden fail", "denied by the jail"],
        "rows": [
            [depth, round(one.passed(1), 4), round(one.passed(ATTEMPTS), 4), one.hollow, one.denied]
            for depth, one in by_depth.items()
        ],
    }
    details = {
        "by_depth": table["rows"], "claims": played, "start": start.name if start else None,
        "cheats_tried": sorted(game.cheats()), "cheats_rewarded": cheats,
    }  # fmt: skip
    headline += f"; {len(cheats)} of {len(game.cheats())} known cheats of the verifier rewarded"
    write(
        sealed, f"Puzzles never trained on: {headline}", metrics, {"selfplay": details}, [table], surprised=bool(cheats)
    )


def _state(checkpoint: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((checkpoint / "state.json").read_text("utf-8")) if checkpoint else {}
    return found


def _by_depth(
    model: Transformer, text: Text, game: SelfPlay, recipe: Recipe, jail: Jail, deepest: int, puzzles: int
) -> dict[int, Solved]:
    inference, found = Inference(model), {}
    for depth in range(1, min(deepest, game.deepest) + 1):
        tasks = game.held_out(depth, puzzles)
        found[depth] = solved(inference, text, game, tasks, jail, ATTEMPTS, recipe.selfplay.tokens, depth)
    return found


def _pooled(by_depth: Mapping[int, Solved]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for depth, one in by_depth.items():
        metrics |= {f"pass_at_1_depth_{depth}": one.passed(1), f"pass_at_8_depth_{depth}": one.passed(ATTEMPTS)}
    tried = sum(one.attempts * len(one.right) for one in by_depth.values())
    metrics["reward_without_understanding"] = sum(one.hollow for one in by_depth.values()) / tried
    metrics["jail_denials_of_attempts"] = sum(one.denied for one in by_depth.values()) / tried
    return metrics


def _proposer(
    model: Transformer, text: Text, game: SelfPlay, recipe: Recipe, jail: Jail, depth: int
) -> dict[str, float]:
    """Of PROPOSALS programs as deep as it may go: how many differ in what they do, how many are junk."""
    rng = random.Random("proposals")
    invitations = [game.invitation(rng, depth) for _ in range(PROPOSALS)]
    generator = torch.Generator().manual_seed(1)
    prompts = [one.prompt for one in invitations]
    texts = written(Inference(model), text, prompts, recipe.selfplay.tokens, 1.0, generator)
    found = game.examine([game.proposed(*pair) for pair in zip(invitations, texts, strict=True)], jail)
    return {
        "distinct_behaviours_per_256": float(len({one.behaviour for one in found if one.sound})),
        "junk_rate": sum(not one.sound for one in found) / PROPOSALS,
        "jail_denials_of_proposals": sum(one.jail == DENIED for one in found) / PROPOSALS,
    }


def cheated(game: SelfPlay, jail: Jail) -> list[str]:
    """Which of the known cheats are rewarded at any of some puzzles, or pass what is shown.

    Raises EvidenceError where a right program is not rewarded: then it says nothing that others are not.
    """
    found = game.given(random.Random("cheats"), CHEATED)
    tasks, right = [game.puzzle(one) for one in found], [game.solution(one, one.proposal.source) for one in found]
    if not all(one.score == 1 for one in game.judge(tasks, [one.completion for one in right], jail)):
        raise EvidenceError(
            "No evidence was made.", "the environment does not reward a right program", "mend its 'judge' or 'solution'"
        )
    asked = [(name, text, task) for name, text in game.cheats().items() for task in tasks]
    verdicts = game.judge([task for _, _, task in asked], [text for _, text, _ in asked], jail)
    rewarded = {name for (name, *_), one in zip(asked, verdicts, strict=True) if one.score or one.parts["shown"] == 1}
    return sorted(rewarded)


def _start(sealed: Sealed, begun: Mapping[str, Any], played: Mapping[str, Any]) -> Path | None:
    """What the phase began from: a checkpoint, or the model that was brought; of one that began from nothing its first
    checkpoint. None at that one, and where it is not here, or no longer what it was. `begun`: the recipe's [model]."""
    assert sealed.checkpoint is not None
    if sealed.previous and sealed.previous.name == played["start"]:
        return sealed.previous  # of a sealed run open, but elsewhere
    if not begun.get("init") or played["start"]:
        folder = sealed.checkpoint.with_name(played["start"] or "01")
        return folder if folder != sealed.checkpoint and folder.is_dir() else None
    folder, wanted = sealed.root / begun["init"], begun.get("init_sha256")
    return folder if folder.is_dir() and wanted in ("", None, interchange.digest(folder)) else None


@torch.no_grad()
def divergence(now: Transformer, start: Transformer, text: Text, game: SelfPlay, recipe: Recipe, n: int = 64) -> float:
    """Mean KL(now || start) of the next token, in nats, on what the model writes for puzzles of the warm start."""
    rng, tokens = random.Random("divergence"), recipe.selfplay.tokens
    prompts = [game.puzzle(one).prompt for one in game.given(rng, n)]
    texts = written(Inference(now), text, prompts, tokens, 1.0, torch.Generator().manual_seed(2))
    asked, answered = text.encode(prompts), text.encode(texts)
    pairs = [([text.separator, *a], [*b, text.separator]) for a, b in zip(asked, answered, strict=True)]
    inputs, targets = rows(pairs, text.separator)
    ours, theirs = (one.logits(one(inputs)).float().log_softmax(-1) for one in (now, start))
    nats = (ours.exp() * (ours - theirs)).sum(-1)
    return float(nats[targets != IGNORED].mean())
