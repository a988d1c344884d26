"""tenth's built-in trainer: `tenth.trainer.pretrain.pretrain` itself, given one lease for the whole of the leg.

Two things are done from outside. The epoch is cut to the leg's number of steps, which also tells the schedule how long
the run is. And each report of a step goes to the meter first, which evaluates and ends the leg.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from peers import data
from peers.meter import Enough, Meter, Plan, plan_of_this_process
from peers.recipe import write_recipe
from tenth.client import Run
from tenth.client.channel import Channel
from tenth.client.lease import from_frame
from tenth.trainer import loop, pretrain, session
from tenth.trainer.session import Training


class Metered(Run):
    """A run whose reports of steps are metered."""

    meter: Meter

    def report(self, loss: Any = None, tokens: Any = 0, flop: Any = None, **metrics: Any) -> None:
        super().report(loss, tokens, flop, **metrics)
        if self.meter.step(None if loss is None else float(loss)):
            raise Enough


def lease(plan: Plan, recipe: Path) -> dict[str, Any]:
    shared = plan.shared
    return {
        "frame": "lease", "run": "peers-1", "gate": 1, "phase": "pretrain", "epoch": 1, "epochs": 1, "tenth": 1,
        "of": 1, "resume": None, "position": None, "work": str(shared.folder / "work"), "recipe": str(recipe),
        "data": str(shared.listing), "root": str(shared.root), "samples_per_minute": 0.0, "prompts": [],
        "device_seconds": 1e6, "flop": 1e19, "seed": data.SEED,
    }  # fmt: skip


def metered(plan: Plan, meter: Meter) -> None:
    """Train the leg in this process."""
    recipe = Path(plan.work) / "recipe.toml"
    write_recipe(recipe, plan.settings)
    ours, theirs = socket.socketpair()
    reader = threading.Thread(target=lambda: list(ours.makefile("rb")), daemon=True)
    reader.start()
    run = Metered(from_frame(json.loads(json.dumps(lease(plan, recipe)))), Channel(theirs))
    run.meter = meter

    def cut(*words: Any) -> Training:
        training = session.restore(*words)
        training.steps = training.data.steps = min(plan.steps, training.data.steps)
        parameters = sum(parameter.numel() for parameter in training.master.parameters())
        device = str(training.device)
        meter.begin(parameters, logits_of(training), device, precision=training.precision)
        return training

    try:
        with mock.patch.object(loop, "restore", cut):
            pretrain.pretrain(run, plan.began)
    except Enough:
        pass
    finally:
        theirs.close()
        ours.close()


def logits_of(training: Training) -> Any:
    return lambda ids: training.model.logits(training.model(ids))


def main() -> None:
    plan = plan_of_this_process()
    meter = Meter(plan)
    metered(plan, meter)
    meter.end()


if __name__ == "__main__":
    main()
