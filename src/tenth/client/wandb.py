"""The part of `wandb` that training loops use, inside the quarantine: `import tenth.client.wandb as wandb`.

What is logged goes to the run's own record and to the supervisor as claims; nothing goes to a network. `tenth metrics`
takes it to Weights & Biases, or elsewhere, from outside. The loop joins the law itself, before `init`:

    with tenth.attach() as run:
        wandb.init(run=run, config={...})
        wandb.log({"loss": loss, "lr": lr})

Numbers are kept. Text, pictures, tables and histograms are not; the first of each name is said so, once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

from .errors import LoopError
from .frames import MAX_METRICS
from .run import Run as Supervised

LONGEST_NAME = 64
KEPT_FREE = 2  # of a frame's metrics, for what the client itself adds


class Settings(dict[str, Any]):
    """A dictionary whose keys are attributes, too: `wandb.config` and `wandb.summary`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def update(self, *given: Any, allow_val_change: bool = True, **named: Any) -> None:  # noqa: ARG002
        super().update(*given, **named)


class Run:
    """What `wandb.init` returns. `log` with `commit=False` waits for the next one, as in the original."""

    def __init__(self, supervised: Supervised, config: Mapping[str, Any], name: str | None) -> None:
        self._supervised = supervised
        self._waiting: dict[str, Any] = {}
        self._refused: set[str] = set()
        self.config, self.summary = Settings(config), Settings()
        self.id = self.name = name or supervised.lease.run
        self.project, self.entity, self.url, self.dir = "tenth", "", "", str(supervised.work)
        self.step = 0

    def log(
        self, data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, sync: bool | None = None,  # noqa: ARG002
    ) -> None:  # fmt: skip
        """Report the numbers of `data` as of the loop's present step; with `commit=False` they wait for the next call.

        `step` is kept in `run.step` alone: what the curves count is the step that the law counts.
        """
        self._waiting.update(self._numbers(data))
        self.step = self.step + 1 if step is None else step
        if commit is not False:
            self._send()

    def _send(self) -> None:
        numbers, self._waiting = self._waiting, {}
        self.summary.update(numbers)
        names = [name for name in numbers if name != "loss"]
        loss = next((numbers[name] for name in ("loss", "train/loss", "train_loss") if name in numbers), None)
        for start in range(0, max(1, len(names)), MAX_METRICS - KEPT_FREE):  # a frame holds so many and no more
            part = {name: numbers[name] for name in names[start : start + MAX_METRICS - KEPT_FREE]}
            self._supervised.report(loss=loss if start == 0 else None, **_without_arguments(part))

    def _numbers(self, data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """Nested dictionaries become names with slashes, as in the original."""
        found: dict[str, Any] = {}
        for key, value in data.items():
            name = f"{prefix}{key}"
            if isinstance(value, Mapping):
                found |= self._numbers(value, f"{name}/")
            elif isinstance(value, Real) or getattr(value, "shape", None) == ():
                found[name[:LONGEST_NAME]] = value.item() if _on_this_processor(value) else value
            else:
                self._refuse(name, value)
        return found

    def _refuse(self, name: str, value: Any) -> None:
        if name not in self._refused:
            self._refused.add(name)
            print(f"wandb: {name!r} is not kept: only numbers are, not {type(value).__name__}", flush=True)

    def define_metric(self, *_: Any, **__: Any) -> None:
        """Accepted: how curves are drawn is chosen outside."""

    def watch(self, *_: Any, **__: Any) -> None:
        """Accepted, and not done: histograms are not kept."""

    unwatch = define_metric

    def save(self, *_: Any, **__: Any) -> None:
        raise _refused("wandb.save", "write files into run.work, and checkpoints with run.checkpoint(folder)")

    def log_artifact(self, *_: Any, **__: Any) -> None:
        raise _refused("wandb.log_artifact", "hand the checkpoint over with run.checkpoint(folder)")

    use_artifact = log_artifact

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:  # noqa: ARG002
        """Sends what waited for a commit. The lease goes on: it ends with run.checkpoint."""
        global run  # noqa: PLW0603 (the original's module has this state, and its users read it)
        if self._waiting:
            self._send()
        if run is self:
            run = None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()


class _Picture:
    """Stands for a media type: made without complaint, and named when it is logged."""

    def __init__(self, *_: Any, **__: Any) -> None: ...


class Image(_Picture):
    """Not kept."""


class Table(_Picture):
    """Not kept."""

    def add_data(self, *_: Any) -> None: ...


class Histogram(_Picture):
    """Not kept."""


class Audio(_Picture):
    """Not kept."""


class Video(_Picture):
    """Not kept."""


class Html(_Picture):
    """Not kept."""


run: Run | None = None


def init(
    project: str | None = None, *, run: Supervised | None = None, config: Mapping[str, Any] | None = None,  # noqa: ARG001
    name: str | None = None, **_: Any,
) -> Run:  # fmt: skip
    """Begin. `run` is the one of `tenth.attach()`; what else the original takes is accepted and has no effect."""
    module = sys.modules[__name__]
    if module.__dict__["run"] is not None and run is None:
        return module.__dict__["run"]  # type: ignore[no-any-return]
    if run is None:
        raise LoopError(
            "wandb.init was refused.", "no run of tenth was given", "call wandb.init(run=run) inside tenth.attach()"
        )
    module.__dict__["run"] = Run(run, config or {}, name)
    return module.__dict__["run"]  # type: ignore[no-any-return]


def _present(what: str) -> Run:
    if run is None:
        raise LoopError(f"{what} was refused.", "wandb.init has not been called", "call wandb.init(run=run) first")
    return run


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None, **_: Any) -> None:
    _present("wandb.log").log(data, step, commit)


def finish(*_: Any, **__: Any) -> None:
    if run is not None:
        run.finish()


def watch(*_: Any, **__: Any) -> None:
    """Accepted, and not done: histograms are not kept."""


def define_metric(*_: Any, **__: Any) -> None:
    """Accepted: how curves are drawn is chosen outside."""


def login(*_: Any, **__: Any) -> bool:
    """There is nobody to log in to."""
    return True


def save(*given: Any, **named: Any) -> None:
    _present("wandb.save").save(*given, **named)


def log_artifact(*given: Any, **named: Any) -> None:
    _present("wandb.log_artifact").log_artifact(*given, **named)


def __getattr__(name: str) -> Any:
    if name in ("config", "summary"):
        return getattr(_present(f"wandb.{name}"), name)
    raise AttributeError(f"tenth.client.wandb has no {name!r}")


def _on_this_processor(value: Any) -> bool:
    return hasattr(value, "item") and getattr(getattr(value, "device", None), "type", "cpu") == "cpu"


def _without_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Names that `report` takes for its own arguments get a slash before them."""
    return {f"log/{name}" if name in ("tokens", "flop") else name: value for name, value in values.items()}


def _refused(what: str, do: str) -> LoopError:
    return LoopError(f"{what} was refused.", "the quarantine has no network and hands out no files", do)


def __dir__() -> Iterator[str]:
    return iter([*globals(), "config", "summary"])
