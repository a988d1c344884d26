"""The law: one table of transitions and one pure function, used while a run lives and when its log is replayed.

One person can stop, only everyone can start: there is a single arrow into RUNNING, and its guard asks for a consent
from every signatory to this very dossier (promise 1). docs/formats.md, section 6, states the same table in words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tenth.charter import Compute
from tenth.errors import Unlawful

SUPERVISOR = ""
"""Stands in ``Event.by`` where no person speaks: no person can have an empty name."""


class Stance(StrEnum):
    """Where a run stands."""

    GATHERING = "GATHERING"
    GATE = "GATE"
    RUNNING = "RUNNING"
    HALTED = "HALTED"
    CLOSED = "CLOSED"


class State(NamedTuple):
    """Everything the law needs to know of a run."""

    signatories: frozenset[str]
    gates: int
    """Number of the last gate."""
    ceiling: Compute
    stance: Stance
    anchor: str
    """What a statement must name to speak of this moment (docs/formats.md, section 4)."""
    gate: int = 0
    """Tenths finished."""
    dossier: str | None = None
    surprised: bool = False
    """Does its evidence hold what nobody foresaw? Then a consent to it needs words."""
    consents: frozenset[str] = frozenset()
    objections: frozenset[str] = frozenset()
    spent: Compute = Compute(0.0, 0.0)
    reserved: float = 0.0
    """Device-seconds that a crash now would be charged."""
    limit: Compute | None = None
    """Where the lease ends; None unless RUNNING."""

    @property
    def waiting_for(self) -> frozenset[str]:
        """Who has not consented to the dossier on the table; empty outside GATE."""
        return self.signatories - self.consents if self.stance is Stance.GATE else frozenset()

    @property
    def unanimous(self) -> bool:
        return self.stance is Stance.GATE and self.consents == self.signatories and not self.objections


class Event(NamedTuple):
    """What happened, reduced to what the law looks at. Fields that a kind does not use keep their defaults."""

    kind: str
    by: str = SUPERVISOR
    """The signatory whose signature was verified, or SUPERVISOR."""
    digest: str = ""
    """Leaf digest of the entry: the anchor of the state it leads into."""
    anchor: str = ""
    """What the signer saw."""
    gate: int = 0
    dossier: str = ""
    surprised: bool = False
    note: str = ""
    """What the signer wrote."""
    spent: Compute = Compute(0.0, 0.0)
    reserved: float = 0.0
    limit: Compute = Compute(0.0, 0.0)
    reason: str = ""
    outcome: str = ""


def begin(signatories: frozenset[str], gates: int, ceiling: Compute, anchor: str) -> State:
    """The state after entry 0, ``opened``."""
    return State(signatories, gates, ceiling, Stance.GATHERING, anchor)


Guard = Callable[[State, Event], str | None]
"""None, or why not."""
Effect = Callable[[State, Event], State]


# --- guards ----------------------------------------------------------------------------------------------------------


def by_supervisor(state: State, event: Event) -> str | None:
    return None if event.by == SUPERVISOR else f"{event.by} is not the supervisor"


def by_signatory(state: State, event: Event) -> str | None:
    return None if event.by in state.signatories else f"'{event.by}' is not a signatory"


def anchored(state: State, event: Event) -> str | None:
    return None if event.anchor == state.anchor else "it was signed for another moment of this run, or for another run"


def this_gate(state: State, event: Event) -> str | None:
    return None if event.gate == state.gate else f"it names gate {event.gate}, the run is at gate {state.gate}"


def next_gate(state: State, event: Event) -> str | None:
    return None if event.gate == state.gate + 1 else f"it names gate {event.gate}, next is {state.gate + 1}"


def this_dossier(state: State, event: Event) -> str | None:
    return None if event.dossier == state.dossier else "it names another dossier"


def explained(state: State, event: Event) -> str | None:
    why = "this gate is surprised, so a consent needs a note that says why it is right to go on"
    return why if state.surprised and not event.note.strip() else None


def everyone(state: State, event: Event) -> str | None:
    if missing := state.signatories - state.consents:
        return "not everyone has consented: waiting for " + ", ".join(sorted(missing))
    return None


def nobody_objects(state: State, event: Event) -> str | None:
    return "objected: " + ", ".join(sorted(state.objections)) if state.objections else None


def not_last(state: State, event: Event) -> str | None:
    return None if state.gate < state.gates else "this is the last gate: there is nothing more to train"


def last(state: State, event: Event) -> str | None:
    return None if state.gate == state.gates else f"this is gate {state.gate} of {state.gates}"


def under_ceiling(state: State, event: Event) -> str | None:  # promise 4
    if not event.limit <= state.ceiling:
        return "the lease would pass the ceiling"
    if event.limit.device_seconds <= state.spent.device_seconds or event.limit.flop <= state.spent.flop:
        return "nothing is left under the lease's limit"
    return None


def not_falling(state: State, event: Event) -> str | None:
    return None if state.spent <= event.spent else "the compute spent cannot fall"


def within_reserve(state: State, event: Event) -> str | None:
    if event.spent.device_seconds > state.reserved:
        return "more device-seconds were spent than had been written ahead"
    return None if event.spent.device_seconds <= event.reserved else "the reserve lies below what is spent"


def within_lease(state: State, event: Event) -> str | None:
    if state.limit is None or not event.spent <= state.limit:
        return "more was spent than the lease allows"
    return None if event.reserved <= state.limit.device_seconds else "the reserve passes the lease"


def release_or_abandon(state: State, event: Event) -> str | None:
    """All to release, one to abandon."""
    if event.outcome == "abandoned":
        return by_signatory(state, event) or anchored(state, event)
    if event.outcome != "released":
        return f"there is no outcome '{event.outcome}'"
    if state.stance is not Stance.GATE:
        return "a run is released at its last gate"
    checks = (by_supervisor, last, everyone, nobody_objects, this_dossier)
    return next((why for check in checks if (why := check(state, event))), None)


# --- effects ---------------------------------------------------------------------------------------------------------


def nothing(state: State, event: Event) -> State:
    return state


def lay_on_table(state: State, event: Event) -> State:
    return state._replace(dossier=event.dossier, anchor=event.dossier, spent=event.spent, surprised=event.surprised)


def count_consent(state: State, event: Event) -> State:
    return state._replace(consents=state.consents | {event.by}, objections=state.objections - {event.by})


def count_objection(state: State, event: Event) -> State:
    return state._replace(consents=state.consents - {event.by}, objections=state.objections | {event.by})


def lend(state: State, event: Event) -> State:
    return state._replace(limit=event.limit, reserved=state.spent.device_seconds)


def meter(state: State, event: Event) -> State:
    return state._replace(spent=event.spent, reserved=event.reserved)


def advance(state: State, event: Event) -> State:
    return state._replace(gate=event.gate, spent=event.spent)


def halt(state: State, event: Event) -> State:
    spent = state.spent.largest(event.spent)
    if event.reason == "lost_supervisor":  # a crash never refunds (promise 4)
        spent = spent.largest(Compute(state.reserved, 0.0))
    # A second pull leaves the anchor alone, so that a reopening already on its way still fits.
    return state._replace(spent=spent, anchor=state.anchor if state.stance is Stance.HALTED else event.digest)


# --- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """One event: the stances it may come in, the stance it leads to (None: stays), its guards and its effect."""

    sources: frozenset[Stance]
    target: Stance | None
    guards: tuple[Guard, ...]
    effect: Effect


def _rule(sources: str, target: str | None, guards: tuple[Guard, ...], effect: Effect = nothing) -> Rule:
    return Rule(frozenset(map(Stance, sources.split())), Stance(target) if target else None, guards, effect)


TO_START: tuple[Guard, ...] = (this_dossier, not_last, everyone, nobody_objects, under_ceiling)
TABLE: Mapping[str, Rule] = {
    "sealed": _rule("GATHERING", "GATE", (by_supervisor, this_gate, not_falling), lay_on_table),
    "consented": _rule("GATE", None, (by_signatory, anchored, explained), count_consent),
    "objected": _rule("GATE", None, (by_signatory, anchored), count_objection),
    "adjusted": _rule("GATE HALTED", "GATHERING", (by_signatory, anchored)),
    "noted": _rule("GATHERING GATE RUNNING HALTED", None, (by_signatory, anchored)),
    "leased": _rule("GATE", "RUNNING", (by_supervisor, *TO_START), lend),
    "metered": _rule("RUNNING", None, (by_supervisor, not_falling, within_reserve, within_lease), meter),
    "sampled": _rule("RUNNING", None, (by_supervisor,)),
    "reached": _rule("RUNNING", "GATHERING", (by_supervisor, next_gate, not_falling, within_lease), advance),
    "pulled": _rule("GATHERING GATE RUNNING HALTED", "HALTED", (), halt),
    "tripped": _rule("GATHERING GATE RUNNING", "HALTED", (by_supervisor,), halt),
    "reopened": _rule("HALTED", "GATHERING", (by_signatory, anchored)),
    "closed": _rule("GATHERING GATE HALTED", "CLOSED", (release_or_abandon,)),
}


def apply(state: State, event: Event) -> State:
    """The state after ``event``. Raises Unlawful, with the reason, if the table has no such arrow from here."""
    rule = TABLE.get(event.kind)
    if rule is None:
        raise Unlawful(f"'{event.kind}' is refused", "the law knows no such event")
    if state.stance not in rule.sources:
        raise Unlawful(f"'{event.kind}' is refused", f"the run is {state.stance}", _ADVICE[state.stance])
    for guard in rule.guards:
        if why := guard(state, event):
            raise Unlawful(f"'{event.kind}' is refused", why, _ADVICE[state.stance])
    return _move(rule.effect(state, event), state, rule.target, event)


def _move(after: State, before: State, target: Stance | None, event: Event) -> State:
    """What every change of stance does: consents are void, a lease ends, the anchor moves."""
    if target is None or target is before.stance:
        return after
    if after.anchor == before.anchor:
        after = after._replace(anchor=event.digest)
    after = after._replace(stance=target, consents=frozenset(), objections=frozenset())
    if target is not Stance.RUNNING:
        after = after._replace(limit=None, reserved=0.0)
    return after if target is Stance.GATE else after._replace(dossier=None, surprised=False)


_ADVICE = {
    Stance.GATHERING: "wait until the dossier is sealed ('tenth status')",
    Stance.GATE: "read the dossier ('tenth review'), then consent or object",
    Stance.RUNNING: "only 'tenth pull' acts on a run that trains",
    Stance.HALTED: "a signatory may reopen, adjust or close it",
    Stance.CLOSED: "nothing follows; begin a new run",
}
