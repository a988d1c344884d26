"""Does the ledger add up to what the meter charged, say what each part was for, and count what the method counts?"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from core.live import PYTHON, Live
from independent.build_run import STORIES, Run, build
from tenth import charter as charters
from tenth.charter import Compute
from tenth.cli import verbs
from tenth.cli.record import accounts, regulatory
from tenth.cli.record.accounts import AHEAD, CLASSES, EVIDENCE, OPEN, TRAINING, UNDONE, Row
from tenth.cli.record.ledger_table import page
from tenth.cli.record.ledgering import read
from tenth.cli.record.regulatory import Amount, Declared
from tenth.errors import BrokenPromise, Unlawful
from tenth.keys import SigningKey
from tenth.log.entry import Entry
from tenth.state import Event, apply, begin

CHARTER = charters.parse(
    tomli_w.dumps(
        {
            "run": {"name": "poet", "purpose": "A test."},
            "phase": [{"name": name, "command": ["t"], "data": ["d"]} for name in ("pretrain", "tune")],
            "ceiling": {"device_seconds": 1e6, "flop": 1e20},
            "quarantine": {"level": "none"},
            "signatory": [{"name": "ada", "key": SigningKey.generate().public.line}],
        }
    ).encode()
)


class Story:
    """Entries as a supervisor writes them; ``spent`` goes on by itself."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.spent, self.gate = 0.0, 0
        self.add("opened")

    def add(self, event: str, **body: Any) -> None:
        self.entries.append(Entry.make(len(self.entries), event, body, 1_795_253_400))

    def spend(self, seconds: float) -> dict[str, float]:
        self.spent += seconds
        return {"device_seconds": self.spent, "flop": self.spent * 1e9}

    def sealed(self, seconds: float) -> None:
        self.add("sealed", gate=self.gate, path=f"gates/{self.gate:02d}", dossier="", spent=self.spend(seconds))

    def leased(self, resume: str = "checkpoint", claims: Any = None) -> None:
        """And what is metered at once: the claims are still those of the process before."""
        tenth = CHARTER.tenth_after(self.gate)
        assert tenth is not None
        place = {"gate": tenth.gate, "phase": tenth.phase.name, "epoch": tenth.epoch, "tenth": tenth.tenth}
        lease = {**place, "of": 10, "resume": resume, "device_seconds": 1e6, "flop": 1e20}
        self.add("leased", dossier="", lease=lease)
        self.metered(0, claims)

    def metered(self, seconds: float, claims: Any, ahead: float = 40) -> None:
        spent = self.spend(seconds)
        self.add("metered", spent=spent, reserved_device_seconds=self.spent + ahead, claims=claims or {})

    def reached(self, seconds: float, claims: Any) -> None:
        self.gate += 1
        body = {"gate": self.gate, "checkpoint": {"path": "", "digest": ""}, "position": None, "claims": claims or {}}
        self.add("reached", **body, spent=self.spend(seconds))

    def pulled(self, seconds: float, *, frozen: bool = True) -> None:
        self.add("pulled", by={"name": "lin", "uid": 1}, frozen=frozen, stopped_ms=1.0, spent=self.spend(seconds))

    def tripped(self, seconds: float, reason: str) -> None:
        self.add("tripped", reason=reason, detail="", spent=self.spend(seconds))

    def rows(self) -> list[tuple[str, int, float, float | None]]:
        return [(row.kind, row.tenth, row.device_seconds, row.flop_claimed) for row in self.all()]

    def all(self) -> list[Row]:
        return accounts.rows(self.entries, CHARTER)


def test_a_quiet_tenth() -> None:
    story = Story()
    story.sealed(0)
    story.leased("fresh")
    story.metered(2, {"flop": 3e9})
    story.metered(2, {"flop": 7e9})
    story.reached(1, {"flop": 9e9})
    story.sealed(4)
    assert story.rows() == [(TRAINING, 1, 5, 9e9), (EVIDENCE, 1, 4, None)]


def test_each_process_counts_from_nothing_and_begins_by_repeating_the_last() -> None:
    story, last = Story(), {"flop": 9e9}
    story.leased("fresh")
    story.reached(5, last)
    story.sealed(1)
    story.leased(claims=last)
    story.metered(2, {})
    story.metered(2, {"flop": 4e9})
    story.reached(2, {"flop": 6e9})
    assert [row for row in story.rows() if row[0] == TRAINING] == [(TRAINING, 1, 5, 9e9), (TRAINING, 2, 6, 6e9)]
    story.sealed(0)
    story.leased(claims={"flop": 6e9})
    story.reached(5, {"flop": 6e9})
    assert story.rows()[-1][3] is None or story.rows()[-1][3] == 6e9


