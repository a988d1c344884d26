"""One round of self-play: programs are proposed, looked at in the jail, solved several times, and become lessons.

Nothing is believed because a model says it. What a program does, the jail says; whether it solves a puzzle is decided
here, where the expected outputs are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenth.environments import Finding, Lesson, Proposal, SelfPlay, Task, Verdict
from tenth.jail.wire import DENIED, RETURNED, Jail

from .recipe import SelfPlayRecipe
from .selfplay_memory import Memory, learnability, shortest

Write = Callable[[Sequence[str]], list[str]]
"""What the model writes after each prompt."""
Score = Callable[[Sequence[str]], list[float]]
"""How likely people call each program useful, and not unsafe: from 0 to 1. 0: it is not learned from at all."""
Fits = Callable[[Lesson], bool]
"""Whether prompt and completion have room in the model's context."""

WORKED = 2_000
"""Examples by which programs of the warm start become known."""


@dataclass
class Round:
    """What a round needs. `rng` is drawn from in order, so that a round with the same numbers is the same round."""

    game: SelfPlay
    jail: Jail
    recipe: SelfPlayRecipe
    memory: Memory
    write: Write
    fits: Fits
    rng: random.Random
    guide: Score | None = None

    def play(self) -> None:
        """Leaves lessons, programs and counts in the memory."""
        if not self.memory.rounds:
            self._begin()
        puzzles, others = self._found()
        tasks = [self.game.puzzle(one) for one in puzzles]
        again = [task for task in tasks for _ in range(self.recipe.attempts)]
        texts = self.write([task.prompt for task in again])
        verdicts = self.game.judge(again, texts, self.jail)
        self._account(puzzles, verdicts)
        k = self.recipe.attempts
        for number, finding in enumerate(puzzles):
            some = slice(k * number, k * (number + 1))
            self._teach(finding, tasks[number], texts[some], verdicts[some])
        for finding in others:
            self._teach(finding, self.game.puzzle(finding), (), ())
        self._relabel(again, texts, verdicts)
        self.memory.weigh(self.recipe.buffer)
        self.memory.rounds += 1

    def _begin(self) -> None:
        """What worked examples do is nothing new, and can be composed."""
        for one in self.game.given(self.rng, WORKED):
            if one.behaviour not in self.memory.known:
                self.memory.keep(one.proposal, one.behaviour)

    # --- propose ------------------------------------------------------------------------------------------------------

    def _found(self) -> tuple[list[Finding], list[Finding]]:
        """The programs that are to be solved, and those that are sound and new beyond these: lessons, too."""
        r = self.recipe
        if r.proposer == "given":
            return [one for one in self.game.given(self.rng, r.puzzles) if self._has_room(one)], []
        proposals = self._proposals()
        findings = self.game.examine(proposals, self.jail, self.memory.known)
        self.memory.count(
            proposals=len(proposals), junk=sum(not one.sound for one in findings),
            denied=sum(one.jail == DENIED for one in findings),
            behaviours=len({one.behaviour for one in findings if one.behaviour}),
        )  # fmt: skip
        deepest = sum(
            one.sound and one.depth == self.memory.cap and self._is_safe(one.proposal.source) for one in findings
        )
        fresh = []
        for one in findings:
            if self._is_new(one):
                self.memory.keep(one.proposal, one.behaviour)
                fresh.append(one)
        self.memory.count(
            accepted=len(fresh),
            repeated=sum(one.sound and one.behaviour in self.memory.known for one in findings) - len(fresh),
        )
        if deepest:
            new = sum(one.depth == self.memory.cap for one in fresh)
            self.memory.renewed(new / deepest, self.game.deepest)
        self.rng.shuffle(fresh)
        if self.guide:
            fresh = self._by_worth(fresh, self.guide([one.proposal.source for one in fresh]))
        return fresh[: r.puzzles], fresh[r.puzzles :]

    def _proposals(self) -> list[Proposal]:
        """Three of four ask for programs as deep as the cap, the others for any depth."""
        r, cap = self.recipe, self.memory.cap
        depths = [cap if self.rng.random() < 0.75 else self.rng.randint(1, cap) for _ in range(r.proposals)]
        if r.proposer == "random":
            return [self.game.drawn(self.rng, depth) for depth in depths]
        composed = list(self.game.composed(self.rng, depths[: round(r.composed * len(depths))], self.memory.earlier()))
        invitations = [self.game.invitation(self.rng, depth) for depth in depths[len(composed) :]]
        written = self.write([one.prompt for one in invitations])
        return composed + [self.game.proposed(*pair) for pair in zip(invitations, written, strict=True)]

    def _by_worth(self, fresh: Sequence[Finding], worth: Sequence[float]) -> list[Finding]:
        """In an order drawn by lot, in which twice the worth has twice the chance (Efraimidis and Spirakis, 2006)."""
        drawn = [self.rng.random() ** (1 / max(one, 1e-6)) for one in worth]
        return [fresh[place] for place in sorted(range(len(fresh)), key=lambda place: -drawn[place])]

    def _is_new(self, finding: Finding) -> bool:
        """Sound, not too deep, doing what nothing known does, and nothing that people would call unsafe."""
        known = finding.behaviour in self.memory.known
        fits = finding.sound and not known and finding.depth <= self.memory.cap and self._has_room(finding)
        if fits and not self._is_safe(finding.proposal.source):
            self.memory.count(unsafe=1)
            return False
        return fits

    def _is_safe(self, source: str) -> bool:
        return self.guide is None or self.guide([source])[0] > 0

    def _has_room(self, finding: Finding) -> bool:
        return self.fits(self.game.solution(finding, finding.proposal.source))

    # --- learn --------------------------------------------------------------------------------------------------------

    def _teach(self, finding: Finding, task: Task, texts: Sequence[str], verdicts: Sequence[Verdict]) -> None:
        """The shortest program that solves it, the proposer's own included, and what else it teaches."""
        right = [text for text, verdict in zip(texts, verdicts, strict=True) if verdict.score == 1]
        solved = [self.game.hindsight(task, text).source for text in right]
        best = shortest([finding.proposal.source, *filter(self._is_safe, solved)])
        fared = finding.depth, len(solved), len(texts)
        self._learn(self.game.solution(finding, best), *fared)
        self.memory.pose(task, learnability(len(solved), len(texts), self.memory.rate(finding.depth)))
        if self.recipe.proposer == "model":
            for lesson in self.game.lessons(finding):
                self._learn(lesson, *fared, 1 / 16)

    def _relabel(self, tasks: Sequence[Task], texts: Sequence[str], verdicts: Sequence[Verdict]) -> None:
        """A wrong program is right for the puzzle that its own outputs make: at most one for each puzzle."""
        wrong: dict[str, Proposal] = {}
        for task, text, verdict in zip(tasks, texts, verdicts, strict=True):
            if verdict.score < 1 and verdict.evidence["jail"] == RETURNED:
                wrong.setdefault(task.id, self.game.hindsight(task, text))
        different = list({one.source: one for one in wrong.values()}.values())
        for one in self.game.examine(different, self.jail, self.memory.known):
            if self._is_new(one):
                self.memory.count(relabelled=1)
                self.memory.keep(one.proposal, one.behaviour)
                self._learn(self.game.solution(one, one.proposal.source), one.depth)

    def _learn(self, lesson: Lesson, depth: int, solved: int = 0, attempts: int = 0, share: float = 1.0) -> None:
        if self.fits(lesson):
            self.memory.learn(lesson, depth, solved, attempts, share)

    # --- count --------------------------------------------------------------------------------------------------------

    def _account(self, puzzles: Sequence[Finding], verdicts: Sequence[Verdict]) -> None:
        k, scores = self.recipe.attempts, [verdict.score for verdict in verdicts]
        self.memory.count(
            rounds=1, attempts=len(scores), solved=sum(scores),
            denied=sum(one.evidence["jail"] == DENIED for one in verdicts),
            hollow=sum(one.parts["shown"] == 1 and one.parts["hidden"] < 1 for one in verdicts),
        )  # fmt: skip
        for depth in range(1, self.memory.cap + 1):
            some = [n for n, one in enumerate(puzzles) if one.depth == depth]
            solved, attempts = sum(sum(scores[k * n : k * (n + 1)]) for n in some), k * len(some)
            if not attempts:
                continue  # so deep, it stays as hard as it was
            self.memory.tried(depth, solved, attempts)
            if depth == self.memory.cap:
                self.memory.succeeded(solved / attempts, self.game.deepest)
