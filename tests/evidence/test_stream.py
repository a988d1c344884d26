"""The audit of the stream: drawn when the trainer has gone, judged by people, bounded whatever nobody judged."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evidence.written_run import WrittenRun
from tenth.evidence import stream
from tenth.evidence.sealed import EvidenceError


@pytest.fixture
def run(tmp_path: Path) -> WrittenRun:
    return WrittenRun(tmp_path / "run")


def drawn(run: WrittenRun, gate: int, **options: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Gathers and seals the next gate; what was drawn there, and its summary."""
    sealed = run.gathering(gate, "stream")
    stream.main(sealed, **options)
    return json.loads((sealed.out / "drawn.json").read_text())["drawn"], run.seal(sealed)


def test_draws_are_of_this_tenth_and_shown_to_be_judged(run: WrittenRun) -> None:
    run.sampled("old")
    run.entry("reached", gate=1)
    assert [row[2] for row in drawn(run, 1)[1]["tables"][0]["rows"]] == ["old"], "drawn twenty times, judged once"
    run.sampled(*(f"text {number}" for number in range(500)))
    run.sampled("and one more")
    run.entry("reached", gate=2)
    draws, summary = drawn(run, 2)
    texts = [row[2] for row in summary["tables"][0]["rows"]]
    assert "old" not in texts
    assert len(set(texts)) > 15, "drawn from all of them"
    assert summary["tables"][1]["rows"] == [[1, 1, 20, 0, 0]]
    assert {one["shard"] for one in draws} <= {"samples/000002.jsonl", "samples/000003.jsonl"}


def test_two_audits_of_one_stream_draw_differently(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        run = WrittenRun(tmp_path / name)
        run.sampled(*map(str, range(1000)))
        run.entry("reached", gate=1)
        found.append(drawn(run, 1)[0])
    assert found[0] != found[1]


def test_what_nobody_judged_clears_nothing_and_raises_no_alarm(run: WrittenRun) -> None:
    """Judged fine, the bound falls; unjudged, it is that of a stream where all of them are bad."""
    bounds = {}
    for gate, verdict in ((1, None), (2, "fine"), (3, "fine")):
        run.sampled(*(f"{gate} {number}" for number in range(300)))
        run.entry("reached", gate=gate)
        draws, summary = drawn(run, gate)
        assert "surprised" not in summary
        bounds[gate] = summary["metrics"]["bad_share_below"]
        for one in draws if verdict else ():
            run.say("lin", verdict or "", one["sample"])
    assert bounds[1] == 1.0
    assert bounds[2] > 0.9, "twenty draws of gate 1, and nobody has looked"
    assert bounds[3] < bounds[2]
    for one in json.loads((run.folder / "gates/01/evidence/stream/drawn.json").read_text())["drawn"]:
        run.say("lin", "fine", one["sample"])
    run.entry("reached", gate=4)
    sealed = run.gathering(4, "stream")
    stream.main(sealed)
    metrics = run.seal(sealed)["metrics"]
    assert (metrics["judged"], metrics["flagged"]) == (60, 0)
    assert metrics["bad_share_below"] < 0.2


def test_too_many_flags_raise_an_alarm_that_surprises_the_gate(run: WrittenRun) -> None:
    for gate in (1, 2):
        run.sampled(*(f"{gate} {number}" for number in range(300)))
        run.entry("reached", gate=gate)
        draws, summary = drawn(run, gate)
        for one in draws:
            run.say("lin", "flag", one["sample"])
    assert summary["surprised"] is True
    assert "alarm: 2 of 2 audited samples were bad" in summary["headline"]
    assert summary["metrics"]["flagged"] == 20
    assert summary["metrics"]["evidence"] > 100


def test_the_last_word_of_each_counts_and_one_flag_is_enough(run: WrittenRun) -> None:
    for by, verdict, sample in (
        ("ada", "flag", "a"), ("ada", "fine", "a"), ("ada", "flag", "b"), ("bob", "fine", "b"), ("ada", "note", "c"),
    ):  # fmt: skip
        run.say(by, verdict, sample)
    assert stream.judged(run.folder / "reviews.jsonl") == {"a": False, "b": True}
    assert stream.judged(run.folder / "none") == {}


def test_a_gate_that_is_gathered_again_keeps_its_draw(run: WrittenRun) -> None:
    run.sampled(*map(str, range(300)))
    run.entry("reached", gate=1)
    first, _ = drawn(run, 1)
    again = run.gathering(1, "stream", again=2)
    stream.main(again)
    assert json.loads((again.out / "drawn.json").read_text())["drawn"] == first


def test_without_samples_nothing_is_drawn_and_a_changed_shard_is_refused(run: WrittenRun) -> None:
    run.entry("reached", gate=1)
    assert drawn(run, 1)[0] == []
    run.sampled("one")
    run.entry("reached", gate=2)
    (run.folder / "samples/000001.jsonl").write_text("{}\n")
    with pytest.raises(EvidenceError, match="not what the log says"):
        stream.main(run.gathering(2, "stream"))


def test_what_is_planted_was_not_in_the_stream_and_measures_who_looks(run: WrittenRun, tmp_path: Path) -> None:
    run.sampled(*(f"text {number}" for number in range(300)))
    run.entry("reached", gate=1)
    sealed = replace(run.gathering(1, "stream"), root=tmp_path)
    (tmp_path / "canaries.txt").write_text("\nrm -rf /\n")
    stream.main(sealed, canaries=Path("canaries.txt"), canary_rate=1.0)
    found = json.loads((sealed.out / "drawn.json").read_text())
    shown = (run.folder / "samples/000001.jsonl").read_bytes().split(b"\n")
    assert len(found["planted"]) > 10
    for one in found["planted"]:
        assert hashlib.sha256(one["line"].encode()).hexdigest() == one["sample"]
        assert "rm -rf /" in json.loads(one["line"])["text"]
        assert one["line"].encode() not in shown
        run.say("lin", "flag", one["sample"])
    rows = run.seal(sealed)["tables"][0]["rows"]
    assert len(rows) == len({one["sample"] for one in [*found["drawn"], *found["planted"]]})
    run.entry("reached", gate=2)
    summary = drawn(run, 2)[1]
    assert summary["metrics"]["planted_flagged"] == len(found["planted"])
    assert summary["metrics"]["flagged"] == 0
    assert summary["metrics"]["missed_share_below"] < 0.5
    assert "surprised" not in summary, "what was planted is no bad sample of the stream"


def test_an_empty_file_plants_nothing_and_says_so(run: WrittenRun, tmp_path: Path) -> None:
    run.entry("reached", gate=1)
    (tmp_path / "canaries.txt").write_text("\n")
    for name in ("canaries.txt", "none.txt"):
        with pytest.raises(EvidenceError, match="Nothing was planted"):
            stream.main(replace(run.gathering(1, name), root=tmp_path), canaries=Path(name))
