"""The simulated annotators of the demo: they judge pairs as people do, signed, and a signatory seals what they said.

They stand for people and are called what they are. Their taste is a line or two of code, so that it can be seen
whether training follows it: of two programs the shorter, whatever was planned above it, rather a program than none,
and one time in ten the other one.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import dropwhile
from pathlib import Path

from tenth import charter as charters
from tenth import keyfile
from tenth.cli.demo.folder import Say
from tenth.cli.model.writer import Model, Writer
from tenth.cli.people import key_folder
from tenth.cli.words import names
from tenth.errors import TenthError
from tenth.feedback.desk import Annotator, Desk, people
from tenth.keys import SigningKey

NAMES = ("simulated-1", "simulated-2")
ERRING = 0.1
TOKENS = 96
"""Of a program and its plan, at most."""
AT_ONCE = 64


def hand_in(run: Path, gate: int, prompts: Sequence[str], sealer: str, say: Say) -> None:
    """Two programs to each prompt by the checkpoint of this gate, judged; then the batch is sealed, as people do it."""
    say(f"two programs to each of {len(prompts)} puzzles are written, for simulated annotators to judge")
    texts = written(run, gate, [*prompts, *prompts], seed=gate)
    say(f"{names(NAMES)}, two programs, judge the pairs and sign")
    pairs = zip(prompts, texts[: len(prompts)], texts[len(prompts) :], strict=True)
    judged(run, [pair for pair in pairs if all(text.strip() for text in pair)])
    say(f"{sealer} (automatic) seals the judgements into a batch; everyone is asked again")
    command = ["feedback", "seal", str(run), "--view", "dpo", "--as", sealer, "--yes"]
    command += ["--note", "automatic: judged by simulated annotators"]
    done = subprocess.run([sys.executable, "-m", "tenth.cli", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise TenthError("the demo ends here", f"the batch was not sealed: {done.stderr}"[:500], f"see {run}")


def compare(run: Path, gate: int, prompts: Sequence[str]) -> Counter[str]:
    """Votes between what the checkpoint of ``gate`` writes and what the last one does: ``a``, ``b`` or ``tie``."""
    before, after = written(run, gate, prompts, seed=1), written(run, None, prompts, seed=2)
    return judged(run, list(zip(prompts, before, after, strict=True)))


def judged(run: Path, pairs: Sequence[tuple[str, str, str]]) -> Counter[str]:
    """Every annotator's votes on (prompt, a, b), written into the run's table; what is the same twice is not asked."""
    desk = Desk(run, run.name, people(charters.parse((run / "charter.toml").read_bytes())))
    items = [{"kind": "pair", "prompt": prompt, "a": a, "b": b} for prompt, a, b in pairs if a.strip() != b.strip()]
    votes: Counter[str] = Counter()
    for name in NAMES:
        rng, me = random.Random(name), Annotator(desk, name, _key(name))
        for item, digest in zip(items, desk.table.add(items), strict=True):
            shown = rng.choice(("ab", "ba"))
            answer = preferred(item[shown[0]], item[shown[1]], rng)
            votes[me.say("judged", digest, answer=answer, shown=shown, seconds=0.0).answer] += 1
    return votes


def preferred(first: str, second: str, rng: random.Random) -> str:
    """``first``, ``second`` or ``tie``."""
    one, other = map(_badness, (first, second))
    if one == other:
        return "tie"
    return "first" if (one < other) != (rng.random() < ERRING) else "second"


def _badness(text: str) -> tuple[bool, int]:
    """Whether there is no program below the comments, and how long what stands there is."""
    below = "".join(dropwhile(lambda line: line.startswith("#"), text.splitlines(keepends=True)))
    return not (below.startswith("def f(x):\n") and "    return " in below), len(below)


def _key(name: str) -> SigningKey:
    """Theirs, in the key folder of the demo."""
    path = key_folder() / name
    if not path.exists():
        keyfile.save(SigningKey.generate(), path, f"{name}, a program that stands for an annotator of tenth demo")
    return SigningKey.load(path)


def written(run: Path, gate: int | None, prompts: Sequence[str], seed: int) -> list[str]:
    """By a checkpoint, in the sandbox."""
    texts: list[str] = []
    with Writer(Model(str(run), gate, quiet=True)) as writer:
        for start in range(0, len(prompts), AT_ONCE):
            how = {"tokens": TOKENS, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": seed + start, "stop": []}
            asked = {"prompts": list(prompts[start : start + AT_ONCE]), **how}
            texts += writer.ask(asked, lambda _row, _piece: None)["texts"]
    return texts
