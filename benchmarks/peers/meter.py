"""What a contender's process writes about itself: steps, seconds, losses, memory. The same code for all.

The clock of training begins when model, data and optimizer are made, just before the first step. Compilation is inside
it; looking at held-out text is not. JSON lines: one `began`, one `step` for every step, one `look` for every
evaluation, one `ended`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from peers.data import Shared, load
from peers.evaluation import evaluate


class Enough(Exception):
    """Raised out of a loop that offers no other way to stop."""


@dataclass(frozen=True)
class Plan:
    """What one leg is asked to do. Made by run.py, read by the contender's process."""

    contender: str
    data: str
    """Folder of the shared arrays."""
    root: str
    """Folder that the listing's paths are relative to."""
    out: str
    """JSON lines go here."""
    work: str
    """An empty folder for whatever the contender writes."""
    steps: int
    """Length of the learning-rate schedule; training ends after so many."""
    seconds: float = 0.0
    """Training ends after so many at the latest; 0: no limit."""
    look_every: float = 0.0
    """Seconds of training between looks at the held-out text; 0: never."""
    began: float = 0.0
    """When the process was started, by the monotonic clock, which all processes share."""
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str) -> Plan:
        return cls(**json.loads(Path(path).read_text()))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @property
    def shared(self) -> Shared:
        return load(Path(self.data), Path(self.root))


class Meter:
    """Told by the contender about every step; says when it is time to stop."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self.plan, self._clock = plan, clock
        self._shared = plan.shared
        self._out = Path(plan.out).open("w", encoding="utf-8")  # noqa: SIM115 (closed by `end`)
        self._began = self._paused = self._next_look = 0.0
        self._logits: Callable[[Any], Any] | None = None
        self._device = "cpu"
        self.steps = 0
        self.over = False

    def begin(self, parameters: int, logits: Callable[[Any], Any] | None, device: str = "cpu", **facts: Any) -> None:
        """Everything is made; the next thing is the first step."""
        self._logits, self._device = logits, device
        self._began = self._clock()
        self._next_look = self.plan.look_every
        self._say("began", since_start=self._began - self.plan.began, parameters=parameters, **facts)

    @property
    def seconds(self) -> float:
        """Of training, evaluation excluded."""
        return self._clock() - self._began - self._paused

    def step(self, loss: float | None = None) -> bool:
        """An optimizer step is done. True: train no further."""
        self.steps += 1
        seconds = self.seconds
        self._say("step", step=self.steps, seconds=seconds, processor_seconds=time.process_time(), loss=loss)
        late = 0 < self.plan.seconds <= seconds
        self.over = self.steps >= self.plan.steps or late
        if self.plan.look_every and (self.over or seconds >= self._next_look):
            self._look(seconds)
            self._next_look = max(self._next_look, seconds) + self.plan.look_every
        return self.over

    def _look(self, seconds: float) -> None:
        start = self._clock()
        if self._logits is not None:
            found = evaluate(self._logits, self._shared.held_out(), self._shared.token_bytes(), self._device)
            self._say("look", step=self.steps, seconds=seconds, **found)
        self._paused += self._clock() - start

    def end(self, **facts: Any) -> None:
        """Training is over, whatever ended it."""
        facts |= {"planned": self.plan.steps, "peak_kib": peak_memory_kib(), "children_kib": children_kib()}
        if self._device.startswith("cuda"):
            facts["gpu_mib"] = torch.cuda.max_memory_allocated() / 2**20
        self._say("ended", steps=self.steps, seconds=self.seconds, paused=self._paused, **facts)
        self._out.close()

    def _say(self, what: str, **facts: Any) -> None:
        rounded = {name: round(fact, 6) if isinstance(fact, float) else fact for name, fact in facts.items()}
        self._out.write(json.dumps({"what": what} | rounded) + "\n")
        if what != "step" or self.steps % 10 == 0:
            self._out.flush()


def peak_memory_kib() -> int:
    """Most memory that this process ever held. Not `ru_maxrss`, which a process inherits from the one that began it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))


def children_kib() -> int:
    """The largest child's peak: compilers, workers."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def plan_of_this_process() -> Plan:
    return Plan.read(sys.argv[1])
