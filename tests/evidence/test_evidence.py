"""Evidence commands: they read a sealed folder and write a summary for people and details for machines."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from client.fake_supervisor import SOURCE, FakeSupervisor, write_listing
from evidence.written_run import WrittenRun
from tenth.evidence import bpb, completions
from tenth.evidence.__main__ import main
from tenth.evidence.bpb import Score, paired_difference, score, totals
from tenth.evidence.sealed import Sealed, held_out_texts
from tenth.trainer import tokenizer
from tenth.trainer.checkpoint import load_model
from tenth.trainer.errors import CheckpointError


@pytest.fixture
def sealed(run: FakeSupervisor, tmp_path: Path) -> Sealed:
    assert run.resume is not None
    return Sealed(
        run="r", gate=2, checkpoint=run.resume, previous=run.run / "checkpoints" / "01", data=run.data, root=run.root,
        recipe=run.recipe, work=run.work, prompts=("line ", "\x1b]0;x\x07"), out=tmp_path,
    )  # fmt: skip


def summary(sealed: Sealed) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((sealed.out / "summary.json").read_text())
    assert loaded["headline"].count("\n") == 0
    assert all(math.isfinite(value) for value in loaded["metrics"].values())
    return loaded


def test_bits_per_byte_fall_and_the_difference_has_an_error(sealed: Sealed) -> None:
    bpb.main(sealed)
    metrics = summary(sealed)["metrics"]
    assert 0 < metrics["bits_per_byte"] < metrics["previous_bits_per_byte"] < 8
    assert metrics["change"] == pytest.approx(metrics["bits_per_byte"] - metrics["previous_bits_per_byte"])
    assert metrics["change_error"] > 0
    rows = json.loads((sealed.out / "documents.json").read_text())
    assert len(rows) == metrics["documents"]
    assert sum(row["bytes"] for row in rows) == metrics["bytes"]


def test_a_score_is_the_loss_computed_plainly(sealed: Sealed) -> None:
    assert sealed.checkpoint is not None
    texts = held_out_texts(sealed, sealed.checkpoint, 200, 2)
    model, text = load_model(sealed.checkpoint), tokenizer.from_file(sealed.checkpoint / "tokenizer.json")
    for (_, content), got in zip(texts, score(sealed.checkpoint, texts), strict=True):
        ids = [text.separator, *text.encode([content])[0]]
        nats = 0.0
        for at in range(0, len(ids) - 1, model.shape.context - 1):
            window = torch.tensor([ids[at : at + model.shape.context]])
            logits = model.logits(model(window[:, :-1]))
            nats += float(torch.nn.functional.cross_entropy(logits[0], window[0, 1:], reduction="sum").detach())
        assert got.nats == pytest.approx(nats, rel=0.01)  # bfloat16 where the processor has it
        assert got.bytes == len(content.encode())


def test_the_paired_difference_of_equal_scores_is_nothing() -> None:
    scores = [Score("a", 10, 5, 3.0), Score("b", 30, 9, 8.0)]
    assert paired_difference(scores, scores) == (0.0, 0.0)
    assert totals(scores)["bits_per_byte"] == pytest.approx(11.0 / math.log(2) / 40)
    better = [Score("a", 10, 5, 2.0), Score("b", 30, 9, 5.0)]  # one bit a byte less in proportion: no spread
    change, error = paired_difference(better, scores)
    assert change == pytest.approx(-4 / math.log(2) / 40)
    assert error == pytest.approx(0.0, abs=1e-12)


def test_completions_stand_side_by_side_with_the_truth(sealed: Sealed) -> None:
    completions.main(sealed)
    assert summary(sealed)["metrics"]["prompts"] > 2
    rows = json.loads((sealed.out / "completions.json").read_text())
    assert rows[0]["prompt"] == "line "
    assert {"greedy", "sampled", "previous_greedy", "previous_sampled"} <= rows[0].keys()
    document = rows[-1]
    assert (document["prompt"] + document["truth"]) in (sealed.root / document["source"]).read_text()
    completions.main(sealed)
    assert json.loads((sealed.out / "completions.json").read_text()) == rows


@pytest.mark.parametrize(("command", "file"), [(bpb.main, "documents.json"), (completions.main, "completions.json")])
def test_what_the_previous_checkpoint_came_to_is_taken_from_its_own_gate(
    sealed: Sealed, tmp_path: Path, command: Callable[[Sealed], None], file: str
) -> None:
    record = WrittenRun(tmp_path / "record")
    first = replace(sealed, gate=1, checkpoint=sealed.previous, previous=None, out=record.gathering(1, "panel").out)
    command(sealed)
    asked_anew = json.loads((sealed.out / file).read_text())
    command(first)
    record.seal(first)
    nowhere = replace(sealed, previous=tmp_path / "nowhere", out=record.gathering(2, "panel").out)
    command(nowhere)
    assert json.loads((nowhere.out / file).read_text()) == asked_anew
    (first.out / file).write_text("[]")
    with pytest.raises(CheckpointError):
        command(nowhere)


@pytest.mark.parametrize("command", [bpb.main, completions.main])
def test_gate_0_has_nothing_to_measure_and_gate_1_nothing_to_compare(
    sealed: Sealed, command: Callable[[Sealed], None]
) -> None:
    command(Sealed(**(vars(sealed) | {"checkpoint": None, "previous": None})))
    assert "No checkpoint yet" in summary(sealed)["headline"]
    command(Sealed(**(vars(sealed) | {"previous": None})))
    assert "since" not in summary(sealed)["headline"]


def test_excluded_documents_are_not_read(sealed: Sealed) -> None:
    assert sealed.checkpoint is not None
    before = [d.path for d, _ in held_out_texts(sealed, sealed.checkpoint, 100, 99)]
    listing = write_listing(sealed.root, sealed.out / "list", leave_out=before[:1])
    after = Sealed(**(vars(sealed) | {"data": listing}))
    assert [d.path for d, _ in held_out_texts(after, sealed.checkpoint, 100, 99)] == before[1:]


def test_the_command_reads_its_environment_and_writes_only_its_folder(sealed: Sealed, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    given = {key: str(value) if isinstance(value, Path) else value for key, value in vars(sealed).items()}
    (tmp_path / "sealed.json").write_text(json.dumps({k: v for k, v in given.items() if k != "out"}))
    environment = os.environ | {"TENTH_SEALED": str(tmp_path / "sealed.json"), "TENTH_OUT": str(out)}
    done = subprocess.run(
        [sys.executable, "-m", "tenth.evidence", "bpb"], env=environment | {"PYTHONPATH": str(SOURCE)},
        capture_output=True, text=True, cwd=sealed.root,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {p.name for p in out.iterdir()} == {"summary.json", "documents.json"}


def test_without_a_supervisor_there_is_no_evidence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TENTH_SEALED", raising=False)
    assert main(["bpb"]) == 1
    assert "found:" in capsys.readouterr().err
