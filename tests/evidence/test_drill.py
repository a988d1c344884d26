"""A drill: the evidence of a shadow with something planted in it, written beside the gate's own, or nothing at all."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.fake_supervisor import FakeSupervisor
from evidence.small_run import passed
from tenth.evidence.drilling import drill, shadow
from tenth.evidence.drilling.plants import KINDS, WORDS, ordinary, plant
from tenth.evidence.interval import read_interval
from tenth.evidence.sealed import EvidenceError, Sealed, read_sealed
from tenth.trainer.checkpoint import load

CHARTER = """\
[[evidence]]
name = "dropped"
command = ["false"]
[[evidence]]
name = "bits-per-byte"
command = ["{python}", "-m", "tenth.evidence", "bpb"]
[[evidence]]
name = "drill"
command = ["tenth-evidence", "drill", "--rate", "1"]
[[evidence]]
name = "seen"
command = ["{python}", "{seen}"]
"""
OPENED = b'{"body":{"data":{},"recipes":{"recipe.toml":""}},"event":"opened"}\n'
SEEN = """\
import json, os, pathlib
sealed = json.loads(pathlib.Path(os.environ["TENTH_SEALED"]).read_text())
out = pathlib.Path(os.environ["TENTH_OUT"])
run = out.parents[3]
facts = {
    "weights": pathlib.Path(sealed["checkpoint"], "model.safetensors").stat().st_size,
    "checkpoint": sealed["checkpoint"] == str(run / "checkpoints" / "03"),
    "before": sorted(path.name for path in (run / "checkpoints").iterdir()),
    "files": sorted(path.name for path in run.iterdir()),
}
(out / "facts.json").write_text(json.dumps(facts))
(out / "summary.json").write_text('{"headline": "seen", "metrics": {}, "surprised": true}')
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FakeSupervisor:
    return passed(3, tmp_path_factory.mktemp("drill"))


@pytest.fixture
def sealed(run: FakeSupervisor, tmp_path: Path) -> Sealed:
    """Gate 3 of that run, in a folder of its own."""
    assert run.resume is not None
    folder = tmp_path / "run"
    (folder / "log").mkdir(parents=True)
    adjusted = {"predicate": {"patch": {"evidence": {"drop": ["dropped"]}}}}
    (folder / "log" / "entries.jsonl").write_bytes(OPENED + entry("adjusted", adjusted))
    for name in ("recipe.toml", "recipe.2.toml", "recipe.4.toml"):
        (folder / name).write_text("")
    (tmp_path / "seen.py").write_text(SEEN)
    (folder / "charter.toml").write_text(CHARTER.format(python=sys.executable, seen=tmp_path / "seen.py"))
    (folder / "gates" / "02" / "evidence").mkdir(parents=True)
    out = folder / "gates" / "03" / "evidence" / "drill"
    out.mkdir(parents=True)
    return Sealed(
        run="r", gate=3, checkpoint=run.resume, previous=run.run / "checkpoints" / "02", data=run.data, root=run.root,
        recipe=run.recipe, work=run.work, prompts=(), out=out,
    )  # fmt: skip


def entry(event: str, said: Mapping[str, Any]) -> bytes:
    from tenth.encoding import canonical, envelope

    return canonical({"event": event, "body": {"envelope": envelope(canonical(said), "", b"")}}) + b"\n"


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_a_gate_that_is_not_drawn_has_a_sentence_and_nothing_else(sealed: Sealed) -> None:
    drill.main(sealed, 0.0)
    assert files(sealed.out) == ["summary.json"]
    assert json.loads((sealed.out / "summary.json").read_text()) == {"headline": drill.SAYS, "metrics": {}}


