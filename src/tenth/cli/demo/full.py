"""What does the demo of all four phases consist of? Its recipes, the puzzles it puts into its project, its evidence.

Everything is sized for some fifteen minutes on two cores: large enough that each phase has something to show, and much
too small to say anything about the methods.
"""

from __future__ import annotations

import importlib
import json
import random
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tenth
from tenth.cli.demo import judges, told
from tenth.cli.demo.folder import Part, Plan
from tenth.environments import SelfPlay
from tenth.errors import WrongInput

SOURCE, LESSONS, PAIRS, CODE = "source", "lessons", "pairs", "environments"
"""Of the project: what each phase learns from, and the environment."""
GATES = 10
PUZZLES = ("tenth-evidence", "selfplay", "--puzzles")


MODEL = """\
[model]
depth = {depth}
width = {width}
head_width = 64
context = {context}
"""
PRETRAIN = f"""\
# Phase 1: the next token of Python's own source.
{MODEL}
[data]
vocabulary = {{vocabulary}}
held_out = 0.1            # of the few files, for evidence to read

[train]
batch = {{batch}}
"""
TRIED = """
[selfplay]                # whose puzzles evidence tries at each gate
env = "puzzles"
depth = 2
tokens = {tokens}
"""
SFT = f"""\
# Phase 2: worked puzzles, loss on the answers alone.
{MODEL}
[train]
batch = {{batch}}

[optim]
scale = 0.5               # of the learning rates, which are for pretraining
{TRIED}"""
SELFPLAY = f"""\
# Phase 3: puzzles that the model poses itself, and solves in the jail.
{MODEL}
[train]
batch = 32                # lessons of a step

[optim]
scale = 0.2
{TRIED}steps = {{steps}}
every = 10                # steps from one round to the next
proposals = {{proposals}}
puzzles = 16
anchor = 0.5              # share of worked puzzles in each batch
"""
FEEDBACK = f"""\
# Phase 4: which of two programs was preferred. The batch is named at the gate before it.
{MODEL}
[train]
batch = {{batch}}

[optim]
scale = {{feedback}}

[feedback]
batches = []
{TRIED}"""


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    depth: int = 3
    width: int = 128
    context: int = 256
    """Tokens."""
    vocabulary: int = 2048
    batch: int = 8
    lessons: int = 10_000
    """Worked examples."""
    steps: int = 160
    """Of self-play."""
    proposals: int = 64
    """Of a round."""
    feedback: float = 0.15
    """Of the learning rates, in the last phase."""
    puzzles: int = 16
    """Of each depth, tried at each gate."""
    pairs: int = 200
    """That simulated annotators judge before the last phase."""
    votes: int = 60
    """Pairs from before and after it that they judge in the end."""


def plan(folder: Path, size: Size = Size(), **options: Any) -> Plan:
    """The demo with all phases. ``options`` are those of ``Plan``."""
    game, sizes = environment(), {**vars(size), "tokens": judges.TOKENS}
    parts = (
        part("pretrain", PRETRAIN.format(**sizes), SOURCE, file="recipe.toml"),
        part("sft", SFT.format(**sizes), LESSONS),
        part("selfplay", SELFPLAY.format(**sizes), LESSONS, [CODE]),
        part("feedback", FEEDBACK.format(**sizes), PAIRS, verb="dpo"),
    )
    last = GATES * (len(parts) - 1)
    sealer = Plan(folder, interactive=bool(options.get("interactive"))).automatic[0]
    room = size.context - judges.TOKENS
    asked = _short((game.puzzle(one).prompt for one in game.given(random.Random("asked"), 4 * size.pairs)), room)
    fresh = _short((task.prompt for task in game.held_out(2, 2 * size.votes)), room)
    settled: dict[str, Any] = {
        "purpose": "a small model that learns Python, then puzzles, from itself, and from simulated annotators",
        "packages": False, "phases": parts, "jail": 2, "seconds": 1200, "read_seconds": 0.1,
        "more": lambda project: materials(project, game, size),
        "evidence": {"bits-per-byte": ("tenth-evidence", "bpb"), "puzzles": (*PUZZLES, str(size.puzzles))},
        "before": {last: lambda run, say: judges.hand_in(run, last, asked[: size.pairs], sealer, say)},
        "ending": lambda run, say: told.tell(run, judges.compare(run, last, fresh[: size.votes]), say),
        "completions": ("def read(self, ", "# propose\n# takes: list\n# steps: 2\n", fresh[0]),
    }  # fmt: skip
    return Plan(folder, **{**settled, **options})


def _short(prompts: Iterable[str], room: int) -> list[str]:
    """Those that have room whatever the tokenizer is: a token holds at least a character, and one comes before all."""
    return [prompt for prompt in dict.fromkeys(prompts) if len(prompt) < room]


def part(name: str, recipe: str, data: str, code: list[str] | None = None, *, file: str = "", verb: str = "") -> Part:
    """A phase of the built-in trainer; ``verb`` is what it is started by, where that is not its name."""
    file = file or f"{name}.toml"
    return Part(name, ("tenth-trainer", verb or name, file), file, recipe, data, tuple(code or ()))


def environments() -> Path:
    """Where the environments that come with tenth lie: beside its source, or where its package put them."""
    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    shared = [Path(sysconfig.get_path("data", scheme)) / "share" / "tenth" / CODE for scheme in schemes]
    for place in (Path(tenth.__file__).parents[2] / CODE, *shared):
        if (place / "puzzles").is_dir():
            return place
    raise WrongInput(
        "the demo cannot start", f"there is no {shared[0]}", "run it from a checkout, or install tenth again"
    )


def environment() -> SelfPlay:
    place = str(environments())
    if place not in sys.path:
        sys.path.append(place)
    game: SelfPlay = importlib.import_module("puzzles").SelfPlay()
    return game


def materials(project: Path, game: SelfPlay, size: Size) -> None:
    """The environment, worked examples of it as prompts and completions, and a place for people's judgements."""
    shutil.copytree(
        environments() / "puzzles", project / CODE / "puzzles", ignore=shutil.ignore_patterns("__pycache__"),
        dirs_exist_ok=True,
    )  # fmt: skip
    rows = (vars(one) for one in game.worked(random.Random("lessons"), size.lessons))
    texts = [json.dumps(row) + "\n" for row in rows if _short(["".join(row.values())], size.context)]
    for name, text in ((LESSONS, "".join(texts)), (PAIRS, "")):  # no pairs yet: they come at the gate
        (project / name).mkdir(exist_ok=True)
        (project / name / f"{name}.jsonl").write_text(text)
