"""Which of the trainer's tricks pay? Each is taken away by itself, and the same steps are trained without it.

    python benchmarks/ablations.py [--steps 400] [--timed 16] [--only NAME ...] [--short]

Shape and batch are those of recipes/benchmark.toml; the corpus is the source of this Python's standard library. What
only changes speed is timed, in turns with the trainer as it is; what changes learning is trained for `--steps` steps,
and the held-out loss compared. Every training has a process of its own. Losses do not depend on what else the machine
does; times do. A training that was judged before, of this source, is not done again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch.nn.functional as F
import training
import transfer
from record import ROOT, Record, kept, workplace
from torch import Tensor

from tenth.trainer import compiled
from tenth.trainer import model as model_module
from tenth.trainer import recipe as recipes
from tenth.trainer.__main__ import ARENAS
from tenth.trainer.model import Transformer
from tenth.trainer.precision import set_threads

BASE = "as it is"
SPEED: dict[str, dict[str, Any]] = {
    "blocks not compiled": {"compile": False},
    "float32 arithmetic": {"recipe": {"train": {"precision": "float32"}}},
    "the C library's own arenas": {"arenas": False},
    "stock attention": {"attention": "stock"},
    "stock cross-entropy": {"loss": "stock"},
    "Muon on whole matrices": {"recipe": {"optim": {"muon_block": 0}}},
    "AdamW for the matrices": {"recipe": {"optim": {"matrices": "adamw", "matrix_lr": 0.001}}},
}
LEARNING: dict[str, dict[str, Any]] = {
    "Muon's rate halved": {"recipe": {"optim": {"matrix_lr": 0.01}}},
    "Muon's rate doubled": {"recipe": {"optim": {"matrix_lr": 0.04}}},
    "Muon on whole matrices": SPEED["Muon on whole matrices"],
    "AdamW for the matrices, 0.001": SPEED["AdamW for the matrices"],
    "AdamW for the matrices, 0.003": {"recipe": {"optim": {"matrices": "adamw", "matrix_lr": 0.003}}},
    "embedding's rate 0.05": {"recipe": {"optim": {"embedding_lr": 0.05}}},
    "head's rate doubled": {"recipe": {"optim": {"head_lr": 2 * 0.004 * 256 / 384}}},
    "float32 arithmetic": SPEED["float32 arithmetic"],
}
SECONDS = 3600
SOURCES = ("src/tenth/trainer/*.py", "benchmarks/training.py", "benchmarks/transfer.py", "recipes/benchmark.toml")
"""What a loss may depend on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="of each training that is judged by its loss; 0: none")
    parser.add_argument("--timed", type=int, default=16, help="steps of each training that is timed; 0: none")
    parser.add_argument("--only", nargs="*", help="names of what is taken away (default: all)")
    parser.add_argument("--short", action="store_true", help="two steps each, to see that it works")
    parser.add_argument("--leg", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.leg:
        print(json.dumps(train(**json.loads(chosen.leg))))
        return
    if chosen.short:
        chosen.steps = chosen.timed = 2
    record = Record("ablations", "Which of the trainer's tricks pay?", chosen)
    with workplace() as place:
        if chosen.timed:
            speed(record, place, chosen)
        if chosen.steps:
            learning(record, place, chosen)
    record.finish()


def speed(record: Record, place: Path, chosen: argparse.Namespace) -> None:
    leg(place, 2, {})  # fills the compiler's cache and prepares the corpus
    before = leg(place, chosen.timed, {})["ms"]
    for name, change in SPEED.items():
        if chosen.only and name not in chosen.only:
            continue
        found = leg(place, chosen.timed, change)["ms"]
        after = leg(place, chosen.timed, {})["ms"]
        usual = (before + after) / 2
        record.figure(f"a step without: {name}", "ms", {"n": chosen.timed, "p50": round(found, 1)})
        record.figure(f"a step without: {name}, against {BASE}", "x", {"n": 1, "once": round(found / usual, 3)})
        print(name, round(found, 1), "ms, usually", round(usual, 1), file=sys.stderr)
        before = after


def learning(record: Record, place: Path, chosen: argparse.Namespace) -> None:
    legs = {BASE: {}, **{name: LEARNING[name] for name in LEARNING if not chosen.only or name in chosen.only}}
    before = kept("ablations", SOURCES, LEARNING)
    for name, change in legs.items():
        path = before / f"{name}, {chosen.steps} steps.json"
        if not path.exists():
            path.write_text(json.dumps(leg(place, chosen.steps, change)))
        loss = json.loads(path.read_text())["nats"]
        record.figure(
            f"held-out loss after {chosen.steps} steps: {name}", "nats/token", {"n": 1, "once": round(loss, 4)}
        )
        print(name, round(loss, 4), file=sys.stderr)


def leg(place: Path, steps: int, change: dict[str, Any]) -> dict[str, float]:
    """One training in a process of its own."""
    words = {"place": str(place), "steps": steps, **change}
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    if words.pop("arenas", True):
        environment["GLIBC_TUNABLES"] = ARENAS
    command = [sys.executable, __file__, "--leg", json.dumps(words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def train(
    place: str, steps: int, recipe: dict[str, dict[str, Any]] | None = None, compile: bool = True,  # noqa: A002
    attention: str = "", loss: str = "",
) -> dict[str, float]:  # fmt: skip
    """Median milliseconds of a step, and held-out nats a token at the end."""
    table = tomllib.loads((ROOT / "recipes" / "benchmark.toml").read_text("utf-8"))
    for section, values in (recipe or {}).items():
        table[section] = {**table.get(section, {}), **values}
    made = recipes.recipe_from(table)
    set_threads(made.train)
    if attention:
        model_module.causal_attention = stock_attention
    corpus = transfer.standard_library(Path(place), made)
    model, optimizer = training.with_optimizer(training.new_model(made, corpus.vocabulary, 1), made)
    if compile:
        folder = Path(place) / ("stock" if attention else "blocks")
        folder.mkdir(exist_ok=True)
        compiled.compile_blocks(model, made.train.batch, folder)
    losses = stock_loss if loss else training.own_loss
    marks = [time.perf_counter()]
    for _ in training.steps(model, optimizer, corpus, made, steps, 1, losses=losses):
        marks.append(time.perf_counter())
    times = [1e3 * (after - before) for before, after in pairwise(marks)]
    nats = transfer.held_out_loss(corpus, model, made)
    return {"ms": statistics.median(times[min(4, steps - 1) :]), "nats": nats}


def stock_loss(model: Transformer, inputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(model.logits(model(inputs)).flatten(0, 1).float(), targets.reshape(-1))


def stock_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
