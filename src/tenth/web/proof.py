"""The proof that one entry stands in the log: the hashes from its leaf to the signed root (RFC 6962, section 2.1.1)."""

from __future__ import annotations

from collections.abc import Sequence

from tenth.log.tree import node_hash


def inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of ``leaves[index]``, from its neighbour up to the root's child."""
    path: list[bytes] = []
    level, place = list(leaves), index
    while len(level) > 1:
        if place ^ 1 < len(level):
            path.append(level[place ^ 1])
        paired = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = paired + ([level[-1]] if len(level) % 2 else [])
        place //= 2
    return path
