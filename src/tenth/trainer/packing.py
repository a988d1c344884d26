"""Which rows share a place of so many tokens: first fit, the longest first."""

from __future__ import annotations

from collections.abc import Sequence


def packed(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Numbers of the rows that fill `room` together; each stands in the first place that had room for it."""
    packs: list[list[int]] = []
    left: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda one: -lengths[one]):
        pack = next((at for at, free in enumerate(left) if free >= lengths[number]), len(packs))
        if pack == len(packs):
            packs.append([])
            left.append(room)
        packs[pack].append(number)
        left[pack] -= lengths[number]
    return packs
