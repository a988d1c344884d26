"""Trainers that leave in their folders what nobody should open, or hold on to what was hashed."""

import fcntl
import json
import mmap
import os
import pickle
import socket
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import door
from tally import alive

Facts = dict[str, Any]


def _attempt(action: Callable[[], object]) -> str:
    try:
        return f"done: {action()!r}"[:200]
    except OSError as error:
        return f"{type(error).__name__}: {error}"


def _end(lease: dict[str, Any], path: str = "checkpoint") -> None:
    door.say(frame="saved", path=path)
    door.say(frame="done", position={})
    sys.exit(0)


def _wait() -> None:
    """Neither end nor fall silent."""
    while alive():
        door.progress(1)
        time.sleep(0.1)


def _daemon(work: Callable[[], object]) -> None:
    """Do this forever, in a process that outlives its parents."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    while alive():
        try:
            work()
        except OSError:
            time.sleep(0.001)
    os._exit(0)


# --- what is in it ---------------------------------------------------------------------------------------------------


def a_symlink(facts: Facts) -> None:
    lease = door.hello()
    (door.checkpoint(lease, state="x") / "link").symlink_to(facts["key"])
    _end(lease)


def a_symlink_instead_of_it(facts: Facts) -> None:
    lease = door.hello()
    Path(lease["work"], "elsewhere").symlink_to(Path(facts["key"]).parent)
    _end(lease, "elsewhere")


def a_hard_link(facts: Facts) -> None:
    """A second name, by which it could be edited during the next tenth."""
    lease = door.hello()
    folder = door.checkpoint(lease, state="x")
    (Path(lease["work"]) / "second name").hardlink_to(folder / "state")
    _end(lease)


def a_hard_link_to_what_is_sealed(facts: Facts) -> None:
    lease = door.hello()
    folder = door.checkpoint(lease, loot="")
    sealed = [path for path in Path(facts["checkpoints"]).rglob("*") if path.is_file()][:1]
    said = [_attempt(lambda path=path: (folder / "old").hardlink_to(path)) for path in sealed]
    (folder / "loot").write_text(json.dumps({"link": said}))
    _end(lease)


def a_fifo(facts: Facts) -> None:
    lease = door.hello()
    os.mkfifo(door.checkpoint(lease, state="x") / "pipe")
    _end(lease)


def a_socket(facts: Facts) -> None:
    lease = door.hello()
    os.chdir(door.checkpoint(lease, state="x"))
    try:
        socket.socket(socket.AF_UNIX).bind("sock")
    except OSError:  # some walls let none be made
        os.mkfifo("sock")
    _end(lease)


def a_device(facts: Facts) -> None:
    lease = door.hello()
    folder, said = door.checkpoint(lease, loot=""), {}
    for kind, number in ((stat.S_IFBLK, os.makedev(8, 0)), (stat.S_IFCHR, os.makedev(1, 1))):
        said[str(kind)] = _attempt(lambda kind=kind, number=number: os.mknod(folder / "node", kind | 0o600, number))
    (folder / "loot").write_text(json.dumps(said))
    _end(lease)


def a_program_with_its_owners_rights(facts: Facts) -> None:
    """Set-user-id, executable: what is sealed is data, and nobody's program."""
    lease = door.hello()
    folder = door.checkpoint(lease, loot="{}")
    (folder / "program").write_bytes(Path("/bin/true").read_bytes())
    (folder / "program").chmod(0o6777)
    _end(lease)


class _Runs:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self._path, "w"))


def a_pickle(facts: Facts) -> None:
    """Under every name that a reader of checkpoints might trust."""
    lease = door.hello()
    folder = door.checkpoint(lease, loot="{}")
    names = "model.safetensors optimizer.safetensors state.json pytorch_model.bin model.pt tokenizer.json"
    for name in names.split():
        (folder / name).write_bytes(pickle.dumps(_Runs(facts["marker"])))
    _end(lease)


def names_that_steer_terminals(facts: Facts) -> None:
    lease = door.hello()
    (door.checkpoint(lease, state="x") / "\x1b]0;owned\x07\x1b[2J").write_text("x")
    _end(lease)


def names_that_hide(facts: Facts) -> None:
    lease = door.hello()
    (door.checkpoint(lease, state="x") / "weights\u202egpj.exe\u200b").write_text("x")
    _end(lease)


def names_of_markup(facts: Facts) -> None:
    """Printable, so it may be sealed; whoever shows it must show it as text."""
    lease = door.hello()
    folder = door.checkpoint(lease, loot="{}")
    for name in ("<img src=x onerror=alert(1)>", "[click](javascript:alert(1))", "https:", "$(reboot)", "-rf ", "';--"):
        (folder / name).write_text("x")
    _end(lease)


def as_deep_as_the_kernel_lets(facts: Facts) -> None:
    """The arena has dug it: that takes more of the processor than a lease holds."""
    lease = door.hello()
    os.rename(Path(lease["work"], "deep"), door.checkpoint(lease, state="x") / "deep")
    _end(lease)


# --- too much of it --------------------------------------------------------------------------------------------------


def fills_the_disk(facts: Facts) -> None:
    """A megabyte at a time; ends by itself after ``megabytes``."""
    lease = door.hello()
    for number in range(facts["megabytes"]):
        Path(lease["work"], f"block{number}").write_bytes(os.urandom(1 << 20))
    _wait()


