"""Is what the vault has done still done when the power goes?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from faults.disk import Disk
from tenth import cipher
from tenth.supervisor.vault import Vault


@pytest.fixture
def cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Vault], object]], Path]:
    """Let a vault do something, then lose what was not synced; the folder of the run."""
    path = tmp_path / "run"
    (path / ".open" / "10").mkdir(parents=True)
    (path / ".open" / "10" / "state").write_text("weights")
    (path / "checkpoints").mkdir()
    seal = SimpleNamespace(checkpoints=True, escrow=None)
    history: Any = SimpleNamespace(charter=SimpleNamespace(seal=seal), checkpoint={"path": "checkpoints/10"})
    history.sealed_checkpoint = {"path": "checkpoints/10.sealed"}
    run: Any = SimpleNamespace(path=path, key=lambda: None)

    def lose(act: Callable[[Vault], object]) -> Path:
        disk, real = Disk(str(path)), os.fsync

        def fsync(file: int) -> None:
            real(file)
            disk.synced(f"/proc/self/fd/{file}")

        monkeypatch.setattr(os, "fsync", fsync)
        act(Vault(run, history))
        disk.lose(str(tmp_path / "lost"))
        return path

    return lose


def test_a_released_checkpoint_stays_released(cut: Callable[..., Path]) -> None:
    path = cut(Vault.release)
    assert (path / "checkpoints" / "10" / "state").read_text() == "weights"


def test_a_share_that_came_with_a_consent_is_kept(cut: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cipher, "take_in", lambda *_: b"")
    monkeypatch.setattr(Vault, "_shares", lambda _self: {})
    path = cut(lambda vault: vault.accept("ada", "her share"))
    assert (path / "shares" / "ada").read_text() == "her share"