def test_a_drawn_gate_has_a_packet_of_every_panel_and_the_shadow_is_gone(sealed: Sealed) -> None:
    drill.main(sealed, 1.0)
    assert json.loads((sealed.out / "summary.json").read_text()) == {"headline": drill.SAYS, "metrics": {}}
    packet = sealed.out / drill.PACKET
    assert {path.name for path in packet.iterdir()} == {"bits-per-byte", "drill", "seen"}
    assert (packet / "drill" / "summary.json").read_bytes() == (sealed.out / "summary.json").read_bytes()
    assert {path.name for path in sealed.out.iterdir()} == {"summary.json", drill.PACKET, drill.KEY}
    assert not [path for path in sealed.out.rglob("*") if path.is_symlink() or path.suffix == ".safetensors"]

    facts = json.loads((packet / "seen" / "facts.json").read_text())
    assert facts["checkpoint"]
    assert facts["before"] == ["01", "02", "03"]
    assert facts["files"] == ["charter.toml", "checkpoints", "gates", "log", "recipe.2.toml", "recipe.toml"]
    key = json.loads((sealed.out / drill.KEY).read_text())
    assert key["kind"] in KINDS
    assert key["planted"] >= shadow.LEAST
    assert key["device_seconds"].keys() == {"bits-per-byte", "drill", "seen"}
    assert key["device_seconds"]["bits-per-byte"] > 0.1


def test_a_shadow_is_another_model_and_its_interval_has_what_was_planted(sealed: Sealed, tmp_path: Path) -> None:
    assert sealed.previous is not None
    assert sealed.checkpoint is not None
    made = shadow.make(sealed, tmp_path / "shadow", np.random.default_rng(1))
    before, after = load(sealed.checkpoint), load(tmp_path / "shadow", optimizer=False)
    assert any((before.weights[name] != after.weights[name]).any() for name in before.weights)
    assert not (tmp_path / "shadow" / "optimizer.safetensors").exists()
    (tmp_path / "planted.json").write_text(json.dumps(made.places))
    seen = replace(sealed, checkpoint=tmp_path / "shadow", planted=tmp_path / "planted.json")
    plain = read_interval(sealed, sealed.previous, sealed.checkpoint)
    found = read_interval(seen, sealed.previous, tmp_path / "shadow")
    changed = {row for row in range(len(plain.windows)) if (plain.windows[row] != found.windows[row]).any()}
    assert changed
    assert changed <= {window for window, _, _ in made.places}
    for window, at, ids in made.places:
        assert found.windows[window, at : at + len(ids)].tolist() == ids


def test_a_panel_that_fails_on_the_shadow_fails_the_drill(sealed: Sealed) -> None:
    (sealed.folder / "log" / "entries.jsonl").write_bytes(OPENED)
    with pytest.raises(EvidenceError, match="'dropped' ended with status 1"):
        drill.main(sealed, 1.0)


def test_the_first_gates_have_no_drill(sealed: Sealed) -> None:
    drill.main(replace(sealed, previous=None), 1.0)
    assert files(sealed.out) == ["summary.json"]
    assert json.loads((sealed.out / "summary.json").read_text())["headline"] == drill.NOT_HERE


def test_a_supervisors_own_sealed_input_plants_nothing(sealed: Sealed, tmp_path: Path) -> None:
    facts = {name: str(value) for name, value in vars(sealed).items()} | {"prompts": [], "planted": None}
    for given in (facts, {name: value for name, value in facts.items() if name != "planted"}):
        (tmp_path / "sealed.json").write_text(json.dumps(given))
        known = os.environ | {"TENTH_SEALED": str(tmp_path / "sealed.json"), "TENTH_OUT": str(sealed.out)}
        assert read_sealed(known).planted is None


def test_each_kind_has_words_of_its_own_that_are_ordinary_in_the_text() -> None:
    random = np.random.default_rng(2)
    text = " ".join(
        f"{a}{b}word" * (26 - i) for i, a in enumerate("abcdefghij") for b in "klmnopqrst" for _ in range(2)
    )
    assert ordinary("too little text") == tuple(WORDS.split())
    for kind in KINDS:
        found = plant(kind, 5, random, ordinary(text))
        assert len(found.documents) == 5
        assert all(document.strip() for document in found.documents)
