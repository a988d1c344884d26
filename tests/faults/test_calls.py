"""Does a spoiled call do what it is said to do?"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faults.calls import SUPPORTED
from faults.disk import Disk
from faults.story import CALLS

SIX = """
import os, sys
os.chdir(sys.argv[1])
file = os.open("new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
data = b"0123456789"
while data:
    data = data[os.write(file, data):]
os.fsync(file)
os.rename("new", "old")
folder = os.open(".", os.O_RDONLY)
os.fsync(folder)
os.mkdir("more")
"""
NAMES = ["openat", "write", "fsync", "rename", "fsync", "mkdir"]


def spoiled(folder: Path, at: int, how: str) -> tuple[int, str, dict[str, str], list[str]]:
    """Exit status, last words, what lies in the folder then, and the names of the calls that were seen."""
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "old").write_text("before")
    spec = {"below": str(folder / "below"), "report": str(folder / "report"), "at": at, "how": how}
    command = [sys.executable, "-I", "-S", str(CALLS), json.dumps(spec)]
    command += [sys.executable, "-I", "-S", "-c", SIX, str(folder / "below")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    left = {path.name: path.read_text() if path.is_file() else "/" for path in (folder / "below").iterdir()}
    calls = [json.loads(line) for line in (folder / "report").read_text().splitlines()]
    assert [call["number"] for call in calls if call["spoiled"]] == ([at] if at else [])
    names = [call["name"] for call in calls if call["number"]]
    return done.returncode, done.stderr.strip().rpartition("\n")[2], left, names


pytestmark = pytest.mark.skipif(not SUPPORTED, reason="calls are looked at on Linux on x86-64 only")


def test_every_call_is_seen_once(tmp_path: Path) -> None:
    status, _, left, names = spoiled(tmp_path, 0, "")
    assert (status, names) == (0, NAMES)
    assert left == {"old": "0123456789", "more": "/"}


@pytest.mark.parametrize(
    ("at", "how", "left"),
    [
        (1, "before", {"old": "before"}),
        (1, "after", {"old": "before", "new": ""}),
        (2, "torn", {"old": "before", "new": "01234"}),
        (2, "after", {"old": "before", "new": "0123456789"}),
        (4, "before", {"old": "before", "new": "0123456789"}),
        (4, "after", {"old": "0123456789"}),
        (6, "after", {"old": "0123456789", "more": "/"}),
        (3, "cut", {"old": "before"}),
        (5, "cut", {"old": "before"}),
        (6, "cut", {"old": "0123456789"}),
    ],
)
def test_a_kill_leaves_what_was_done_by_then(tmp_path: Path, at: int, how: str, left: dict[str, str]) -> None:
    status, _, found, names = spoiled(tmp_path, at, how)
    assert (status, found) == (137, left)
    assert names == NAMES[:at]


@pytest.mark.parametrize("at", range(1, 7))
@pytest.mark.parametrize("how", ["EIO", "ENOSPC"])
def test_a_call_that_fails_is_not_made(tmp_path: Path, at: int, how: str) -> None:
    status, said, left, names = spoiled(tmp_path, at, how)
    assert status == 1
    assert os.strerror(getattr(errno, how)) in said
    assert names == NAMES[:at]
    assert (
        left
        == [
            {"old": "before"},
            {"old": "before", "new": ""},
            {"old": "before", "new": "0123456789"},
            {"old": "before", "new": "0123456789"},
            {"old": "0123456789"},
            {"old": "0123456789"},
        ][at - 1]
    )


def test_short_writes_are_no_error(tmp_path: Path) -> None:
    status, _, left, names = spoiled(tmp_path, 2, "short")
    assert (status, left) == (0, {"old": "0123456789", "more": "/"})
    assert names.count("write") == 5, "5, 2, 1, 1 and 1 byte"


def test_a_disk_forgets_what_was_not_synced(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "file").write_text("old")
    disk = Disk(str(folder))
    (folder / "file").write_text("synced")
    disk.synced(str(folder / "file"))
    (folder / "file").write_text("lost")
    (folder / "inner" / "nameless").write_text("its folder was not synced")
    disk.synced(str(folder / "inner" / "nameless"))
    (folder / "empty").write_text("its name was synced")
    disk.synced(str(folder))
    (folder / "empty").rename(folder / "renamed")
    disk.lose(str(tmp_path / "aside"))
    left = {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert left == {"file": "synced", "empty": ""}
    assert (folder / "inner").is_dir()
