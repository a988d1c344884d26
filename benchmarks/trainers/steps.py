"""Steps of the built-in trainer at the demo's shape, so many as asked for on standard input, and how long they took.

A line in: how many steps. A line out: nanoseconds on the wall, nanoseconds of the processor. Besides computing, each
step reads its batch from a file and writes a line, as a trainer does.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from tenth.trainer import recipe as recipes
from tenth.trainer.loss import linear_cross_entropy
from tenth.trainer.model import Transformer
from tenth.trainer.optim import make_optimizer

torch.set_num_threads(1)
recipe = recipes.load_recipe(Path(sys.argv[1]))
vocabulary, batch, context = recipe.data.vocabulary, recipe.train.batch, recipe.model.context
model = Transformer(recipes.shape(recipe, vocabulary))
model.initialise(torch.Generator().manual_seed(0))
optimizer = make_optimizer(model, model, recipe.optim)
tokens = Path("tokens")
tokens.write_bytes(np.random.default_rng(0).integers(0, vocabulary, 1 << 20, dtype=np.uint16).tobytes())
log = open("log", "a")  # noqa: SIM115 (for as long as we live)


def step(number: int) -> None:
    words = np.memmap(tokens, np.uint16, "r")
    start = number * 7919 % (len(words) - batch * context - 1)
    block = torch.from_numpy(words[start : start + batch * context + 1].astype(np.int64))
    inputs, targets = block[:-1].view(batch, context), block[1:]
    loss = linear_cross_entropy(model(inputs).flatten(0, 1), model.lm_head.weight, targets)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step(1.0, optimizer.gradient_norm())
    optimizer.clear()
    print(number, loss.item(), file=log, flush=True)


done = 0
for line in sys.stdin:
    wall, processor = time.perf_counter_ns(), time.process_time_ns()
    for _ in range(int(line)):
        done += 1
        step(done)
    print(time.perf_counter_ns() - wall, time.process_time_ns() - processor, flush=True)