def test_a_pull_that_thaws_counts_once_and_whole() -> None:
    story = Story()
    story.leased("fresh")
    story.metered(3, {"flop": 3e9})
    story.pulled(1)
    assert story.rows() == [(OPEN, 1, 4, 3e9)], "it may still count"
    story.sealed(0.5)
    story.leased("thaw", {"flop": 4e9})
    story.metered(2, {"flop": 6e9})
    story.reached(1, {"flop": 7e9})
    assert story.rows() == [(EVIDENCE, 0, 0.5, None), (TRAINING, 1, 4, 3e9), (TRAINING, 1, 3, 4e9)]


def test_a_pull_before_the_first_word_leaves_no_hole() -> None:
    story = Story()
    story.leased("fresh")
    story.pulled(1)
    story.leased("thaw", {})
    story.reached(1, {"flop": 7e9})
    assert story.rows() == [(TRAINING, 1, 1, 0.0), (TRAINING, 1, 1, 7e9)]


@pytest.mark.parametrize("how", ["tripped", "not thawed", "not frozen", "lost while frozen", "closed"])
def test_what_is_in_no_checkpoint_was_thrown_away(how: str) -> None:
    story = Story()
    story.leased("fresh")
    story.metered(3, {"flop": 3e9})
    if how == "tripped":
        story.tripped(1, "crash")
    else:
        story.pulled(1, frozen=how != "not frozen")
    if how == "not thawed":
        story.leased("fresh", {"flop": 3e9})
    if how == "lost while frozen":
        story.tripped(0, "lost_supervisor")
    if how == "closed":
        story.add("closed", outcome="abandoned", envelope={})
    assert story.rows()[0] == (UNDONE, 1, 4, 3e9)
    assert sum(row.device_seconds for row in story.all()) == 4


def test_a_lost_supervisor_is_charged_what_was_written_ahead() -> None:
    story = Story()
    story.leased("fresh")
    story.metered(3, {"flop": 3e9}, ahead=40)
    story.add("tripped", reason="lost_supervisor", detail="", spent=story.spend(0))
    assert story.rows() == [(UNDONE, 1, 3, 3e9), (AHEAD, 1, 40, None)]
    story.spent = 43
    story.sealed(2)
    assert story.rows()[-1] == (EVIDENCE, 0, 2, None)


def test_a_supervisor_that_left_in_order_knew_better_how_much() -> None:
    story = Story()
    story.leased("fresh")
    story.metered(3, {}, ahead=40)
    story.tripped(1, "lost_supervisor")
    assert story.rows() == [(UNDONE, 1, 4, None), (AHEAD, 1, 39, None)]


def test_evidence_that_was_broken_off_is_evidence() -> None:
    story = Story()
    story.leased("fresh")
    story.reached(5, {})
    story.pulled(2)
    story.tripped(0, "crash")
    story.sealed(3)
    assert story.rows() == [(TRAINING, 1, 5, None), (EVIDENCE, 1, 2, None), (EVIDENCE, 1, 3, None)]


def test_a_run_that_trains_is_charged_up_to_now() -> None:
    story = Story()
    story.leased("fresh")
    story.metered(3, {"flop": 1e9})
    assert story.rows() == [(OPEN, 1, 3, 1e9)]
    assert story.all()[0].ended == ""


@pytest.mark.parametrize("flop", [True, -1, "1", None, [], {}, float("nan")])
def test_a_claim_that_is_no_number_is_no_claim(flop: Any) -> None:
    story = Story()
    story.leased("fresh")
    if flop != flop:
        flop = 1e308 * 10
        row = accounts._Fold(CHARTER, None)
        row._claim({"flop": flop})
        assert row.claimed is None
        return
    story.reached(5, {"flop": flop})
    assert story.rows() == [(TRAINING, 1, 5, None)]


def test_compute_that_falls_is_refused() -> None:
    story = Story()
    story.sealed(5)
    story.sealed(-1)
    with pytest.raises(BrokenPromise) as error:
        story.all()
    assert error.value.promise == 4


KINDS = "sealed consented leased metered reached pulled tripped lost reopened".split()
MOVES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 9)), max_size=60)


