"""The Lightning adapter: any tenths give the weights of one piece, and what cannot be exact is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from client.fake_supervisor import FakeSupervisor
from client.test_huggingface import example, supervisor
from tenth.client import LoopError, Run
from tenth.client.lightning import Resumable, TenthCallback, count_tokens

pytestmark = [
    # Lightning's own use of torch, and its advice to use more worker processes for data of a few kilobytes.
    pytest.mark.filterwarnings("ignore:.*treespec.*is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
]
TEXT = "All work and no play makes Jack a dull boy.\n"


def trained(folder: Path) -> tuple[dict[str, Tensor], Any]:
    """Weights and optimizer's memory; nothing in the file needs an unrestricted unpickler."""
    checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
    return checkpoint["state_dict"], checkpoint["optimizer_states"][0]["state"]


def assert_same(one: Path, other: Path) -> None:
    (weights, memory), (weights_2, memory_2) = trained(one), trained(other)
    assert weights.keys() == weights_2.keys()
    assert all(torch.equal(value, weights_2[name]) for name, value in weights.items())
    for number, tensors in memory.items():
        assert all(torch.equal(value, memory_2[number][name]) for name, value in tensors.items())


def test_three_tenths_give_the_weights_of_one(tmp_path: Path) -> None:
    """With shuffled data, dropout, a schedule over the whole phase, and samples shown in one of the two runs."""
    train = example("lightning").train
    whole = supervisor(tmp_path / "whole", TEXT * 30, of=1)
    parts = supervisor(tmp_path / "parts", TEXT * 30, of=3, samples_per_minute=1e6, prompts=("All ", ""))
    whole.in_this_process(train)
    outcomes = [parts.in_this_process(train) for _ in range(3)]
    assert whole.resume is not None
    assert parts.resume is not None
    assert_same(whole.resume, parts.resume)
    steps = [outcome.of("done")[0]["position"]["step"] for outcome in outcomes]
    assert steps == [-(-steps[-1] * tenth // 3) for tenth in (1, 2, 3)]
    for outcome, step in zip(outcomes, steps, strict=True):
        last = outcome.of("progress")[-1]
        assert last["step"] == last["metrics"]["last_step"] == step
        assert isinstance(last["loss"], float)
        assert last["tokens"] > 0
        assert {sample["prompt"] for sample in outcome.of("sample")} == {"All ", ""}


class Own(lightning.LightningModule):
    """Accumulates, and lowers the learning rate once an epoch: what a mid-epoch checkpoint could get wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(torch.nn.functional.dropout(batch, 0.2)).square().mean()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


def own_training(wrap: Callable[[Any], Any], **options: Any) -> tuple[lightning.Trainer, Own, Any]:
    torch.manual_seed(3)
    data = torch.randn(22, 4)
    trainer = lightning.Trainer(
        **{
            "max_epochs": 2, "accumulate_grad_batches": 2, "enable_checkpointing": False, "logger": False,
            "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, **options,
        }
    )  # fmt: skip
    return trainer, Own(), wrap(DataLoader(data, batch_size=2, shuffle=True))


def under_the_law(**options: Any) -> Callable[[Run], None]:
    def train(run: Run) -> None:
        gate = TenthCallback(run)
        wrap = options.pop("wrap", gate.loader)
        trainer, module, loader = own_training(wrap, **{"callbacks": [gate, *options.pop("more", [])], **options})
        trainer.fit(module, loader, ckpt_path=gate.resume_from, weights_only=True)

    return train


def test_two_epochs_in_tenths_equal_a_trainer_that_never_heard_of_tenth(tmp_path: Path) -> None:
    run = supervisor(tmp_path / "run", TEXT, of=2, epochs=2)
    for _ in range(4):
        run.in_this_process(under_the_law())
    assert run.resume is not None
    trainer, module, loader = own_training(lambda one: one)
    trainer.fit(module, loader)
    weights, _ = trained(run.resume)
    assert trainer.global_step == 12  # eleven batches an epoch, two to a step
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("options", "found", "do"),
    [
        ({"wrap": lambda loader: loader}, "cannot say where it stands", "callback.loader(loader)"),
        ({"enable_checkpointing": True}, "checkpoints of its own", "enable_checkpointing=False"),
        ({"max_epochs": 3}, "3 times", "run.lease.epochs times"),
        ({"max_epochs": -1}, "does not know its number of steps", "max_steps"),
        ({"min_epochs": 1}, "its tenth ended", "min_epochs"),
    ],
)
def test_what_cannot_stop_at_a_gate_is_refused(
    options: dict[str, Any], found: str, do: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run: FakeSupervisor = supervisor(tmp_path / "run", TEXT, of=2, epochs=1)
    with pytest.raises(LoopError) as caught:
        run.in_this_process(under_the_law(**{"max_epochs": 1, **options}))
    assert found in caught.value.found
    assert do in caught.value.do


def test_a_trainer_that_begins_elsewhere_than_the_lease_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = supervisor(tmp_path / "run", TEXT, of=2)
    run.in_this_process(under_the_law(max_epochs=1))
    monkeypatch.setattr(TenthCallback, "resume_from", None)
    with pytest.raises(LoopError, match="begin at step 0, the lease at step 3"):
        run.in_this_process(under_the_law(max_epochs=1))


def test_a_trainer_that_stops_early_has_no_checkpoint_to_hand_over(tmp_path: Path) -> None:
    class Early(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop = True

    with pytest.raises(LoopError, match="stopped at step"):
        supervisor(tmp_path / "run", TEXT, of=2).in_this_process(under_the_law(max_epochs=1, more=[Early()]))


def test_a_loader_goes_on_where_it_stood_with_the_same_random_numbers() -> None:
    def loader() -> Resumable:
        return Resumable(DataLoader(list(range(10)), batch_size=3, shuffle=True))

    torch.manual_seed(5)
    one = loader()
    whole = [(batch.tolist(), float(torch.rand(()))) for _ in range(2) for batch in one]
    for stop in range(1, 8):
        torch.manual_seed(5)
        two, seen = loader(), []
        batches = (batch for _ in range(2) for batch in two)
        for batch in batches:
            seen.append((batch.tolist(), float(torch.rand(()))))
            if len(seen) == stop:
                break
        state = two.state_dict()
        torch.manual_seed(99)  # another process
        three = loader()
        three.load_state_dict(state)
        left = [(batch.tolist(), float(torch.rand(()))) for _ in range(1 + (stop < 4)) for batch in three]
        assert seen + left == whole, stop


def test_tokens_are_counted_where_they_are() -> None:
    whole, real = torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3)
    assert count_tokens(whole) == count_tokens({"input_ids": whole}) == count_tokens([whole, whole]) == 6
    assert count_tokens(real) == count_tokens([]) == 0
