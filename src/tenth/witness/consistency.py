"""Consistency proofs of RFC 6962, section 2.1.2: one who kept nothing but an old root sees that a tree only grew."""

from __future__ import annotations

from collections.abc import Sequence

from tenth.log.tree import Tree, node_hash


def root_of(leaves: Sequence[bytes]) -> bytes:
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def consistency_proof(leaves: Sequence[bytes], old: int) -> list[bytes]:
    """PROOF(old, leaves) of RFC 6962; empty where ``old`` is 0 or all of them. ``leaves`` are leaf hashes."""
    first, last, proof = 0, len(leaves), list[bytes]()
    while 0 < old < last:
        split = first + (1 << (last - first - 1).bit_length() - 1)
        if old <= split:
            proof.append(root_of(leaves[split:last]))
            last = split
        else:
            proof.append(root_of(leaves[first:split]))
            first = split
    return [*([root_of(leaves[first:last])] if first else []), *reversed(proof)]


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Does the tree of size ``new`` begin with the one of size ``old``? As RFC 9162 words it, section 2.1.4.2."""
    if old in (0, new):
        return not proof and old_root == (root_of([]) if old < new else new_root)
    path = [*([old_root] if old & (old - 1) == 0 else []), *proof]
    if not 0 < old < new or not path:
        return False
    a, b = old - 1, new - 1
    while a & 1:
        a, b = a >> 1, b >> 1
    old_seen = new_seen = path[0]
    for node in path[1:]:
        if b == 0:
            return False
        if a & 1 or a == b:
            old_seen, new_seen = node_hash(node, old_seen), node_hash(node, new_seen)
            while a and not a & 1:
                a, b = a >> 1, b >> 1
        else:
            new_seen = node_hash(new_seen, node)
        a, b = a >> 1, b >> 1
    return b == 0 and (old_seen, new_seen) == (old_root, new_root)
