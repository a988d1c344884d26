"""Does a model learn more from playing itself than from the same processor time spent otherwise?

From one warm start (worked examples of one and two steps) every arm goes on for as much processor time, its jail's
included: self-play; the same with programs drawn at random in place of the proposer; a solver alone, on the warm
start's own programs; more of the warm start. Then each is tried on puzzles that were held out by behaviour, eight
attempts each: at the temperature of evidence at a gate, and at those that suit who has one attempt, and who has eight.
Arms and seeds that were trained before, for as long and with this source, are not trained again.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from record import ROOT, Record, kept, options, processor_seconds, spread

from tenth.jail import keeper
from tenth.jail.wire import Jail
from tenth.trainer import checkpoint, schedule
from tenth.trainer.inference import Inference
from tenth.trainer.recipe import recipe_from
from tenth.trainer.selfplay import advance, load_game
from tenth.trainer.selfplay_eval import TEMPERATURE, solved
from tenth.trainer.selfplay_player import Player, begin

ARMS = {"self-play": "model", "random proposals": "random", "solver alone": "given", "warm start's data": "none"}
START = "start"
DEPTHS = (1, 2, 3)
ATTEMPTS = 8
HEATS = {"pass@1": 0.2, "pass@8": 1.0}
"""Temperatures that suit them (as in arXiv:2107.03374, figure 5), chosen on 386 held-out puzzles that are not these."""
SOURCES = ("src/tenth/trainer/selfplay*.py", "environments/puzzles/*.py")
RECIPE: dict[str, Any] = {
    "model": {"depth": 4, "width": 128, "head_width": 32, "context": 384},
    "data": {"vocabulary": 1024},
    "train": {"batch": 32, "threads": 1},
    "optim": {"weight_decay": 0.1},
    "selfplay": {
        "env": "puzzles", "steps": 1_000_000_000, "every": 128, "proposals": 1024, "composed": 0.75, "tokens": 96,
        "buffer": 131_072, "anchor": 0.1,
    },
}  # fmt: skip
"""Steps are bounded by time alone: those after the last would follow the policy gradient."""

Json = Any


class Meter:
    """Processor seconds of this process and of all below it, from when it was made."""

    def __init__(self) -> None:
        self._before = 0.0
        self._before = self.seconds()

    def seconds(self) -> float:
        below = sum(sum(processor_seconds(pid)) for pid in children("self"))
        return time.process_time() + below - self._before


def children(pid: str | int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children(child)]
    return found


def trained(seed: int, proposer: str, seconds: float, jail: Jail, before: Path | None) -> tuple[Player, Json]:
    """The player after so many seconds of processor time, and what it counted."""
    recipe = recipe_from({**RECIPE, "selfplay": {**RECIPE["selfplay"], "proposer": proposer}})
    player = begin(recipe, load_game(recipe, ROOT), seed, 1, ROOT, before)
    meter, step, share = Meter(), 0, 0.0
    s = recipe.schedule
    while share < 1:
        scale = schedule.scale(round(1000 * share), 1000, s.warmup, s.decay, s.floor)
        advance(player, jail, step, scale)
        step += 1
        share = meter.seconds() / seconds
    memory = player.memory
    return player, {"steps": step, "depth": memory.cap, "programs": len(memory.known), "counts": memory.counts}


def tried(player: Player, jail: Jail, puzzles: int) -> Json:
    """pass@k by depth, and how many attempts did what was shown and not what was hidden."""
    inference, tokens = Inference(player.master), player.recipe.selfplay.tokens
    passed: Json = {}
    hollow = 0
    for depth in DEPTHS:
        tasks = player.game.held_out(depth, puzzles)
        by_heat = {
            heat: solved(inference, player.text, player.game, tasks, jail, ATTEMPTS, tokens, temperature=heat)
            for heat in {TEMPERATURE, *HEATS.values()}
        }
        hollow += by_heat[TEMPERATURE].hollow
        passed[str(depth)] = {
            name: {str(heat): by_heat[heat].passed(k) for heat in (HEATS[name], TEMPERATURE)}
            for name, k in (("pass@1", 1), ("pass@8", ATTEMPTS))
        }
    return {"passed": passed, "hollow": hollow}


def measured(case: tuple[int, str], place: Path, chosen: Any) -> Json:
    """One arm of one seed, trained in an earlier call or now."""
    seed, arm = case
    folder, counts = place / f"{seed} {arm}" / "weights", place / f"{seed} {arm}" / "counted.json"
    with keeper.opened() as jail:
        if not counts.exists():
            if arm == START:
                player, counted = trained(seed, "none", chosen.warm, jail, None)
            else:
                before = place / f"{seed} {START}" / "weights"
                player, counted = trained(seed + 1000, ARMS[arm], chosen.seconds, jail, before)
            keep(player, folder)
            counts.write_text(json.dumps(counted))
        recipe = recipe_from(RECIPE)
        player = begin(recipe, load_game(recipe, ROOT), seed, 1, ROOT, folder)
        found = {**json.loads(counts.read_text()), **tried(player, jail, chosen.puzzles)}
    print(f"seed {seed}, {arm}: {json.dumps(found)}", flush=True)
    return found


def keep(player: Player, folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    writer = checkpoint.Writer(folder)
    writer.begin()
    writer.tensors(checkpoint.weights_of(player.master), {})
    words = folder.with_name("tokenizer.json")
    words.write_text(player.text.to_json())
    writer.finish(player.master.shape, {}, player.text.separator, (words,))


def main() -> None:
    chosen = options(
        __doc__, seconds=(1800, "processor seconds of each arm"), warm=(300, "of the warm start"),
        seeds=(3, "seeds"), puzzles=(200, "puzzles of each depth, at most"),
        beside=(1, "arms that run beside one another, one thread each"),
    )  # fmt: skip
    record = Record("selfplay", (__doc__ or "").partition("\n")[0], chosen)
    place = kept("selfplay", SOURCES, [RECIPE, chosen.warm, chosen.seconds])
    found: dict[str, list[Json]] = {}
    with ProcessPoolExecutor(chosen.beside, multiprocessing.get_context("spawn")) as pool:
        for arms in ([START], list(ARMS)):
            cases = [(seed, arm) for arm in arms for seed in range(chosen.seeds)]
            results = pool.map(partial(measured, place=place, chosen=chosen), cases)
            for (_, arm), one in zip(cases, results, strict=True):
                found.setdefault(arm, []).append(one)
    figures(record, found)
    record.detail(**found)
    record.finish()


def figures(record: Record, found: dict[str, list[Json]]) -> None:
    def column(arm: str, depth: int, what: str, heat: float) -> list[float]:
        return [run["passed"][str(depth)][what][str(heat)] for run in found[arm]]

    least = {"pass@1": 0.25, "pass@8": 0.5}
    for depth in DEPTHS:
        for what, heat in [*HEATS.items(), *((what, TEMPERATURE) for what in HEATS)]:
            for arm in found:
                held = (arm, depth, heat) == ("self-play", 3, HEATS[what])
                must: Json = {"p50": (">=", least[what])} if held else None
                label = f"depth {depth}, {what} at temperature {heat}, {arm}"
                record.figure(label, "", spread(column(arm, depth, what, heat)), must)
    before, after = (column(arm, 2, "pass@1", HEATS["pass@1"]) for arm in (START, "self-play"))
    lost = [b - a for a, b in zip(after, before, strict=True)]
    record.figure("pass@1 lost at depth 2 by self-play", "", spread(lost), {"p50": ("<=", 0.02)})
    mine, others = (column(arm, 3, "pass@8", HEATS["pass@8"]) for arm in ("self-play", "random proposals"))
    if ratios := [a / b for a, b in zip(mine, others, strict=True) if b]:
        record.figure("learned over random proposer, pass@8 at depth 3", "", spread(ratios), {"p50": (">=", 1.2)})


if __name__ == "__main__":
    main()