@settings(max_examples=150, deadline=None)
@given(MOVES)
def test_whatever_the_law_allows_adds_up(moves: list[tuple[str, int]]) -> None:
    """The law, applied to the same events, is the oracle: it charges what the rows add up to."""
    story, state = Story(), begin(frozenset({"ada"}), CHARTER.gates, CHARTER.ceiling, "a")
    for move, seconds in moves:
        spent = state.spent.device_seconds + seconds
        facts: dict[str, Any] = {"spent": Compute(spent, 0.0)}
        if move in ("consented", "reopened"):
            facts = {"by": "ada", "anchor": state.anchor}
        if move in ("sealed", "reached"):
            facts |= {"gate": state.gate + (move == "reached"), "dossier": "d"}
        if move == "leased":
            facts = {"dossier": "d", "limit": CHARTER.ceiling}
        if move == "metered":
            facts |= {"reserved": spent + 40}
        kind, reason = ("tripped", "lost_supervisor") if move == "lost" else (move, "crash")
        if kind == "tripped":
            facts["reason"] = reason
        try:
            state = apply(state, Event(kind, digest=str(len(story.entries)), **facts))
        except Unlawful:  # then it did not happen
            continue
        story.spent = spent
        body = {"spent": {"device_seconds": spent, "flop": 0}, "claims": {}, "frozen": True, "reason": reason}
        body |= {"gate": state.gate, "path": "", "reserved_device_seconds": spent + 40}
        lease = {
            "gate": state.gate + 1,
            "phase": "pretrain",
            "epoch": 1,
            "resume": "thaw" if seconds % 2 else "checkpoint",
        }
        story.add(kind, **({"lease": lease} if kind == "leased" else body))
    rows = story.all()
    charged = state.spent.device_seconds
    if rows and rows[-1].ended == "" and rows[-1].kind == OPEN:
        assert state.stance == "RUNNING"
    assert sum(row.device_seconds for row in rows) == pytest.approx(charged, abs=0.01)
    assert all(row.kind in CLASSES and row.device_seconds >= 0 for row in rows)


# --- what counts -----------------------------------------------------------------------------------------------------


def row(kind: str, seconds: float, claimed: float | None = None) -> Row:
    return Row(kind, 0, 0, 1, "pretrain", 1, seconds, claimed, "reached")


def test_what_counts_and_what_does_not() -> None:
    rows = [row(TRAINING, 10, 3e9), row(OPEN, 1, 1e9), row(UNDONE, 100, 5e9), row(EVIDENCE, 1000), row(AHEAD, 10000)]
    assert regulatory.amount(rows, 1e9, Declared()) == Amount(11e9, 4e9)
    assert regulatory.amount(rows, None, Declared()) == Amount(None, 4e9)
    assert regulatory.amount(rows, 1e9, Declared(synthetic=7e9)) == Amount(18e9, 11e9), "discarded samples included"
    silent = [*rows, row(TRAINING, 5)]
    assert regulatory.amount(silent, 1e9, Declared()) == Amount(16e9, None), "half a count is none"
    found = regulatory.record(rows, 1e9, Declared())
    assert found["flop_claimed_within"] == [pytest.approx(0.7 * 4e9), pytest.approx(1.3 * 4e9)]
    assert len(found["assumptions"]) >= 5
    assert {line["flop"] for line in found["thresholds"]} == {1e23, 1e25}


@pytest.mark.parametrize(
    ("at_most", "claimed", "wanted"),
    [
        (0.7e23, None, "below"),
        (0.76e23, None, "below"),
        (0.78e23, None, "not below"),
        (0.78e23, 0.7e23, "claimed below"),
        (0.78e23, 0.78e23, "not below"),
        (None, 0.7e23, "claimed below"),
        (None, 0.8e23, "not below"),
        (None, None, "unknown"),
        (0.0, 0.0, "below"),
    ],
)
def test_a_threshold_is_out_of_reach_only_with_the_margin(
    at_most: float | None, claimed: float | None, wanted: str
) -> None:
    assert regulatory.verdict(Amount(at_most, claimed), 1e23) == wanted


def test_who_changes_a_model_is_held_against_a_third_of_the_original() -> None:
    assert list(regulatory.thresholds(Declared(base=6e22, modifies=True)).values()) == [pytest.approx(2e22)]
    unknown = regulatory.thresholds(Declared(modifies=True))
    assert list(unknown.values()) == [pytest.approx(1e23 / 3), pytest.approx(1e25 / 3)]


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("story", STORIES)
def test_every_story_adds_up(story: str, tmp_path: Path) -> None:
    found = read(build(tmp_path / "run", story=story))
    charged = found.found.history.state.spent.device_seconds
    assert sum(row.device_seconds for row in found.rows) == pytest.approx(charged, abs=0.2)
    assert found.peak is None, "these runs measured none: it is said so, and nothing is made up"
    assert found.record()["gross"]["flop_at_most"] is None


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(*words: object) -> tuple[int, str]:
        code = verbs.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out + err

    return run


