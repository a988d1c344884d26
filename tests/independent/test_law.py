"""The law of the package is the law of the documents: every reachable state of a small charter, and every event there,
judged by `tenth.state.apply` and by the oracle. Then the mutants: the same enumeration must tell each from the law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from independent import oracle
from tenth import state as law
from tenth.charter import Compute
from tenth.errors import Unlawful
from tenth.state import Event, Stance, State

Apply = Callable[[State, Event], State]

SIGNATORIES = frozenset({"ada", "ben"})
PEOPLE = ["ada", "ben", "mallory", "supervisor"]
GATES = 2
CEILING = (2, 2)
SPENT = [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (2, 2), (3, 2)]  # closed under the larger of each; the last above all
LIMITS = [(1, 1), (2, 1), (2, 2), (3, 2), (2, 3), (1, 0), (0, 1)]
DOSSIERS = ["D0", "D1"]
ANCHORS = [*DOSSIERS, "a", "b", ""]  # "a" and "b" are the leaf digests that entries may have


def event(kind: str, **fields: Any) -> oracle.Event:
    unused = {"by": "supervisor", "digest": "a", "anchor": "", "gate": 0, "dossier": "", "spent": (0, 0), "reserved": 0}
    unused |= {"limit": (0, 0), "reason": "", "outcome": "", "surprised": False, "note": ""}
    return {"kind": kind} | unused | fields


def events() -> Iterator[oracle.Event]:
    """Every kind of event, with every small value in the fields that the law looks at, right ones and wrong ones."""
    for gate, dossier, spent in product(range(4), DOSSIERS, SPENT):
        yield event("sealed", gate=gate, dossier=dossier, spent=spent)
    for gate, spent in product(range(3), SPENT):
        yield event("sealed", gate=gate, dossier="D0", spent=spent, surprised=True)
    for by, note in product(["ada", "ben"], ["", " \n", "seen before"]):
        yield event("consented", by=by, anchor="D0", digest="b", note=note)
    for gate, by in product(range(3), ["ada", "mallory"]):
        yield event("sealed", gate=gate, dossier="D0", by=by, spent=(2, 2))
    for kind, by, anchor in product(["consented", "objected"], PEOPLE, ANCHORS):
        yield event(kind, by=by, anchor=anchor, digest="b")
    for kind, by, anchor, digest in product(["adjusted", "reopened", "noted"], PEOPLE, ANCHORS, "ab"):
        yield event(kind, by=by, anchor=anchor, digest=digest)
    for dossier, limit, by in product(DOSSIERS, LIMITS, ["supervisor", "ada"]):
        yield event("leased", dossier=dossier, limit=limit, by=by)
    for spent, reserved, digest in product(SPENT, range(4), "ab"):
        yield event("metered", spent=spent, reserved=reserved, digest=digest)
    yield event("metered", by="ada")
    for by, digest in product(["supervisor", "ada"], "ab"):
        yield event("sampled", by=by, digest=digest)
    for gate, spent, digest in product(range(5), SPENT, "ab"):
        yield event("reached", gate=gate, spent=spent, digest=digest)
    yield event("reached", gate=1, by="ada")
    for by, spent, digest in product(["supervisor", "ada", "mallory"], SPENT, "ab"):
        yield event("pulled", by=by, spent=spent, digest=digest)
    for reason, spent, digest in product(["crash", "ceiling", "lost_supervisor"], SPENT, "ab"):
        yield event("tripped", reason=reason, spent=spent, digest=digest)
    yield event("tripped", reason="crash", by="mallory")
    for by, anchor in product(PEOPLE, ANCHORS):
        yield event("closed", outcome="abandoned", by=by, anchor=anchor)
    for by, dossier, anchor in product(PEOPLE, DOSSIERS, ["", *DOSSIERS]):
        yield event("closed", outcome="released", by=by, dossier=dossier, anchor=anchor)
    for outcome, by in product(["", "finished"], PEOPLE):
        yield event("closed", outcome=outcome, by=by, dossier="D0", anchor="D0")
    for kind in ("opened", "mended", ""):
        yield event(kind)


def of_package(asked: oracle.Event) -> Event:
    """The package's value for the oracle's event."""
    by = law.SUPERVISOR if asked["by"] == oracle.SUPERVISOR else asked["by"]
    return Event(**asked | {"by": by, "spent": Compute(*asked["spent"]), "limit": Compute(*asked["limit"])})


EVENTS = [(each, of_package(each)) for each in events()]


def pair(amount: Compute) -> tuple[float, float]:
    return (amount.device_seconds, amount.flop)


def as_dictionary(state: State) -> oracle.State:
    """Every field of the package's state, under the oracle's names."""
    same = ("signatories", "gates", "anchor", "gate", "dossier", "consents", "objections", "reserved", "surprised")
    values = {name: getattr(state, name) for name in same} | {"stance": str(state.stance)}
    values |= {"ceiling": pair(state.ceiling), "spent": pair(state.spent)}
    return values | {"lease": None if state.limit is None else pair(state.limit)}


def judged(apply: Apply, state: State, asked: Event) -> State | None:
    try:
        return apply(state, asked)
    except Unlawful:
        return None


def of_oracle(state: oracle.State) -> State:
    """The package's value for the oracle's state."""
    values = {name: value for name, value in state.items() if name != "lease"}
    values |= {"stance": Stance(state["stance"]), "ceiling": Compute(*state["ceiling"])}
    values |= {"spent": Compute(*state["spent"]), "limit": state["lease"] and Compute(*state["lease"])}
    return State(**values)


@cache
def law_of_the_oracle() -> dict[State, list[State | None]]:
    """Breadth first through every reachable state: what each event of EVENTS makes of it, None where it is refused."""
    start = oracle.begin(SIGNATORIES, GATES, CEILING, "a")
    arrows: dict[State, list[State | None]] = {}
    todo = {of_oracle(start): start}
    while todo:
        key, state = todo.popitem()
        after = [oracle.step(state, asked) for asked, _ in EVENTS]
        arrows[key] = [each and of_oracle(each) for each in after]
        todo |= {new: each for new, each in zip(arrows[key], after, strict=True) if new and each and new not in arrows}
    return arrows


def first_difference(apply: Apply, kind: str = "", *, only: bool = False) -> str | None:
    """Where `apply` and the oracle part, if they do. Events of `kind` are asked first, or only they: that is faster."""
    order = sorted(range(len(EVENTS)), key=lambda index: EVENTS[index][1].kind != kind)
    for index in order if not only else [index for index in order if EVENTS[index][1].kind == kind]:
        asked = EVENTS[index][1]
        for state, arrows in law_of_the_oracle().items():
            found = judged(apply, state, asked)
            if found != arrows[index]:
                return f"{state}\n{asked}\nexpected {arrows[index]}\nfound    {found}"
    return None


def test_a_run_begins_as_the_oracle_says() -> None:
    start = law.begin(SIGNATORIES, GATES, Compute(*CEILING), "a")
    assert as_dictionary(start) == oracle.begin(SIGNATORIES, GATES, CEILING, "a")


def test_nobody_is_the_supervisor_by_name() -> None:
    start = law.begin(frozenset({"supervisor"}), 1, Compute(2, 2), "a")
    assert judged(law.apply, start, Event("sealed", by="supervisor", dossier="D")) is None
    gate = law.apply(start, Event("sealed", dossier="D"))
    assert judged(law.apply, gate, Event("consented", anchor="D")) is None
    assert law.apply(gate, Event("consented", by="supervisor", anchor="D")).unanimous


def test_the_law_is_the_oracles_in_every_reachable_state() -> None:
    assert first_difference(law.apply) is None
    states = law_of_the_oracle()
    assert all(of_oracle(as_dictionary(state)) == state for state in states)  # no field is left out of the comparison
    assert {state.stance for state in states} == set(Stance)
    assert {state.gate for state in states} == {0, 1, 2}
    assert len(states) > 500


# Mutants

Mutant = Callable[[pytest.MonkeyPatch], Apply]
Condition = Callable[[State, Event], bool]
MUTANTS: dict[str, tuple[str, Mutant]] = {}  # name -> kind of event, what breaks the law
TWO_LOCKS: dict[str, tuple[str, Mutant]] = {}  # mutants that change nothing, because another lock holds


def table_mutant(name: str, kind: str, change: Callable[[law.Rule], law.Rule]) -> None:
    """Enters a mutant of the transition table: one rule changed, the rest as it is."""

    def mutate(patch: pytest.MonkeyPatch) -> Apply:
        patch.setattr(law, "TABLE", {**law.TABLE, kind: change(law.TABLE[kind])})
        return law.apply

    where = TWO_LOCKS if name in SECOND_LOCKS else MUTANTS
    assert name not in where
    where[name] = kind, mutate


SECOND_LOCKS = {
    "leased without nobody_objects",  # an objection withdraws the consent, so `everyone` refuses too
    *(f"leased also from {stance}" for stance in Stance),  # there is no dossier outside GATE
    *(f"{kind} also from {stance}" for kind in ("metered", "reached") for stance in Stance),  # nor a lease
}


def every_change_of_a_rule(kind: str, lawful: law.Rule) -> None:
    """Enters one mutant for each guard, each source and each other target of a rule."""
    for index, guard in enumerate(lawful.guards):
        left = lawful.guards[:index] + lawful.guards[index + 1 :]
        table_mutant(f"{kind} without {guard.__name__}", kind, lambda rule, left=left: replace(rule, guards=left))
    for stance in Stance:
        verb = "never" if stance in lawful.sources else "also"
        sources = lawful.sources ^ {stance}
        table_mutant(f"{kind} {verb} from {stance}", kind, lambda rule, to=sources: replace(rule, sources=to))
    for target in [None, *Stance]:
        if target is not lawful.target and lawful.sources != {target or lawful.target}:
            table_mutant(f"{kind} leads to {target}", kind, lambda rule, to=target: replace(rule, target=to))


for each_kind, each_rule in law.TABLE.items():
    every_change_of_a_rule(each_kind, each_rule)


def excused(name: str, kind: str, condition: Condition) -> None:
    """Enters a mutant whose guards look away where the condition holds."""

    def change(rule: law.Rule) -> law.Rule:
        guards = [lambda s, e, g=guard: None if condition(s, e) else g(s, e) for guard in rule.guards]
        return replace(rule, guards=tuple(guards))

    table_mutant(name, kind, change)


def refused(name: str, kind: str, condition: Condition) -> None:
    """Enters a mutant with one guard more."""
    extra = lambda state, asked: "not today" if condition(state, asked) else None  # noqa: E731
    table_mutant(name, kind, lambda rule: replace(rule, guards=(*rule.guards, extra)))


def changed(name: str, kinds: str, change: Callable[[State, Event, State], dict[str, Any]]) -> None:
    """Enters a mutant of the result: fields of the state after some kinds of event, from before, event and after."""

    def mutate(_: pytest.MonkeyPatch) -> Apply:
        def apply(state: State, asked: Event) -> State:
            after = law.apply(state, asked)
            return after._replace(**change(state, asked, after)) if asked.kind in kinds.split() else after

        return apply

    assert name not in MUTANTS
    MUTANTS[name] = kinds.split(maxsplit=1)[0], mutate


def nearly_all(state: State, asked: Event) -> bool:
    return len(state.consents) == len(state.signatories) - 1 and asked.dossier == state.dossier


def due(state: State, asked: Event) -> bool:
    """A release that is in order but for what the mutant forgets."""
    return asked.outcome == "released" and state.stance is Stance.GATE and asked.by == law.SUPERVISOR


def over(state: State, asked: Event) -> bool:
    return asked.limit.device_seconds > state.ceiling.device_seconds and state.unanimous


excused("n-1 consents are enough to lease", "leased", lambda s, e: nearly_all(s, e) and s.gate < s.gates)
excused("any consent is enough", "leased", lambda s, e: bool(s.consents) and s.gate < s.gates)
excused("an objection is outvoted", "leased", lambda s, e: len(s.objections) == 1 and s.gate < s.gates)
excused("a lease goes beyond the ceiling", "leased", over)
excused("a lease may be spent already", "leased", lambda s, e: s.unanimous and e.limit == s.spent)
excused("unanimity at the last gate buys another lease", "leased", lambda s, e: s.unanimous and s.gate == s.gates)
excused(
    "n-1 consents are enough to release", "closed", lambda s, e: due(s, e) and s.gate == s.gates and nearly_all(s, e)
)
excused("released before the last gate", "closed", lambda s, e: due(s, e) and s.unanimous and s.dossier == e.dossier)
excused("released for another dossier", "closed", lambda s, e: due(s, e) and s.unanimous and s.gate == s.gates)
excused("abandoned by anybody", "closed", lambda s, e: e.outcome == "abandoned" and e.anchor == s.anchor)
excused("abandoned with an old statement", "closed", lambda s, e: e.outcome == "abandoned" and e.by in s.signatories)
excused("a tenth is skipped", "reached", lambda s, e: e.gate == s.gate + 2 and e.spent == s.spent)
excused("a consent to another dossier counts", "consented", lambda s, e: e.by in s.signatories and e.anchor in DOSSIERS)
excused("the supervisor consents", "consented", lambda s, e: e.by == law.SUPERVISOR and e.anchor == s.dossier)
excused("only FLOP may fall", "metered", lambda s, e: e.spent.device_seconds == s.spent.device_seconds == e.reserved)
refused("a second pull is refused", "pulled", lambda s, e: s.stance is Stance.HALTED)
refused("a pull by no signatory is refused", "pulled", lambda s, e: e.by not in s.signatories)
refused("a pull at a gate is refused", "pulled", lambda s, e: s.stance is Stance.GATE)
refused("a pull must not lower what was spent", "pulled", lambda s, e: not s.spent <= e.spent)
refused("a pull beyond the ceiling is refused", "pulled", lambda s, e: not e.spent <= s.ceiling)
refused("a trip must not lower what was spent", "tripped", lambda s, e: not s.spent <= e.spent)
refused("an objection cannot be withdrawn", "consented", lambda s, e: e.by in s.objections)
refused("a consent cannot be withdrawn", "objected", lambda s, e: e.by in s.consents)
refused("one objector cannot adjust", "adjusted", lambda s, e: e.by in s.objections)
changed("consents outlive an adjustment", "adjusted", lambda b, e, a: {"consents": b.consents})
changed("consents outlive a pull", "pulled", lambda b, e, a: {"consents": b.consents})
changed("consents outlive a trip", "tripped", lambda b, e, a: {"consents": b.consents})
changed("consents outlive a lease", "leased reached sealed", lambda b, e, a: {"consents": b.consents})
changed("objections outlive an adjustment", "adjusted", lambda b, e, a: {"objections": b.objections})
changed("a seal finds consents given", "sealed", lambda b, e, a: {"consents": frozenset({"ada"})})
changed("an objection leaves the consent", "objected", lambda b, e, a: {"consents": b.consents})
changed("a consent leaves the objection", "consented", lambda b, e, a: {"objections": b.objections})
changed("one voice counts for all", "consented", lambda b, e, a: {"consents": b.signatories})
changed("a second pull moves the anchor", "pulled", lambda b, e, a: {"anchor": e.digest})
changed("a meter moves the anchor", "metered", lambda b, e, a: {"anchor": e.digest})
changed("a sample moves the anchor", "sampled", lambda b, e, a: {"anchor": e.digest})
changed("the anchor of a gate is its entry", "sealed", lambda b, e, a: {"anchor": e.digest})
changed("the anchor stays when reopened", "reopened", lambda b, e, a: {"anchor": b.anchor})
changed("a pull may lower what was spent", "pulled", lambda b, e, a: {"spent": e.spent})
changed("a trip may lower what was spent", "tripped", lambda b, e, a: {"spent": e.spent})
changed("a pull is free", "pulled", lambda b, e, a: {"spent": b.spent})
changed("a lost supervisor is free", "tripped", lambda b, e, a: {"spent": b.spent.largest(e.spent)})
changed("every trip pays the reserve", "tripped", lambda b, e, a: {"spent": a.spent.largest(Compute(b.reserved, 0))})
changed("evidence is free", "sealed", lambda b, e, a: {"spent": b.spent})
changed("a lease starts with all reserved", "leased", lambda b, e, a: {"reserved": e.limit.device_seconds})
changed("a lease starts with nothing reserved", "leased", lambda b, e, a: {"reserved": 0.0})
changed("a lease is the ceiling", "leased", lambda b, e, a: {"limit": b.ceiling})
changed("the reserve never moves", "metered", lambda b, e, a: {"reserved": b.reserved})
changed("the lease outlives a pull", "pulled", lambda b, e, a: {"limit": b.limit})
changed("the gate is not counted", "reached", lambda b, e, a: {"gate": b.gate})
changed("a pull finishes the tenth", "pulled", lambda b, e, a: {"gate": b.gate + (b.stance is Stance.RUNNING)})


for each_kind in ("leased", "metered", "reached"):  # both locks open: the sources and the guards
    for each_stance in Stance:
        if each_stance not in law.TABLE[each_kind].sources:
            table_mutant(
                f"{each_kind} from {each_stance}, unguarded",
                each_kind,
                lambda rule, stance=each_stance: replace(rule, sources=rule.sources | {stance}, guards=()),
            )


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_of_the_law_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, mutate = MUTANTS[name]
    assert first_difference(mutate(monkeypatch), kind) is not None, "this mutant survives"


@pytest.mark.parametrize("name", TWO_LOCKS)
def test_a_second_lock_holds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these opens one of two locks, and no reachable state is any different; both opened is a mutant above."""
    kind, mutate = TWO_LOCKS[name]
    assert first_difference(mutate(monkeypatch), kind, only=True) is None


