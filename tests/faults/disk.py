"""What of a folder would be left if the power went now: what was synced, and nothing else.

The strictest disk that POSIX allows: of a file, its bytes as they were when it was synced; of a folder, its names as
they were when it was synced; all else is forgotten. Real file systems keep more. Standard library only.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Synced:
    """A file or folder as it was when it was synced."""

    mode: int
    data: bytes
    names: dict[str, int]
    """Name -> inode, of a folder."""


class Disk:
    """Made when all that lies in the folder is synced."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._known: dict[int, Synced] = {}
        self._held: dict[int, int] = {}
        """Inode -> a descriptor: while it is open, no other file can get the same number."""
        for parent, _, files in os.walk(folder):
            self.synced(parent)
            for name in files:
                self.synced(os.path.join(parent, name))

    def synced(self, path: str) -> None:
        """A plain file or a folder was synced; ``path`` may be one of /proc/PID/fd."""
        if self._held.get(inode := os.stat(path).st_ino) is None:
            self._held[inode] = os.open(path, os.O_RDONLY)
        status = os.fstat(self._held[inode])
        if stat.S_ISDIR(status.st_mode):
            names = {name: self._named(inode, name) for name in os.listdir(self._held[inode])}
            self._known[inode] = Synced(status.st_mode, b"", names)
        else:
            data = os.pread(self._held[inode], status.st_size, 0)
            self._known[inode] = Synced(status.st_mode, data, {})

    def _named(self, folder: int, name: str) -> int:
        """The inode of a name, which may be synced before what it names: then it names something empty."""
        status = os.stat(name, dir_fd=self._held[folder], follow_symlinks=False)
        plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        if plain and status.st_ino not in self._held:
            self._held[status.st_ino] = os.open(name, os.O_RDONLY, dir_fd=self._held[folder])
            self._known[status.st_ino] = Synced(status.st_mode, b"", {})
        return status.st_ino

    def lose(self, aside: str) -> None:
        """Put what was synced in the place of the folder, which goes ``aside``; whole: somebody may be reading."""
        kept = f"{self._folder}.kept"
        self._make(Path(kept), os.stat(self._folder).st_ino)
        os.rename(self._folder, aside)
        os.rename(kept, self._folder)

    def _make(self, path: Path, inode: int) -> None:
        one = self._known.get(inode)
        if one is None:  # a socket
            return
        if stat.S_ISDIR(one.mode):
            path.mkdir()
            for name, inner in one.names.items():
                self._make(path / name, inner)
        else:
            path.write_bytes(one.data)
        path.chmod(stat.S_IMODE(one.mode))
