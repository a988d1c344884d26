"""What does the diff at a gate cost, with its placebo and the documents behind it, for a model of ten million weights?

    python benchmarks/packet.py [--layers 6] [--width 384]

The weights are random, three times, and so is the text: what it costs does not depend on what they say. Measured in
processor seconds of this process, since others may be at work beside it, and in seconds as they pass.
"""

from __future__ import annotations

import os
import time

import numpy as np
import torch
from record import Record, options

from tenth.evidence import packet
from tenth.evidence.amplified import Gram
from tenth.evidence.attribution import Attributor
from tenth.evidence.interval import Interval, Piece
from tenth.trainer.model import Transformer
from tenth.trainer.presets import parameters
from tenth.trainer.recipe import recipe_from, shape

VOCABULARY, WINDOWS = 4096, 1_300


def main() -> None:
    chosen = options(
        __doc__, layers=(6, "of the model"), width=(384, "of the model"), context=(256, "tokens of a window"),
        threads=(1, "of this process"),
    )  # fmt: skip
    torch.set_num_threads(chosen.threads)
    record = Record("packet", "What does the diff at a gate cost?", chosen)
    recipe = recipe_from({"model": {"depth": chosen.layers, "width": chosen.width, "context": chosen.context}})
    models = []
    for seed in range(3):
        models.append(Transformer(shape(recipe, VOCABULARY)).eval())
        models[-1].initialise(torch.Generator().manual_seed(seed))
        torch.nn.init.normal_(models[-1].lm_head.weight, std=0.02, generator=torch.Generator().manual_seed(seed))
    random = np.random.default_rng(0)
    width = chosen.context + 1
    windows = random.integers(0, VOCABULARY, (WINDOWS, width))
    pieces = tuple(Piece(i, 0, width, str(i)) for i in range(WINDOWS))
    intervals = [Interval(windows, pieces, windows, WINDOWS), Interval(windows[::-1], pieces, windows, WINDOWS)]
    held_out = random.integers(0, VOCABULARY, (packet.CONTEXTS // 2, packet.CONTEXT + 1))
    began, burnt = time.monotonic(), time.process_time()
    found = packet.look(models, intervals, held_out)
    looked, looked_burnt = time.monotonic() - began, time.process_time() - burnt
    gram = Gram(found.texts[0].tokens[:3], 1, 1.0, 0, 0, ((0, 0),))
    asked = Attributor(models[1], intervals[0], packet.SECONDS)
    drivers, passages = asked.drivers(*packet.question(found.texts, gram))
    burnt = time.process_time() - burnt - looked_burnt
    about = f"{parameters(recipe, VOCABULARY) / 1e6:.1f} million weights, {chosen.threads} thread(s)"
    record.figure(
        f"comparing and writing, with the placebo; {about}", "processor seconds",
        {"n": 1, "once": round(looked_burnt, 1), "seconds": round(looked, 1)},
    )  # fmt: skip
    record.figure(
        f"documents behind one n-gram, at most {packet.SECONDS:g} s; {about}", "passages; processor seconds a passage",
        {"n": 1, "looked_at": len(drivers), "of": passages, "once": round(burnt / len(drivers), 3)},
    )  # fmt: skip
    record.finish()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
