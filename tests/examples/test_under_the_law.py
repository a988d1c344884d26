"""The examples under a real supervisor: ten gates, a pull, and the weights of a loop that nobody stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from client.fake_supervisor import FakeSupervisor, write_listing
from core.live import PYTHON, Live

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "plain_pytorch"
TEXT = "All work and no play makes Jack a dull boy.\n" * 40
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


def test_a_plain_pytorch_loop(live: Callable[..., Live], tmp_path: Path) -> None:
    run = live(command=[PYTHON, str(EXAMPLE / "train.py")], env=ENVIRONMENT)
    run.documents = {"dull.txt": TEXT}
    run.recipe = (EXAMPLE / "recipe.toml").read_text()
    run.start()
    run.run_to("RUNNING", gate=1)
    assert run.pull()["ok"]
    run.finish()

    alone = tmp_path / "alone"
    (alone / "data").mkdir(parents=True)
    (alone / "data" / "dull.txt").write_text(TEXT)
    listing = write_listing(alone / "data", alone / "list")
    supervisor = FakeSupervisor(alone, run.root / "recipe.toml", listing, alone / "data", of=1, environment=ENVIRONMENT)
    outcome = supervisor.one_tenth([PYTHON, str(EXAMPLE / "train.py")])
    assert outcome.status == 0, outcome.output
    assert supervisor.resume is not None
    ends = [run.path / "checkpoints" / "10", supervisor.resume]
    assert ends[0] != ends[1]
    assert len({(end / "model.safetensors").read_bytes() for end in ends}) == 1  # promises 3 and 11
