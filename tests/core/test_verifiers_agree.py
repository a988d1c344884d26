"""Do both verifiers say the same of logs that only the holder of the log key could have written?

A real run is cut short after some entry, that entry is changed, and everything is signed anew: no signature of the log
gives the forger away, only what the entries say.
"""

from __future__ import annotations

import copy
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.live import PYTHON, Live, audit
from tenth.encoding import canonical, decode
from tenth.errors import BadEncoding, BrokenPromise
from tenth.keys import SigningKey
from tenth.log.head import Head, origin
from tenth.log.tree import Tree, leaf_hash

Entry = dict[str, Any]


class Forger:
    """Holds the log key of a finished run."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._key = SigningKey.load(run / "supervisor.key")
        self.entries: list[Entry] = [decode(line) for line in (run / "log" / "entries.jsonl").read_bytes().splitlines()]
        for copies in run.glob("gates/*/consents"):
            shutil.rmtree(copies)  # of statements that the log, cut short, does not know yet

    def last(self, event: str) -> int:
        return max(index for index, entry in enumerate(self.entries) if entry["event"] == event)

    def write(self, entries: list[Entry]) -> None:
        lines, tree = [canonical({**entry, "index": index}) for index, entry in enumerate(entries)], Tree()
        for line in lines:
            tree.append(leaf_hash(line))
        head = Head.sign(origin(self.run.name), tree.size, tree.root(), self._key)
        (self.run / "log" / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
        (self.run / "log" / "heads").write_bytes(head.note)

    def says(self, index: int, change: Callable[[Entry], object]) -> bool:
        """Whether both verifiers take the log up to this entry, with the entry changed."""
        entries = copy.deepcopy(self.entries[: index + 1])
        change(entries[index])
        self.write(entries)
        return not isinstance(audit(self.run), BrokenPromise)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that can happen, in one run."""
    panel = [PYTHON, "code/panel.py", "write"]
    run = Live(tmp_path_factory.mktemp("forged"), evidence=[("size", panel)], env={"STEPS": 60, "PAUSE": 0.004})
    try:
        run.start()
        run.until("GATE", gate=0)
        run.say("objected", "ada")
        run.run_to("RUNNING", gate=1)
        run.pull()
        run.run_to("GATE", gate=2)
        run.say("adjusted", "ada", patch={"recipe": {"optim.lr": 0.125}, "exclude": ["data/pro*"]})
        run.run_to("RUNNING", gate=3)
        run.kill9()
        run.start()
        run.run_to("GATE", gate=4)
        run.say("closed", "ada")
        run.ended()
    finally:
        run.close()
    return run.path


@pytest.fixture
def forger(finished: Path, tmp_path: Path) -> Forger:
    return Forger(Path(shutil.copytree(finished, tmp_path / finished.name, ignore=shutil.ignore_patterns("work"))))


def test_a_log_that_is_cut_short_and_signed_anew_still_tells_the_truth(forger: Forger) -> None:
    assert all(forger.says(index, lambda entry: None) for index in range(len(forger.entries)))


SPELLINGS: list[tuple[str, str, Any]] = [
    ("sampled", "path", "./samples/000001.jsonl"),
    ("sampled", "path", "samples/000001.jsonl/"),
    ("sampled", "path", "samples/../samples/000001.jsonl"),
    ("sampled", "count", True),
    ("pulled", "frozen", None),
    ("pulled", "frozen", 1),
    ("pulled", "frozen", "yes"),
    ("pulled", "by", None),
    ("pulled", "by", {}),
    ("tripped", "reason", "boredom"),
    ("opened", "nonce", "x"),
    ("opened", "nonce", {}),
    ("opened", "version", True),
    ("reached", "gate", True),
    ("reached", "gate", "1"),
    ("sealed", "gate", False),
    ("leased", "lease", None),
]


@pytest.mark.parametrize(("event", "field", "value"), SPELLINGS, ids=lambda value: repr(value)[:30])
def test_an_entry_of_another_form_is_refused_by_both(forger: Forger, event: str, field: str, value: Any) -> None:
    index = next(index for index, entry in enumerate(forger.entries) if entry["event"] == event)
    assert not forger.says(index, lambda entry: entry["body"].update({field: value}))


@pytest.mark.parametrize("value", [None, 1, {}, ["SHA256:x"]], ids=repr)
def test_a_key_id_is_a_text(forger: Forger, value: Any) -> None:
    index = forger.last("consented")
    assert not forger.says(index, lambda entry: entry["body"]["envelope"]["signatures"][0].update(keyid=value))


def test_copies_of_consents_that_the_log_does_not_hold_are_seen_alike(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished, tmp_path / finished.name, ignore=shutil.ignore_patterns("work")))
    copies = {path: path.read_bytes() for path in run.glob("gates/*/consents/*")}
    assert copies
    forger = Forger(run)
    for path, data in copies.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    for index in range(len(forger.entries)):
        forger.says(index, lambda entry: None)


VALUES = [None, True, 0, 1, -1, 0.5, 1e300, "", "x", [], {}, [1], {"a": 1}, "ab" * 32, "gates/00", "pulled", "released"]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a nested value something can be changed."""
    if place:
        yield place
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in rows:
        yield from places(inner, (*place, name))


def vary(entry: Entry, dice: random.Random) -> None:
    place = dice.choice(list(places(entry["body"])))
    table = entry["body"]
    for name in place[:-1]:
        table = table[name]
    old = table[place[-1]]
    near = [old + 1, -old, str(old), bool(old)] if isinstance(old, int | float) else [f"{old}x", f"{old}"[:-1], [old]]
    if dice.random() < 0.2:
        del table[place[-1]]
    else:
        table[place[-1]] = dice.choice(VALUES if dice.random() < 0.5 else near)


@pytest.mark.parametrize("seed", range(4))
def test_of_any_change_both_say_the_same(forger: Forger, seed: int) -> None:
    dice, tried = random.Random(seed), 0
    while tried < 60:
        try:
            forger.says(dice.randrange(len(forger.entries)), lambda entry: vary(entry, dice))
        except BadEncoding:
            continue  # nothing that could be written
        tried += 1
