"""What strace(1) says a program did below a folder, as a second opinion on what ``calls.py`` sees."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

PROGRAM = shutil.which("strace")
LOOKS = set(
    "access faccessat faccessat2 stat lstat newfstatat statx fstat statfs fstatfs read pread64 readv recvfrom lseek "
    "getdents64 close readlink readlinkat getcwd chdir fchdir execve fcntl flock ioctl mmap fadvise64 dup clone fork "
    "vfork getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr inotify_add_watch epoll_ctl poll select "
    "connect listen accept4 getsockname".split()
)
"""Calls that change no file."""
_LINE = re.compile(r"(?:\d+ +)?(\w+)\((.*)\) += (-?\d+|\?)")


def command(output: Path) -> list[str]:
    """What is put before a command: its first process alone is looked at, paths stand beside descriptors."""
    assert PROGRAM is not None
    return [PROGRAM, "-qq", "-y", "-s", "4096", "-o", str(output), "-e", "signal=none"]


def calls(output: Path, below: str) -> list[tuple[str, str]]:
    """(name, path) of each call that names something below the folder and is not known to change nothing."""
    found = []
    for line in output.read_text(errors="surrogateescape").splitlines():
        match = _LINE.match(line)
        if match is None or match[1] in LOOKS:
            continue
        name, arguments = match[1], match[2]
        if name.startswith("open") and not re.search(r"O_CREAT|O_TRUNC", arguments):
            continue
        if path := _path(name, arguments, below):
            found.append((name, path))
    return found


def _path(name: str, arguments: str, below: str) -> str | None:
    """Relative; of the last file that is named, which for a rename is the new name."""
    if name in ("sendto", "sendmsg"):
        return None
    folder, quoted = re.escape(below), r'"((?:[^"\\]|\\.)*)"'
    if name == "bind":
        match = re.search(r'sun_path="/proc/self/fd/\d+/([^"]*)"', arguments)
        return match[1] if match else None
    on_descriptor = re.match(rf"\d+<({folder}(?:/[^>]*)?)>", arguments)
    named = [text for text in re.findall(quoted, arguments) if re.match(rf"{folder}(/|$)", text)]
    if name in ("write", "pwrite64", "writev"):
        named = []
    whole = named[-1] if named else on_descriptor[1] if on_descriptor else None
    return os.path.relpath(whole.removesuffix(" (deleted)"), below) if whole else None
