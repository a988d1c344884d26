"""A supervised run as its training loop sees it: a lease, steps to the tenth's end, reports, a checkpoint."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsFloat, TypeVar

from . import frames
from .channel import Channel
from .errors import LoopError
from .lease import Lease
from .record import Record

Item = TypeVar("Item")

REPORTS_PER_SECOND = 20


class Run:
    """The trainer's side of one lease. Made by `tenth.attach()`; use it from one thread.

    A loop that does not iterate over `steps` (a callback of somebody else's trainer) asks `last_step(total)` where
    to stop, and calls `advance()` after each optimizer step; all else is the same.
    """

    def __init__(self, lease: Lease, channel: Channel, clock: Callable[[], float] = time.monotonic) -> None:
        self.lease = lease
        self.position: int = 0 if lease.position is None else int(lease.position.get("step", 0))
        self.state: dict[str, Any] = {} if lease.position is None else dict(lease.position.get("state") or {})
        self._channel = channel
        self._clock = clock
        self._began = clock()
        self._in_step = False
        self._end: int | None = None
        self._tokens = 0
        self._flop = 0.0
        self._pending: frames.Frame | None = None
        self._reported_at = -1.0
        self._loss: float | None = None
        self._record = Record(lease.work, lease.gate)
        self._samples = 0
        self._finished = False

    @property
    def resume_from(self) -> Path | None:
        """The checkpoint folder to go on from, or None when the run is fresh."""
        return self.lease.resume

    @property
    def work(self) -> Path:
        """The only folder that may be written."""
        return self.lease.work

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts that the watchers wish to see continued."""
        return self.lease.prompts

    @property
    def finished(self) -> bool:
        """True once the checkpoint is handed over: the process should exit."""
        return self._finished

    def last_step(self, total: int) -> int:
        """Where this tenth ends, in steps of an epoch of `total` steps."""
        if total < 0:
            raise LoopError("The tenth has no end.", f"an epoch of {total} steps", "give the epoch's length in steps")
        self._end = self.lease.last_step(total)
        return self._end

    def advance(self, steps: int = 1) -> None:
        """Count optimizer steps that are done."""
        self.position += steps

    def steps(self, iterable: Iterable[Item], total: int | None = None) -> Iterator[Item]:
        """Yield items until the tenth ends. `iterable` starts at `position`; `total` is the whole epoch's length.

        Without `total` the iterable must have a length: total = position + len(iterable). It is not asked for one item
        more than the tenth needs.
        """
        if total is None:
            try:
                total = self.position + len(iterable)  # type: ignore[arg-type]
            except TypeError as error:
                raise LoopError(
                    "The tenth has no end.", "an iterable without a length",
                    "pass total=, the number of steps in the whole epoch",
                ) from error  # fmt: skip
        return self._steps(iter(iterable), self.last_step(total))

    def _steps(self, items: Iterator[Item], end: int) -> Iterator[Item]:
        while self.position < end:
            try:
                item = next(items)
            except StopIteration:
                raise LoopError(
                    "The tenth did not reach its end.", f"the loader ended at step {self.position} of {end}",
                    "start the loader at run.position and give the true total",
                ) from None  # fmt: skip
            self._in_step = True
            try:
                yield item
            finally:
                self._in_step = False
            self.advance()

    def report(
        self, loss: SupportsFloat | None = None, tokens: SupportsFloat = 0, flop: SupportsFloat | None = None,
        **metrics: SupportsFloat,
    ) -> None:  # fmt: skip
        """Claim what the last step did. `tokens` and `flop` are this step's; the totals are kept here.

        At most 20 frames a second go out. What falls between two of them is merged: totals lose nothing, of each metric
        the newest value counts, and a report without a loss leaves the last one standing. A tensor is only read when a
        frame is due, so reporting on a GPU does not wait for every step. All plain numbers go to `metrics.jsonl`.
        """
        self._tokens += int(float(tokens))
        self._flop += 0.0 if flop is None else float(flop)
        now = self._clock()
        due = self._reported_at < 0 or now - self._reported_at >= 1.0 / REPORTS_PER_SECOND
        step = self.position + int(self._in_step)
        self._record.add(step, metrics if loss is None else {"loss": loss, **metrics})
        before = self._pending or {"loss": None, "metrics": {}}
        merged = {**before["metrics"], **metrics}
        if len(merged) > frames.MAX_METRICS:  # of reports that name different things, the newest has a claim to be sent
            merged = dict(metrics)
        self._pending = {"loss": before["loss"] if loss is None else loss, "metrics": merged, "step": step}
        if due:
            self._flush(now)

    def _flush(self, now: float) -> None:
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        if pending["loss"] is not None:
            self._loss = _number(pending["loss"])
        metrics = {name: _number(value) for name, value in pending["metrics"].items()}
        read = {"loss": (pending["loss"], self._loss)} | {n: (v, metrics[n]) for n, v in pending["metrics"].items()}
        self._record.add(pending["step"], {n: value for n, (given, value) in read.items() if hasattr(given, "detach")})
        self._channel.send(frames.progress(pending["step"], self._tokens, self._flop, self._loss, metrics))
        self._reported_at = now

    @property
    def wants_samples(self) -> bool:
        """True when the watchers are owed a whole round of samples, one for each prompt.

        Whole rounds because a batch of prompts costs hardly more than one of them. With the last step of a tenth that
        has shown none, they are owed one: nobody is to consent to what nobody saw a sample of.
        """
        rate = self.lease.samples_per_minute
        if rate and not self._samples and self._end is not None and self.position + int(self._in_step) >= self._end:
            return True
        return (self._clock() - self._began) * rate / 60.0 - self._samples >= max(1, len(self.lease.prompts))

    def sample(
        self, prompt: str, text: str, temperature: float | None = None, bits: Sequence[tuple[int, float]] = ()
    ) -> None:
        """Show the watchers what the model wrote after `prompt`. Too long texts are cut.

        `bits`: for each token of the text its length in characters and how surprising the model found it, in bits.
        """
        self._samples += 1
        step = self.position + int(self._in_step)
        # A frame has a number here; without a temperature the text was drawn as the model gives it.
        heat = 1.0 if temperature is None else temperature
        self._channel.send(frames.sample(step, prompt, text, heat, bits))

    def checkpoint(self, path: str | os.PathLike[str], state: Mapping[str, Any] | None = None) -> None:
        """Hand over the checkpoint folder and end the lease. Every file is on disk before the supervisor hears of it.

        `state` is whatever the loop needs besides its step (plain JSON, small); it comes back as `run.state`.
        """
        folder = self._checked(Path(path))
        position = frames.position(self.position, self.state if state is None else state)
        fsync_tree(folder, self.work.resolve())
        self._flush(self._clock())
        self._record.flush()
        self._channel.send({"frame": "saved", "path": folder.relative_to(self.work.resolve()).as_posix()})
        self._channel.finish()
        self._channel.send({"frame": "done", "position": position})
        self._finished = True

    def _checked(self, path: Path) -> Path:
        folder, work = path.resolve(), self.work.resolve()
        if self._finished:
            raise LoopError("The checkpoint was refused.", "this lease already has one", "save once, then exit")
        if self._end is None or self.position < self._end:
            end = "an unknown step" if self._end is None else f"step {self._end}"
            raise LoopError(
                "The checkpoint was refused.", f"the loop stands at step {self.position}, the tenth ends at {end}",
                "call it after run.steps(...) ran out",
            )  # fmt: skip
        if work not in folder.parents:
            raise LoopError("The checkpoint was refused.", f"{folder} is not inside {work}", "save below run.work")
        if not folder.is_dir():
            raise LoopError("The checkpoint was refused.", f"{folder} is no folder", "save a folder of files")
        return folder

    def close(self, failed: bool = False) -> None:
        """Leave. Without an error and without a checkpoint there is nothing to be consented to: that is an error."""
        self._channel.close()
        self._record.flush()
        if not failed and not self._finished:
            raise LoopError(
                "The lease ended without a checkpoint.", f"the loop left at step {self.position}",
                "end the `with` block with run.checkpoint(folder)",
            )  # fmt: skip


def _number(value: Any) -> float:
    """A number, or a tensor of one, which may still be part of a graph."""
    return float(value.detach() if hasattr(value, "detach") else value)


def fsync_tree(folder: Path, top: Path) -> None:
    """Make every file and folder below `folder` durable, and the folders between it and `top`."""
    for place, names, files in os.walk(folder):
        for name in (*names, *files):
            if (Path(place) / name).is_symlink():
                raise LoopError("The checkpoint was refused.", f"{name} is a link", "save plain files")
        for name in files:
            _fsync(Path(place) / name)
        _fsync(Path(place))
    while folder != top:
        folder = folder.parent
        _fsync(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
