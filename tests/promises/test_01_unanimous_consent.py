"""Promise 1: no step is trained past a gate without a valid consent from every signatory to that gate's dossier."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest

from core.live import Live, wait_for
from tenth.charter import Compute
from tenth.errors import Unlawful
from tenth.state import Event, Stance, State, apply, begin

PROMISE = 1
STATUS = "kept"

EVERYONE = ("ada", "bob", "cyd", "dov")
A_MOMENT = 0.4
"""Seconds: several turns of the supervisor's loop."""


def stays_at_the_gate(run: Live) -> None:
    """For a moment nothing of the trainer exists, and the run does not move."""
    before = len(run.entries())
    until = time.monotonic() + A_MOMENT
    while time.monotonic() < until:
        assert run.marked() == []
        time.sleep(0.02)
    assert run.status()["stance"] == "GATE"
    assert len(run.entries()) == before


def at_the_gate() -> State:
    state = begin(frozenset(EVERYONE), 10, Compute(100, 1e15), "opened")
    return apply(state, Event("sealed", dossier="d", digest="sealed"))


LEASE = Event("leased", dossier="d", limit=Compute(10, 1e14), digest="leased")


@pytest.mark.parametrize("count", range(len(EVERYONE)))
def test_the_law_leases_for_nobody_less_than_everyone(count: int) -> None:
    for names in itertools.combinations(EVERYONE, count):
        state = at_the_gate()
        for name in names * 2:  # saying it twice does not make two
            state = apply(state, Event("consented", name, anchor="d"))
        with pytest.raises(Unlawful, match="not everyone"):
            apply(state, LEASE)


def test_the_law_leases_for_everyone_and_for_nobody_who_objects() -> None:
    state = at_the_gate()
    for name in EVERYONE:
        state = apply(state, Event("consented", name, anchor="d"))
    assert apply(state, LEASE).stance is Stance.RUNNING
    with pytest.raises(Unlawful, match="consent"):
        apply(apply(state, Event("objected", "cyd", anchor="d")), LEASE)


def test_n_minus_one_consents_start_nothing(live: Callable[..., Live]) -> None:
    run = live(signatories=("ada", "bob", "cyd")).start()
    run.until("GATE", gate=0)
    assert run.marked() == []
    run.consent("ada", "bob")
    stays_at_the_gate(run)
    run.consent("ada", "bob", "ada")
    assert run.status()["waiting_for"] == ["cyd"]
    run.consent("cyd")
    run.until("GATE", gate=1)
    leased = run.events().index("leased")
    consents = [entry for entry in run.entries()[:leased] if entry["event"] == "consented"]
    assert len(consents) == 6


def test_one_objection_stops_all_and_can_be_taken_back(live: Callable[..., Live]) -> None:
    run = live().start()
    status = run.until("GATE", gate=0)
    run.consent("bob")
    run.say("objected", "ada", note="not yet")
    stays_at_the_gate(run)
    assert run.status()["objections"] == ["ada"]
    run.submit(run.sign("consented", "ada", status))
    run.until("GATE", gate=1)


def test_the_last_word_counts(live: Callable[..., Live]) -> None:
    run = live(signatories=("ada", "bob", "cyd")).start()
    run.until("GATE", gate=0)
    run.consent("ada", "bob")
    run.say("objected", "bob")
    run.consent("cyd")
    stays_at_the_gate(run)
    assert run.status()["waiting_for"] == ["bob"]


@pytest.mark.parametrize("how", ["pulled", "adjusted"])
def test_what_changes_the_gate_voids_its_consents(live: Callable[..., Live], how: str) -> None:
    run = live().start()
    status = run.until("GATE", gate=0)
    old = {name: run.sign("consented", name, status) for name in ("ada", "bob")}
    assert run.submit(old["ada"])["ok"]
    if how == "pulled":
        run.pull()
        run.say("reopened", "bob")
    else:
        run.say("adjusted", "bob", patch={"recipe": {"depth": 2}})
    fresh = wait_for(
        lambda: (s := run.status())["stance"] == "GATE" and s["dossier"] != status["dossier"] and s, "a gate"
    )
    assert fresh["consents"] == []
    for name in ("ada", "bob"):
        answer = run.submit(old[name])
        assert not answer["ok"], "the old consent was to another dossier"
    run.consent("bob")
    stays_at_the_gate(run)
    run.consent("ada")
    run.until("GATE", gate=1)


def test_a_consent_lasts_for_one_gate(live: Callable[..., Live]) -> None:
    run = live().start()
    status = run.until("GATE", gate=0)
    old = run.sign("consented", "ada", status)
    run.consent()
    assert run.until("GATE", gate=1)["consents"] == []
    assert not run.submit(old)["ok"]
    run.consent("bob")
    stays_at_the_gate(run)


def test_neither_watchers_nor_strangers_nor_forgers_consent(live: Callable[..., Live]) -> None:
    run, other = live().start(), live().begin()
    status = run.until("GATE", gate=0)
    good = run.sign("consented", "ada", status)
    first, *rest = good["signatures"][0]["sig"]
    forged = {**good, "signatures": [{"keyid": "", "sig": "".join(["B" if first == "A" else "A", *rest])}]}
    attempts = [
        run.sign("consented", "lin", status),
        run.sign("consented", "eve", status, key=other.keys["ada"]),
        run.sign("consented", "ada", status, key=run.keys["lin"]),
        run.sign("consented", "ada", status, key=run.keys["bob"]),
        run.sign("consented", "ada", status, run=other.name),
        run.sign("consented", "ada", status, anchor="ab" * 32),
        run.sign("consented", "ada", status, subjects=[("dossier", status["dossier"])]),
        run.sign("consented", "ada", status, subjects=[("anchor", status["anchor"])]),
        forged,
        {**good, "payloadType": "application/json"},
        good["payload"],
        None,
    ]
    run.consent("bob")
    before = run.events()
    for attempt in attempts:
        answer = run.ask(do="submit", envelope=attempt)
        assert not answer["ok"]
        assert set(answer["error"]) == {"refused", "found", "do"}
    assert run.events() == before
    stays_at_the_gate(run)


def test_no_trainer_exists_before_the_first_lease_or_between_two(live: Callable[..., Live]) -> None:
    run = live(env={"STEPS": 20}, evidence=[("panel", ["true"])]).start()
    seen = 0
    while run.status()["gate"] < 2:
        processes, status = run.marked(), run.status()
        if status["stance"] in ("GATE", "HALTED"):
            assert processes == [] or run.status()["stance"] != status["stance"]
            seen += 1
        if status["stance"] == "HALTED":  # evidence without a summary: it trips
            run.say("adjusted", "ada", patch={"evidence": {"drop": ["panel"]}})
        elif seen > 3:
            run.act(status)
    events = run.events()
    assert events.index("leased") > events.index("consented") > events.index("sealed")
