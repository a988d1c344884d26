"""The Merkle tree of RFC 6962, section 2.1, kept as its right edge: appending and the root take O(log n)."""

from __future__ import annotations

from hashlib import sha256


def leaf_hash(data: bytes) -> bytes:
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


class Tree:
    """Roots of the complete subtrees that make up the first ``size`` leaves, largest first."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        size = self.size
        while size & 1:
            leaf = node_hash(self._edge.pop(), leaf)
            size >>= 1
        self._edge.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """32 bytes; of no leaves, the hash of nothing."""
        if not self._edge:
            return sha256().digest()
        root = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            root = sha256(b"\1" + left + root).digest()  # node_hash, a million times
        return root

    def copy(self) -> Tree:
        twin = Tree()
        twin.size, twin._edge = self.size, list(self._edge)
        return twin
