"""Does a forecast count only if it was sealed in time, by the one who made it, and opened as it was sealed?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tenth.encoding import canonical
from tenth.errors import WrongInput
from tenth.forecasts import record, scored, sealed
from tenth.forecasts.told import Told
from tenth.gate import statement
from tenth.keys import SigningKey
from tenth.log.entry import timestamp

ADA, BOB = SigningKey.generate(), SigningKey.generate()
SURE = Told((0.05, 0.5, 0.95), (1.9, 2.0, 2.1))
ASKED = "bpb.bits_per_byte"


class Run:
    """A run's folder, written by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows = folder, 0
        (folder / "log").mkdir()

    def entry(self, event: str, body: dict[str, Any]) -> None:
        line = canonical({"body": body, "event": event, "index": self.rows, "time": timestamp(0)})
        self.rows += 1
        with (self.folder / "log" / "entries.jsonl").open("ab") as file:
            file.write(line + b"\n")

    def note(self, who: str, text: str) -> None:
        key = ADA if who == "ada" else BOB
        facts = {"run": "r", "signatory": who, "anchor": "0" * 64, "time": timestamp(0)}
        self.entry("noted", {"envelope": statement.sign("noted", key, note=text, **facts)})

    def gate(self, gate: int, value: float, *, reached: bool = True) -> None:
        if reached:
            self.entry("reached", {"gate": gate})
        panel = self.folder / f"gates/{gate:02d}/evidence/bpb"
        panel.mkdir(parents=True)
        (panel / "summary.json").write_text(json.dumps({"metrics": {"bits_per_byte": value, "odd": "x", "yes": True}}))
        self.entry("sealed", {"gate": gate, "path": f"gates/{gate:02d}"})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def told(gate: int, forecast: Told = SURE, halted: float | None = None) -> sealed.Content:
    return sealed.content("r", gate, {ASKED: forecast}, {} if halted is None else {record.HALTED: halted})


def test_a_sealed_forecast_is_scored_when_it_is_opened_beside_naive_ones(run: Run) -> None:
    run.gate(1, 3.0)
    run.gate(2, 2.4)
    mine = told(3, halted=0.2)
    assert "2.0" not in sealed.commitment(mine), "the note says nothing of what was foretold"
    run.note("ada", sealed.commitment(mine))
    run.note("ada", "good morning")
    assert [row.by for row in scored.rows(record.read(run.folder))] == ["ada"]
    run.entry("pulled", {"by": {"name": "lin"}})
    run.gate(3, 2.02)
    assert all(row.came is None for row in scored.rows(record.read(run.folder)))
    run.note("ada", sealed.revelation(mine))
    rows = scored.rows(record.read(run.folder))
    by = {row.by: row for row in rows if row.question == ASKED}
    assert set(by) == {"ada", "persistence", "extrapolation"}
    assert by["ada"].crps == pytest.approx(SURE.crps(2.02))
    assert [row.brier for row in rows if row.question == record.HALTED] == [pytest.approx(0.64)]
    total = scored.totals(rows)
    assert total["ada"]["inside"] == 1.0
    assert total["ada"]["skill"] == pytest.approx(1 - by["ada"].crps / by["extrapolation"].crps)
    assert total["persistence"]["skill"] is None


def test_what_was_filed_late_or_changed_does_not_count_and_of_several_the_last_does(run: Run) -> None:
    first, last, late = told(1), told(1, Told((0.05, 0.95), (2.5, 2.6))), told(1)
    for one in (first, last):
        run.note("ada", sealed.commitment(one))
    run.note("bob", sealed.commitment(told(1)))
    run.gate(1, 2.55)
    run.note("ada", sealed.commitment(late))
    run.note("bob", sealed.revelation({**told(1), "salt": "0" * 32}))
    for one in (first, late):
        run.note("ada", sealed.revelation(one))
    found = record.read(run.folder)
    assert {who: one.content for (who, _), one in found.filed.items()} == {"ada": None, "bob": None}
    assert [(one.by, one.gate) for one in found.late] == [("ada", 1)]
    run.note("ada", sealed.revelation(last))
    assert record.read(run.folder).filed["ada", 1].content == last


def test_nobody_files_another_s_forecast(run: Run) -> None:
    hers = told(1)
    run.note("ada", sealed.commitment(hers))
    run.note("bob", sealed.commitment(hers))
    run.gate(1, 2.0)
    for who in ("ada", "bob"):
        run.note(who, sealed.revelation(hers))
    assert {who for who, _ in record.read(run.folder).filed} == {"ada"}


@pytest.mark.parametrize(
    "note",
    [
        '{"forecast":',
        '{"forecast":1}',
        '{"forecast":{"gate":"1","sha256":"x"}}',
        '{"forecast":{"gate":1}}',
        '{"forecast":{"gate":1,"content":{"gate":1}}}',
        '{"forecast":{"content":{"chances":{},"gate":1,"quantiles":{},"run":"r","salt":""},"gate":1}}',
    ],
)
def test_a_note_that_only_looks_like_a_forecast_is_none(run: Run, note: str) -> None:
    run.note("ada", note)
    assert record.read(run.folder).filed == {}


def test_a_probability_is_between_0_and_1() -> None:
    with pytest.raises(WrongInput, match="probability"):
        sealed.content("r", 1, {}, {record.HALTED: 1.5})
