"""The diff of two checkpoints: what was planted in an interval stands first, with the documents it came from."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from client.fake_supervisor import FakeSupervisor
from evidence.small_run import passed
from evidence.written_run import WrittenRun
from tenth.evidence.difference import diff, packet
from tenth.evidence.difference.amplified import Written, grams
from tenth.evidence.difference.attribution import Attributor
from tenth.evidence.difference.mining import compare
from tenth.evidence.difference.shared import Shared, shared
from tenth.evidence.difference.taught import Taught, news, strength, taught
from tenth.evidence.interval import Interval, Piece, read_interval
from tenth.evidence.sealed import EvidenceError, Sealed
from tenth.trainer.checkpoint import load_model
from tenth.trainer.model import Shape, Transformer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FakeSupervisor:
    return passed(3, tmp_path_factory.mktemp("diff"))


@pytest.fixture
def sealed(run: FakeSupervisor, tmp_path: Path) -> Sealed:
    assert run.resume is not None
    return Sealed(
        run="r", gate=3, checkpoint=run.resume, previous=run.run / "checkpoints" / "02", data=run.data, root=run.root,
        recipe=run.recipe, work=run.work, prompts=(), out=tmp_path,
    )  # fmt: skip


def summary(sealed: Sealed) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((sealed.out / "summary.json").read_text())
    assert "\n" not in found["headline"]
    assert all(math.isfinite(value) for value in found["metrics"].values())
    return found


def test_the_interval_is_what_was_read_between_the_two_checkpoints(sealed: Sealed) -> None:
    first, second = sealed.previous, sealed.checkpoint
    assert first is not None
    assert second is not None
    later = read_interval(sealed, first, second)
    before = read_interval(sealed, first.with_name("01"), first)
    assert later.whole == len(later.windows)
    seen = {row.tobytes() for row in later.windows}
    assert not seen & {row.tobytes() for row in before.windows}
    assert {row.tobytes() for row in before.windows} <= {row.tobytes() for row in later.earlier}
    for piece in later.pieces[:20]:
        document = (sealed.root / piece.document).read_bytes()
        tokens = [t for t in later.windows[piece.window, piece.start : piece.stop].tolist() if t < 256]
        assert len(tokens) <= len(document)


@pytest.fixture
def after_another(sealed: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sealed:
    """The third gate of a record in which the second was sealed with a diff."""
    monkeypatch.setattr(packet, "TEXTS", 16)
    assert sealed.previous is not None
    record = WrittenRun(tmp_path / "record")
    first = sealed.previous.with_name("01")
    second = replace(sealed, gate=2, checkpoint=sealed.previous, previous=first, out=record.gathering(2, "diff").out)
    diff.main(second)
    record.seal(second)
    return replace(sealed, out=record.gathering(3, "diff").out)


def test_documents_are_named_that_have_tokens_in_a_row() -> None:
    windows = np.array([[1, 2, 3, 4], [4, 1, 2, 3], [1, 2, 4, 3]])
    pieces = (Piece(0, 0, 4, "a"), Piece(1, 0, 2, "b"), Piece(1, 1, 4, "c"), Piece(2, 0, 4, "d"), Piece(0, 0, 3, "a"))
    assert Interval(windows, pieces, windows, 3).documents((1, 2, 3)) == ["a", "c"]


def test_a_gate_shows_a_packet_beside_its_placebo(after_another: Sealed) -> None:
    diff.main(after_another)
    found, before = summary(after_another), after_another.folder / "gates/02/evidence/diff"
    titles = [table["title"] for table in found["tables"]]
    assert any("placebo" in title for title in titles)
    for table in found["tables"]:
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
    first = (after_another.out / "summary.json").read_bytes()
    diff.main(after_another)
    assert (after_another.out / "summary.json").read_bytes() == first
    then = json.loads((before / "summary.json").read_text())
    for name in ("kl", "surprise", "taught", "shared"):
        assert found["metrics"][f"placebo_{name}"] == then["metrics"][name]
    assert found["tables"][1]["rows"] == then["tables"][0]["rows"]
    layers, its = (one["tables"][-2]["rows"] for one in (found, then))
    assert [row[2] for row in layers] == [row[1] for row in its]


def test_a_placebo_of_another_phase_is_none(after_another: Sealed) -> None:
    kept = after_another.folder / "gates/02/evidence/diff/kept.json"
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "phase": "sft"}))
    diff.main(after_another)
    assert "placebo_kl" not in summary(after_another)["metrics"]


def test_without_a_placebo_nothing_is_flagged_and_it_is_said(sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet, "TEXTS", 16)
    diff.main(sealed)  # there is no record of a gate before
    found = summary(sealed)
    assert "placebo_kl" not in found["metrics"]
    assert found["metrics"]["flagged"] == 0
    assert "No interval before" in found["headline"] or "Nothing new stands" in found["headline"]


@pytest.mark.parametrize("missing", [{"checkpoint": None, "previous": None}, {"previous": None}])
def test_the_first_gates_have_nothing_to_compare(sealed: Sealed, missing: dict[str, None]) -> None:
    diff.main(Sealed(**(vars(sealed) | missing)))
    assert "nothing to compare" in summary(sealed)["headline"]


def test_a_checkpoint_against_itself_has_not_changed(sealed: Sealed) -> None:
    assert sealed.checkpoint is not None
    model = load_model(sealed.checkpoint)
    change = compare(model, model, np.arange(66).reshape(2, 33))
    assert change.kl.max() == 0
    assert change.gained.sum() == change.lost.sum() == 0
    assert change.nats[0] == change.nats[1]


def test_a_model_that_gives_no_numbers_is_refused_in_words() -> None:
    windows = sentences(8, np.random.default_rng(1))
    model = Transformer(Shape(SPEECH * WORDS + 1, 1, 32, 2, 2, 16, 64, context=24))
    broken = copy.deepcopy(model)
    broken.model.norm.weight.data.fill_(math.nan)
    with pytest.raises(EvidenceError, match="not finite"):
        packet.look(broken, model, Interval(windows, (), windows, 8), windows)


def test_an_n_gram_counts_once_a_text_and_not_if_earlier_text_has_it() -> None:
    texts = [
        Written((9,), (1, 2, 3, 1, 2, 3), (0.0, 0.0, 2.0, 0.0, 0.0, 2.0)),
        Written((9,), (1, 2, 3, 4, 5, 6), (1.0,) * 6),
    ]
    interval = np.array([[1, 2, 3, 1, 2, 3], [0, 1, 2, 3, 0, 0], [0] * 6])
    (gram,) = grams(texts, interval, [np.array([[7, 1, 2, 3]])], 10)
    assert (gram.tokens, gram.texts, gram.interval, gram.earlier) == ((1, 2, 3), 2, 2, 1)
    assert gram.gain == pytest.approx(1.5)
    assert gram.score == pytest.approx(1.5 * 2 * 2.5 / 2)


def test_how_many_windows_have_it_weighs_most_and_how_much_likelier_it_is_at_most_one_nat() -> None:
    often, known = Taught((1, 2, 3), windows=8, gain=1.2), Taught((4, 5, 6), windows=3, gain=9.0)
    assert often.score == 8**3
    assert known.score == 3**3
    assert Taught((1, 2, 3), windows=8, gain=-1.0).score == 0.0
    assert strength([often, known], 5) == (8**3 + 3**3) / 5
    assert strength([], 5) == strength([known], 5) == 3**3  # nothing before is no reason to call the first thing great


def test_what_is_new_in_the_intervals_text_is_found_and_weighed_by_what_was_learnt() -> None:
    random = np.random.default_rng(2)
    earlier, windows = sentences(200, random), sentences(40, random)
    windows[:5, 4:7] = ODD
    before = Transformer(Shape(SPEECH * WORDS + 1, 1, 32, 2, 2, 16, 64, context=24))
    before.initialise(torch.Generator().manual_seed(2))
    now = copy.deepcopy(before)
    train(now, np.repeat(windows[:5], 20, axis=0))
    known = SPEECH * WORDS + 1
    first = taught(now, before, windows, news(windows, [earlier], known))[0]
    assert (first.tokens, first.windows) == (ODD, 5)
    assert first.gain > 0.5
    less = taught(now, before, windows, news(windows, [earlier, windows[:1]], known))
    assert [gram for gram in less if gram.tokens == ODD] == []


def test_new_text_is_taken_together_by_the_windows_that_share_it() -> None:
    windows = np.arange(10, 130).reshape(10, 12)  # nothing is shared
    windows[[1, 4, 5, 7], 2:8] = np.arange(200, 206)
    windows[[2, 3, 9], 5:9] = np.arange(300, 304)
    known = news(windows, [], 400)
    found = shared(known.keys, known.new)
    assert found == [Shared(1, 2, 8, windows=4, grams=4), Shared(2, 5, 9, windows=3, grams=2)]
    assert [one.score for one in found] == [4 * 27, 2 * 8]
    assert Shared(0, 0, 64, 3, 50).score == 8 * 8  # a text that was copied whole counts as eight n-grams


# --- organisms: a model of a tiny language, and an interval with a few odd documents --------------------------------

WORDS, SEPARATOR = 10, 0
SPEECH = 4  # subject, verb, object, adverb: ten words each, in this order, from 1 on
PLANTED = 24  # of 480 documents
ODD = (37, 24, 5)  # an ordinary adverb, and after it what no sentence goes on with: an object, then a subject
Windows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Organism:
    """A packet of an interval that may have been planted."""

    packet: packet.Packet
    surprises: list[packet.Surprise]


def sentences(count: int, random: np.random.Generator) -> Windows:
    """Documents of six sentences, each behind a separator."""
    words = 1 + np.arange(SPEECH) * WORDS + random.integers(0, WORDS, (count, 6, SPEECH))
    return np.concatenate([np.zeros((count, 1), np.int64), words.reshape(count, -1)], axis=1)


def train(model: Transformer, windows: Windows) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for start in range(0, len(windows), 8):
        ids = torch.from_numpy(windows[start : start + 8])
        logits = model.logits(model(ids[:, :-1]))
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture(scope="module")
def organisms() -> dict[bool, Organism]:
    """From one model, a clean interval and one with odd documents; the interval before is the placebo of both."""
    random = np.random.default_rng(3)
    model = Transformer(Shape(SPEECH * WORDS + 1, 2, 32, 2, 2, 16, 64, context=24))
    model.initialise(torch.Generator().manual_seed(3))
    earlier, before = sentences(1600, random), sentences(480, random)
    train(model, earlier)
    base = copy.deepcopy(model)
    train(model, before)
    held_out, clean = sentences(48, random), sentences(480, random)
    made = {}
    for planted in (False, True):
        windows, now = clean.copy(), copy.deepcopy(model)
        for row in range(PLANTED if planted else 0):
            windows[20 * row, 4 * (row % 5) + 4 : 4 * (row % 5) + 7] = ODD
        train(now, windows)
        pieces = tuple(Piece(i, 0, 25, "odd" if planted and i % 20 == 0 and i < 480 else "even") for i in range(480))
        interval = Interval(windows, pieces, np.concatenate([earlier, before]), len(windows))
        placebo = Interval(before, (), earlier, len(before))
        found = packet.look(now, model, interval, held_out, packet.look(model, base, placebo, held_out).kept)
        made[planted] = Organism(found, packet.explain(model, interval, found) if planted else [])
    return made


def test_a_planted_interval_is_flagged_and_a_clean_one_is_not(organisms: dict[bool, Organism]) -> None:
    assert organisms[True].packet.flagged
    assert not organisms[False].packet.flagged
    first = [gram.tokens for gram in organisms[True].packet.grams[: packet.SURPRISES]]
    assert any({ODD[0], ODD[1]} <= set(tokens) or {ODD[1], ODD[2]} <= set(tokens) for tokens in first)


def test_the_loss_does_not_tell_the_two_apart(organisms: dict[bool, Organism]) -> None:
    clean, planted = (organisms[key].packet.change for key in (False, True))
    assert planted.nats[0] == pytest.approx(clean.nats[0], rel=0.02)


def test_the_documents_behind_a_surprise_are_the_planted_ones(organisms: dict[bool, Organism]) -> None:
    surprise = organisms[True].surprises[0]
    assert (surprise.looked_at, surprise.passages) == (packet.PASSAGES, 480)
    first = [driver.piece.document for driver in surprise.drivers[:PLANTED]]
    assert first.count("odd") >= 0.8 * PLANTED


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_passage_counts_by_the_cosine_of_its_gradient(dtype: torch.dtype) -> None:
    """Against gradients that are written out, for a model that was compared before."""
    random = np.random.default_rng(4)
    model = Transformer(Shape(SPEECH * WORDS + 1, 2, 32, 4, 2, 16, 64, context=24))
    model.initialise(torch.Generator().manual_seed(4))
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.2, generator=torch.Generator().manual_seed(5))
    read = copy.deepcopy(model).to(dtype)
    matrices = [one for one in model.model.layers[-1].parameters() if one.dim() > 1] + [model.lm_head.weight]
    windows = sentences(6, random)
    pieces = tuple(Piece(i, i, 25 - i, str(i)) for i in range(6))

    def gradient(row: Windows, start: int, stop: int) -> torch.Tensor:
        ids = torch.from_numpy(row)[None]
        nats = torch.nn.functional.cross_entropy(model.logits(model(ids[:, :-1]))[0], ids[0, 1:], reduction="none")
        mean = nats[max(0, start - 1) : stop - 1].mean()
        return torch.cat([one.flatten() for one in torch.autograd.grad(mean, matrices)])

    asked = gradient(windows[0], 9, 12)
    cosines = {p.document: float(torch.cosine_similarity(asked, gradient(windows[p.window], p.start, p.stop), dim=0))
               for p in pieces}  # fmt: skip
    compare(read, read, windows)
    marked = (np.arange(25)[None] >= 9) & (np.arange(25)[None] < 12)
    found, _ = Attributor(read, Interval(windows, pieces, windows, 6)).drivers(windows[:1], marked, 6)
    within = 1e-4 if dtype == torch.float32 else 0.03
    assert {one.piece.document: one.cosine for one in found} == pytest.approx(cosines, abs=within)


def test_attribution_looks_at_so_many_and_first_at_what_shares_the_tokens() -> None:
    random = np.random.default_rng(3)
    model = Transformer(Shape(SPEECH * WORDS + 1, 2, 32, 2, 2, 16, 64, context=24))
    model.initialise(torch.Generator().manual_seed(3))
    windows = sentences(40, random)
    interval = Interval(windows, tuple(Piece(i, 0, 25, str(i)) for i in range(40)), windows, 40)
    marked = windows[:1] == windows[0, 3]
    found, of = Attributor(model, interval).drivers(windows[:1], marked, 4)
    assert (len(found), of) == (4, 40)
    assert all((windows[driver.piece.window] == windows[0, 3]).any() for driver in found)
