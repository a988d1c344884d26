"""The plain example under a real supervisor: gates, a pull, and the weights of a loop that nobody stopped.

Each lease is a process that imports torch, and torch's compiler with the first optimizer: about two seconds of
processor time for a fifth of a second's training. So ten tenths are trained in this process, which has torch already,
and compared with one; three of them, with a pull, are trained by processes under a supervisor, and compared with those.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from client.fake_supervisor import FakeSupervisor, write_listing
from client.test_huggingface import example
from core.live import PYTHON, Live

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "plain_pytorch"
TEXT = "All work and no play makes Jack a dull boy.\n" * 40
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def _one_thread() -> object:
    """As the processes under the supervisor have: sums in another order differ in their last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def in_tenths(folder: Path, of: int) -> list[bytes]:
    """The weights after each tenth, trained without a supervisor."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "dull.txt").write_text(TEXT)
    listing = write_listing(folder / "data", folder / "list")
    alone = FakeSupervisor(folder, EXAMPLE / "recipe.toml", listing, folder / "data", of=of)
    weights = []
    for _ in range(of):
        alone.in_this_process(example("plain_pytorch").train)
        assert alone.resume is not None
        weights.append((alone.resume / "model.safetensors").read_bytes())
    return weights


@pytest.mark.usefixtures("_one_thread")
def test_a_plain_pytorch_loop(live: Callable[..., Live], tmp_path: Path) -> None:
    run = live(command=[PYTHON, str(EXAMPLE / "train.py")], env=ENVIRONMENT)
    run.documents = {"dull.txt": TEXT}
    run.recipe = (EXAMPLE / "recipe.toml").read_text()
    run.start()
    run.run_to("RUNNING", gate=1)
    assert run.pull()["ok"]
    run.run_to("GATE", gate=3)

    tenths = in_tenths(tmp_path / "tenths", 10)
    assert len(set(tenths)) == 10
    assert in_tenths(tmp_path / "whole", 1) == tenths[-1:]  # promise 11
    for gate in (1, 2, 3):
        assert (run.path / "checkpoints" / f"{gate:02}" / "model.safetensors").read_bytes() == tenths[gate - 1]
