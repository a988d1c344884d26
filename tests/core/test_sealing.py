"""Are only plain files sealed, with a digest that names every byte and every name?"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tenth.encoding import canonical, digest
from tenth.errors import WrongInput
from tenth.gate.sealing import data_listing, finish, folder_digest, seal


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "checkpoint"
    (folder / "sub").mkdir(parents=True)
    (folder / "state").write_bytes(b"one")
    (folder / "sub" / "é").write_bytes(b"")
    (tmp_path / "checkpoints").mkdir()
    return folder


def test_a_folder_is_moved_hashed_and_made_read_only(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "checkpoints" / "01"
    found = finish(seal(source, target))
    rows = [
        {"path": "state", "sha256": digest(b"one"), "size": 3},
        {"path": "sub/é", "sha256": digest(b""), "size": 0},
    ]
    assert found == digest(canonical(rows)) == finish(folder_digest(target))
    assert not source.exists()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (target, *target.rglob("*"))}
    assert modes == {0o555, 0o444}


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's own path may have 107 bytes only
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path.name)
    finally:
        os.chdir(here)


INTRUDERS: dict[str, Callable[[Path], object]] = {
    "symbolic link": lambda path: path.symlink_to("state"),
    "link to elsewhere": lambda path: path.symlink_to("/etc/passwd"),
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "linked folder": lambda path: path.symlink_to("/etc"),
    "hard link": lambda path: path.hardlink_to(path.parent / "state"),
    "fifo": os.mkfifo,
    "socket": _socket,
    "device": lambda path: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
    "name that is not text": lambda path: Path(os.fsdecode(os.fsencode(path) + b"\xff")).write_text("x"),
}


@pytest.mark.parametrize("kind", INTRUDERS)
@pytest.mark.parametrize("where", [".", "sub"])
def test_what_is_not_a_plain_file_is_refused(source: Path, tmp_path: Path, kind: str, where: str) -> None:
    (source / where / "state").write_bytes(b"one")
    try:
        INTRUDERS[kind](source / where / "intruder")
    except PermissionError:
        pytest.skip("this user may make no devices")
    with pytest.raises(WrongInput):
        finish(seal(source, tmp_path / "checkpoints" / "01"))
    with pytest.raises(WrongInput):
        finish(folder_digest(source))
    assert source.exists(), "nothing was moved"


def test_folders_without_end_are_refused(source: Path, tmp_path: Path) -> None:
    here = Path.cwd()
    os.chdir(source)
    try:
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
    finally:
        os.chdir(here)
    try:
        with pytest.raises((WrongInput, OSError)):
            finish(seal(source, tmp_path / "checkpoints" / "01"))
    finally:
        subprocess.run(["rm", "-rf", str(source)], check=True)  # Python's own way of removing it has no end either


def test_an_empty_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    with pytest.raises(WrongInput, match="empty"):
        finish(seal(tmp_path / "empty", tmp_path / "01"))


CHANGES: dict[str, Callable[[Path], object]] = {
    "byte": lambda folder: (folder / "state").write_bytes(b"onf"),
    "longer": lambda folder: (folder / "state").write_bytes(b"one\n"),
    "renamed": lambda folder: (folder / "state").rename(folder / "State"),
    "moved": lambda folder: (folder / "state").rename(folder / "sub" / "state"),
    "added": lambda folder: (folder / "new").write_bytes(b""),
    "removed": lambda folder: (folder / "sub" / "é").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_changes_the_digest(source: Path, change: str) -> None:
    before = finish(folder_digest(source))
    CHANGES[change](source)
    assert finish(folder_digest(source)) != before


def test_data_is_listed_by_the_bytes_of_its_paths(tmp_path: Path) -> None:
    for name in ("data/b.txt", "data/B.txt", "data/.hidden", "data/.git/x", "data/é/1", "one.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    listing = finish(data_listing(tmp_path, ["one.txt", "data", "data/b.txt"]))
    wanted = ["data/B.txt", "data/b.txt", "data/é/1", "one.txt"]
    rows = [
        canonical({"path": name, "sha256": digest(name.encode()), "size": len(name.encode())}) + b"\n"
        for name in wanted
    ]
    assert listing == b"".join(rows)
    assert finish(data_listing(tmp_path, [str(tmp_path / "one.txt")])).startswith(b'{"path":"' + os.fsencode(tmp_path))


@pytest.mark.parametrize("kind", ["fifo", "dangling link"])
def test_data_that_cannot_be_read_as_a_file_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "data").mkdir()
    INTRUDERS[kind](tmp_path / "data" / "x")
    with pytest.raises(WrongInput):
        finish(data_listing(tmp_path, ["data"]))
    with pytest.raises(WrongInput):
        finish(data_listing(tmp_path, ["absent"]))


def test_data_whose_name_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    INTRUDERS["name that is not text"](tmp_path / "data" / "x")
    with pytest.raises(WrongInput):
        finish(data_listing(tmp_path, ["data"]))


def test_hashing_pauses_between_chunks(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(20 << 20)
    assert sum(1 for _ in folder_digest(tmp_path)) >= 5
