"""A trainer whose loss jumps once, at step SPIKE; after that it goes on slowly, until somebody stops it."""

import os
import random
import time

import tenth

spike = int(os.environ["SPIKE"])
with tenth.attach() as run:
    noise = random.Random(run.position)
    for step in run.steps(range(run.position, 100_000), total=100_000):
        run.report(loss=9.0 if step == spike else 2.0 + 0.1 * noise.random(), tokens=1)
        time.sleep(0.001 if step < spike else 0.05)
