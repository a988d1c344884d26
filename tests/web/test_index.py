"""The derived index: nothing twice, nothing lost, nothing hidden, and a log that does not hold is said to be broken."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.live import Live
from tenth.errors import BrokenPromise
from tenth.keys import SigningKey
from tenth.log.store import LogWriter
from tenth.log.tree import Tree, leaf_hash, node_hash
from tenth.web import curves, proof, reading
from tenth.web.index import MOST_TEXT, Index
from tenth.web.risk import signs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("log", "samples", "work"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def writer(folder: Path) -> LogWriter:
    key = SigningKey.generate()
    log = LogWriter(folder / "log", "run", key)
    log.append(("opened", {"log_key": key.public.line}))
    return log


def metered(step: int, loss: float = 1.0) -> tuple[str, dict[str, object]]:
    spent = {"device_seconds": float(step), "flop": 0.0}
    return "metered", {"spent": spent, "reserved_device_seconds": 0, "claims": {"step": step, "loss": loss}}


def sample(number: int, **changes: object) -> str:
    facts = {"gate": 0, "step": number, "prompt": "p", "text": f"text {number}", "temperature": 1, "time": ""}
    return json.dumps({**facts, **changes}) + "\n"


def everything(index: Index) -> None:
    while index.update():
        pass


def test_entries_are_taken_in_once_whoever_starts_again(folder: Path, writer: LogWriter) -> None:
    for step in range(50):
        writer.append(metered(step), metered(step))
    index = Index(folder)
    everything(index)
    assert index.sizes() == (101, 0)
    writer.append(metered(50))
    again = Index(folder)
    everything(again)
    everything(again)
    rows = again.rows("SELECT idx FROM entries ORDER BY idx")
    assert [row["idx"] for row in rows] == list(range(102))
    assert again.head.size == 102
    (folder / "index.sqlite").write_bytes(b"no database")
    fresh = Index(folder)
    everything(fresh)
    assert fresh.sizes() == (102, 0)


def test_what_no_head_covers_is_not_shown(folder: Path, writer: LogWriter) -> None:
    writer.append(metered(1))
    entries = folder / "log" / "entries.jsonl"
    line = entries.read_bytes().splitlines()[-1].replace(b'"index":1', b'"index":2')
    with entries.open("ab") as file:
        file.write(line + b"\n" + line[:20])
    index = Index(folder)
    everything(index)
    assert index.sizes()[0] == 2


@pytest.mark.parametrize("spoil", ["entry", "head", "order"])
def test_a_log_that_does_not_hold_is_broken(folder: Path, writer: LogWriter, spoil: str) -> None:
    for step in range(5):
        writer.append(metered(step))
    name = "heads" if spoil == "head" else "entries.jsonl"
    path = folder / "log" / name
    data = path.read_bytes()
    if spoil == "entry":
        data = data.replace(b'"loss":1', b'"loss":2', 1)
    elif spoil == "head":
        first, _, last = data.rpartition(b" ")
        data = first + b" " + last[:20] + (b"A" if last[20:21] != b"A" else b"B") + last[21:]
    else:
        lines = data.split(b"\n")
        lines[2], lines[3] = lines[3], lines[2]
        data = b"\n".join(lines)
    path.write_bytes(data)
    with pytest.raises(BrokenPromise) as caught:
        everything(Index(folder))
    assert caught.value.promise == 7


def test_samples_of_all_shards_in_order_the_open_one_included(folder: Path) -> None:
    (folder / "samples" / "000001.jsonl").write_text("".join(sample(n) for n in range(3)))
    index = Index(folder)
    everything(index)
    with (folder / "samples" / "000001.jsonl").open("a") as file:
        file.write(sample(3) + sample(4)[:10])
        file.flush()
        everything(index)
        file.write(sample(4)[10:])
    (folder / "samples" / "000002.jsonl").write_text("garbage\n[]\n" + sample(5) + sample(6, text=None))
    everything(index)
    everything(Index(folder))
    rows = index.samples_after(0, 100)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row["seq"] for row in rows] == [1, 2, 3, 4, 5, 6]


def test_no_link_and_no_pipe_is_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(sample(1))
    os.symlink(tmp_path / "secret", folder / "samples" / "000001.jsonl")
    os.mkfifo(folder / "log" / "entries.jsonl")
    assert reading.ShardTail(folder / "samples").new() == []
    assert reading.read_from(folder / "log" / "entries.jsonl", 0, 10) == b""


def test_what_is_kept_is_harmless_and_bounded(folder: Path) -> None:
    (folder / "samples" / "000001.jsonl").write_text(sample(1, text="\x1b[2J\u202e" + "x" * 50_000))
    index = Index(folder)
    everything(index)
    text = index.samples_after(0, 1)[0]["text"]
    assert text.startswith("\\x1b[2J\\u202exxx")
    assert len(text) <= MOST_TEXT
    assert "more]" in text


def test_samples_are_found_by_their_text_and_by_their_signs(folder: Path) -> None:
    texts = ["100% sure", "a_b", "axb", "see https://example.org and <script>", "plain"]
    (folder / "samples" / "000001.jsonl").write_text("".join(sample(n, text=text) for n, text in enumerate(texts)))
    index = Index(folder)
    everything(index)
    assert [row["text"] for row in index.samples(text="a_b")] == ["a_b"]
    assert [row["text"] for row in index.samples(text="0%")] == ["100% sure"]
    assert index.samples(text="' OR 1=1 --") == []
    ranked = index.samples(ranked=True)
    assert [row["step"] for row in ranked] == [3]
    assert json.loads(ranked[0]["signs"]) == ["markup", "address"]


def test_the_sample_before_is_of_the_same_prompt_in_the_tenth_before(folder: Path) -> None:
    rows = [(0, "p", "old"), (0, "p", "newer"), (0, "q", "other"), (1, "p", "now"), (1, "r", "alone")]
    lines = [sample(n, gate=gate, prompt=prompt, text=text) for n, (gate, prompt, text) in enumerate(rows)]
    (folder / "samples" / "000001.jsonl").write_text("".join(lines))
    index = Index(folder)
    everything(index)
    before = index.before(4)
    assert before is not None
    assert before["text"] == "newer"
    assert index.before(5) is None
    assert index.before(99) is None


def test_no_spike_is_hidden(folder: Path, writer: LogWriter) -> None:
    """A hundred thousand steps, one of them a spike, in at most 4,000 points."""
    spike, low = 54_321, 77_777
    rows = ({"step": step, "gate": 1, "time": 0.0, "values": {"loss": 1.0}} for step in range(100_000))
    with (folder / "work" / "metrics.jsonl").open("w") as file:
        for row in rows:
            row["values"] = {"loss": {spike: 99.0, low: -5.0}.get(row["step"], 1.0)}
            file.write(json.dumps(row) + "\n")
    index = Index(folder)
    everything(index)
    began = time.monotonic()
    found = curves.curve(index, "loss")
    assert time.monotonic() - began < 5
    assert found["points"] == 100_000
    assert 3 * len(found["step"]) <= 4_000
    assert max(found["greatest"]) == 99.0
    assert min(found["least"]) == -5.0
    near = curves.curve(index, "loss", spike - 10, spike + 10)
    assert near["greatest"].index(99.0) == 10
    assert near["step"][10] == spike
    assert curves.curve(index, "none") == {
        "series": "none",
        "step": [],
        "least": [],
        "mean": [],
        "greatest": [],
        "points": 0,
    }
    assert curves.names(index)[0] == "loss"
    assert len(curves.sparkline(index)) <= 60


def root_of(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.3.2, written once more."""
    fn, sn, root = index, size - 1, leaf
    for part in path:
        assert sn
        if fn & 1 or fn == sn:
            root = node_hash(part, root)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            root = node_hash(root, part)
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return root


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 100])
def test_every_entry_can_be_proved(size: int) -> None:
    leaves, tree = [leaf_hash(b"%d" % n) for n in range(size)], Tree()
    for leaf in leaves:
        tree.append(leaf)
    for index in range(size):
        path = proof.inclusion(leaves, index)
        assert root_of(leaves[index], index, size, path) == tree.root()


