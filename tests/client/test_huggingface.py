"""The Hugging Face adapter: any tenths give the weights of one piece, and what cannot be exact is refused."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from client.fake_supervisor import FakeSupervisor, write_listing
from tenth.client import LoopError, Run
from tenth.client.adapter import steps_per_epoch
from tenth.client.huggingface import TenthCallback

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RECIPE = "width = 16\ndropout = 0.1\ncontext = 32\nbatch = 4\nlearning_rate = 3e-3\nwarmup = 2\n"


def example(name: str, file: str = "train") -> ModuleType:
    """A module of an example, whose folders are no packages."""
    spec = importlib.util.spec_from_file_location(f"{name}_{file}", EXAMPLES / name / f"{file}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def documents(name: str, count: int) -> str:
    if name == "huggingface_trainer":
        return "All work and no play makes Jack a dull boy.\n" * count
    return "".join(json.dumps(row) + "\n" for row in example(name, "make_data").rows(count))


def supervisor(folder: Path, text: str, **options: Any) -> FakeSupervisor:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "one.jsonl").write_text(text)
    (folder / "recipe.toml").write_text(RECIPE)
    listing = write_listing(folder / "data", folder / "list")
    return FakeSupervisor(folder, folder / "recipe.toml", listing, folder / "data", **options)


def learned(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Optimizer's memory and weights of a trainer's checkpoint; nothing in it needs an unrestricted unpickler."""
    memory = torch.load(folder / "optimizer.pt", weights_only=True)
    for name in ("scheduler.pt", "optimizer.pt"):
        torch.load(folder / name, weights_only=True)
    assert not (folder / "training_args.bin").exists()
    return memory["state"], (folder / "model.safetensors").read_bytes()


def assert_same(one: Path, other: Path) -> None:
    (memory, weights), (memory_2, weights_2) = learned(one), learned(other)
    assert weights == weights_2
    assert memory.keys() == memory_2.keys()
    for number, tensors in memory.items():
        assert all(torch.equal(value, memory_2[number][name]) for name, value in tensors.items())


@pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)  # TRL asks transformers so
@pytest.mark.parametrize(
    ("name", "count"), [("huggingface_trainer", 18), ("trl_sft", 36), ("trl_dpo", 24), ("trl_grpo", 8)]
)
def test_three_tenths_give_the_weights_of_one(name: str, count: int, tmp_path: Path) -> None:
    """With shuffled data, dropout, a schedule over the whole phase, and samples shown in one of the two runs."""
    train: Callable[[Run], None] = example(name).train
    whole = supervisor(tmp_path / "whole", documents(name, count), of=1)
    parts = supervisor(tmp_path / "parts", documents(name, count), of=3, samples_per_minute=1e6, prompts=("All ", ""))
    whole.in_this_process(train)
    outcomes = [parts.in_this_process(train) for _ in range(3)]
    assert whole.resume is not None
    assert parts.resume is not None
    assert_same(whole.resume, parts.resume)

    steps = [outcome.of("done")[0]["position"]["step"] for outcome in outcomes]
    assert steps == sorted(set(steps))
    assert steps == [-(-steps[-1] * tenth // 3) for tenth in (1, 2, 3)]
    for outcome, step in zip(outcomes, steps, strict=True):
        last = outcome.of("progress")[-1]
        assert last["step"] == last["metrics"]["last_step"] == step
        assert isinstance(last["loss"], float)
        assert {"learning_rate", "grad_norm"} <= last["metrics"].keys()
        assert last["tokens"] > 0
        assert {sample["prompt"] for sample in outcome.of("sample")} == {"All ", ""}
    rows = [json.loads(line) for line in (parts.work / "metrics.jsonl").read_text().splitlines()]
    losses = {(row["gate"], row["step"]) for row in rows if "loss" in row["values"]}
    assert sorted(step for _, step in losses) == list(range(1, steps[-1] + 1))  # every step, though frames are fewer


def test_two_epochs_in_tenths_equal_a_trainer_that_never_heard_of_tenth(tmp_path: Path) -> None:
    text = documents("huggingface_trainer", 12)
    module = example("huggingface_trainer")
    run = supervisor(tmp_path / "run", text, of=2, epochs=2)
    for _ in range(4):
        run.in_this_process(module.train)
    assert run.resume is not None

    alone: list[Trainer] = []

    class Kept(TrainerCallback):  # type: ignore[misc]
        resume_from = None

        def __init__(self, run: Any) -> None: ...

    def kept_trainer(*arguments: Any, **options: Any) -> Trainer:
        alone.append(Trainer(*arguments, **options))
        return alone[0]

    module.TenthCallback, module.Trainer = Kept, kept_trainer
    free = supervisor(tmp_path / "free", text, of=1, epochs=2)
    free.in_this_process(module.train)
    alone[0].save_model(str(tmp_path / "end"))
    assert alone[0].state.global_step == json.loads((run.resume / "trainer_state.json").read_text())["global_step"]
    assert (tmp_path / "end" / "model.safetensors").read_bytes() == (run.resume / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("options", "found", "do"),
    [
        ({"save_strategy": "steps"}, "save_strategy is 'steps'", 'save_strategy="no"'),
        ({"save_strategy": "epoch"}, "save_strategy is 'epoch'", 'save_strategy="no"'),
        ({"ignore_data_skip": True}, "ignore_data_skip", "same data again"),
        ({"save_only_model": True}, "save_only_model", "could not go on"),
        ({"auto_find_batch_size": True}, "auto_find_batch_size", "how long"),
        ({"output_dir": "/var/elsewhere"}, "/var/elsewhere", "run.work"),
        ({"num_train_epochs": 3}, "3 times", "run.lease.epochs times"),
        ({"max_steps": 1000}, "times through its data", "run.lease.epochs times"),
    ],
)
def test_arguments_that_cannot_stop_at_a_gate_are_refused(
    options: dict[str, Any], found: str, do: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = refusal(tmp_path, monkeypatch, lambda given: TrainingArguments(**{**given, **options}))
    assert found in error.found
    assert do in error.do


def test_the_best_model_is_not_loaded_at_a_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def arguments(given: dict[str, Any]) -> TrainingArguments:
        made = TrainingArguments(**given, metric_for_best_model="loss")
        made.load_best_model_at_end = True  # the library itself asks for a save strategy with it, which comes first
        return made

    assert "load_best_model_at_end" in refusal(tmp_path, monkeypatch, arguments).found


def refusal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: Callable[[dict[str, Any]], TrainingArguments],
    callbacks: tuple[TrainerCallback, ...] = (), tenths: int = 1,
) -> LoopError:  # fmt: skip
    """What the example is told with other arguments or more callbacks, at its last tenth."""
    module = example("huggingface_trainer")
    run = supervisor(folder, documents("huggingface_trainer", 12), of=2)
    for _ in range(tenths - 1):
        run.in_this_process(module.train)
    monkeypatch.setattr(module, "TrainingArguments", lambda **given: arguments(given), raising=True)

    def with_more(*given: Any, **options: Any) -> Trainer:
        return Trainer(*given, **{**options, "callbacks": [*options["callbacks"], *callbacks]})

    monkeypatch.setattr(module, "Trainer", with_more)
    with pytest.raises(LoopError) as caught:
        run.in_this_process(module.train)
    return caught.value


def test_a_trainer_that_begins_elsewhere_than_the_lease_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TenthCallback, "resume_from", None)
    error = refusal(tmp_path, monkeypatch, lambda given: TrainingArguments(**given), tenths=2)
    assert "begin at step 0, the lease at step" in error.found
    assert "resume_from_checkpoint" in error.do


def test_a_trainer_that_goes_past_its_tenth_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = False

    error = refusal(tmp_path, monkeypatch, lambda given: TrainingArguments(**given), (Stubborn(),))
    assert "its tenth ended" in error.found
    assert "should_training_stop" in error.do


def test_a_trainer_that_stops_early_has_no_checkpoint_to_hand_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Early(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = True

    error = refusal(tmp_path, monkeypatch, lambda given: TrainingArguments(**given), (Early(),))
    assert "stopped at step 1 of" in error.found


def test_the_length_of_an_epoch_must_be_known_and_be_the_charters() -> None:
    unknown = 2**63 - 1  # passes, as the trainer counts them for a stream
    assert steps_per_epoch(30, 3, 3) == 10
    assert steps_per_epoch(30, unknown, 3) == 10
    for total, passes, epochs in ((0, 1, 1), (-1, unknown, 1), (30, 2, 3), (31, unknown, 3)):
        with pytest.raises(LoopError):
            steps_per_epoch(total, passes, epochs)


def test_a_new_phase_begins_a_new_trainer(tmp_path: Path) -> None:
    run = supervisor(tmp_path, documents("huggingface_trainer", 12), of=2)
    run.in_this_process(example("huggingface_trainer").train)
    found = []
    run.in_this_process(lambda one: found.append(TenthCallback(one).resume_from))
    run.tenth, run.position = 1, None  # the checkpoint is that of the phase before
    run.in_this_process(lambda one: found.append(TenthCallback(one).resume_from))
    assert found == [str(run.resume), None]
