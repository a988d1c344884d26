"""The table: append-only and signed. Whatever was changed, taken out, moved or made up is refused, and named."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from feedback.sitting import RUN, Sitting, pair
from tenth.encoding import canonical, digest
from tenth.errors import BadEncoding, BadStatement
from tenth.feedback.desk import Annotator
from tenth.feedback.events import draft, sign
from tenth.feedback.table import standing
from tenth.keys import SigningKey

TIME = "2026-11-21T09:30:00.123Z"
Lines = list[bytes]


@pytest.fixture
def sitting(tmp_path: Path) -> Sitting:
    """Two annotators and three judgements, of which one was undone."""
    made = Sitting(tmp_path)
    one, two = made.add(pair(1), pair(2))
    made.judge("ada", one, "first")
    wrong = made.judge("bob", two, "second")
    made.person("bob").say("undone", wrong.digest)
    made.judge("bob", two, "tie")
    return made


def test_what_was_said_is_read_again(sitting: Sitting) -> None:
    table = sitting.read().table
    assert [(event.by, event.event) for event in table.events] == [
        ("ada", "joined"), ("ada", "judged"),
        ("bob", "joined"), ("bob", "judged"), ("bob", "undone"), ("bob", "judged"),
    ]  # fmt: skip
    assert [(event.by, event.answer) for event in standing(table.events)] == [("ada", "a"), ("bob", "tie")]
    assert table.annotators["ada"] == sitting.keys["ada"].public
    assert table.counts == {"ada": 2, "bob": 4}


def change_answer(lines: Lines) -> Lines:
    envelope = json.loads(lines[1])
    payload = base64.b64decode(envelope["payload"]).replace(b'"first"', b'"second"', 1)
    envelope["payload"] = base64.b64encode(payload).decode()
    return [lines[0], canonical(envelope), *lines[2:]]


def change_key(lines: Lines) -> Lines:
    key = SigningKey.generate()
    line = key.public.line
    payload = draft("joined", digest(line.encode()), run=RUN, by="ada", number=0, before=None, time=TIME, key=line)
    return [canonical(sign(key, payload)), *lines[1:]]


TAMPERED: dict[str, tuple[Callable[[Lines], Lines], int]] = {
    "an answer is changed": (change_answer, 2),
    "a judgement is taken out": (lambda lines: lines[:3] + lines[4:], 4),
    "two are moved": (lambda lines: [*lines[:3], lines[4], lines[3], lines[5]], 4),
    "one is there twice": (lambda lines: [*lines, lines[-1]], 7),
    "nobody joined": (lambda lines: lines[1:], 1),
    "another key takes the name": (change_key, 2),
    "it is no JSON": (lambda lines: [*lines[:2], b"{}x", *lines[3:]], 3),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_the_first_event_that_does_not_hold_is_named(sitting: Sitting, name: str) -> None:
    tamper, line = TAMPERED[name]
    path = sitting.folder / "feedback" / "events.jsonl"
    path.write_bytes(b"".join(one + b"\n" for one in tamper(path.read_bytes().split(b"\n")[:-1])))
    with pytest.raises(BadStatement, match=rf"line {line} of feedback/events\.jsonl"):
        sitting.read()


def test_an_item_that_was_changed_leaves_its_judgement_without_one(sitting: Sitting) -> None:
    path = sitting.folder / "feedback" / "items.jsonl"
    path.write_bytes(path.read_bytes().replace(b"left 1", b"left 9"))
    with pytest.raises(BadStatement, match=r"line 2 of feedback/events\.jsonl.*not among the items"):
        sitting.read()


def test_a_table_that_was_cut_back_is_noticed_by_who_had_read_it(sitting: Sitting) -> None:
    path = sitting.folder / "feedback" / "events.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(BadStatement, match="cut back"):
        sitting.desk.table.update()


def test_a_torn_last_line_was_never_acknowledged(sitting: Sitting) -> None:
    path = sitting.folder / "feedback" / "events.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:100])
    desk = sitting.read()
    assert len(desk.table.events) == 6
    Annotator(desk, "ada", sitting.keys["ada"]).say(
        "judged", next(iter(desk.table.items)), answer="tie", shown="ab", seconds=1
    )
    assert path.read_bytes().startswith(whole)
    assert len(sitting.read().table.events) == 7


def test_names_and_keys(tmp_path: Path) -> None:
    """The charter's names are theirs; one key is one person."""
    ada, mallory = SigningKey.generate(), SigningKey.generate()
    sitting = Sitting(tmp_path, {"ada": ada.public})
    with pytest.raises(BadStatement, match="the charter lists another key for ada"):
        Annotator(sitting.desk, "ada", mallory)
    with pytest.raises(BadStatement, match="this key is ada's"):
        Annotator(sitting.desk, "somebody", ada)
    Annotator(sitting.desk, "mal", mallory)
    with pytest.raises(BadStatement, match="this key is mal's"):
        Annotator(sitting.desk, "mallory", mallory)
    Annotator(sitting.desk, "ada", ada)
    assert list(sitting.read().table.annotators) == ["mal", "ada"]


def test_nobody_undoes_what_another_said(sitting: Sitting) -> None:
    theirs = standing(sitting.desk.table.events)[0]
    with pytest.raises(BadStatement, match="no such judgement"):
        sitting.person("bob").say("undone", theirs.digest)
    with pytest.raises(BadStatement, match="no such judgement"):
        sitting.person("ada").say("undone", "0" * 64)
    assert len(sitting.read().table.events) == 6


def test_a_second_window_is_told_to_begin_again(sitting: Sitting) -> None:
    table, item = sitting.desk.table, next(iter(sitting.desk.table.items))
    number, before = table.place("ada")
    facts = {"run": RUN, "by": "ada", "number": number, "before": before, "time": TIME, "shown": "ab", "seconds": 1}
    slow = sign(sitting.keys["ada"], draft("judged", item, **facts, answer="tie"))
    sitting.judge("ada", item, "bad")
    with pytest.raises(BadStatement, match="begin again"):
        table.append(slow)


ODD = {
    "answer": {"answer": "third"}, "shown": {"shown": "aa"}, "seconds": {"seconds": -1}, "more": {"mood": "good"},
    "run": {"run": "other"}, "name": {"by": "Ada Lovelace"}, "time": {"time": "now"},
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_judgement_is_refused(sitting: Sitting, name: str) -> None:
    table, item = sitting.desk.table, next(iter(sitting.desk.table.items))
    number, before = table.place("ada")
    facts = {"run": RUN, "by": "ada", "number": number, "before": before, "time": TIME, "shown": "ab", "seconds": 1}
    with pytest.raises((BadEncoding, BadStatement)):
        table.append(sign(sitting.keys["ada"], draft("judged", item, **{**facts, "answer": "tie", **ODD[name]})))
