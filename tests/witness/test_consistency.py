"""Does a consistency proof say that a tree only grew, for every pair of sizes, and does nothing else pass for one?"""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenth.log.tree import Tree, leaf_hash, node_hash
from tenth.witness.consistency import consistency_proof, is_consistent, root_of

MOST = 64
LEAVES = [leaf_hash(bytes([i])) for i in range(MOST)]
ROOTS = [root_of(LEAVES[:size]) for size in range(MOST + 1)]

# --- an oracle: RFC 6962, section 2.1, word for word -----------------------------------------------------------------


def half(count: int) -> int:
    """The largest power of two smaller than ``count``."""
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def mth(leaves: list[bytes]) -> bytes:
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = half(len(leaves))
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


def subproof(m: int, leaves: list[bytes], complete: bool) -> list[bytes]:
    n = len(leaves)
    if m == n:
        return [] if complete else [mth(leaves)]
    k = half(n)
    if m <= k:
        return [*subproof(m, leaves[:k], complete), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


# --- every pair of sizes ---------------------------------------------------------------------------------------------


def test_roots_are_those_of_the_definition() -> None:
    for size in range(MOST + 1):
        assert ROOTS[size] == mth(LEAVES[:size])


@pytest.mark.parametrize("new", range(1, MOST + 1))
def test_a_proof_is_the_one_of_the_definition_and_holds(new: int) -> None:
    for old in range(new + 1):
        proof = consistency_proof(LEAVES[:new], old)
        assert proof == (subproof(old, LEAVES[:new], True) if old else [])
        assert len(proof) <= 63
        assert is_consistent(old, ROOTS[old], new, ROOTS[new], proof)


@pytest.mark.parametrize("new", range(1, MOST + 1))
def test_nothing_else_is_a_proof(new: int) -> None:
    """Another size or root, a hash more, less, changed, doubled or moved."""
    dice = random.Random(new)
    for old in range(1, new + 1):
        proof = consistency_proof(LEAVES[:new], old)
        sizes, roots = (old, new), (ROOTS[old], ROOTS[new])
        wrong: list[tuple[int, bytes, int, bytes, list[bytes]]] = []
        for at in range(len(proof)):
            changed = bytearray(proof[at])
            changed[dice.randrange(32)] ^= 1 << dice.randrange(8)
            for other in (
                [*proof[:at], bytes(changed), *proof[at + 1 :]],
                proof[:at] + proof[at + 1 :],
                [*proof[: at + 1], *proof[at:]],
            ):
                wrong.append((sizes[0], roots[0], sizes[1], roots[1], other))
        wrong.append((*zip_(sizes, roots), [*proof, ROOTS[1]]))
        wrong.append((*zip_(sizes, roots), [ROOTS[1], *proof]))
        if len(proof) > 1:
            wrong.append((*zip_(sizes, roots), proof[::-1]))
        wrong.append((old, ROOTS[old - 1], new, ROOTS[new], proof))
        if new > old:
            wrong.append((old, ROOTS[new], new, ROOTS[new], proof))
            wrong.append((new, ROOTS[old], old, ROOTS[new], proof))
        wrong.append((old, ROOTS[old], new, bytes(32), proof))
        for case in wrong:
            assert not is_consistent(*case), case[:4:2]


def zip_(sizes: tuple[int, int], roots: tuple[bytes, bytes]) -> tuple[int, bytes, int, bytes]:
    return sizes[0], roots[0], sizes[1], roots[1]


def test_no_root_of_another_size_passes() -> None:
    """For every pair of sizes of a small tree, and every third size's root in place of either."""
    for new in range(2, 20):
        for old in range(1, new):
            proof = consistency_proof(LEAVES[:new], old)
            for other in range(20):
                assert is_consistent(old, ROOTS[other], new, ROOTS[new], proof) == (other == old)
                assert is_consistent(old, ROOTS[old], new, ROOTS[other], proof) == (other == new)


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 7), (7, 7), (1, 0), (5, 3), (-1, 3)])
def test_the_edges(old: int, new: int) -> None:
    empty = root_of([])
    holds = is_consistent(old, ROOTS[old] if old >= 0 else empty, new, ROOTS[new], [])
    assert holds == (old in (0, new))
    assert not is_consistent(old, ROOTS[max(old, 0)], new, ROOTS[new], [bytes(32)])
    assert old != 0 or not is_consistent(0, ROOTS[1], new, ROOTS[new], [])
    assert new != 0 or not is_consistent(old, ROOTS[old], 0, ROOTS[1], []), "of nothing there is one root"


@given(st.integers(1, 3000), st.integers(0, 3000))
def test_proofs_of_larger_trees_hold(new: int, old: int) -> None:
    old %= new + 1
    leaves = [leaf_hash(b"%d" % i) for i in range(new)]
    tree = Tree()
    for leaf in leaves[:old]:
        tree.append(leaf)
    proof = consistency_proof(leaves, old)
    assert is_consistent(old, tree.root(), new, root_of(leaves), proof)
    forked = [*leaves[: old - 1], leaf_hash(b"fork"), *leaves[old:]] if old else leaves
    assert old == 0 or not is_consistent(old, tree.root(), new, root_of(forked), consistency_proof(forked, old))


@given(st.integers(-3, 70), st.integers(-3, 70), st.lists(st.binary(min_size=32, max_size=32), max_size=8))
def test_any_list_of_hashes_is_a_proof_or_refused(old: int, new: int, proof: list[bytes]) -> None:
    a, b = bytes(32), bytes([1]) * 32
    assert not is_consistent(old, a, new, b, proof)
