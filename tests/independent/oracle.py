"""An oracle of the law: design §1 and docs/formats.md §6, written a second time, as if-statements over dictionaries.

It shares nothing with the package. Compute is a pair (device-seconds, flop). A state is a dictionary with the keys that
formats §6 names; an event is a dictionary with `kind`, `by` and what the kind needs. `step` returns the state after the
event, or None where the law refuses it.
"""

from __future__ import annotations

from typing import Any

State = dict[str, Any]
Event = dict[str, Any]
SUPERVISOR = "supervisor"


def begin(signatories: frozenset[str], gates: int, ceiling: tuple[float, float], anchor: str) -> State:
    """After `opened`, the first entry, and only the first."""
    return {
        "signatories": signatories,
        "gates": gates,
        "ceiling": ceiling,
        "stance": "GATHERING",
        "anchor": anchor,
        "gate": 0,
        "dossier": None,
        "surprised": False,
        "consents": frozenset(),
        "objections": frozenset(),
        "spent": (0, 0),
        "reserved": 0,
        "lease": None,
    }


def falls(new: tuple[float, float], old: tuple[float, float]) -> bool:
    return new[0] < old[0] or new[1] < old[1]


def passes(spent: tuple[float, float], limit: tuple[float, float]) -> bool:
    return spent[0] > limit[0] or spent[1] > limit[1]


def larger(one: tuple[float, float], two: tuple[float, float]) -> tuple[float, float]:
    return (max(one[0], two[0]), max(one[1], two[1]))


def all_agree(state: State) -> bool:
    return state["consents"] == state["signatories"] and state["objections"] == frozenset()


def leave(state: State, to: str, event: Event) -> State:
    """Into another stance. Leaving GATE voids consents and objections, leaving RUNNING ends the lease; the anchor is
    the dossier's digest in GATE, elsewhere the leaf digest of the entry that led there."""
    if state["stance"] == to:
        return state
    left = {
        "stance": to,
        "anchor": event["digest"],
        "dossier": None,
        "surprised": False,
        "consents": frozenset(),
        "objections": frozenset(),
    }
    return state | left | {"lease": None, "reserved": 0}


def step(state: State, event: Event) -> State | None:
    """The state after the event, or None."""
    kind, stance, by = event["kind"], state["stance"], event["by"]
    signed = by in state["signatories"] and event["anchor"] == state["anchor"]
    if stance == "CLOSED":
        return None  # nothing follows `closed`

    if kind == "pulled":
        return leave(state, "HALTED", event) | {"spent": larger(state["spent"], event["spent"])}
    if kind in ("consented", "objected"):
        if stance != "GATE" or not signed:
            return None
        mine = frozenset([by])
        if kind == "consented":
            if state["surprised"] and not event["note"].strip():
                return None  # what nobody foresaw is not consented to without a word
            return state | {"consents": state["consents"] | mine, "objections": state["objections"] - mine}
        return state | {"consents": state["consents"] - mine, "objections": state["objections"] | mine}
    if kind == "noted":
        return state if signed else None
    if kind == "adjusted":
        return leave(state, "GATHERING", event) if signed and stance in ("GATE", "HALTED") else None
    if kind == "reopened":
        return leave(state, "GATHERING", event) if signed and stance == "HALTED" else None
    if kind == "closed" and event["outcome"] == "abandoned":
        return leave(state, "CLOSED", event) if signed and stance in ("GATHERING", "GATE", "HALTED") else None

    if by != SUPERVISOR:
        return None  # nobody else writes what follows
    if kind == "closed" and event["outcome"] == "released":
        due = stance == "GATE" and state["gate"] == state["gates"] and all_agree(state)
        return leave(state, "CLOSED", event) if due and event["dossier"] == state["dossier"] else None
    if kind == "sealed":
        if stance != "GATHERING" or event["gate"] != state["gate"] or falls(event["spent"], state["spent"]):
            return None
        at_gate = {"anchor": event["dossier"], "dossier": event["dossier"], "spent": event["spent"]}
        at_gate["surprised"] = event["surprised"]
        return leave(state, "GATE", event) | at_gate
    if kind == "leased":
        if stance != "GATE" or not all_agree(state) or state["gate"] >= state["gates"]:
            return None
        limit, spent, ceiling = event["limit"], state["spent"], state["ceiling"]
        above = limit[0] > spent[0] and limit[1] > spent[1]
        if event["dossier"] != state["dossier"] or not above or passes(limit, ceiling):
            return None
        return leave(state, "RUNNING", event) | {"lease": limit, "reserved": spent[0]}
    if kind == "tripped":
        if stance not in ("GATHERING", "GATE", "RUNNING"):
            return None
        spent = larger(state["spent"], event["spent"])
        if event["reason"] == "lost_supervisor":
            spent = larger(spent, (state["reserved"], 0))
        return leave(state, "HALTED", event) | {"spent": spent}
    if stance != "RUNNING":
        return None
    if kind == "sampled":
        return state
    if falls(event["spent"], state["spent"]) or passes(event["spent"], state["lease"]):
        return None
    if kind == "metered":
        if event["spent"][0] > state["reserved"] or not event["spent"][0] <= event["reserved"] <= state["lease"][0]:
            return None  # a reserve below what is spent would not be written ahead (§5)
        return state | {"spent": event["spent"], "reserved": event["reserved"]}
    if kind == "reached":
        if event["gate"] != state["gate"] + 1:
            return None
        return leave(state, "GATHERING", event) | {"gate": event["gate"], "spent": event["spent"]}
    return None  # `opened` again, or an event that does not exist