def test_a_real_run(tmp_path: Path, shell: Callable[..., tuple[int, str]]) -> None:
    """Pulled and thawed, killed and begun again, with evidence; a trainer that claims 1e6 FLOP a step."""
    panel = [PYTHON, "code/panel.py", "write"]
    run = Live(tmp_path, evidence=[("size", panel)], env={"STEPS": 100, "PAUSE": 0.004}, peak=2.5e8)
    try:
        run.start()
        run.run_to("RUNNING", gate=2)
        run.pull()
        run.say("reopened", "bob")
        run.run_to("RUNNING", gate=6)
        run.kill9()
        run.start()
        run.finish()
    finally:
        run.close()
    code, out = shell("ledger", run.path, "--json")
    assert code == 0
    said = json.loads(out)
    kinds = {kind: [row for row in said["rows"] if row["kind"] == kind] for kind in CLASSES}
    assert sum(row["flop_claimed"] for row in kinds[TRAINING]) == 100 * 1e6, "each step once, whatever happened between"
    assert {row["tenth"] for row in kinds[TRAINING]} == set(range(1, 11))
    assert kinds[AHEAD], "the supervisor was killed"
    assert len(kinds[EVIDENCE]) >= 10
    assert any("size" in row["detail"] for row in kinds[EVIDENCE])
    charged = run.last("sealed")["spent"]
    assert said["charged"]["device_seconds"] == charged["device_seconds"]
    assert said["gross"]["device_seconds"] == pytest.approx(charged["device_seconds"], abs=0.2)
    assert said["gross"]["flop_at_most"] == pytest.approx(charged["device_seconds"] * 2.5e8, rel=0.01)
    counted = sum(row["device_seconds"] for row in kinds[TRAINING] + kinds[OPEN])
    assert said["regulatory"]["flop_at_most"] == pytest.approx(counted * 2.5e8)
    assert said["regulatory"]["flop_claimed"] == 100 * 1e6
    assert [line["verdict"] for line in said["regulatory"]["thresholds"]] == ["below", "below"]

    code, table = shell("ledger", run.path)
    assert code == 0
    for word in ("tenth 1", "tenth 10", "charged ahead", "evidence", "Gross", "Regulatory", "out of reach", "1e23"):
        assert word in table, table
    assert max(len(line) for line in table.splitlines()) <= 100

    code, text = shell("ledger", run.path, "--csv", "--synthetic", "5e9")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert code == 0
    gross = sum(float(row["device_seconds"] or 0) for row in rows if row["gross"] == "1")
    assert gross == pytest.approx(said["gross"]["device_seconds"])
    regulatory_flop = sum(float(row["flop_at_most"]) for row in rows if row["regulatory"] == "1")
    assert regulatory_flop == pytest.approx(said["regulatory"]["flop_at_most"] + 5e9)
    assert shell("ledger", run.path, "--csv", "--json")[0] == 2
    for wrong in ("-1", "many", "inf", "nan"):
        assert shell("ledger", run.path, "--base", wrong)[0] == 2

    line = (run.path / "log" / "entries.jsonl").read_bytes()
    (run.path / "log" / "entries.jsonl").write_bytes(line.replace(b'"device_seconds":', b'"device_seconds":1', 1))
    assert shell("ledger", run.path)[0] == 5


def test_a_run_that_begins_with_a_model_is_a_modification(
    tmp_path: Path, shell: Callable[..., tuple[int, str]]
) -> None:
    def told(run: Path, *words: object) -> Any:
        code, out = shell("ledger", run, "--json", *words)
        assert code == 0, out
        return json.loads(out)["regulatory"]

    plain = build(tmp_path / "plain", story="plain")
    assert not told(plain)["declared"]["modifies"]
    assert told(plain, "--base", "3e22")["thresholds"][0]["flop"] == pytest.approx(1e22)
    adjusted = Run(tmp_path / "adjusted")
    adjusted.one_tenth()
    adjusted.seal()
    adjusted.adjust("ada", {"recipe": {"model.init": "base"}})
    adjusted.seal()
    assert told(adjusted.save())["declared"]["modifies"]
    recipe = plain / "recipe.toml"
    recipe.write_bytes(recipe.read_bytes() + b'\n[model]\ninit = "base"\n')
    assert shell("ledger", plain)[0] == 5, "the recipe is pinned: what was not agreed on is not read"


def test_many_tenths_are_shown_by_epoch(tmp_path: Path) -> None:
    from rich.console import Console

    run = Run(tmp_path / "run", phases=(("pretrain", 5, "recipe.toml"),), device_seconds=100_000)
    run.tenths(45)
    found = read(run.save())
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(page(found, 100))
    text = console.export_text()
    assert "pretrain, epoch 5" in text
    assert "tenth 45" not in text
