"""How much of a run's compute counts towards regulation: the Commission's method for general-purpose AI models.

Guidelines C(2025) 7719, annex, as we read them: no legal advice. What counts, and what was assumed, stands in
``ASSUMPTIONS``, which every export repeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tenth.cli.record.accounts import OPEN, TRAINING, Row

COUNTED = frozenset({TRAINING, OPEN})
"""Classes of rows that contribute to what the model can do."""
MARGIN = 0.30
"""An estimate may be off by so much either way."""
GENERAL_PURPOSE, SYSTEMIC = 1e23, 1e25
"""FLOP of training above which a model that generates language is general-purpose; above which it has systemic risk."""
SHARE_OF_ORIGINAL = 1 / 3
"""Who changes a model with more than this share of its training compute is a provider of a model."""
SOURCE = "European Commission, guidelines C(2025) 7719, annex"
ASSUMPTIONS = tuple(
    " ".join(paragraph.split())
    for paragraph in """\
Counted: updates of parameters that led to a checkpoint or still may, in every phase, and all that a trainer generates
within a phase, kept or discarded: the meter makes no difference between them.

Not counted: evidence at gates, which evaluates; training that was thrown away after a halt, as failed experiments; what
was charged ahead when a supervisor was lost, since the run went back to its last checkpoint.

Operations count alike, whatever their precision. Activations that are computed twice are not counted twice in what the
built-in trainer claims.

At most: device-seconds, measured from outside, times the measured peak of one device, as if it had always been used in
full (N x L x H x U, U = 1). Claimed: the trainer's own count (of the built-in trainer: 6 FLOP a parameter and token,
and attention); what it claimed in the last seconds before a trip is not in the log.

Either number may be off by 30 %. A threshold counts as out of reach only if the number and 30 % more lie below it.

What was computed outside this run is not in its log: the model that it begins with, and data made elsewhere. They are
counted only as declared with --base and --synthetic; the latter with the samples that were discarded.\
""".split("\n\n")
)


@dataclass(frozen=True)
class Declared:
    """What the log cannot know, in FLOP."""

    synthetic: float = 0.0
    """To make synthetic data outside the run that is not public, discarded samples included."""
    base: float | None = None
    """To train the model that the run begins with; None if unknown."""
    modifies: bool = False
    """The run begins with a model that exists."""


@dataclass(frozen=True)
class Amount:
    """FLOP that count. None: not measured, or not claimed for every row that counts."""

    at_most: float | None
    claimed: float | None

    def record(self) -> dict[str, Any]:
        claimed = self.claimed
        margin = None if claimed is None else [claimed * (1 - MARGIN), claimed * (1 + MARGIN)]
        return {"flop_at_most": self.at_most, "flop_claimed": claimed, "flop_claimed_within": margin}


def amount(rows: Iterable[Row], peak: float | None, declared: Declared) -> Amount:
    counted = [row for row in rows if row.kind in COUNTED]
    seconds, claims = sum(row.device_seconds for row in counted), [row.flop_claimed for row in counted]
    at_most = None if peak is None else seconds * peak + declared.synthetic
    known = [claim for claim in claims if claim is not None]
    silent = any(row.flop_claimed is None and row.device_seconds for row in counted if row.kind == TRAINING)
    return Amount(at_most, None if silent else sum(known) + declared.synthetic)


def thresholds(declared: Declared) -> Mapping[str, float]:
    """What the amount is held against, in words."""
    if not declared.modifies:
        return {
            "general-purpose, if it generates language": GENERAL_PURPOSE,
            "general-purpose with systemic risk": SYSTEMIC,
        }
    if declared.base is not None:
        return {"a third of the original's compute": declared.base * SHARE_OF_ORIGINAL}
    return {
        "a third of 1e23: the original is unknown": GENERAL_PURPOSE * SHARE_OF_ORIGINAL,
        "a third of 1e25: it has systemic risk": SYSTEMIC * SHARE_OF_ORIGINAL,
    }


def verdict(found: Amount, threshold: float) -> str:
    """``below`` whatever the trainer says, ``claimed below`` if its count is right, ``unknown``, or ``not below``."""
    if found.at_most is not None and found.at_most * (1 + MARGIN) < threshold:
        return "below"
    if found.claimed is not None and found.claimed * (1 + MARGIN) < threshold:
        return "claimed below"
    return "unknown" if found.at_most is None and found.claimed is None else "not below"


def record(rows: Iterable[Row], peak: float | None, declared: Declared) -> dict[str, Any]:
    found = amount(rows, peak, declared)
    limits = [
        {"threshold": name, "flop": limit, "verdict": verdict(found, limit)}
        for name, limit in thresholds(declared).items()
    ]
    given = {"synthetic_flop": declared.synthetic, "base_flop": declared.base, "modifies": declared.modifies}
    facts = {**found.record(), "margin": MARGIN, "declared": given, "thresholds": limits}
    return {**facts, "counted": sorted(COUNTED), "source": SOURCE, "assumptions": list(ASSUMPTIONS)}
