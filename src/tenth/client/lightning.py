"""A Lightning trainer under the law: one callback, and a loader that knows where it stands.

    with tenth.attach() as run:
        gate = TenthCallback(run)
        trainer = Trainer(max_epochs=run.lease.epochs, callbacks=[gate], enable_checkpointing=False, logger=False)
        trainer.fit(module, gate.loader(DataLoader(...)), ckpt_path=gate.resume_from, weights_only=True)

At the tenth's last step the trainer saves its own checkpoint and stops. Lightning itself keeps neither the place in the
data nor random numbers, so the loader keeps both. docs/adapters.md says what is exact.
"""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from lightning.pytorch import Callback

from .adapter import quiet, refused, steps_per_epoch
from .errors import LoopError
from .run import Run

Sampler = Callable[[Any, Sequence[str]], Sequence[str]]


class TenthCallback(Callback):  # type: ignore[misc]
    """Stops the trainer where the tenth ends and hands over its checkpoint; reports claims; shows samples."""

    def __init__(
        self, run: Run, sample: Sampler | None = None, tokens: Callable[[Any], int] | None = None,
    ) -> None:  # fmt: skip
        """`sample(module, prompts)` returns a text for each prompt; `tokens(batch)` counts those of a batch."""
        self.run = run
        self._sample = sample
        self._count = tokens or count_tokens
        self._base = 0  # steps of the epochs before this one
        self._end = 0  # in the trainer's count
        self._saved: Path | None = None
        self._loader: Resumable | None = None

    @property
    def resume_from(self) -> str | None:
        """For `trainer.fit(ckpt_path=...)`: None at the first tenth of a phase, whose trainer is new."""
        lease = self.run.lease
        return None if lease.resume is None or (lease.epoch, lease.tenth) == (1, 1) else str(lease.resume / "last.ckpt")

    def loader(self, loader: Any) -> Resumable:
        """The training loader, able to say where it stands. It must have a length."""
        self._loader = Resumable(loader)
        return self._loader

    # --- what the trainer calls ---------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        if self._loader is None or trainer.train_dataloader is not self._loader:
            raise refused(
                "the training loader cannot say where it stands", "hand over callback.loader(loader) in its place"
            )
        check_trainer(trainer, self.run.work)
        lease, total = self.run.lease, trainer.estimated_stepping_batches
        passes = trainer.max_epochs if trainer.max_steps == -1 else 0
        per_epoch = steps_per_epoch(0 if math.isinf(total) else int(total), passes or 0, lease.epochs)
        self._base = (lease.epoch - 1) * per_epoch
        self._end = self._base + self.run.last_step(per_epoch)
        wanted = self._base + self.run.position
        if trainer.global_step != wanted:
            raise LoopError(
                "Training was refused.",
                f"the trainer would begin at step {trainer.global_step}, the lease at step {wanted}",
                "call trainer.fit(ckpt_path=callback.resume_from)",
            )

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        if self._saved is not None:
            raise LoopError(
                "Training was stopped.", f"the trainer goes on at step {trainer.global_step}; its tenth ended at "
                f"step {self._end}", "leave min_epochs and min_steps out, and trainer.should_stop alone",
            )  # fmt: skip

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        stepped = trainer.global_step - self._base - self.run.position
        self.run.advance(stepped)
        self._report(trainer, outputs, batch)
        if self._sample is not None and self.run.wants_samples:
            prompts = list(self.run.prompts) or [""]
            with quiet(pl_module, self.run.lease.seed + trainer.global_step):
                texts = self._sample(pl_module, prompts)
            for prompt, text in zip(prompts, texts, strict=True):
                self.run.sample(prompt, text)
        # A checkpoint made after an epoch's last batch and before the epoch's end confuses Lightning's own counters.
        if stepped and trainer.global_step >= self._end and not trainer.is_last_batch:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        if self._saved is None and trainer.global_step >= self._end:
            self._save(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Goes into the checkpoint. Lightning keeps a loader's state, too, but does not always give it back."""
        return {"loader": self._loader.state_dict() if self._loader else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self._loader is not None:
            self._loader.load_state_dict(state_dict["loader"])

    def _save(self, trainer: Any) -> None:
        self._saved = self.run.work / "lightning"
        shutil.rmtree(self._saved, ignore_errors=True)
        trainer.save_checkpoint(self._saved / "last.ckpt")
        trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        if self._saved is None or trainer.global_step != self._end:
            raise LoopError(
                "The tenth did not reach its end.",
                f"the trainer stopped at step {trainer.global_step} of {self._end}",
                "let nothing else stop it: whether to stop early is decided at gates",
            )
        self.run.checkpoint(self._saved)

    def _report(self, trainer: Any, outputs: Any, batch: Any) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        metrics = {name[:64]: plain(value) for name, value in sorted(trainer.callback_metrics.items())[:28]}
        metrics.pop("loss", None)
        metrics |= {"last_step": self._end - self._base, "learning_rate": trainer.optimizers[0].param_groups[0]["lr"]}
        self.run.report(loss=None if loss is None else plain(loss), tokens=self._count(batch), **metrics)


class Resumable:
    """A loader that remembers how many batches it gave and from which random numbers it began, and goes on from there.

    The batches that were given already are drawn again and dropped, so that samplers and datasets with random numbers
    go the same way; then the random numbers are what they were when the checkpoint was written.
    """

    def __init__(self, loader: Any) -> None:
        try:
            self._length = len(loader)
        except TypeError:
            raise refused("a loader without a length", "give the dataset a length, or the loader one") from None
        self.wrapped = loader
        self._given = 0
        self._began: dict[str, Any] | None = None
        self._resume: dict[str, Any] | None = None

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        # A generator: random numbers are set when the first batch is asked for, after all that a trainer does before.
        before, self._resume = self._resume, None
        skip = int(before["given"]) if before else 0
        if before:
            set_random_state(before["began"] if skip else before["now"])
        self._began, self._given = random_state(), skip
        for number, batch in enumerate(self.wrapped):
            if number < skip:
                continue
            if before and number == skip and skip:
                set_random_state(before["now"])
            self._given = number + 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Where it stands. After the last batch of an epoch that is the beginning of the next."""
        given = self._given % max(1, self._length)
        return {"given": given, "began": self._began or random_state(), "now": random_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._resume = state


def random_state() -> dict[str, Any]:
    """Of torch on every device, NumPy and Python; as plain values and tensors, which need no unrestricted unpickler."""
    name, keys, place, has_gauss, gauss = numpy.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [
            str(name),
            torch.from_numpy(numpy.asarray(keys).astype("int64")),
            int(place),
            int(has_gauss),
            float(gauss),
        ],
        "python": random.getstate(),
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    numpy.random.set_state((name, keys.numpy().astype("uint32"), *rest))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))


def check_trainer(trainer: Any, work: Path) -> None:
    """Raises LoopError for what a tenth could not end with, or not be gone on from."""
    if trainer.checkpoint_callbacks:
        raise refused("the trainer writes checkpoints of its own", "give enable_checkpointing=False: a gate makes one")
    if trainer.loggers and work.resolve() not in Path(trainer.default_root_dir).resolve().parents:
        raise refused(
            f"a logger that writes to {trainer.default_root_dir}",
            'give logger=False, or default_root_dir=run.work / "trainer"',
        )
    if trainer.world_size > 1:
        raise refused(f"{trainer.world_size} processes", "use one process: this adapter speaks for one")
    if len(trainer.optimizers) != 1:
        raise refused(f"{len(trainer.optimizers)} optimizers", "use one: steps are counted by it")


def count_tokens(batch: Any) -> int:
    """Elements of `input_ids`, or of the first tensor of whole numbers."""
    if isinstance(batch, Mapping):
        batch = batch.get("input_ids", list(batch.values()))
    if isinstance(batch, torch.Tensor):
        return batch.numel() if not batch.is_floating_point() else 0
    return next((count_tokens(one) for one in batch), 0) if isinstance(batch, list | tuple) else 0


def plain(value: Any) -> Any:
    """A number where reading it costs nothing; a tensor of another device is left to whoever needs it."""
    if isinstance(value, torch.Tensor) and value.device.type == "cpu":
        return float(value.detach())
    return value
