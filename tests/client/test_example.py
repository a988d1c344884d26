"""The plain PyTorch example, run as it stands: interrupted equals uninterrupted for other people's loops too."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from client.fake_supervisor import FakeSupervisor, write_listing

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "plain_pytorch"


def test_six_lines_are_enough(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "folder")
    root = tmp_path / "folder"
    (root / "data").mkdir()
    (root / "data" / "a.txt").write_text("All work and no play makes Jack a dull boy.\n" * 12)
    weights = []
    for of in (1, 2):
        run = tmp_path / f"run-{of}"
        run.mkdir()
        listing = write_listing(root / "data", run / "list")
        environment = {"OMP_NUM_THREADS": "1"}
        supervisor = FakeSupervisor(run, root / "recipe.toml", listing, root / "data", of=of, environment=environment)
        for _ in range(of):
            outcome = supervisor.one_tenth([sys.executable, str(root / "train.py")])
            assert outcome.status == 0, outcome.output
        assert supervisor.resume is not None
        weights.append((supervisor.resume / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert outcome.of("progress")[-1]["loss"] < 5.5