def fills_the_disk_and_leaves(facts: Facts) -> None:
    """Before anybody looks."""
    lease = door.hello()
    folder = door.checkpoint(lease, state="x")
    for number in range(facts["megabytes"]):
        (folder / f"block{number}").write_bytes(bytes(1 << 20))
    _end(lease)


def holes_that_take_a_year_to_hash(facts: Facts) -> None:
    """Sparse files: they take no room, and there would be no end of reading them."""
    lease = door.hello()
    folder = door.checkpoint(lease, state="x")
    for number in range(facts["files"]):
        with (folder / f"hole{number}").open("wb") as file:
            file.truncate(facts["bytes"])
    _end(lease)


def one_file_too_large(facts: Facts) -> None:
    """The kernel ends it there: by a signal, or, since Python ignores that one, by an error."""
    lease = door.hello()
    with Path(lease["work"], "large").open("wb") as file:
        file.writelines(bytes(1 << 20) for _ in range(facts["megabytes"]))
    _end(lease)


def more_files_than_can_be_counted(facts: Facts) -> None:
    lease = door.hello()
    for number in range(facts["files"]):
        os.close(os.open(f"{lease['work']}/{number}", os.O_CREAT | os.O_WRONLY))
        if number % 500 == 0:
            door.progress(1)
    _wait()


def prints_without_end(facts: Facts) -> None:
    """Into trainer.log, until it may not; ends by itself after ``megabytes``."""
    door.hello()
    for _ in range(facts["megabytes"]):
        os.write(1, b"\x1b[31mall work and no play\n" * 40_000)


# --- changed after it was hashed -------------------------------------------------------------------------------------


def edits_through_an_open_descriptor(facts: Facts) -> None:
    """A daemon holds the file open across the hash, and writes, and writes."""
    lease = door.hello()
    file = os.open(door.checkpoint(lease, state="x" * 1000) / "state", os.O_RDWR)
    _daemon(lambda: os.pwrite(file, os.urandom(8), 0))
    time.sleep(0.02)
    _end(lease)


def edits_through_mapped_memory(facts: Facts) -> None:
    lease = door.hello()
    file = os.open(door.checkpoint(lease, state="x" * 5000) / "state", os.O_RDWR)
    memory = mmap.mmap(file, 0)
    os.close(file)

    def edit() -> None:
        memory[:8] = os.urandom(8)

    _daemon(edit)
    time.sleep(0.02)
    _end(lease)


def swaps_by_path(facts: Facts) -> None:
    """A daemon keeps exchanging the folder for another, and what lies in both."""
    lease = door.hello()
    door.checkpoint(lease, state="x")
    work = Path(lease["work"])
    (work / "other").mkdir(exist_ok=True)
    (work / "other" / "state").write_text("another model")

    def swap() -> None:
        os.rename(work / "checkpoint", work / "kept")
        os.rename(work / "other", work / "checkpoint")
        os.rename(work / "kept", work / "other")

    _daemon(swap)
    time.sleep(0.02)
    # Whichever of the two it is: what is sealed is what is hashed.
    door.say(frame="saved", path="checkpoint")
    door.say(frame="done", position={})
    while not (work / "checkpoint" / "state").exists():
        time.sleep(0)
    sys.exit(0)


def edits_what_is_sealed(facts: Facts) -> None:
    """The checkpoints of earlier tenths, by every call that could."""
    lease = door.hello()
    said = {}
    for path in [one for one in Path(facts["checkpoints"]).rglob("*") if one.is_file()][:1]:
        for name, action in {
            "mode": lambda path=path: path.chmod(0o666),
            "owner": lambda path=path: os.chown(path, os.getuid(), os.getgid()),
            "write": lambda path=path: path.write_text("edited"),
            "append": lambda path=path: os.write(os.open(path, os.O_WRONLY | os.O_APPEND), b"x"),
            "truncate": lambda path=path: os.truncate(path, 0),
            "replace": lambda path=path: os.replace(Path(lease["work"], "mine"), path),
            "remove": lambda path=path: path.unlink(),
            "move": lambda path=path: path.parent.rename(path.parent.parent / "99"),
            "times": lambda path=path: os.utime(path, (0, 0)),
            "attribute": lambda path=path: os.setxattr(path, "user.x", b"x"),
        }.items():
            Path(lease["work"], "mine").write_text("mine")
            before = os.stat(path)
            said[name] = _attempt(lambda action=action, path=path, before=before: _changed(path, before, action()))
    door.checkpoint(lease, loot=json.dumps(said))
    _end(lease)


def _changed(path: Path, before: os.stat_result, _done: object) -> str:
    """Some walls answer that it is done, and nothing is."""
    now = os.stat(path)
    if (now.st_mode, now.st_mtime_ns, now.st_ctime_ns) == (before.st_mode, before.st_mtime_ns, before.st_ctime_ns):
        raise OSError(0, "nothing changed")
    return "changed"


def holds_on_to_what_the_supervisor_opens(facts: Facts) -> None:
    """A write lease on its own log: whoever opens that file next is kept waiting for most of a minute."""
    lease = door.hello()
    said = _attempt(lambda: fcntl.fcntl(1, fcntl.F_SETLEASE, fcntl.F_WRLCK))
    door.checkpoint(lease, loot=json.dumps({"lease": said}))
    _wait()
