"""Puzzles as self-play needs them: proposals looked at many at a time, and made into tasks by what they really do.

What a model proposed never runs here, only in the jail: its outputs are the jail's answers.
"""

from __future__ import annotations

import random
from collections.abc import Container, Sequence
from functools import cache
from itertools import dropwhile, product

from puzzles import chains, env
from puzzles.chains import Chain
from puzzles.cheats import CHEATS, SLEEPS
from puzzles.operations import BY_NAME, KINDS, LIST, NUMBER, OPERATIONS, TEXT
from tenth.environments import Finding, Json, Lesson, Proposal, Task, Verdict
from tenth.jail.wire import Jail, Outcome, spell

HEAD, STEP, LAST = "def f(x):\n", "    ", "    return "
TAKES = {kind: [one for one in OPERATIONS if one.takes == kind] for kind in KINDS}
WORDS = r"def f\(x\):\n| {4}(?:x =|return)|(?<=x =|return) [^\n]+\n|# [^\n]*\n|#f\([^\n]*\)==|#x=|\"\n?|[A-Za-z]"
"""One operation is one word, and so is an input that every puzzle shows; the letters of a text are many."""
TRIES = 8
"""To put a new program together from two."""
INDUCED = 0.6
"""Share of the warm start's examples; the others are proposals and deductions, half and half."""


@cache
def shallow() -> tuple[tuple[Chain, ...], ...]:
    """All programs of the warm start, none of them held out: those of one step, and the many more of two."""
    every = [[Chain(names) for names in product(BY_NAME, repeat=depth)] for depth in (1, 2)]
    return tuple(
        tuple(
            one
            for one in some
            if one.fits() and one.deep() and not one.constant() and not chains.held_out(one.behaviour)
        )
        for some in every
    )


class SelfPlay:
    """See tenth.environments.SelfPlay. Of a proposal it knows what it takes, what it gives, and how deep it is."""

    deepest, words = chains.DEEPEST, WORDS

    def worked(self, rng: random.Random, n: int) -> list[Lesson]:
        found = []
        for one in self.given(rng, n):
            role = rng.random()
            proposing, deducing = self.lessons(one)
            half = (1 + INDUCED) / 2
            induced = self.solution(one, one.proposal.source)
            found.append(induced if role < INDUCED else proposing if role < half else deducing)
        return found

    def given(self, rng: random.Random, n: int) -> list[Finding]:
        found = []
        for _ in range(n):
            chain = rng.choice(shallow()[rng.randrange(2)])
            inputs = env.inputs_of(chain.kind, rng)
            pairs = [(one, chain(one)) for one in inputs]
            about = {"takes": chain.kind, "gives": BY_NAME[chain.names[-1]].gives, "depth": chain.depth}
            proposal = Proposal(chain.source(), about)
            found.append(Finding(proposal, {"runs": 1.0}, chain.depth, chain.behaviour, pairs, "returned"))
        return found

    def invitation(self, rng: random.Random, depth: int) -> Task:
        kind = rng.choice(KINDS)
        prompt, meta = env.to_propose(kind, depth), {"kind": kind}
        return Task(env.named("propose", prompt, meta), prompt, 0, meta)

    def proposed(self, task: Task, completion: str) -> Proposal:
        return Proposal(_program(completion), {"takes": task.meta["kind"]})

    def drawn(self, rng: random.Random, depth: int) -> Proposal:
        kind = takes = rng.choice(KINDS)
        names = []
        for _ in range(depth):
            one = rng.choice(TAKES[kind])
            names.append(one.name)
            kind = one.gives
        return Proposal(Chain(tuple(names)).source(), {"takes": takes})

    def composed(self, rng: random.Random, depths: Sequence[int], earlier: Sequence[Proposal]) -> list[Proposal]:
        known = {(one.source, one.about["takes"]) for one in earlier}
        alike: dict[tuple[str, int], list[Proposal]] = {}
        for one in earlier:
            alike.setdefault((one.about["takes"], one.about["depth"]), []).append(one)
        found = []
        for depth in depths:
            shorter = [key for key in alike if key[1] < depth]
            for _ in range(TRIES if shorter else 0):
                takes, begun = rng.choice(shorter)  # of all kinds and depths alike, however many of each were found
                first = rng.choice(alike[takes, begun])
                fitting = alike.get((first.about["gives"], depth - begun))
                source = _after(first.source, rng.choice(fitting).source) if fitting else None
                if source and (source, takes) not in known:
                    known.add((source, takes))
                    found.append(Proposal(source, {"takes": takes}))
                    break
        return found

    def examine(self, proposals: Sequence[Proposal], jail: Jail, known: Container[str] = ()) -> list[Finding]:
        """Those that are sound at first, and not known, in another process once more."""
        inputs = [_inputs(one) for one in proposals]
        programs = [
            env.twice(one.source, one.about["takes"], some) for one, some in zip(proposals, inputs, strict=True)
        ]
        outcomes = list(jail.run_all(programs))
        found = [_finding(*one) for one in zip(proposals, inputs, outcomes, strict=True)]
        sound = [number for number, one in enumerate(found) if one.sound and one.behaviour not in known]
        for number, again in zip(sound, jail.run_all([programs[one] for one in sound]), strict=True):
            found[number] = _finding(proposals[number], inputs[number], outcomes[number], again)
        return found

    def puzzle(self, finding: Finding) -> Task:
        inputs, outputs = [one for one, _ in finding.examples], [one for _, one in finding.examples]
        prompt, meta = env.to_induce(inputs, outputs), {"inputs": inputs, "expected": outputs}
        facts = {**meta, "depth": finding.depth, "takes": finding.proposal.about["takes"]}
        return Task(env.named("induce", prompt, meta), prompt, 0, facts)

    def judge(self, tasks: Sequence[Task], completions: Sequence[str], jail: Jail) -> list[Verdict]:
        programs = [env.attempt(task, text) for task, text in zip(tasks, completions, strict=True)]
        outcomes = jail.run_all(programs)
        return [env.induced(*one) for one in zip(tasks, programs, outcomes, strict=True)]

    def hindsight(self, task: Task, completion: str) -> Proposal:
        return Proposal(_program(completion), {"takes": task.meta["takes"], "inputs": task.meta["inputs"]})

    def solution(self, finding: Finding, source: str) -> Lesson:
        return Lesson(self.puzzle(finding).prompt, _plan(source) + source)

    def lessons(self, finding: Finding) -> list[Lesson]:
        proposal = finding.proposal
        given, value = finding.examples[-1]
        return [
            Lesson(env.to_propose(proposal.about["takes"], finding.depth), proposal.source),
            Lesson(env.to_deduce(proposal.source, given), spell(value)),
        ]

    def varied(self, rng: random.Random, lesson: Lesson) -> Lesson:
        """A puzzle's examples in another order, half of the time one less: against learning by heart."""
        head, *pairs = lesson.prompt.splitlines(keepends=True)
        if head != env.INDUCE:
            return lesson
        rng.shuffle(pairs)
        del pairs[rng.choice((env.SHOWN - 1, env.SHOWN)) :]
        return Lesson("".join([head, *pairs]), lesson.completion)

    def cheats(self) -> dict[str, str]:
        """All but the one that sleeps: it costs seconds, and says nothing of the verdict."""
        return {name: source for name, source in CHEATS.items() if name != SLEEPS}

    def held_out(self, depth: int, n: int) -> list[Task]:
        """Fewer than ``n`` where three times as many draws do not find so many behaviours."""
        tasks = env.Puzzles("induce", (depth,), "held out").tasks(random.Random(f"held out, depth {depth}"), 3 * n)
        return list({task.meta["behaviour"]: task for task in tasks}.values())[:n]


