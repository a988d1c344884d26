"""How long do 2,000 fresh questions at a gate take, asked of two checkpoints of a model of ten million weights?

    python benchmarks/capabilities.py [--runs 3]

The whole command, with `--items 2000`, as a supervisor starts it, from a fresh interpreter to its last file: loading,
reading, writing programs and running them in a jail. Tokenizer and held-out text are of this Python's standard library.
The weights are random: what it costs does not depend on what they say, and no program that they write ends early.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import time
from dataclasses import asdict
from pathlib import Path

import torch
from record import Record, options, workplace
from transfer import standard_library

from tenth.trainer.checkpoint import Writer, weights_of
from tenth.trainer.model import Transformer
from tenth.trainer.presets import parameters
from tenth.trainer.recipe import as_dict, load_recipe, shape

RECIPE = "[model]\ndepth = 6\nwidth = 384\ncontext = 256\n"
ITEMS = 2_000
MUST_SECONDS = 60.0


def main() -> None:
    chosen = options(__doc__, runs=(3, "of the command"))
    record = Record("capabilities", "How long do 2,000 fresh questions at a gate take?", chosen)
    with workplace() as place:
        weights, given = prepare(place)
        times, burnt = [], []
        for number in range(chosen.runs):
            out = place / "gates" / "02" / "evidence" / str(number)
            out.mkdir(parents=True)
            environment = os.environ | {"TENTH_SEALED": str(given), "TENTH_OUT": str(out)}
            began, before = time.monotonic(), os.times()
            command = [sys.executable, "-m", "tenth.evidence", "capabilities", "--items", str(ITEMS)]
            subprocess.run(command, env=environment, check=True)
            times.append(round(time.monotonic() - began, 2))
            after = os.times()
            burnt.append(round(after[2] + after[3] - before[2] - before[3], 2))
        about = json.loads((out / "about.json").read_text())
        families = len(json.loads((out / "families.json").read_text()))
        size = sum(path.stat().st_size for path in out.iterdir())
    what = (
        f"{about['items']:,} fresh items of {families} families, two checkpoints of {weights / 1e6:.1f} million weights"
    )
    record.figure(
        f"{what}: from the start of the command to its end", "s",
        {"n": len(times), "min": min(times), "max": max(times)}, {"max": ("<=", MUST_SECONDS)},
    )  # fmt: skip
    record.figure(f"{what}: processor time", "s", {"n": len(burnt), "min": min(burnt), "max": max(burnt)})
    record.detail(evidence_bytes=size, programs_ran=about["programs_ran"])
    record.finish()


def prepare(place: Path) -> tuple[int, Path]:
    """Two checkpoints with a corpus; the number of weights, and the file that tells the command where they lie."""
    (place / "recipe.toml").write_text(RECIPE)
    recipe = load_recipe(place / "recipe.toml")
    corpus = standard_library(place, recipe)
    model = Transformer(shape(recipe, corpus.vocabulary))
    for seed in (1, 2):
        model.initialise(torch.Generator().manual_seed(seed))
        torch.nn.init.normal_(model.lm_head.weight, std=0.02, generator=torch.Generator().manual_seed(seed))
        writer = Writer(place / "checkpoints" / f"{seed:02d}")
        writer.begin()
        writer.tensors(weights_of(model), {})
        state = {"recipe": as_dict(recipe), "shape": asdict(model.shape), "corpus": corpus.key}
        writer.finish(model.shape, state, corpus.separator, corpus.files)
    given = {
        "run": "bench", "gate": 2, "checkpoint": str(place / "checkpoints" / "02"),
        "previous": str(place / "checkpoints" / "01"), "data": str(place / "data.jsonl"),
        "root": sysconfig.get_paths()["stdlib"], "recipe": str(place / "recipe.toml"), "work": str(place),
        "prompts": [],
    }  # fmt: skip
    (place / "sealed.json").write_text(json.dumps(given))
    (place / "log").mkdir()
    (place / "log" / "entries.jsonl").write_text('{"event":"reached"}\n')
    return parameters(recipe, corpus.vocabulary), place / "sealed.json"


if __name__ == "__main__":
    main()
