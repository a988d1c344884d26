"""Puzzles: what is generated runs, is as deep as it says, and is the same again; what is written is judged fairly."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from house.repo import ROOT
from puzzles import Puzzles, chains
from puzzles.env import HIDDEN, ROLES, SHOWN
from puzzles.operations import BY_NAME, OPERATIONS
from puzzles.selfplay import shallow
from tenth.environments import Env, reward_function, rows
from tenth.jail import keeper
from tenth.jail.wire import DENIED, RETURNED, Jail, Program, spell

SEEDS = st.integers(min_value=0, max_value=2**53 - 1)
DEPTHS = st.integers(min_value=1, max_value=chains.DEEPEST)


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    with keeper.opened() as one:
        yield one


def test_there_are_thirty_to_forty_operations() -> None:
    assert 30 <= len(OPERATIONS) <= 40
    assert len(BY_NAME) == len(OPERATIONS)
    assert len({chains.Chain((name,)).behaviour for name in BY_NAME}) == len(OPERATIONS), "no two do the same"


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, depth=DEPTHS)
def test_a_program_runs_in_the_jail_as_it_does_here(jail: Jail, seed: int, depth: int) -> None:
    chain = chains.compose(depth, random.Random(seed))
    program = Program(chain.source(), "f", [[one] for one in chains.probes(chain.kind)])
    first, second = jail.run_all([program, program])
    assert first.verdict == RETURNED, first.said
    assert [one.text for one in first.answers] == [one.text for one in second.answers] == list(chain.outputs)
    assert len(set(chain.outputs)) > 1, "constant"


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, depth=DEPTHS)
def test_no_shorter_chain_that_was_tried_does_the_same(seed: int, depth: int) -> None:
    chain = chains.compose(depth, random.Random(seed))
    assert chain.depth == depth
    inputs = chains.probes(chain.kind)
    wanted = [spell(chain(one)) for one in inputs]
    assert wanted != [spell(one) for one in inputs], "it does nothing"
    singles = [chains.Chain((one.name,)) for one in OPERATIONS if one.takes == chain.kind]
    pairs = [chains.Chain((one.names[0], two)) for one in singles for two in BY_NAME]
    for shorter in [*singles, *(pair for pair in pairs if pair.fits())]:
        assert shorter.depth >= depth or [spell(shorter(one)) for one in inputs] != wanted, shorter.names


def test_a_chain_that_is_not_as_deep_as_it_looks_is_known() -> None:
    for names in (("reverse", "reverse"), ("sort", "sort"), ("sort", "reverse", "sort"), ("negate", "magnitude")):
        assert not chains.Chain(names).deep(), names
    assert chains.Chain(("sort", "reverse")).deep()


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, role=st.sampled_from(ROLES), split=st.sampled_from(["train", "held out"]))
def test_tasks_are_the_same_from_the_same_seed(seed: int, role: str, split: str) -> None:
    env: Env = Puzzles(role, (1, 2, 3), split)
    first, second = env.tasks(random.Random(seed), 3), env.tasks(random.Random(seed), 3)
    assert first == second
    for task in first:
        assert Puzzles(role, (1, 2, 3), split).task(task.seed) == task
        assert chains.held_out(task.meta["behaviour"]) == (split == "held out")


def test_both_splits_have_their_share_of_behaviours() -> None:
    rng = random.Random(5)
    behaviours = {chains.compose(3, rng).behaviour for _ in range(300)}
    share = sum(map(chains.held_out, behaviours)) / len(behaviours)
    assert len(behaviours) > 200
    assert 0.1 < share < 0.3


def test_the_split_goes_by_what_a_program_does_and_not_by_how_it_is_written(jail: Jail) -> None:
    env = Puzzles("propose")
    rng = random.Random(3)
    while not chains.held_out((chain := chains.compose(2, rng)).behaviour):
        pass
    task = next(one for one in env.tasks(rng, 60) if one.meta["kind"] == chain.kind)
    plain = env.verify(task, chain.source(), jail)
    disguised = env.verify(task, chain.source().replace("def f(x):\n", "def f(x):\n    unused = 1\n"), jail)
    assert plain.parts == disguised.parts == {"runs": 1, "deterministic": 1, "not constant": 1, "not held out": 0}
    assert plain.score == disguised.score == 0


@pytest.mark.parametrize(
    ("source", "fails"),
    [
        ("def f(x): return 5", "not constant"),
        ("import random\ndef f(x): return [random.random()]", "deterministic"),
        ("seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)", "deterministic"),
        ("from os import getpid\ndef f(x): return getpid() + len(x)", "deterministic"),
        ("def f(x): return undefined", "runs"),
        ("import os\ndef f(x): return os.listdir('/')", "runs"),
        ("no program", "runs"),
    ],
)
def test_a_poor_proposal_is_worth_nothing(jail: Jail, source: str, fails: str) -> None:
    env = Puzzles("propose")
    verdict = env.verify(env.task(1), source, jail)
    assert verdict.score == 0
    assert verdict.parts[fails] == 0


def test_a_good_proposal_counts(jail: Jail) -> None:
    env, rng = Puzzles("propose"), random.Random(8)
    while chains.held_out((chain := chains.compose(2, rng)).behaviour):
        pass
    task = next(one for one in env.tasks(rng, 60) if one.meta["kind"] == chain.kind)
    assert env.verify(task, f"Here it is:\n```python\n{chain.source()}```\n", jail).score == 1


def test_what_was_deduced_is_compared_as_a_value(jail: Jail) -> None:
    env = Puzzles("deduce", (2,))
    task = env.task(4)
    right = json.dumps(task.meta["expected"])
    assert env.verify(task, f" {right}\n", jail).score == 1
    for wrong in ("", "[" * 100_000, "NaN", f"[{right}]", "true"):
        assert env.verify(task, wrong, jail).score == 0


def test_the_prompt_shows_no_hidden_output(jail: Jail) -> None:
    orders = set()
    for seed in range(20):
        task = Puzzles("induce", (3,)).task(seed)
        assert task.prompt.count("==") == SHOWN
        kind = chains.Chain(tuple(task.meta["chain"])).kind
        shown = [spell(one) for one in task.meta["inputs"][:SHOWN]]
        assert sorted(shown) == sorted(map(spell, chains.SHOWN[kind])), "the same in every puzzle"
        orders.add((kind, *shown))
        assert len(task.meta["inputs"]) == len({spell(one) for one in task.meta["inputs"]}) == SHOWN + HIDDEN
    assert len(orders) > 10, "in any order"


def test_what_is_shown_tells_nearly_every_program_from_all_others() -> None:
    """Of those whose shown answers are alike nobody could know which is asked for."""
    some = {one.behaviour: one for one in (chain for of_depth in shallow() for chain in of_depth)}
    assert alike(some.values()) <= 2
    rng = random.Random(0)
    some |= {one.behaviour: one for one in (chains.compose(3, rng) for _ in range(2_000))}
    assert alike(some.values()) < 0.1 * len(some)


def alike(programs: Iterable[chains.Chain]) -> int:
    """How many show the same answers as another one."""
    shown = Counter((one.kind, *(spell(one(value)) for value in chains.SHOWN[one.kind])) for one in programs)
    return sum(count for count in shown.values() if count > 1)


def test_reward_without_understanding_is_seen(jail: Jail) -> None:
    env = Puzzles("induce", (2,))
    task = env.task(6)
    chain = chains.Chain(tuple(task.meta["chain"]))
    assert env.verify(task, chain.source(), jail).parts == {"shown": 1, "hidden": 1}
    pairs = list(zip(task.meta["inputs"], task.meta["expected"], strict=True))[:SHOWN]
    memorised = f"def f(x):\n    return dict((str(a), b) for a, b in {pairs!r}).get(str(x))\n"
    verdict = env.verify(task, memorised, jail)
    assert verdict.parts["shown"] == 1
    assert verdict.parts["hidden"] == 0
    assert verdict.score == 0
    assert env.verify(task, "import os\ndef f(x): return os.listdir('/')", jail).evidence["jail"] == DENIED


def test_trl_can_call_it(jail: Jail) -> None:
    env = Puzzles("induce")
    tasks = env.tasks(random.Random(2), 3)
    reward = reward_function(env, tasks, jail)
    right = [chains.Chain(tuple(task.meta["chain"])).source() for task in tasks]
    columns = {key: [row[key] for row in rows(tasks)] for key in ("prompt", "task")}
    assert reward(prompts=columns["prompt"], completions=right, task=columns["task"], completion_ids=None) == [1.0] * 3
    spoken = [[{"role": "assistant", "content": text}] for text in (right[0], "?", right[2])]
    assert reward(completions=spoken, task=columns["task"]) == [1.0, 0.0, 1.0]
    with pytest.raises(ValueError, match="no such task"):
        reward(completions=["x"], task=["?"])


def test_trls_own_trainer_is_rewarded_by_the_jail() -> None:
    """Two steps of GRPOTrainer; an untrained model writes bytes that are no program, and each was tried."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "environments"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(Path(__file__).with_name("grpo.py"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said == {"means": [0.0, 0.0], "jail": ["raised"] * 8}
