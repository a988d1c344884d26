"""What follows from a table for training: pairs with shares, labels, edits, grades; and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from feedback.sitting import Sitting, pair
from tenth.errors import BadStatement
from tenth.feedback import batch
from tenth.feedback.views import VIEWS
from tenth.trainer.rows import read_rows


def rows(sitting: Sitting, view: str) -> list[dict[str, object]]:
    table = sitting.read().table
    return sorted(VIEWS[view](table.events, table.items), key=lambda row: [str(one) for one in row.values()])


@pytest.fixture
def sitting(tmp_path: Path) -> Sitting:
    """1: two against one. 2: one vote and a tie. 3: both bad. 4: flagged. 5: a known answer. 6: edited. 7: even."""
    made = Sitting(tmp_path)
    items = made.add(*[pair(number, **({"gold": "a"} if number == 5 else {})) for number in range(1, 8)])
    for name, answer, shown in (("ada", "first", "ab"), ("bob", "second", "ba"), ("cy", "second", "ab")):
        made.judge(name, items[0], answer, shown)
    made.judge("ada", items[0], "second")  # a repeat is no second vote
    made.judge("ada", items[1], "second")
    made.judge("bob", items[1], "tie")
    made.judge("ada", items[2], "bad")
    made.judge("ada", items[3], "first")
    made.judge("bob", items[3], "flag")
    made.judge("ada", items[4], "first")
    made.edit("ada", items[5], "better 6", "second", "ba")
    made.judge("ada", items[6], "first")
    made.judge("bob", items[6], "second")
    undone = made.judge("cy", items[6], "first")
    made.person("cy").say("undone", undone.digest)
    return made


def test_pairs_with_the_share_of_votes(sitting: Sitting) -> None:
    assert rows(sitting, "dpo") == [
        {"prompt": "p1", "chosen": "left 1", "rejected": "right 1", "share": 2 / 3},
        {"prompt": "p2", "chosen": "right 2", "rejected": "left 2", "share": 1.0},
        {"prompt": "p6", "chosen": "better 6", "rejected": "left 6", "share": 1.0},
    ]


def test_reward_pairs_keep_ties(sitting: Sitting) -> None:
    assert rows(sitting, "reward") == [
        {"prompt": "p1", "chosen": "left 1", "rejected": "right 1", "share": 2 / 3, "margin": pytest.approx(1 / 3)},
        {"prompt": "p2", "chosen": "right 2", "rejected": "left 2", "share": 0.75, "margin": 0.5},
        {"prompt": "p7", "chosen": "left 7", "rejected": "right 7", "share": 0.5, "margin": 0.0},
    ]


@pytest.mark.parametrize("view", ["dpo", "kto", "reward", "sft"])
def test_what_is_flagged_when_asked_again_is_left_out(sitting: Sitting, view: str) -> None:
    one, other = sitting.add(pair(1), pair(6))
    before = rows(sitting, view)
    left = [row for row in before if row["prompt"] not in ("p1", "p6")]
    assert left != before
    sitting.judge("ada", one, "flag")
    flag = sitting.judge("ada", other, "flag")
    assert rows(sitting, view) == left
    sitting.person("ada").say("undone", flag.digest)
    assert rows(sitting, view) == [row for row in before if row["prompt"] != "p1"]


def test_labels(sitting: Sitting) -> None:
    assert [(row["completion"], row["label"]) for row in rows(sitting, "kto")] == [
        ("left 1", True), ("right 1", False), ("left 2", False), ("right 2", True),
        ("left 3", False), ("right 3", False),
    ]  # fmt: skip


def test_edits(sitting: Sitting) -> None:
    assert rows(sitting, "sft") == [{"prompt": "p6", "completion": "better 6"}]


def test_grades(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path)
    one, two = sitting.add({"kind": "proposal", "text": "f(x)"}, {"kind": "proposal", "text": "1"})
    sitting.grade("ada", one, "useful")
    sitting.grade("bob", one, "unsafe")
    sitting.grade("ada", two, "skip")
    assert rows(sitting, "grades") == [{"proposal": "f(x)", "useful": 1, "junk": 0, "unsafe": 1}]
    with pytest.raises(BadStatement, match="not among the items"):
        sitting.judge("ada", one, "first")


@pytest.mark.parametrize("kind", ["sft", "dpo", "kto"])
def test_the_trainer_reads_what_is_written(sitting: Sitting, kind: str) -> None:
    name, _ = batch.write(sitting.desk.table, batch.Made(kind, 0, sitting.desk.table.counts))
    found = [row for _, row in read_rows(sitting.folder / "feedback" / f"{name}.jsonl", "batch", kind)]
    wanted = rows(sitting, kind)
    assert len(found) == len(wanted) > 0
    assert [row for row in found if row not in wanted] == []


def test_a_batch_can_be_made_again_after_the_table_has_grown(sitting: Sitting) -> None:
    table = sitting.desk.table
    made = batch.Made("dpo", 0, table.counts)
    name, told = batch.write(table, made)
    assert told.startswith("3 rows of dpo from 13 judgements by 3 annotators")
    late = sitting.add(pair(8))[0]
    sitting.judge("ada", late, "first")
    assert batch.check(sitting.read().table, name) == told
    path = sitting.folder / "feedback" / f"{name}.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"left 1", b"evil 1"))
    with pytest.raises(BadStatement, match="another digest"):
        batch.check(table, name)
    for note in (
        b"[]\n",
        b'{"counts":[],"least_gate":0,"view":"dpo"}\n',
        b'{"counts":{"ada":"9"},"least_gate":0,"view":"dpo"}\n',
    ):
        made_of = path.with_suffix(".json")
        made_of.write_bytes(note)
        path.write_bytes(whole)
        with pytest.raises(BadStatement, match="cannot be checked"):
            batch.check(table, name)
    assert not batch.review(table, {"feedback": {"batches": [name]}})[0][0]
    assert batch.review(table, {"feedback": {}}) == []


def test_old_samples_expire(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path)
    for number, item in enumerate(sitting.add(pair(1, gate=3), pair(2, gate=4), pair(3))):
        sitting.judge("ada", item, "first")
        assert number < 3
    data, _ = batch.make(sitting.desk.table, batch.Made("dpo", 4, {"ada": 4}))
    assert data.count(b"\n") == 2
    assert b"left 1" not in data
