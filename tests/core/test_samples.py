"""Is what the log says of a shard true, whatever the disk does?"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core.live import PYTHON, Live, machines
from tenth.encoding import digest_file
from tenth.supervisor.samples import Shards

SAMPLE = {"step": 1, "prompt": "def ", "text": "f(): pass"}


def test_a_shard_is_recorded_with_what_it_holds(tmp_path: Path) -> None:
    shards = Shards(tmp_path)
    assert shards.close() == []
    for _ in range(3):
        shards.add(SAMPLE)
    ((event, body),) = shards.close()
    path = tmp_path / "000001.jsonl"
    assert event == "sampled"
    assert body == {"path": "samples/000001.jsonl", "sha256": digest_file(path), "count": 3}
    assert len(path.read_bytes().splitlines()) == 3


def test_a_shard_that_could_not_be_written_whole_stays_outside_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards, real = Shards(tmp_path), os.write
    shards.add(SAMPLE)

    def fail(file: int, data: bytes) -> int:
        if len(data) > 20:
            return real(file, data[:20])
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(OSError, match="broken"):
        shards.add(SAMPLE)
    monkeypatch.undo()
    assert shards.close() == [], "its last line is torn"
    shards.add(SAMPLE)
    ((_, body),) = shards.close()
    assert (body["path"], body["count"]) == ("samples/000002.jsonl", 1)


def test_a_shard_that_was_not_made_durable_stays_outside_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_file: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    shards = Shards(tmp_path)
    shards.add(SAMPLE)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        shards.close()
    monkeypatch.undo()
    assert shards.close() == [], "a second fsync would say that all is well"


@pytest.mark.parametrize("machine", machines())
def test_evidence_reads_the_record_and_no_key(live: Callable[..., Live], machine: str) -> None:
    """Which samples there were, what people said, what earlier gates found: none of it is the supervisor's alone."""
    run = live(machine=machine, evidence=[("read", [PYTHON, "code/panel.py", "read"])], env={"STEPS": 10}).begin()
    (run.path / "reviews.jsonl").write_text("")
    run.start()
    run.consent()
    run.until("GATE", gate=1)
    found = json.loads((run.path / "gates/01/evidence/read/summary.json").read_text())
    assert [name for name, seen in found.items() if seen] == list(found)[:4]
