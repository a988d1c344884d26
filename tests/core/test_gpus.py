"""Accelerators as granted, with files in place of their nodes: what is seen, what it costs, and who goes without.

No device was at hand when this was written: nothing here says that a real one computes in the quarantine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.live import Live, machines


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    """As a machine with three accelerators has them."""
    folder = tmp_path / "dev"
    folder.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (folder / name).touch()
    return folder


def trained(live: Callable[..., Live], nodes: Path, **more: Any) -> Live:
    env = {"NODES": nodes, **more.pop("env", {})}
    return live(trainer="gpu.py", gpus=[1], devices=nodes, env=env, **more).start()


def seen(run: Live) -> list[str]:
    lines = (run.path / run.last("sampled")["path"]).read_text().splitlines()
    return str(json.loads(lines[0])["text"]).split()


@pytest.mark.parametrize("machine", machines())
def test_a_trainer_sees_what_it_was_granted_and_no_other(live: Callable[..., Live], nodes: Path, machine: str) -> None:
    run = trained(live, nodes, machine=machine, env={"OPEN": "nvidia1", "PAUSE": 0.1, "STEPS": 20})
    began = time.monotonic()
    run.run_to("GATE", gate=1)
    most = time.monotonic() - began
    if "bwrap" in machine:
        assert seen(run) == ["nvidia-uvm", "nvidia1", "nvidiactl"]
    spent = run.status()["spent"]["device_seconds"]
    assert 2.0 <= spent <= 3 * most  # the device, two seconds and more, and what the processors did


@pytest.mark.parametrize("machine", [one for one in machines() if "bwrap" not in one])
def test_without_namespaces_another_device_cannot_be_opened(
    live: Callable[..., Live], nodes: Path, machine: str
) -> None:
    run = trained(live, nodes, machine=machine, env={"OPEN": "nvidia0"})
    run.consent()
    run.until("HALTED")
    assert run.last("tripped")["reason"] == "crash"
    assert "Permission denied" in (run.path / "trainer.log").read_text()


def test_a_silent_fall_back_to_the_processor_trips(live: Callable[..., Live], nodes: Path) -> None:
    run = trained(live, nodes, env={"PAUSE": 0.05, "STEPS": 4000})
    run.consent()
    run.until("HALTED")
    assert run.last("tripped")["reason"] == "claim"
    assert "without any" in run.last("tripped")["detail"]


def test_a_frozen_device_costs_nothing(live: Callable[..., Live], nodes: Path) -> None:
    run = trained(live, nodes, env={"OPEN": "nvidia1", "PAUSE": 0.05, "STEPS": 4000})
    run.consent()
    run.until("RUNNING")
    time.sleep(1)
    run.pull()
    before = run.status()["spent"]["device_seconds"]
    assert before >= 1
    time.sleep(1)
    assert run.status()["spent"]["device_seconds"] == before


def test_what_the_machine_lacks_is_not_granted(live: Callable[..., Live], nodes: Path) -> None:
    (nodes / "nvidia1").unlink()
    run = live(trainer="gpu.py", gpus=[1], devices=nodes).begin()
    run.start(answer=False)
    assert run.ended() == 1
    assert "nvidia1: not on this machine" in run.said()
