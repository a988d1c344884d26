"""Self-play: what is kept, what is refused, and that interrupted equals uninterrupted."""

from __future__ import annotations

import importlib
import json
import random
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from client.fake_supervisor import SOURCE, FakeSupervisor, write_listing
from house.repo import ROOT
from puzzles import SelfPlay, chains
from puzzles.chains import Chain
from tenth.client import Run
from tenth.environments import Finding, Lesson, Proposal, Task, Verdict
from tenth.environments import SelfPlay as Game
from tenth.jail import keeper
from tenth.jail.wire import DENIED, Jail
from tenth.trainer import checkpoint
from tenth.trainer.errors import TrainerError
from tenth.trainer.flops import flop_per_token
from tenth.trainer.loop import update
from tenth.trainer.loss import token_log_probs
from tenth.trainer.recipe import SelfPlayRecipe, recipe_from
from tenth.trainer.selfplay import load_game, selfplay
from tenth.trainer.selfplay_memory import Memory, learnability
from tenth.trainer.selfplay_player import begin, rows
from tenth.trainer.selfplay_policy import policy_gradients
from tenth.trainer.selfplay_round import Round
from trainer.tiny import TINY, dying

RECIPE = TINY.replace("context = 32", "context = 320").replace('"bytes"', '"bpe"\nvocabulary = 400') + (
    '[selfplay]\nenv = "puzzles"\nsteps = 12\nwarm = 2\nevery = 3\nproposals = 8\npuzzles = 3\nattempts = 2\n'
    "tokens = 48\npolicy = 0.3\n"
)
Supervise = Callable[..., FakeSupervisor]


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    with keeper.opened() as one:
        yield one


@pytest.fixture(scope="module")
def game() -> Game:
    return SelfPlay()


def finding(game: Game, jail: Jail, *names: str) -> Finding:
    chain = Chain(names)
    return game.examine([Proposal(chain.source(), {"takes": chain.kind})], jail)[0]


# --- the environment's side -------------------------------------------------------------------------------------------


def test_a_program_is_examined_by_what_it_does(game: Game, jail: Jail) -> None:
    one = finding(game, jail, "sort", "double", "tail")
    assert one.sound
    assert one.depth == 3
    assert one.behaviour == Chain(("sort", "double", "tail")).behaviour
    assert one.proposal.about == {"takes": "list", "gives": "list", "depth": 3}
    chain = Chain(("sort", "double", "tail"))
    assert all(chain(given) == value for given, value in one.examples)
    (verdict,) = game.judge([game.puzzle(one)], [chain.source()], jail)
    assert verdict.score == 1


@pytest.mark.parametrize(
    ("source", "lacks"),
    [
        ("def f(x): return 5", "not constant"),
        ("import random\ndef f(x): return [random.random()]", "deterministic"),
        ("seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)", "deterministic"),
        ("from os import getpid\ndef f(x): return getpid() + len(x)", "deterministic"),
        ("import os\ndef f(x): return os.listdir('/')", "runs"),
        ("no program", "runs"),
    ],
)
def test_what_is_unsafe_random_or_constant_is_not_sound(game: Game, jail: Jail, source: str, lacks: str) -> None:
    (one,) = game.examine([Proposal(source, {"takes": "list"})], jail)
    assert not one.sound
    assert one.parts[lacks] == 0
    assert (one.jail == DENIED) == ("os." in source)


