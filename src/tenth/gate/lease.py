"""The lease: how far the trainer may go, and how much it may spend on the way."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from tenth.charter import Charter, Compute, number
from tenth.errors import WrongInput

SLACK = 2.0
"""A lease may use this many times its even share of the ceiling; what is left is for people to grant again."""


@dataclass(frozen=True)
class Lease:
    """One tenth of one epoch of one phase. ``device_seconds`` and ``flop`` are limits on the run's totals."""

    gate: int
    phase: str
    epoch: int
    tenth: int
    of: int
    resume: str
    """``fresh``, ``checkpoint`` or ``thaw``."""
    device_seconds: float
    flop: float

    @property
    def limit(self) -> Compute:
        return Compute(self.device_seconds, self.flop)

    def record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def parse(cls, value: Any) -> Lease:
        sound = isinstance(value, dict) and set(value) == {field.name for field in fields(cls)}
        if not sound or not all(type(value[name]) is int for name in ("gate", "epoch", "tenth", "of")):
            raise WrongInput("this lease is refused", repr(value)[:120])
        if not isinstance(value["phase"], str) or value["resume"] not in ("fresh", "checkpoint", "thaw"):
            raise WrongInput("this lease is refused", repr(value)[:120])
        return cls(**{**value, "device_seconds": number(value["device_seconds"]), "flop": number(value["flop"])})


def propose(charter: Charter, gate: int, spent: Compute, resume: str) -> Lease | None:
    """What consent at ``gate`` would grant; None at the last gate, where consent releases instead."""
    tenth = charter.tenth_after(gate)
    if tenth is None:
        return None
    share, ceiling = SLACK / charter.gates, charter.ceiling
    device_seconds = min(ceiling.device_seconds, spent.device_seconds + share * ceiling.device_seconds)
    flop = min(ceiling.flop, spent.flop + share * ceiling.flop)
    return Lease(tenth.gate, tenth.phase.name, tenth.epoch, tenth.tenth, tenth.of, resume, device_seconds, flop)
