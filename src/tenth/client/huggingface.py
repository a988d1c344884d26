"""A Hugging Face `Trainer`, or any of TRL's that is made of it, under the law: one callback.

    with tenth.attach() as run:
        gate = TenthCallback(run)
        args = TrainingArguments(output_dir=run.work / "trainer", save_strategy="no", ...)
        trainer = Trainer(model, args, ..., callbacks=[gate])
        trainer.train(resume_from_checkpoint=gate.resume_from)

The trainer keeps its own loop, schedule and checkpoint. At the tenth's last step it is told to save and to stop, and
what it saved is handed over. docs/adapters.md says what is exact.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from .adapter import quiet, refused, steps_per_epoch
from .errors import LoopError
from .run import Run

REPORTED_APART = frozenset({"loss", "epoch", "total_flos", "num_input_tokens_seen", "num_tokens", "train_runtime"})
"""Keys of the trainer's logs that are no metrics of a step."""
END_OF_TRAINING = "train_loss"
"""In the trainer's last log, which sums up and describes no step."""


class TenthCallback(TrainerCallback):  # type: ignore[misc]
    """Stops the trainer where the tenth ends and hands over its checkpoint; reports claims; shows samples."""

    def __init__(self, run: Run, sample_tokens: int = 48, temperature: float = 0.8) -> None:
        """`sample_tokens` new tokens follow each prompt, drawn at `temperature` (0: the likeliest)."""
        self.run = run
        self.sample_tokens = sample_tokens
        self.temperature = temperature
        self._base = 0  # steps of the epochs before this one
        self._end = 0  # in the trainer's count
        self._tokens = 0.0
        self._flop = 0.0
        self._folder: Path | None = None
        self._mute = False

    @property
    def resume_from(self) -> str | None:
        """For `trainer.train(resume_from_checkpoint=...)`: None at the first tenth of a phase, whose trainer is new.

        A phase that goes on from the weights of the one before it loads them from `run.resume_from`.
        """
        lease = self.run.lease
        return None if lease.resume is None or (lease.epoch, lease.tenth) == (1, 1) else str(lease.resume)

    # --- what the trainer calls ---------------------------------------------------------------------------------------

    def on_init_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        check_arguments(args, self.run.work)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        check_arguments(args, self.run.work)
        lease = self.run.lease
        per_epoch = steps_per_epoch(int(state.max_steps or 0), int(state.num_train_epochs or 0), lease.epochs)
        self._base = (lease.epoch - 1) * per_epoch
        self._end = self._base + self.run.last_step(per_epoch)
        wanted = self._base + self.run.position
        if state.global_step != wanted:
            raise LoopError(
                "Training was refused.",
                f"the trainer would begin at step {state.global_step}, the lease at step {wanted}",
                "call trainer.train(resume_from_checkpoint=callback.resume_from)",
            )
        self._tokens = float(state.num_input_tokens_seen or 0)
        self._flop = float(state.total_flos or 0)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        if state.global_step >= self._end:
            raise LoopError(
                "Training was stopped.", f"the trainer goes on at step {state.global_step}; its tenth ended at "
                f"step {self._end}", "let no other callback take back control.should_training_stop",
            )  # fmt: skip

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self.run.advance()
        self._report(state, {})
        if self.run.wants_samples:
            self._show(kwargs.get("model"), kwargs.get("processing_class"), state.global_step)
        if state.global_step >= self._end:
            control.should_log = control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:  # noqa: ARG002
        if not logs or END_OF_TRAINING in logs:
            return
        numbers = {name: float(value) for name, value in logs.items() if isinstance(value, int | float)}
        kept = {name[:64]: value for name, value in numbers.items() if name not in REPORTED_APART}
        self._report(state, kept, numbers.get("loss"), numbers.get("num_tokens"))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        if state.global_step == self._end:
            self._folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            # The one file of it that only an unrestricted unpickler reads; the trainer never reads it.
            (self._folder / "training_args.bin").unlink(missing_ok=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        if self._folder is None or state.global_step != self._end:
            raise LoopError(
                "The tenth did not reach its end.",
                f"the trainer stopped at step {state.global_step} of {self._end}",
                "let nothing else stop it: whether to stop early is decided at gates",
            )
        self.run.checkpoint(self._folder)

    # --- what goes up -------------------------------------------------------------------------------------------------

    def _report(
        self, state: Any, metrics: dict[str, float], loss: float | None = None, tokens: float | None = None
    ) -> None:
        """`tokens` is a total since this process began; without it the trainer's own count serves, if it counts."""
        seen = float(state.num_input_tokens_seen or 0) if tokens is None else max(tokens, self._tokens)
        flop = float(state.total_flos or 0)
        kept = dict(sorted(metrics.items())[:28])  # a frame holds 32
        self.run.report(
            loss=loss, tokens=max(0.0, seen - self._tokens), flop=max(0.0, flop - self._flop),
            last_step=self._end - self._base, **kept,
        )  # fmt: skip
        self._tokens, self._flop = max(seen, self._tokens), max(flop, self._flop)

    def _show(self, model: Any, tokenizer: Any, step: int) -> None:
        """A round of samples, which changes neither the model nor any random number of the training."""
        if self._mute or not hasattr(model, "generate") or not callable(tokenizer):
            if not self._mute:
                print("no samples: give the trainer a model that generates and its processing_class", flush=True)
            self._mute = True
            return
        prompts = list(self.run.prompts) or [""]
        for prompt, text in zip(prompts, self._texts(model, tokenizer, prompts, step), strict=True):
            self.run.sample(prompt, text, self.temperature)

    def _texts(self, model: Any, tokenizer: Any, prompts: list[str], step: int) -> list[str]:
        import torch

        texts = []
        drawn = {"do_sample": True, "temperature": self.temperature} if self.temperature > 0 else {"do_sample": False}
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        end = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        with quiet(model, self.run.lease.seed + step):
            for prompt in prompts:
                ids = tokenizer(prompt, return_tensors="pt")["input_ids"].long()
                if not ids.shape[-1]:
                    ids = torch.tensor([[start or 0]])
                ids = ids.to(model.device)
                out = model.generate(
                    input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=self.sample_tokens,
                    pad_token_id=end, **drawn,
                )  # fmt: skip
                texts.append(tokenizer.decode(out[0, ids.shape[-1] :], skip_special_tokens=True))
        return texts


def check_arguments(args: Any, work: Path) -> None:
    """Raises LoopError for an argument of the trainer with which a tenth could not end, or not be gone on from."""
    folder = Path(args.output_dir).resolve()
    if work.resolve() not in folder.parents:
        raise refused(f"output_dir is {args.output_dir}", f'give output_dir=run.work / "trainer": {work} is writable')
    if str(getattr(args.save_strategy, "value", args.save_strategy)) != "no":
        raise refused(
            f"save_strategy is {getattr(args.save_strategy, 'value', args.save_strategy)!r}",
            'give save_strategy="no": the checkpoint is made where the tenth ends',
        )
    for name, why in (
        (
            "load_best_model_at_end",
            "the next tenth goes on from the last step; people decide which is best",
        ),
        ("save_only_model", "without the optimizer's memory the next tenth could not go on"),
        ("ignore_data_skip", "a resumed trainer would read the same data again"),
        ("auto_find_batch_size", "the batch size fixes how long an epoch is"),
        ("push_to_hub", "the quarantine has no network"),
    ):
        if getattr(args, name, False):
            raise refused(f"{name} is set", f"leave it out: {why}")
    if int(args.world_size) > 1:
        raise refused(f"{args.world_size} processes", "use one process: this adapter speaks for one")
