"""Promise 8 at each call by which a supervisor changes files: killed before, after or within it, or the call fails.

``benchmarks/faults.py`` spoils every call of the story in every way. Here it is each so-manieth of them, the calls on
which most depends, and those that once went wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from core.live import PYTHON
from faults import commands, strace, trials
from faults.calls import NUMBERS, SUPPORTED
from faults.story import Story
from faults.trials import Point

pytestmark = pytest.mark.skipif(not SUPPORTED, reason="calls are looked at on Linux on x86-64 only")

AT_ONCE = 2
EACH = 211
"""One in so many; a prime, so that it meets each part of the story."""
MATTERS = (
    ("gates/00.2/consents/.bob.json.tmp", "openat", "EIO"),  # the last consent is on record, and not yet acknowledged
    ("checkpoints/01", "rename", "after"),
    ("recipe.2.toml", "rename", "before"),
    ("control.sock", "unlink", "EIO"),
)
WENT_WRONG = (
    ("samples/000001.jsonl", "write", "EIO"),  # what was not written whole was written after all, and counted wrong
    ("gates/00.2/evidence", "mkdir", "cut"),  # the names of a gate's folder and of a shard were not synced
    ("gates/01.2/evidence", "mkdir", "cut"),  # what evidence commands write was not synced
)


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Story]]:
    made = trials.stories(tmp_path_factory.mktemp("faults"), AT_ONCE, seal=True)
    yield made
    for story in made:
        story.run.close()


@pytest.fixture(scope="module")
def undisturbed(stories: list[Story]) -> tuple[list[Point], bytes, list[Any]]:
    """The calls of the story as it goes when nothing happens, its result, and all that was seen of it."""
    return trials.points(stories[0]), stories[0].result(), stories[0].calls()


def test_spoiled_calls_lose_nothing(stories: list[Story], undisturbed: tuple[list[Point], bytes, list[Any]]) -> None:
    points, result, _ = undisturbed
    work = trials.wanted(points)[::EACH]
    for path, name, how in (*MATTERS, *WENT_WRONG):
        work.append((next(point for point in points if (point.path, point.name) == (path, name)), how))
    assert [str(found) for found in trials.spoil_all(stories, work, result) if not found.well] == []


def test_writes_may_be_short(stories: list[Story], undisturbed: tuple[list[Point], bytes, list[Any]]) -> None:
    """The kernel may write less than it was asked to, which is no error: here it writes half, each time."""
    points, result, _ = undisturbed
    found = trials.spoil(stories[1], points[0], "short", result)
    assert found.well, str(found)
    assert found.status == 0
    written = [call for call in stories[1].calls() if call["name"] == "write" and call["number"]]
    assert len(written) > 2 * sum(point.name == "write" for point in points)


def test_nothing_is_said_before_it_is_durable(undisturbed: tuple[list[Point], bytes, list[Any]]) -> None:
    """Between the entry's last fdatasync and the first word of it, in the order in which the kernel saw them."""
    lines = heads = durable_lines = durable = 1  # the first entry was there
    said, leases = 0, []
    for call in undisturbed[2]:
        match call["path"], call["name"]:
            case "log/entries.jsonl", "write":
                lines += call["data"].count("\n")
                leases += [number for number in [lines] if '"event":"leased"' in call["data"]]
            case "log/heads", "write":
                heads = int(call["data"].split("\n")[1])
            case "log/entries.jsonl", "fdatasync":
                durable_lines = lines
            case "log/heads", "fdatasync":
                assert heads <= durable_lines, "a head was durable before its entries"
                durable = heads
            case "", "sendto":
                for message in map(json.loads, call["data"].splitlines()):
                    said += _judge(message, durable, leases)
    assert said > 30


def _judge(message: Any, durable: int, leases: Sequence[int]) -> int:
    """How many things it says that must be durable."""
    if message.get("frame") == "lease":
        assert leases, "the trainer was told its lease before the lease was written"
        assert leases[-1] <= durable, "the trainer was told its lease before the lease was durable"
        return 1
    entries = [*message.get("entries", []), *([message["entry"]] if "entry" in message else [])]
    told = [one["index"] for one in entries] + ([message["index"]] if "index" in message else [])
    assert all(index < durable for index in told), f"{message} was said when {durable} entries were durable"
    assert message.get("status", {}).get("entries", 0) <= durable
    return len(told)


@pytest.mark.skipif(strace.PROGRAM is None, reason="strace is not installed")
def test_no_call_is_overlooked(
    stories: list[Story], undisturbed: tuple[list[Point], bytes, list[Any]], tmp_path: Path
) -> None:
    """strace sees the same calls, in the same order, and no other call that could change a file."""
    story, output = stories[1], tmp_path / "strace"
    story.again()
    story.run.python = [*strace.command(output), PYTHON]
    story.run.start(answer=False)
    assert story.go_on() == 0
    found = strace.calls(output, str(story.run.path))
    assert {name for name, _ in found} <= set(NUMBERS), "a kind of call that is not looked at"
    assert found == [(point.name, point.path) for point in undisturbed[0]]


def test_a_run_is_opened_or_not(tmp_path: Path) -> None:
    """Killed anywhere, ``tenth run`` leaves no run, or one that begins."""
    command = commands.opening(tmp_path)
    points = commands.points(command)
    work = [*trials.wanted(points)[:: EACH // 4], (points[-2], "after"), (points[-1], "EIO"), (commands.LAST, "cut")]
    assert [str(found) for found in (commands.spoil(command, *one) for one in work) if not found.well] == []


def test_a_signature_is_written_or_not(tmp_path: Path) -> None:
    """Killed anywhere, ``tenth consent --offline`` leaves no file, or one that can be handed in."""
    command = commands.signing(tmp_path)
    work = [one for one in trials.wanted(commands.points(command)) if one[1] in ("before", "torn")]
    work.append((commands.LAST, "cut"))
    assert [str(found) for found in (commands.spoil(command, *one) for one in work) if not found.well] == []
