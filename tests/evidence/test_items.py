"""What is asked: right answers are right, wrong ones are wrong, and a seed says all of it."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tenth.evidence.questions.asked import SHOWN, Item
from tenth.evidence.questions.items import draw, seed_of
from tenth.evidence.sealed import EvidenceError, Sealed

TEXTS = [Path(json.__file__).read_text(), Path(re.__file__).read_text()]


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return draw("a seed", TEXTS, 600)


def of(items: list[Item], family: str) -> list[Item]:
    return [item for item in items if item.family == family]


def test_there_are_twelve_families_of_equal_size(items: list[Item]) -> None:
    assert set(Counter(item.family for item in items).values()) == {50}
    assert len({item.family for item in items}) == 12
    assert len({item.id for item in items}) == 600
    assert len(draw("a seed", [], 600)) == 600, "without held-out text ten families share them"
    assert {item.family for item in draw("a seed", [], 600)}.isdisjoint({"lines", "cloze"})


def test_the_seed_says_all(items: list[Item]) -> None:
    assert draw("a seed", TEXTS, 600) == items
    others = {(item.prompt, item.answer) for item in draw("another", TEXTS, 600)}
    again = [item for item in items if (item.prompt, item.answer) in others]
    assert {item.family for item in again} <= {"lines", "cloze"}, "two files have only so many lines"


def test_right_answers_are_right(items: list[Item]) -> None:
    """Computed once more from the prompt alone."""
    for item in items:
        question, answer = item.prompt.rpartition("\n")[2], item.answer[1:]
        words = question.partition(" ")[2]
        match item.family:
            case "copying":
                assert words == f"{answer} =>"
            case "brackets":
                opened = [one for one in question.split() if one in "([{<"]
                assert answer.split() == [{"(": ")", "[": "]", "{": "}", "<": ">"}[one] for one in opened[::-1]]
            case "sums":
                assert sum(map(int, question[:-2].split(" + "))) == int(answer)
            case "sorting":
                assert answer.split() == sorted(words[:-3].split())
            case "recall":
                held = dict(pair.split(" is ") for pair in question.partition(";")[0].split(", "))
                assert held[question.split()[-2]] == answer
            case "sequences":
                numbers = [*map(int, words[:-3].split()), int(answer)]
                assert len({b - a for a, b in itertools.pairwise(numbers)}) == 1
            case "counting":
                asked, _, letters = words[:-3].partition(" in ")
                assert letters.split().count(asked) == int(answer)
            case "values":
                shown = item.prompt.splitlines()[-1].removeprefix(">>> ")
                assert (
                    repr(eval(shown, {"__builtins__": {}}, {one.__name__: one for one in (sum, max, min, len, sorted)}))
                    == item.answer
                )


def test_edits_are_what_they_say(items: list[Item]) -> None:
    known = {
        "reverse (.*) =>": lambda word: word[::-1], "upper (.*) =>": str.upper, "twice (.*) =>": lambda word: word * 2,
        "without the first letter (.*) =>": lambda word: word[1:],
    }  # fmt: skip
    for item in of(items, "edits"):
        question = item.prompt.rpartition("\n")[2]
        if found := re.fullmatch("replace (.) by (.) in (.*) =>", question):
            expected = found[3].replace(found[1], found[2])
        else:
            expected = next(edit(hit[1]) for form, edit in known.items() if (hit := re.fullmatch(form, question)))
        assert item.answer == f" {expected}"


def test_a_program_passes_its_tests_and_the_others_fail_what_is_shown(items: list[Item]) -> None:
    for item in of(items, "programs"):

        def run(line: str, item: Item = item) -> list[object]:
            names: dict[str, object] = {}
            exec(item.prompt + line, names)
            return [names["f"](given) for given, _ in item.tests]  # type: ignore[operator]

        due = [its for _, its in item.tests]
        assert run(item.answer) == due
        assert len(set(item.others)) == 3
        assert all(run(other)[:SHOWN] != due[:SHOWN] for other in item.others)


def test_lines_and_words_stand_in_the_text(items: list[Item]) -> None:
    for item in [*of(items, "lines"), *of(items, "cloze")]:
        assert any(item.prompt + item.answer in text for text in TEXTS)
        assert not item.prompt.endswith(" ")
    assert all(len(set(item.others) - {item.answer}) == 3 for item in of(items, "cloze"))


def test_the_seed_is_of_the_entry_that_says_the_gate_was_reached(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    lines = [b'{"event":"reached","index":1}', b'{"event":"reached","index":2}', b'{"event":"noted","index":3}']
    (tmp_path / "log" / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    sealed = Sealed("r", 2, None, None, tmp_path, tmp_path, tmp_path, tmp_path, (), tmp_path / "gates/02/evidence/x")
    assert seed_of(sealed) == hashlib.sha256(b"r\0" + lines[1]).hexdigest()
    (tmp_path / "log" / "entries.jsonl").write_bytes(lines[2] + b"\n")
    with pytest.raises(EvidenceError, match="no entry 'reached'"):
        seed_of(sealed)