def test_what_is_known_is_not_run_in_a_second_process(game: Game, jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    run_all = Jail.run_all
    monkeypatch.setattr(Jail, "run_all", lambda self, some: ran.append(len(some)) or run_all(self, some))
    some = [Chain(("sort", "double", "tail")), Chain(("reverse", "increase", "tail"))]
    found = game.examine([Proposal(one.source(), {"takes": "list"}) for one in some], jail, {some[0].behaviour: 0})
    assert ran == [2, 1]
    assert all(one.sound for one in found)


def test_what_is_held_out_is_never_taught(game: Game, jail: Jail) -> None:
    rng = random.Random(3)
    while not chains.held_out((chain := chains.compose(2, rng)).behaviour):
        pass
    one = finding(game, jail, *chain.names)
    assert one.parts["not held out"] == 0
    assert not one.sound
    behaviours = {Chain(tuple(task.meta["chain"])).behaviour for task in game.held_out(2, 30)}
    assert len(behaviours) == 30, "each is tried once"
    assert all(map(chains.held_out, behaviours))
    assert not any(chains.held_out(one.behaviour) for one in game.given(rng, 200))
    assert game.held_out(3, 4) == game.held_out(3, 4)


def test_a_worked_puzzle_is_planned_from_its_last_step_and_right(game: Game, jail: Jail) -> None:
    rng = random.Random(4)
    some = game.given(rng, 40)
    lessons = [game.solution(one, one.proposal.source) for one in some]
    for one, lesson in zip(some, lessons, strict=True):
        plan, program = lesson.completion[: -len(one.proposal.source)], lesson.completion[-len(one.proposal.source) :]
        steps = [line.split(maxsplit=2 if "x =" in line else 1)[-1] for line in program.splitlines()[1:]]
        assert plan.splitlines() == [f"# {step}" for step in reversed(steps)]
        assert program == one.proposal.source
        assert game.hindsight(game.puzzle(one), lesson.completion).source == program
    verdicts = game.judge([game.puzzle(one) for one in some], [one.completion for one in lessons], jail)
    assert {one.score for one in verdicts} == {1.0}
    asked = game.invitation(rng, 2)
    assert game.proposed(asked, lessons[0].completion).source == some[0].proposal.source


def test_two_programs_are_composed_into_one_that_does_both(game: Game, jail: Jail) -> None:
    first, second = finding(game, jail, "sort", "tail"), finding(game, jail, "sum")
    pair = [first.proposal, second.proposal]
    (one,) = game.composed(random.Random(1), [3, 3], pair)
    (found,) = game.examine([one], jail)
    assert found.behaviour == Chain(("sort", "tail", "sum")).behaviour
    assert game.composed(random.Random(1), [3], [*pair, found.proposal]) == [], "known"
    assert game.composed(random.Random(1), [1, 2], pair) == [], "too deep"


# --- a round ----------------------------------------------------------------------------------------------------------


def a_round(game: Game, jail: Jail, write: Callable[[Sequence[str]], list[str]], **changed: object) -> Round:
    recipe = replace(SelfPlayRecipe(env="puzzles", proposals=6, puzzles=4, attempts=2, composed=0.0), **changed)  # type: ignore[arg-type]
    return Round(game, jail, recipe, Memory(3), write, lambda lesson: True, random.Random(1))


DOUBLE, REVERSED = Chain(("sort", "double", "tail")).source(), Chain(("reverse", "increase", "tail")).source()
PLANS = ("# x[1:]\n# [n * 2 for n in x]\n# sorted(x)\n", "# x[1:]\n# [n + 1 for n in x]\n# x[::-1]\n")


@pytest.mark.parametrize("planning", ["", PLANS[0], "# at a loss\n" * 9])
def test_a_round_keeps_what_was_verified_and_relabels_what_was_not(game: Game, jail: Jail, planning: str) -> None:
    """Everything proposed is one program; every second attempt solves it, and the others do something else."""
    wordy = DOUBLE.replace("    x = sorted(x)\n", "    x = sorted(x)\n    x = x + []\n")

    def write(prompts: Sequence[str]) -> list[str]:
        if prompts and prompts[0].startswith("# propose"):
            return [wordy if "takes: list" in one else "def f(x): return 1" for one in prompts]
        return [(f"{planning}{DOUBLE}", REVERSED)[number % 2] for number in range(len(prompts))]

    one = a_round(game, jail, write, proposals=12)
    memory = one.memory
    memory.cap = 4
    for depth in (3, 4):
        memory.tried(depth, 0, 8)
    one.play()
    assert memory.attempts == {"3": [0.0, 8.0], "4": [1.0, 8 * 0.8 + 2]}, "what was not attempted stays as hard"
    assert memory.counts["accepted"] == 1, "the same behaviour is known the second time"
    assert memory.counts["repeated"] + memory.counts["junk"] == 11
    assert memory.counts["solved"] == 1
    assert memory.counts["attempts"] == 2
    assert memory.counts["relabelled"] == 1
    first, second = (lesson for lesson in memory.lessons if lesson.prompt.startswith("# induce"))
    assert first.completion == PLANS[0] + DOUBLE, "the shorter one, however long its plan, below its own"
    assert second.completion == PLANS[1] + REVERSED, "what the wrong one does"
    assert first.prompt != second.prompt
    assert first.weight == learnability(1, 2, memory.rate(4)) > second.weight == learnability(0, 0, memory.rate(3))
    assert memory.rate(4) > memory.rate(3), "this round's attempts count, too"
    others = [lesson for lesson in memory.lessons if lesson not in (first, second)]
    assert {lesson.prompt.split("\n")[0] for lesson in others} == {"# propose", "# deduce"}
    assert all(lesson.weight == first.weight / 16 for lesson in others)
    one.play()
    assert memory.counts["accepted"] == 1, "nothing new"


def test_what_a_worked_example_does_is_nothing_new(game: Game, jail: Jail) -> None:
    single = [Chain((one,)) for one in ("reverse", "backwards", "add one")]
    taught = {chain.kind: chain.source() for chain in single if not chains.held_out(chain.behaviour)}

    def write(prompts: Sequence[str]) -> list[str]:
        return [taught.get(prompt.split("# takes: ")[-1].split("\n")[0], "") for prompt in prompts]

    one = a_round(game, jail, write, proposals=12)
    one.play()
    assert one.memory.counts["accepted"] == 0
    assert one.memory.counts["repeated"] > 0
    assert one.memory.lessons == []


def test_worked_examples_of_one_step_are_as_many_as_those_of_two(game: Game) -> None:
    depths = [one.depth for one in game.given(random.Random(1), 400)]
    assert 160 < depths.count(1) < 240
    assert depths.count(2) == 400 - depths.count(1)


def test_a_program_that_knows_only_what_it_was_shown_is_counted(game: Game, jail: Jail) -> None:
    def write(prompts: Sequence[str]) -> list[str]:
        if prompts and prompts[0].startswith("# propose"):
            return [DOUBLE if "takes: list" in one else "def f(x): return 1" for one in prompts]
        shown = [line[3:].split(")==") for line in prompts[0].splitlines() if "==" in line]
        pairs = "".join(f"    if x == {given}: return {value}\n" for given, value in shown)
        return [f"def f(x):\n{pairs}    return x\n"] * len(prompts)

    one = a_round(game, jail, write, proposals=12)
    one.play()
    assert one.memory.counts["hollow"] == 2
    assert one.memory.counts["solved"] == 0


def test_the_cap_rises_when_the_deepest_puzzles_are_solved(game: Game) -> None:
    memory = Memory(3)
    for share in (0.2, 0.6, 0.6, 0.6):
        memory.succeeded(share, 6)
    assert memory.cap == 4
    assert memory.successes == []
    for _ in range(40):
        memory.succeeded(1.0, 6)
    assert memory.cap == 6


def test_the_cap_rises_when_the_deepest_programs_are_hardly_ever_new() -> None:
    memory = Memory(3)
    for share in (0.9, 0.3, 0.3, 0.3, 0.2):
        assert memory.cap == 3
        memory.renewed(share, 6)
    assert memory.cap == 3, "0.275 of the last four"
    memory.renewed(0.19, 6)
    assert (memory.cap, memory.fresh, memory.successes) == (4, [], [])
    memory.tried(4, 1, 60)
    for _ in range(8):
        memory.renewed(0.0, 6)
    assert memory.cap == 4, "not while hardly any of these is solved"
    memory.tried(4, 9, 60)
    for _ in range(40):
        memory.renewed(0.0, 6)
    assert memory.cap == 6


def test_a_round_counts_what_was_new_of_the_deepest(game: Game, jail: Jail) -> None:
    names = ("reverse", "increase", "double")
    source = Chain(names).source()
    assert not chains.held_out(Chain(names).behaviour)
    one = a_round(game, jail, lambda prompts: [source] * len(prompts), proposals=12, proposer="model")
    one.play()
    one.play()
    first, second = one.memory.fresh
    assert 0 < first < 0.5, "the first of many alike"
    assert second == 0


@pytest.mark.parametrize("unsafe", ["nothing", "what is proposed", "how it is solved", "what is written in its place"])
def test_what_people_would_call_unsafe_is_neither_learned_nor_composed(game: Game, jail: Jail, unsafe: str) -> None:
    wordy = DOUBLE.replace("    x = sorted(x)\n", "    x = sorted(x)\n    x = x + []\n")
    bad = {"nothing": "", "what is proposed": wordy, "how it is solved": DOUBLE}.get(unsafe, REVERSED)

    def write(prompts: Sequence[str]) -> list[str]:
        if prompts and prompts[0].startswith("# propose"):
            return [wordy if "takes: list" in one else "def f(x): return 1" for one in prompts]
        return [(DOUBLE, REVERSED)[number % 2] for number in range(len(prompts))]

    one = a_round(game, jail, write, proposals=12)
    one.guide = lambda sources: [float(source != bad) for source in sources]
    one.memory.cap = 4
    one.play()
    learned = [lesson.completion.partition("def ")[2] for lesson in one.memory.lessons]
    kept = [proposal.source for proposal in one.memory.earlier()]
    wanted = {
        "nothing": {DOUBLE, REVERSED}, "what is proposed": set(),
        "how it is solved": {wordy, REVERSED}, "what is written in its place": {DOUBLE},
    }[unsafe]  # fmt: skip
    asked = [lesson for lesson in one.memory.lessons if lesson.prompt.startswith("# induce")]
    assert {"def " + one.completion.partition("def ")[2] for one in asked} == wanted
    assert bad.partition("def ")[2] not in learned or not bad
    assert bad not in kept
    sound = one.memory.counts["proposals"] - one.memory.counts["junk"]
    refused = {"what is proposed": sound, "what is written in its place": 1}
    assert one.memory.counts.get("unsafe", 0) == refused.get(unsafe, 0)


def test_what_was_kept_before_it_was_called_unsafe_is_forgotten(game: Game, jail: Jail) -> None:
    memory = Memory(3)
    for names in (("sort", "double", "tail"), ("reverse", "increase", "tail")):
        one = finding(game, jail, *names)
        memory.keep(one.proposal, one.behaviour)
        memory.pose(game.puzzle(one), 1.0)
        for lesson in (game.solution(one, one.proposal.source), *game.lessons(one)):
            memory.learn(lesson, 3)
    memory.forget(lambda _: False)
    assert len(memory.lessons) == 6
    memory.forget(lambda source: source == DOUBLE)
    assert [one.source for one in memory.earlier()] == [REVERSED]
    assert len(memory.known) == 2, "nor is it proposed again"
    told = [one.prompt + one.completion for one in memory.lessons]
    assert not any("x * 2" in one or "n * 2" in one for one in told)
    assert [one.split("\n")[0] for one in told] == ["# induce", "# propose", "# deduce"], "of the other all three stay"
    assert all(REVERSED in one for one in told)
    assert [one["prompt"] for one in memory.puzzles] == [
        game.puzzle(finding(game, jail, "reverse", "increase", "tail")).prompt
    ]


def test_a_replayed_puzzle_shows_its_examples_in_another_order_and_sometimes_one_less(game: Game) -> None:
    rng = random.Random(3)
    lessons = game.worked(rng, 120)
    puzzles = [one for one in lessons if one.prompt.startswith("# induce")]
    again = [game.varied(rng, one) for one in puzzles]
    less = 0
    for old, new in zip(puzzles, again, strict=True):
        head, *pairs = new.prompt.splitlines()
        assert head == "# induce"
        assert len(pairs) in (3, 4)
        assert set(pairs) < set(old.prompt.splitlines())
        less += len(pairs) == 3
        assert new.completion == old.completion
    assert len(puzzles) / 4 < less < 3 * len(puzzles) / 4
    assert sum(old.prompt != new.prompt for old, new in zip(puzzles, again, strict=True)) > len(puzzles) / 2
    others = [one for one in lessons if one not in puzzles]
    assert [game.varied(rng, one) for one in others] == others


def test_what_can_be_learned_is_replayed_more_often_than_what_is_known_or_too_hard() -> None:
    assert learnability(2, 4, 0.5) > learnability(0, 4, 0.5) > 0
    assert learnability(0, 4, 0.5) == pytest.approx(learnability(4, 4, 0.5))
    memory = Memory(3)
    memory.tried(4, 0, 28)
    for name, depth, solved, share in (("often", 3, 2, 1.0), ("seldom", 4, 0, 1.0), ("never", 3, 2, 0.0)):
        memory.learn(Lesson(name, ""), depth, solved, 4, share)
    memory.weigh(9)
    drawn = [one.prompt for one in memory.replayed(random.Random(1), 500)]
    assert drawn.count("often") > 10 * drawn.count("seldom") > 0
    assert "never" not in drawn
    for _ in range(20):
        memory.tried(4, 16, 28)
    memory.weigh(9)
    drawn = [one.prompt for one in memory.replayed(random.Random(1), 500)]
    assert drawn.count("often") < 3 * drawn.count("seldom"), "it is weighed anew as its depth fares"


def test_what_teaches_least_is_forgotten_and_of_equals_the_oldest() -> None:
    """Programs that are far too deep, however new, do not push out what is learned from."""
    memory = Memory(5)
    memory.tried(5, 0, 98)
    for number in range(4):
        for depth, share in ((3, 1.0), (5, 1.0), (3, 1 / 16)):
            memory.learn(Lesson(f"{number} of {depth}", ""), depth, share=share)
    memory.weigh(10)
    kept = [lesson.prompt for lesson in memory.lessons]
    assert sorted(kept) == sorted([f"{number} of 3" for number in range(4)] * 2 + ["2 of 5", "3 of 5"])
    assert kept[-3:] == ["3 of 3", "3 of 5", "3 of 3"], "in the order in which they came"


def test_what_nobody_tried_is_as_hard_as_what_was_tried_so_deep() -> None:
    memory = Memory(4)
    assert memory.rate(3) == 0.5, "nothing is known"
    for _ in range(20):
        memory.tried(3, 16, 32)
        memory.tried(4, 1, 32)
    assert memory.rate(3) == pytest.approx(0.5)
    assert memory.rate(4) < 0.05
    assert learnability(0, 0, memory.rate(4)) < 0.05 < learnability(0, 0, memory.rate(3)) == 0.25
    assert learnability(1, 4, memory.rate(4)) > 2 * learnability(0, 0, memory.rate(4)), "but for what succeeded once"
    for _ in range(20):
        memory.tried(4, 16, 32)
    assert memory.rate(4) == pytest.approx(0.5, abs=0.01), "what was long ago does not count"


@pytest.mark.parametrize("proposer", ["random", "given"])
def test_the_controls_ask_the_model_for_no_proposal(game: Game, jail: Jail, proposer: str) -> None:
    asked: list[str] = []

    def write(prompts: Sequence[str]) -> list[str]:
        asked.extend(prompts)
        return [REVERSED] * len(prompts)

    one = a_round(game, jail, write, proposer=proposer)
    one.play()
    assert asked
    assert all(prompt.startswith("# induce") for prompt in asked)
    assert all(lesson.prompt.startswith("# induce") for lesson in one.memory.lessons)


def test_an_operation_is_one_token_and_a_text_is_letters(game: Game, tmp_path: Path) -> None:
    recipe = recipe_from({"data": {"vocabulary": 1024}, "selfplay": {"env": "puzzles"}})
    text = begin(recipe, game, 1, 1, tmp_path).text

    def tokens(of: str) -> list[str]:
        return [text.decode([number]) for number in text.encode([of])[0]]

    chain = Chain(("backwards", "drop first", "codes"))
    assert tokens(chain.source()) == [
        "def f(x):\n", "    x =", " x[::-1]\n", "    x =", " x[1:]\n", "    return", " [ord(c) % 32 for c in x]\n",
    ]  # fmt: skip
    shown = chains.SHOWN["text"][0]
    assert tokens(f'#f("{shown}")=="maxi"\n') == [f'#f("{shown}")==', '"', "m", "a", "x", "i", '"\n']
    assert text.decode(text.encode(["for any = text\tthat is {no} puzzle"])[0]) == "for any = text\tthat is {no} puzzle"


def test_lessons_that_share_a_row_are_read_as_if_alone(game: Game, tmp_path: Path) -> None:
    player = begin(recipe_from(tomllib.loads(RECIPE)), game, 1, 1, tmp_path)
    lessons = game.worked(random.Random(1), 6)
    inputs, targets, starts = player.packed(lessons)
    apart, aims = rows([player.encoded(one) for one in lessons], player.text.separator)
    assert len(inputs) < len(apart), "several a row"
    sums = []
    with torch.no_grad():
        player.master.lm_head.weight.normal_(generator=torch.Generator().manual_seed(1))
        for hidden, wanted in ((player.master(inputs, starts), targets), (player.master(apart), aims)):
            sums.append(token_log_probs(hidden, player.master.lm_head.weight, wanted).sum())
    assert float(sums[0]) == pytest.approx(float(sums[1]), rel=1e-5)
    assert float(sums[0]) < -100


# --- a lease ----------------------------------------------------------------------------------------------------------


def contents(supervisor: FakeSupervisor) -> dict[str, bytes]:
    assert supervisor.resume is not None
    memory = json.loads((supervisor.resume / "selfplay.json").read_text())
    del memory["counts"]  # of one tenth
    files = {name: (supervisor.resume / f"{name}.safetensors").read_bytes() for name in ("model", "optimizer")}
    return files | {"memory": json.dumps(memory).encode()}


@pytest.mark.parametrize("proposer", ["model", "random"])
def test_an_epoch_in_tenths_is_the_epoch_in_one(supervise: Supervise, jail: Jail, proposer: str) -> None:
    """An untrained model proposes nothing that runs; what is composed or drawn is learned and rewarded."""

    def here(run: Run) -> None:
        selfplay(run, time.monotonic(), jail)

    recipe = f'{RECIPE}proposer = "{proposer}"\n'
    whole, parts = supervise("whole", recipe, of=1), supervise("parts", recipe, of=5, samples_per_minute=60_000)
    whole.in_this_process(here)
    for _ in range(5):
        outcome = parts.in_this_process(here)
        assert outcome.of("sample")
        assert outcome.of("progress")[-1]["step"] == outcome.of("done")[0]["position"]["step"]
    assert contents(whole) == contents(parts)
    memory = json.loads(contents(parts)["memory"])
    assert memory["rounds"] == 4
    assert memory["lessons"]


def test_cut_off_in_the_middle_of_a_tenth_it_ends_the_same(
    supervise: Supervise, jail: Jail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a round and a step, and nothing of it is in the checkpoint that the next lease begins from."""

    def here(run: Run) -> None:
        selfplay(run, time.monotonic(), jail)

    quiet, cut = supervise("quiet", RECIPE, of=2), supervise("cut", RECIPE, of=2)
    for supervisor in (quiet, quiet, cut):
        supervisor.in_this_process(here)
    with monkeypatch.context() as patched:
        patched.setattr(Run, "report", dying(Run.report, after=2))
        with pytest.raises(RuntimeError, match="cut off"):
            cut.in_this_process(here)
    cut.in_this_process(here)
    assert contents(quiet) == contents(cut)


def test_what_is_written_counts_as_compute(supervise: Supervise, jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of what training costs a token: there is no backward pass."""
    said: list[dict[str, float]] = []
    monkeypatch.setattr(Run, "report", lambda _, **facts: said.append(facts))
    one = supervise("run", RECIPE, of=1)
    one.in_this_process(lambda run: selfplay(run, time.monotonic(), jail))
    assert one.resume is not None
    cost = flop_per_token(checkpoint.load(one.resume, optimizer=False).shape)
    more = [facts["flop"] - cost * facts["tokens"] for facts in said]
    assert [step for step, flop in enumerate(more) if flop] == [2, 5, 8, 9, 10, 11], "rounds, and policy gradients"
    assert more[2] > cost // 3 * 8 * 20, "eight proposals and more, each after a prompt"
    assert more[2] % (cost // 3) == 0


class Even:
    """An environment whose puzzles want anything that begins with an even byte."""

    deepest, words = 1, ""

    def judge(self, tasks: Sequence[Task], completions: Sequence[str], jail: Jail) -> list[Verdict]:
        return [Verdict(float(text.encode()[:1] != b"" and text.encode()[0] % 2 == 0)) for text in completions]


def test_policy_gradients_raise_the_reward(tmp_path: Path, jail: Jail) -> None:
    recipe = recipe_from(
        tomllib.loads(TINY.replace("batch = 4", "batch = 32") + '[selfplay]\nenv = "none"\nattempts = 8\ntokens = 3\n')
    )
    even: Any = Even()
    player = begin(recipe, even, 1, 1, tmp_path)
    player.memory.pose(Task("t", "which?", 0, {}), 1.0)
    rewards = []
    for step in range(40):
        reward, tokens = policy_gradients(player, jail, player.random("step", step))
        assert tokens >= 32 * 6
        rewards.append(reward)
        update(player, reward, 1.0)
    assert sum(rewards[:4]) / 4 < 0.7
    assert sum(rewards[-4:]) / 4 > 0.9


def test_no_reward_is_given_for_what_people_would_call_unsafe(tmp_path: Path, jail: Jail) -> None:
    class Known(Even):
        def hindsight(self, task: Task, completion: str) -> Proposal:
            return Proposal(completion, {})

    known: Any = Known()
    player = begin(
        recipe_from(tomllib.loads(TINY + '[selfplay]\nenv = "none"\nattempts = 4\ntokens = 3\n')), known, 1, 1, tmp_path
    )
    player.memory.pose(Task("t", "which?", 0, {}), 1.0)
    before, _ = policy_gradients(player, jail, random.Random(3))
    player.guide = lambda sources: [1.0] * len(sources)
    assert policy_gradients(player, jail, random.Random(3))[0] == before > 0
    player.guide = lambda sources: [0.0] * len(sources)
    assert policy_gradients(player, jail, random.Random(3))[0] == 0


def test_another_shape_than_the_model_has_is_refused(supervise: Supervise, jail: Jail) -> None:
    first = supervise("run", RECIPE, of=12)
    first.in_this_process(lambda run: selfplay(run, time.monotonic(), jail))
    assert first.resume is not None
    wide = recipe_from(tomllib.loads(RECIPE.replace("width = 32", "width = 64")))
    with pytest.raises(TrainerError, match="width 32 there and 64 in the recipe"):
        begin(wide, SelfPlay(), 1, 1, first.root, first.resume)


def test_a_phase_begins_from_the_weights_of_the_one_before(supervise: Supervise, jail: Jail) -> None:
    first = supervise("run", RECIPE, of=1)
    first.in_this_process(lambda run: selfplay(run, time.monotonic(), jail))
    assert first.resume is not None
    first.recipe.write_text(RECIPE.replace("steps = 12", "steps = 1").replace("warm = 2", "warm = 9"))
    state = json.loads((first.resume / "state.json").read_text())
    (first.resume / "state.json").write_text(json.dumps({**state, "phase": "another"}))
    outcome = first.in_this_process(lambda run: selfplay(run, time.monotonic(), jail))
    assert outcome.of("done")[0]["position"]["step"] == 1
    assert json.loads((first.resume / "state.json").read_text())["selfplay"]["start"] == "01"


def test_a_phase_begins_from_a_model_that_was_brought(supervise: Supervise, jail: Jail) -> None:
    first = supervise("run", RECIPE, of=12)
    first.in_this_process(lambda run: selfplay(run, time.monotonic(), jail))
    assert first.resume is not None
    recipe = RECIPE.replace("[model]", f"[model]\ninit = '{first.resume.name}'")
    player = begin(recipe_from(tomllib.loads(recipe)), SelfPlay(), 1, 1, first.resume.parent)
    weights = load_file(first.resume / "model.safetensors")
    found = player.master.state_dict()
    assert all(torch.equal(weights[name], found[name]) for name in weights)
    assert player.text.to_json() == (first.resume / "tokenizer.json").read_text()


def test_every_phase_follows_every_other(supervise: Supervise, jail: Jail, corpus: Path) -> None:
    """A way through all twenty steps from one kind of phase to another; the model and its tokenizer are handed on."""
    kinds = ("pretrain", "selfplay", "sft", "dpo", "kto")
    way = [kinds[int(number)] for number in "010203041424313212340"]
    assert len(set(pairwise(way))) == 20
    rows = {
        "sft": {"prompt": "1:", "completion": " one"}, "dpo": {"prompt": "1:", "chosen": " one", "rejected": " two"},
        "kto": {"prompt": "1:", "completion": " one", "label": True},
    }  # fmt: skip
    for kind, row in rows.items():
        (corpus / kind).mkdir()
        (corpus / kind / "rows.jsonl").write_text(f"{json.dumps(row)}\n" * 8)
    names = [path.relative_to(corpus).as_posix() for path in corpus.rglob("*") if path.is_file()]
    run = supervise("run", RECIPE.replace("steps = 12", "steps = 3").replace("warm = 2", "warm = 1"), of=1)
    before, words = None, ""
    for kind in way:
        folder = kind if kind in rows else "data"
        listing = write_listing(
            corpus, run.run / f"data.{kind}.jsonl", [one for one in names if not one.startswith(folder)]
        )
        run.go_on_to(kind, run.recipe, listing)
        train = getattr(importlib.import_module(f"tenth.trainer.{kind}"), kind)
        more = [jail] if kind == "selfplay" else []
        outcome = run.in_this_process(lambda one, train=train, more=more: train(one, time.monotonic(), *more))
        assert outcome.of("done"), kind
        assert run.resume is not None
        weights, words = (
            (run.resume / "model.safetensors").read_bytes(),
            words or (run.resume / "tokenizer.json").read_text(),
        )
        assert weights != before
        assert (run.resume / "tokenizer.json").read_text() == words
        assert json.loads((run.resume / "state.json").read_text())["phase"] == kind
        before = weights
        run.recipe.write_text(run.recipe.read_text().replace('tokenizer = "bpe"\nvocabulary = 400', ""))


def test_without_a_jail_nothing_is_trained(supervise: Supervise) -> None:
    place = {"PYTHONPATH": f"{SOURCE}:{ROOT / 'environments'}"}
    command = [sys.executable, "-m", "tenth.trainer", "selfplay", "recipe.toml"]
    outcome = supervise("run", RECIPE, environment=place).one_tenth(command)
    assert outcome.status == 1
    assert "TENTH_JAIL is not set" in outcome.output
    assert "Traceback" not in outcome.output


@pytest.mark.parametrize("name", ["", "nowhere_to_be_found", "json"])
def test_an_environment_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    recipe = recipe_from({"selfplay": {"env": name}})
    with pytest.raises(TrainerError, match=r"selfplay\.env"):
        load_game(recipe, tmp_path)
