"""The forecast at a gate: the next one is foretold here, scored there, and what nobody foresaw surprises the gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evidence.written_run import WrittenRun
from tenth.evidence import forecast
from tenth.evidence.sealed import EvidenceError

ASKED = "bpb.bits_per_byte"


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    return WrittenRun(tmp_path / "run")


def gate(run: WrittenRun, number: int, value: float, **options: Any) -> dict[str, Any]:
    """Another tenth is trained, another panel measures, then this one looks; returns its summary."""
    run.entry("reached", gate=number)
    sealed = run.gathering(number, "forecast")
    panel = sealed.out.parent / "bpb"
    panel.mkdir()
    (panel / "summary.json").write_text(json.dumps({"headline": "", "metrics": {"bits_per_byte": value}}))
    forecast.main(sealed, **options)
    return run.seal(sealed)


def test_a_gate_is_foretold_before_it_and_scored_beside_naive_forecasts(run: WrittenRun) -> None:
    assert "No forecast of this gate" in gate(run, 1, 3.0)["headline"]
    told = gate(run, 2, 2.6)["tables"][1]["rows"]
    summary = gate(run, 3, 2.4)
    rows = {row[1]: row for row in summary["tables"][0]["rows"]}
    assert set(rows) == {"automatic", "persistence", "extrapolation"}
    foretold = [rows["automatic"][3], rows["automatic"][2], rows["automatic"][4]]
    assert foretold == pytest.approx(told[0][1:]), "what is scored is what was sealed a gate ago"
    assert summary["metrics"][f"{ASKED}.automatic.crps"] < summary["metrics"][f"{ASKED}.persistence.crps"]
    assert "surprised" not in summary


@pytest.mark.parametrize(("value", "surprised"), [(2.31, None), (2.9, True), (1.2, True)])
def test_an_outcome_that_is_too_far_out_surprises_the_gate(
    run: WrittenRun, value: float, surprised: bool | None
) -> None:
    """On either side: a capability that jumps is as much of a surprise as a loss that does."""
    for number, known in enumerate((3.0, 2.6, 2.42), 1):
        gate(run, number, known)
    summary = gate(run, 4, value, level=0.01)
    assert summary.get("surprised") is surprised
    assert ("Surprised" in summary["headline"]) is bool(surprised)


def test_only_what_a_panel_before_it_measures_can_be_asked_for(run: WrittenRun) -> None:
    with pytest.raises(EvidenceError, match=r"code\.accuracy"):
        gate(run, 1, 3.0, of=["code.accuracy"])
    assert gate(run, 2, 2.0, of=[ASKED])["headline"]
    with pytest.raises(EvidenceError, match="measures bits_per_byte"):
        forecast.main(run.gathering(3, "forecast"))