def _plan(source: str) -> str:
    """A comment for each step, the last step first: what a solver writes before the program.

    Answers tell most about the step that made them; each step before is told by what the later ones must have been
    given. The program itself begins with what is hardest to tell.
    """
    steps = [line.strip() for line in source.splitlines() if line.startswith(STEP)]
    return "".join(f"# {one.removeprefix('return ').removeprefix('x = ')}\n" for one in reversed(steps))


def _program(completion: str) -> str:
    """What a model wrote, without a plan."""
    lines = env.code_of(completion).splitlines(keepends=True)
    return "".join(dropwhile(lambda line: line.startswith("#"), lines))


def _inputs(proposal: Proposal) -> list[Json]:
    """What a puzzle made of it will show and hide: fixed by its source, unless they are given."""
    known: list[Json] | None = proposal.about.get("inputs")
    rng = random.Random(proposal.source)
    return env.inputs_of(proposal.about["takes"], rng) if known is None else known


def _finding(proposal: Proposal, inputs: Sequence[Json], outcome: Outcome, *again: Outcome) -> Finding:
    takes, depth = str(proposal.about["takes"]), _steps(proposal.source)
    parts, behaviour, answers = env.soundness(takes, outcome, *again)
    if not behaviour:
        return Finding(proposal, parts, depth, jail=outcome.verdict)
    about = {"takes": takes, "gives": _kind(answers), "depth": depth}
    pairs = list(zip(inputs, answers, strict=True))
    # A puzzle whose shown outputs are all alike says nothing of what is asked for.
    parts = {**parts, "tells": float(len({spell(one) for one in answers[: env.SHOWN]}) > 1)}
    return Finding(Proposal(proposal.source, about), parts, depth, behaviour, pairs, outcome.verdict)


def _steps(source: str) -> int:
    return max(1, sum(line.startswith(STEP) for line in source.splitlines()))


def _kind(values: Sequence[Json]) -> str:
    """What all of them are, or "" if that is nothing that an operation takes."""
    if all(isinstance(one, str) for one in values):
        return TEXT
    if all(type(one) is int for one in values):
        return NUMBER
    listed = all(isinstance(one, list) and all(type(number) is int for number in one) for one in values)
    return LIST if listed else ""


def _after(first: str, second: str) -> str | None:
    """The source of ``second(first(x))``, where both are written as chains are."""
    one, two = first.splitlines(keepends=True), second.splitlines(keepends=True)
    if any(len(lines) < 2 or lines[0] != HEAD or not lines[-1].startswith(LAST) for lines in (one, two)):
        return None
    return "".join([*one[:-1], f"{STEP}x = {one[-1].removeprefix(LAST)}", *two[1:]])
