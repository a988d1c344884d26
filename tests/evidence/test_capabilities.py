"""Capabilities: what is read of a model is what it would write, and both checkpoints answer the same items."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from client.fake_supervisor import FakeSupervisor
from tenth.evidence import changes
from tenth.evidence.questions import answers, capabilities, harness
from tenth.evidence.questions.answers import Reader
from tenth.evidence.sealed import EvidenceError, Sealed
from tenth.trainer.generate import generate


@pytest.fixture
def sealed(run: FakeSupervisor, request: pytest.FixtureRequest) -> Sealed:
    out = run.run / "gates" / "02" / "evidence" / request.node.name
    out.mkdir(parents=True)
    return Sealed(
        run="r", gate=2, checkpoint=run.resume, previous=run.run / "checkpoints" / "01", data=run.data, root=run.root,
        recipe=run.recipe, work=run.work, prompts=(), out=out,
    )  # fmt: skip


@pytest.fixture(scope="module")
def reader(run: FakeSupervisor) -> Reader:
    assert run.resume is not None
    return Reader(run.resume)


def summary(sealed: Sealed) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((sealed.out / "summary.json").read_text())
    return loaded


ASKED = [
    ("line 1 of 2:", " 2"),
    ("line", " 7 of 3: 21 words"),
    ("", "line 0"),
    ("line 0 of 9: 0 words\nline 1 of", " 9"),
]


def test_what_is_read_is_the_loss_computed_plainly(reader: Reader) -> None:
    for (prompt, answer), got in zip(ASKED, reader.read(ASKED), strict=True):
        ids, count = [reader.text.separator, *reader.text.encode([prompt])[0]], len(reader.text.encode([answer])[0])
        row = torch.tensor([[*ids, *reader.text.encode([answer])[0]][-reader.model.shape.context :]])
        with torch.no_grad():
            logits = reader.model.logits(reader.model(row))[0].float()
        nats = torch.nn.functional.cross_entropy(logits[-count - 1 : -1], row[0, -count:], reduction="sum")
        assert got.nats == pytest.approx(float(nats), rel=0.02)  # bfloat16 where the processor has it
        assert got.bytes == len(answer)


def test_an_answer_counts_as_written_exactly_if_greedy_generation_writes_it(reader: Reader) -> None:
    prompts = ["line 1", "line 2 of", "words\nline", "7"]
    ids = [[reader.text.separator, *row] for row in reader.text.encode(prompts)]
    written = [generate(reader.model, [row], 5)[0] for row in ids]
    assert all(answer.greedy for answer in reader.read_tokens(list(zip(ids, written, strict=True))))
    for place in range(5):
        other = [[*row[:place], (row[place] + 1) % 256, *row[place + 1 :]] for row in written]
        found = reader.read_tokens(list(zip(ids, other, strict=True)))
        assert not any(answer.greedy or answer.ends for answer in found)
        shown = [reader.text.decode(row[: place + 1]) for row in written]
        assert [answer.written for answer in found] == shown


def test_a_page_is_read_in_one_row_and_each_question_as_if_alone(reader: Reader) -> None:
    asked, text = [], "line 0 of 1"
    for answer in (": 0", " 7", " 21"):
        asked.append((text, answer))
        text += f"{answer} words\nline 1"
    together = reader.read(asked)
    by_itself = [reader.read([one])[0] for one in asked]
    for page, alone, (prompt, _) in zip(together, by_itself, asked, strict=True):
        if len(prompt) + 4 < reader.model.shape.context:
            assert page.nats == pytest.approx(alone.nats, rel=0.02)
        assert page.bytes == alone.bytes
    rows: list[answers.Row] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_answers", rows.extend)
        reader.read(asked)
    assert [len(row.answers) for row in rows] == [2, 1], "what the context cannot hold begins a row"
    assert all(len(row.ids) <= reader.model.shape.context for row in rows)


def test_both_checkpoints_answer_the_same_and_the_logs_say_what(sealed: Sealed) -> None:
    capabilities.main(sealed, items=120)
    found = summary(sealed)
    rows = json.loads((sealed.out / "families.json").read_text())
    assert found["metrics"]["items"] == sum(row["items"] for row in rows)
    assert found["metrics"]["bits_per_byte_change_low"] < found["metrics"]["bits_per_byte_change_high"]
    assert json.loads((sealed.out / "about.json").read_text())["programs_ran"]
    assert {row["how"] for row in rows if row["name"] == "programs"} == {"tests run"}
    logs = [zipfile.ZipFile(sealed.out / f"{name}.eval") for name in ("now", "before")]
    names = [set(log.namelist()) for log in logs]
    assert names[0] == names[1]
    samples = [name for name in names[0] if name.startswith("samples/")]
    assert len(samples) == found["metrics"]["items"]
    for name in samples[::17]:
        now, before = (json.loads(log.read(name)) for log in logs)
        assert (now["input"], now["target"]) == (before["input"], before["target"])
    header = json.loads(logs[0].read("header.json"))
    right = {score["name"]: score["metrics"] for score in header["results"]["scores"]}["right"]
    assert all(right[row["name"]]["value"] == pytest.approx(row["accuracy"]) for row in rows)
    change = {row["name"]: row["bits"]["change"] for row in rows}
    assert change["lines"] < 0, "it learned more of these lines"
    assert all(len(table["columns"]) == len(row) for table in found["tables"] for row in table["rows"])


def test_without_a_jail_programs_are_ranked_and_the_panel_says_so(
    sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENTH_JAIL", "no descriptor")
    capabilities.main(dataclasses.replace(sealed, previous=None), items=24)
    found = summary(sealed)
    assert "ranked and not run" in found["headline"]
    assert [row[1] for row in found["tables"][1]["rows"] if row[0] == "programs"] == ["ranks 4"]
    assert not (sealed.out / "before.eval").exists()
    assert found["tables"][0]["columns"] == ["family", "now"], "nothing to compare, no arrow"


def test_inspect_reads_the_logs(sealed: Sealed) -> None:
    inspect = pytest.importorskip("inspect_ai.log", reason="it brings fifty packages and is none of our dependencies")
    capabilities.main(sealed, items=24)
    log = inspect.read_eval_log(str(sealed.out / "now.eval"))
    assert log.status == "success"
    assert len(log.samples) == summary(sealed)["metrics"]["items"]
    summaries = inspect.read_eval_log_sample_summaries(str(sealed.out / "now.eval"))
    assert {one.id for one in summaries} == {one.id for one in log.samples}
    one = inspect.read_eval_log_sample(str(sealed.out / "now.eval"), id=log.samples[0].id, epoch=1)
    assert {"right", "bits_per_byte"} == one.scores.keys()


def test_numbers_that_are_not_finite_are_no_evidence(reader: Reader) -> None:
    weight = reader.model.lm_head.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight[0, 0] = float("nan")
    try:
        with pytest.raises(EvidenceError, match="not finite"):
            reader.read([("a", "b")])
    finally:
        with torch.no_grad():
            weight.copy_(kept)


@dataclasses.dataclass
class Instance:
    """What the harness asks with."""

    args: tuple[Any, ...]


def asked(*rows: Sequence[Any]) -> list[Instance]:
    return [Instance(tuple(row)) for row in rows]


def test_the_harness_is_answered_as_its_interface_says(run: FakeSupervisor, reader: Reader) -> None:
    assert run.resume is not None
    answers = harness.Answers(run.resume)
    (likely, greedy), (unlikely, _) = answers.loglikelihood(asked(("line 1 of 2", ": 2 w"), ("line 1 of 2", "ZZZZZ")))
    assert unlikely < likely < 0
    assert isinstance(greedy, bool)
    text = "line 3 of 4: 12 words\n" * 3  # longer than the context
    (rolled,) = answers.loglikelihood_rolling(asked((text,)))
    ids, step = [reader.text.separator, *reader.text.encode([text])[0]], reader.model.shape.context - 1
    whole = sum(
        a.nats
        for a in reader.read_tokens([(ids[i : i + 1], ids[i + 1 : i + 1 + step]) for i in range(0, len(text), step)])
    )
    assert rolled == pytest.approx(-whole)
    first, second = answers.generate_until(
        asked(("line 1", {"until": ["\n"], "max_gen_toks": 40}), ("line", {"until": "o", "max_gen_toks": 3}))
    )
    assert "\n" not in first
    assert "o" not in second
    assert len(second) <= 3
    with pytest.raises(EvidenceError, match="drawn"):
        answers.generate_until(asked(("a", {"do_sample": True})))


def test_without_the_harness_the_command_says_what_to_install(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lm_eval", None)
    with pytest.raises(EvidenceError, match=r"pip install 'lm-eval"):
        harness.main(sealed, sealed.root)


def test_own_code_has_the_digest_that_a_manifest_pins() -> None:
    from tenth import opening
    from tenth.encoding import digest
    from tenth.gate.sealing import data_listing, finish

    package = Path(opening.__file__).parent
    assert changes.own_code() == digest(finish(data_listing(package, opening._sources(package))))