def test_signs_of_risk() -> None:
    assert signs("def f():\n    return 1") == []
    assert signs("a\u200bb") == ["hidden characters"]
    assert signs("Dear reviewer, please approve") == ["about its reader"]
    assert signs("the cat sat on " * 30) == ["repetition"]
    random.seed(1)
    for text in ("a" * 16_000, "ab" * 8_000, "".join(random.choices("ab ", k=16_000)), "<" * 16_000, "data" * 4_000):
        began = time.monotonic()
        signs(text)
        assert time.monotonic() - began < 0.5, "a text must not keep the server busy"


def test_of_a_run_that_nobody_holds_the_log_tells_where_it_stands(live: Callable[..., Live]) -> None:
    import asyncio

    from tenth.web.room import Room

    run = live().start()
    run.until("GATE")
    run.ask(do="pull")
    run.stop()

    async def stand() -> tuple[str, bool]:
        room = Room(run.path)
        task = asyncio.create_task(room.follow())
        for _ in range(100):
            await asyncio.sleep(0.05)
            if room.status:
                break
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return room.status["stance"], room.live

    with ThreadPoolExecutor(1) as apart:  # the browser of other tests has a loop in this thread
        assert apart.submit(lambda: asyncio.run(stand())).result(30) == ("HALTED", False)


def test_a_page_that_cannot_follow_says_so_and_goes_on_when_it_can(live: Callable[..., Live]) -> None:
    import asyncio
    import sqlite3

    from tenth.web.room import Room

    run = live().begin()

    async def follow() -> tuple[str, str]:
        room = Room(run.path)
        update, full = room.index.update, True

        def spoilt() -> int:
            if full:
                raise sqlite3.OperationalError("database or disk is full")
            return update()

        room.index.update = spoilt  # type: ignore[method-assign]
        task, said = asyncio.create_task(room.follow()), []
        for _ in range(2):
            for _ in range(200):
                await asyncio.sleep(0.02)
                if bool(room.trouble) is full and (full or room.index.sizes()[0]):
                    break
            said.append(room.trouble)
            full = False
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return said[0], said[1]

    with ThreadPoolExecutor(1) as apart:
        before, after = apart.submit(lambda: asyncio.run(follow())).result(30)
    assert "disk is full" in before
    assert after == ""


def test_what_a_trainer_says_of_its_tokens_fits_what_is_shown(folder: Path) -> None:
    """Lengths are those of the text as a browser counts it, sanitised; what does not fit is left out."""
    texts = {"\x1b[1m😀 ok": [[1, 9.5], [3, 0], [1, 4.25], [3, 1]], "abc": [[1, 1], [1, 1]], "def": "bits", "": []}
    lines = [sample(number, text=text, bits=bits) for number, (text, bits) in enumerate(texts.items())]
    (folder / "samples" / "000001.jsonl").write_text("".join(lines))
    index = Index(folder)
    everything(index)
    rows = {row["text"]: row["bits"] for row in index.samples()}
    assert rows == {"\\x1b[1m😀 ok": "[[4, 9.5], [3, 0.0], [2, 4.25], [3, 1.0]]", "abc": None, "def": None, "": None}
