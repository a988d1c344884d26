"""Self-play under a real supervisor: the jail that it gives, a pull in the middle of it, and a gate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

from core.live import PYTHON, Live
from house.repo import ROOT
from trainer.test_selfplay import RECIPE

PATIENCE = 100.0
"""Seconds: a lease is a process that imports torch."""


def test_self_play_passes_a_gate_with_the_supervisors_jail(live: Callable[..., Live]) -> None:
    run = live(
        command=[PYTHON, "-m", "tenth.trainer", "selfplay", "recipe.toml"],
        env={"OMP_NUM_THREADS": "1"}, jail=1, code=["environments"],
    )  # fmt: skip
    run.recipe = RECIPE.replace("steps = 12", "steps = 10").replace("warm = 2", 'warm = 0\nproposer = "random"')
    # The run's seed is drawn: of so many proposals some are new, and a plan has room, whatever it is.
    run.recipe = run.recipe.replace("proposals = 8", "proposals = 64").replace("tokens = 48", "tokens = 96")
    shutil.copytree(ROOT / "environments", run.root / "environments", ignore=shutil.ignore_patterns("__pycache__"))
    run.start()
    run.until("GATE", seconds=PATIENCE)
    run.consent()
    run.until("RUNNING")
    assert run.pull()["ok"]
    run.say("reopened", "ada")
    run.until("GATE", seconds=PATIENCE)
    run.consent()
    run.until("GATE", gate=1, seconds=PATIENCE)
    memory = json.loads((run.path / "checkpoints" / "01" / "selfplay.json").read_text())
    assert memory["counts"]["proposals"] == 64
    assert memory["counts"]["attempts"] > 0, "they ran in the jail"
    assert {"pulled", "reopened", "reached"} <= set(run.events())
