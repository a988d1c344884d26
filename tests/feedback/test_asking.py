"""Who is asked what: shares of repeats, of others' items and of known answers; order by lot; pairs of one prompt."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from feedback.sitting import Sitting, pair
from tenth.encoding import canonical, digest
from tenth.errors import WrongInput
from tenth.feedback import desk, pairs
from tenth.feedback.asking import following
from tenth.feedback.events import Event


def judged(by: str, item: str, number: int) -> Event:
    facts = {"answer": "first", "shown": "ab", "seconds": 1}
    return Event("r", by, number, None, "", "judged", item, facts, f"{by}{number}")


def test_shares_of_what_one_annotator_is_asked() -> None:
    every = [pair(number, **({"gold": "a"} if number < 100 else {})) for number in range(1500)]
    items = {digest(canonical(item)): item for item in every}
    rng = random.Random(7)
    others = [name for name, item in items.items() if "gold" not in item][:500]
    events = [judged("bob", name, number) for number, name in enumerate(others)]
    seen: list[str] = []
    kinds = {"gold": 0, "repeated": 0, "shared": 0, "fresh": 0}
    left = 0
    for number in range(600):
        one = following(items, events, "ada", rng)
        assert one is not None
        left += one.shown == "ab"
        kind = (
            "repeated" if one.item in seen else "gold" if "gold" in items[one.item]
            else "shared" if one.item in others else "fresh"
        )  # fmt: skip
        if kind == "repeated":
            assert one.item not in seen[-5:]
            assert seen.count(one.item) == 1
        kinds[kind] += 1
        seen.append(one.item)
        events.append(judged("ada", one.item, number))
    assert 15 <= kinds["gold"] <= 50  # 5 % of 600, give or take four deviations
    assert 31 <= kinds["repeated"] <= 90
    assert 55 <= kinds["shared"] <= 125
    assert 250 <= left <= 350


def test_when_everything_was_judged_others_come_and_then_nothing() -> None:
    items = {digest(canonical(pair(number))): pair(number) for number in range(3)}
    events = [judged("bob", name, number) for number, name in enumerate(items)]
    rng, seen = random.Random(1), set()
    for number in range(3):
        one = following(items, events, "ada", rng)
        assert one is not None
        seen.add(one.item)
        events.append(judged("ada", one.item, number))
    assert seen == set(items)
    assert following(items, events, "ada", rng) is None


def shard(run: Path, number: int, *samples: tuple[int, str, str]) -> None:
    (run / "samples").mkdir(exist_ok=True)
    lines = [{"gate": gate, "step": 1, "prompt": prompt, "text": text, "time": ""} for gate, prompt, text in samples]
    (run / "samples" / f"{number:06d}.jsonl").write_bytes(b"".join(canonical(line) + b"\n" for line in lines))


def test_pairs_of_a_run_are_of_one_prompt_and_one_tenth(tmp_path: Path) -> None:
    shard(tmp_path, 1, (0, "p", "old 1"), (0, "p", "old 2"))
    shard(tmp_path, 2, (1, "p", "x"), (1, "q", "y"), (1, "q", "y"))
    shard(tmp_path, 3, (1, "p", "z"), (2, "p", "one"), (2, "q", "two"), (2, "p", "three"), (2, "p", "four"))
    found = pairs.of_run(tmp_path)
    assert [(item["gate"], item["prompt"], item["a"], item["b"]) for item in found] == [
        (1, "p", "x", "z"), (2, "p", "one", "three"),
    ]  # fmt: skip
    before = found[1]
    shard(tmp_path, 4, (2, "p", "five"))
    assert before in pairs.of_run(tmp_path)  # what was asked yesterday is asked today
    assert len(pairs.of_run(tmp_path)) == 3
    assert [len(one) for one in before["samples"]] == [64, 64]
    assert pairs.of_run(tmp_path / "nothing") == []
    shard(tmp_path, 5, (2, "# propose\n# steps: 2\n", "sort(x)"), (2, "# propose\n# steps: 1\n", "sort(x)"))
    assert pairs.of_run(tmp_path)[3:] == [{"kind": "proposal", "text": "sort(x)", "gate": 2}]


def test_pairs_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": "p", "completions": ["a", "b", "c"]}, {"prompt": "q", "completions": ["good", "bad"], "gold": 0},
        {"prompt": "r", "completion": "one"}, {"prompt": "r", "completion": "two"},
        {"prompt": "s", "completions": ["x", "x"]},
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [(item["a"], item["b"], item.get("gold")) for item in pairs.of_file(path)] == [
        ("a", "b", None), ("good", "bad", "a"), ("one", "two", None),
    ]  # fmt: skip
    for odd in ('{"prompt": 1}', "[]", '{"prompt": "p", "completions": ["a", "b"], "gold": 2}', "{"):
        path.write_text(odd)
        with pytest.raises(WrongInput):
            pairs.of_file(path)


def test_an_item_is_written_down_when_it_is_judged(tmp_path: Path) -> None:
    shard(tmp_path, 1, (0, "p", "one"), (0, "p", "two"), (0, "p", "three"), (0, "p", "four"))
    sitting = Sitting(tmp_path)
    asked = sitting.desk.ask("ada", "pair")
    assert asked is not None
    sitting.judge("ada", asked.item, "first", asked.shown)
    assert list(sitting.read().table.items) == [asked.item]
    other = sitting.desk.ask("ada", "pair", [asked.item])
    assert other is not None
    assert other.item != asked.item
    assert sitting.desk.ask("ada", "pair", [asked.item, other.item]) is None


def test_an_answer_is_kept_after_its_samples_have_grown_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "LOOK_SECONDS", 0)
    shard(tmp_path, 1, (0, "p", "one"), (0, "p", "two"))
    sitting = Sitting(tmp_path)
    asked = sitting.desk.ask("ada", "pair")
    assert asked is not None
    shard(tmp_path, 2, (9, "p", "later"))
    assert sitting.desk.ask("bob", "pair") is None
    sitting.judge("ada", asked.item, "first", asked.shown)
    assert list(sitting.read().table.items) == [asked.item]
