"""The environment: three roles around one program, and what each completion is worth.

* ``propose``: write a program. It must run, twice alike, not be constant, and do nothing that is held out.
* ``deduce``: given a program and an input, say what it returns (JSON).
* ``induce``: given inputs and outputs, write a program that does the same, also to inputs that were not shown.
  The inputs shown are the same in every puzzle of a kind, in any order; the hidden ones are drawn for each.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Sequence
from typing import Any

from puzzles import chains
from puzzles.operations import KINDS
from tenth.environments import Json, Task, Verdict
from tenth.jail.wire import RETURNED, Jail, Limits, Outcome, Program, spell

ROLES = ("propose", "deduce", "induce")
INDUCE = "# induce\n"
"""The first line of its prompts; every other one is an example."""
SHOWN, HIDDEN = 4, 8
LIMITS = Limits(cpu_seconds=0.2, seconds=5.0, memory_bytes=128 << 20)
FENCED = re.compile(r"```(?:python)?\n(.*?)```", re.DOTALL)


class Puzzles:
    """``depths`` are drawn evenly. ``split`` is "train" or "held out", by behaviour."""

    def __init__(self, role: str, depths: Sequence[int] = (1, 2), split: str = "train") -> None:
        if role not in ROLES or split not in ("train", "held out"):
            raise ValueError(f"roles are {ROLES}, splits 'train' and 'held out'")
        self.role, self.depths, self.split = role, tuple(depths), split

    def tasks(self, rng: random.Random, n: int) -> list[Task]:
        return [self.task(rng.getrandbits(53)) for _ in range(n)]

    def task(self, seed: int) -> Task:
        """The task of this seed."""
        rng = random.Random(seed)
        depth = rng.choice(self.depths)
        chain = chains.compose(depth, rng)
        while chains.held_out(chain.behaviour) != (self.split == "held out"):
            chain = chains.compose(depth, rng)
        meta: dict[str, Any]
        if self.role == "propose":
            kind = rng.choice(KINDS)
            prompt, meta = to_propose(kind, depth), {"kind": kind}
        elif self.role == "deduce":
            given = chains.draw(chain.kind, rng)
            prompt, meta = to_deduce(chain.source(), given), {"expected": chain(given)}
        else:
            inputs = inputs_of(chain.kind, rng)
            outputs = [chain(one) for one in inputs]
            prompt, meta = to_induce(inputs, outputs), {"inputs": inputs, "expected": outputs}
        facts = {**meta, "depth": depth, "chain": list(chain.names), "behaviour": chain.behaviour}
        return Task(named(self.role, prompt, meta), prompt, seed, facts)

    def verify(self, task: Task, completion: str, jail: Jail) -> Verdict:
        if self.role == "deduce":
            return _deduced(task, completion)
        if self.role == "propose":
            return _proposed(task, completion, jail)
        program = attempt(task, completion)
        return induced(task, program, jail.run(program))


def code_of(completion: str) -> str:
    """The program in a completion: its last fenced block, or all of it."""
    blocks = FENCED.findall(completion)
    return str(blocks[-1]) if blocks else completion


def named(role: str, prompt: str, meta: Json) -> str:
    """The id of a task."""
    return f"{role}-{hashlib.sha256(f'{prompt}{spell(meta)}'.encode()).hexdigest()[:16]}"


def to_propose(kind: str, depth: int) -> str:
    return f"# propose\n# takes: {kind}\n# steps: {depth}\n"


def to_deduce(source: str, given: Json) -> str:
    return f"# deduce\n{source}#x={spell(given)}\n"


def to_induce(inputs: Sequence[Json], outputs: Sequence[Json]) -> str:
    """Only the first SHOWN are shown, without blanks: what is read again and again is short."""
    pairs = zip(inputs[:SHOWN], outputs[:SHOWN], strict=True)
    return INDUCE + "".join(f"#f({spell(one)})=={spell(value)}\n" for one, value in pairs)


def inputs_of(kind: str, rng: random.Random) -> list[Any]:
    """SHOWN that are the same for all programs of this kind, in any order, then HIDDEN others."""
    shown = chains.SHOWN[kind]
    found = {spell(one): one for one in rng.sample(shown, len(shown))}
    while len(found) < SHOWN + HIDDEN:
        value = chains.draw(kind, rng)
        found.setdefault(spell(value), value)
    return list(found.values())


def _evidence(program: str, outcome: Outcome) -> dict[str, Any]:
    return {"program": program, "jail": outcome.verdict, "said": outcome.said}


def _deduced(task: Task, completion: str) -> Verdict:
    try:
        said = spell(json.loads(completion.strip()))
    except (ValueError, RecursionError):
        return Verdict(0.0, {"well-formed": 0.0, "right": 0.0}, {"said": completion[:1000]})
    right = float(said == spell(task.meta["expected"]))
    return Verdict(right, {"well-formed": 1.0, "right": right}, {"said": said[:1000]})


def attempt(task: Task, completion: str) -> Program:
    """What runs in the jail for a completion of an ``induce`` task: it is given the inputs and nothing else."""
    return Program(code_of(completion), "f", [[one] for one in task.meta["inputs"]], LIMITS)


def induced(task: Task, program: Program, outcome: Outcome) -> Verdict:
    """What the inputs should lead to is compared here."""
    right = outcome.right(task.meta["expected"])
    shown, hidden = sum(right[:SHOWN]) / SHOWN, sum(right[SHOWN:]) / HIDDEN
    return Verdict(float(all(right)), {"shown": shown, "hidden": hidden}, _evidence(program.source, outcome))


def _proposed(task: Task, completion: str, jail: Jail) -> Verdict:
    program, kind = code_of(completion), task.meta["kind"]
    first, second = jail.run_all([twice(program, kind)] * 2)
    parts, behaviour, _ = soundness(kind, first, second)
    return Verdict(float(all(parts.values())), parts, {**_evidence(program, first), "behaviour": behaviour or None})


def twice(source: str, kind: str, inputs: Sequence[Json] = ()) -> Program:
    """What a proposal is looked at by: called with the probes and these inputs, and with all of them once more."""
    given = [*chains.probes(kind), *inputs]
    return Program(source, "f", [[one] for one in given * 2], LIMITS)


def soundness(kind: str, *outcomes: Outcome) -> tuple[dict[str, float], str, list[Any]]:
    """Of outcomes of ``twice``, each of a process: parts of the verdict, the behaviour, what it answers to the inputs.

    Where it did not run, the behaviour is "". Alike must be the answers to both calls, and those of all processes.
    """
    ran, half = all(one.verdict == RETURNED for one in outcomes), len(outcomes[0].answers) // 2
    first = outcomes[0].answers[:half]
    outputs = [str(one.text) for one in first[: chains.PROBES]]
    behaviour = chains.digest(kind, outputs) if ran else ""
    parts = {
        "runs": float(ran),
        "deterministic": float(ran and all(one.answers == first * 2 for one in outcomes)),
        "not constant": float(ran and len(set(outputs)) > 1),
        "not held out": float(ran and not chains.held_out(behaviour)),
    }
    return parts, behaviour, [one.value for one in first[chains.PROBES :]]