def test_an_objection_is_locked_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget `nobody_objects` and forget to withdraw the objector's consent: only both let an objection pass."""
    start = law.begin(frozenset({"ada"}), 1, Compute(2, 2), "a")
    state = law.apply(start, Event("sealed", dossier="D"))
    state = law.apply(state, Event("consented", by="ada", anchor="D"))
    state = law.apply(state, Event("objected", by="ada", anchor="D"))._replace(consents=state.consents)
    lease = Event("leased", dossier="D", limit=Compute(1, 1))
    assert judged(law.apply, state, lease) is None
    _, mutate = TWO_LOCKS["leased without nobody_objects"]
    assert judged(mutate(monkeypatch), state, lease) is not None


# Longer histories, by chance


class Histories(RuleBasedStateMachine):
    """Random histories of a larger charter: no path leads to RUNNING but through a fresh and unanimous consent.

    The machine keeps its own record of what people said about the dossier on the table.
    """

    names = st.sampled_from(["ada", "ben", "cyd", "mallory"])
    amounts = st.integers(0, 30) | st.floats(0, 30, allow_nan=False)

    @initialize()
    def open(self) -> None:
        self.state = law.begin(frozenset({"ada", "ben", "cyd"}), 3, Compute(40, 40), "opened")
        self.words: dict[str, bool] = {}
        self.seals = self.steps = 0
        self.leased = self.was_leased = False

    def send(self, kind: str, **fields: Any) -> bool:
        """Is the event lawful? Checks what must hold across any single step, then takes it."""
        self.steps += 1
        before = self.state
        after = judged(law.apply, before, Event(kind, digest=f"leaf {self.steps}", **fields))
        if after is None:
            return False
        assert before.stance is not Stance.CLOSED
        assert before.spent <= after.spent
        assert after.gate - before.gate == (kind == "reached")
        if before.stance is not Stance.RUNNING and after.stance is Stance.RUNNING:
            assert kind == "leased"
            assert before.stance is Stance.GATE
            assert self.words == dict.fromkeys(before.signatories, True)  # promise 1
            assert after.limit is not None
            assert after.limit <= before.ceiling  # promise 4
        if kind == "reached":
            assert before.stance is Stance.RUNNING
            assert before.limit is not None
            assert after.spent <= before.limit
        if after.stance is not Stance.GATE or kind == "sealed":
            self.words = {}
        self.state = after
        return True

    def more(self, seconds: float, flop: float) -> Compute:
        return Compute(self.state.spent.device_seconds + seconds / 10, self.state.spent.flop + flop / 10)

    @rule(seconds=amounts, flop=amounts, gate=st.integers(-1, 1))
    def seal(self, seconds: float, flop: float, gate: int) -> None:
        self.seals += 1
        gate = self.state.gate + (gate if self.seals % 4 == 0 else 0)
        self.send("sealed", gate=gate, dossier=f"dossier {self.seals}", spent=self.more(seconds - 1, flop))

    @rule(name=names, kind=st.sampled_from(["consented", "consented", "objected"]), back=st.sampled_from([0, 0, 0, 1]))
    def say(self, name: str, kind: str, back: int) -> None:
        if self.send(kind, by=name, anchor=f"dossier {self.seals - back}"):
            assert name in self.state.signatories
            self.words[name] = kind == "consented"

    @precondition(lambda self: self.state.stance is Stance.GATE)
    @rule()
    def all_consent(self) -> None:
        for name in sorted(self.state.signatories):
            assert self.send("consented", by=name, anchor=self.state.anchor)
            self.words[name] = True

    @precondition(lambda self: self.state.stance is Stance.HALTED)
    @rule(name=st.sampled_from(["ada", "ben", "cyd"]))
    def reopen(self, name: str) -> None:
        assert self.send("reopened", by=name, anchor=self.state.anchor)

    @precondition(lambda self: self.state.stance is Stance.GATHERING)
    @rule(
        odd=st.sampled_from(["", "", "", "ada", "cyd"]), word=st.sampled_from(["objected", ""]), ahead=st.integers(0, 3)
    )
    def go_for_a_tenth(self, odd: str, word: str, ahead: int) -> None:
        """The usual way: all consent, unless one objects or is silent; a lease is asked for all the same."""
        self.seal(1.0, 0.0, 0)
        for name in sorted(self.state.signatories):
            kind = "consented" if name != odd else word
            if kind:
                self.say(name, kind, 0)
        granted = self.send("leased", dossier=f"dossier {self.seals}", limit=self.more(30, 30))
        assert not (granted and odd)
        if granted:
            self.send("metered", spent=self.state.spent, reserved=self.state.spent.device_seconds + 1)
            self.send("metered", spent=self.more(ahead, ahead), reserved=self.more(ahead + 5, 0).device_seconds)

    @rule(seconds=amounts, flop=amounts)
    def lease(self, seconds: float, flop: float) -> None:
        self.send("leased", dossier=f"dossier {self.seals}", limit=self.more(seconds * 20, flop * 20))

    @rule(seconds=amounts, flop=amounts, reserve=amounts)
    def meter(self, seconds: float, flop: float, reserve: float) -> None:
        spent = self.more(seconds / 10, flop / 10)
        self.send("metered", spent=spent, reserved=spent.device_seconds + reserve / 10)

    @precondition(lambda self: self.state.stance is Stance.RUNNING)
    @rule()
    def finish(self) -> None:
        assert self.send("reached", gate=self.state.gate + 1, spent=self.state.spent)

    @rule(seconds=amounts, flop=amounts, ahead=st.integers(0, 2))
    def reach(self, seconds: float, flop: float, ahead: int) -> None:
        self.send("reached", gate=self.state.gate + ahead, spent=self.more(seconds / 10, flop / 10))

    @rule(seconds=amounts, flop=amounts, name=names)
    def pull(self, seconds: float, flop: float, name: str) -> None:
        accepted = self.send("pulled", spent=self.more(seconds - 1, flop - 1), by=name)
        assert accepted == (self.state.stance is not Stance.CLOSED)  # promise 2: never refused while the run is open
        assert not accepted or self.state.stance is Stance.HALTED

    @rule(seconds=amounts, reason=st.sampled_from(["crash", "lost_supervisor"]))
    def trip(self, seconds: float, reason: str) -> None:
        reserved = self.state.reserved
        if self.send("tripped", spent=self.more(seconds / 10, 0), reason=reason) and reason == "lost_supervisor":
            assert self.state.spent.device_seconds >= reserved

    @rule(name=names, kind=st.sampled_from(["adjusted", "reopened", "reopened"]))
    def go_back(self, name: str, kind: str) -> None:
        if self.send(kind, by=name, anchor=self.state.anchor):
            assert name in self.state.signatories
            assert self.state.stance is Stance.GATHERING

    @rule()
    def release(self) -> None:
        everyone = self.words == dict.fromkeys(self.state.signatories, True)
        if self.state.gate == self.state.gates and self.state.stance is Stance.GATE and self.seals % 2:
            self.all_consent()
            everyone = True
        if self.send("closed", outcome="released", dossier=f"dossier {self.seals}"):
            assert everyone
            assert self.state.gate == self.state.gates

    @rule(name=st.just("mallory"))
    def abandon_as_a_stranger(self, name: str) -> None:
        assert not self.send("closed", outcome="abandoned", by=name, anchor=self.state.anchor)

    @invariant()
    def consents_are_what_people_said(self) -> None:
        if hasattr(self, "state"):
            assert self.state.consents == {name for name, yes in self.words.items() if yes}
            assert self.state.objections == {name for name, yes in self.words.items() if not yes}
            assert (self.state.limit is not None) == (self.state.stance is Stance.RUNNING)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=200,
    stateful_step_count=50,
    deadline=None,  # how fast a machine is tells nothing about the law
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("name", ["leased without everyone", "one voice counts for all", "consents outlive a pull"])
def test_the_histories_would_notice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The random histories are not blind: they too refuse what the enumeration refuses."""
    _, mutate = MUTANTS[name]
    monkeypatch.setattr(law, "apply", mutate_without_recursion(mutate, monkeypatch))
    found = settings(TestHistories.settings, phases=[Phase.generate], database=None, print_blob=False)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Histories, settings=found)


def mutate_without_recursion(mutate: Mutant, patch: pytest.MonkeyPatch) -> Apply:
    """The mutant, built on the law as it is now: mutants of the result look `law.apply` up when called."""
    lawful = law.apply

    def apply(state: State, asked: Event) -> State:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(law, "apply", lawful)
            return mutant(state, asked)

    mutant = mutate(patch)
    return apply
