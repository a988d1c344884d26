"""Promise 11: interrupted equals uninterrupted: stopped anywhere and resumed, the weights end bitwise the same."""

from __future__ import annotations

import contextlib
import hashlib
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.live import Live, wait_for
from tenth.quarantine import sandbox
from tenth.supervisor.rundir import RunDir

PROMISE = 11
STATUS = "kept"

STEPS = 80


def uninterrupted() -> bytes:
    state = "start"
    for step in range(STEPS):
        state = hashlib.sha256(f"{state} {step}".encode()).hexdigest()
    return state.encode()


def pull(run: Live) -> None:
    run.pull()


def crash(run: Live) -> None:
    run.kill9()
    run.start()


def leave(run: Live) -> None:
    run.stop()
    run.start()


INTERRUPTIONS: list[Callable[[Live], None]] = [pull, Live.kill_trainer, crash, leave]


@pytest.mark.parametrize("seed", range(3))
def test_stopped_in_every_way_it_ends_as_if_it_had_not_been(live: Callable[..., Live], seed: int) -> None:
    dice = random.Random(seed)
    run = live(env={"STEPS": STEPS, "PAUSE": 0.006, "CHILDREN": 1}).start()
    for interrupt in dice.sample(INTERRUPTIONS, len(INTERRUPTIONS)) * 2:
        run.run_to("RUNNING")
        time.sleep(dice.random() * 0.06)
        interrupt(run)
    run.finish()
    assert run.result() == uninterrupted()


RECIPE = """
[model]
depth = 2
width = 32
head_width = 16
kv_heads = 1
context = 32
[data]
tokenizer = "bytes"
held_out = 0.1
[train]
threads = 1
"""


def poem(seed: int) -> str:
    dice = random.Random(seed)
    return "\n".join(" ".join(dice.choice(["a", "rose", "is", "not", "thorn"]) for _ in range(8)) for _ in range(4000))


def two_alike(live: Callable[..., Live], recipe: str) -> tuple[Live, Live]:
    """The same opened run twice, byte for byte: one to be interrupted, and one not."""
    command = ["tenth-trainer", "pretrain", "recipe.toml"]
    loopback = "ranks" in recipe
    one, other = live(command=command, loopback=loopback), live(command=command, loopback=loopback)
    one.recipe, one.documents = recipe, {"poem.txt": poem(1), "prose.txt": poem(2)}
    one.begin()
    copy = other.root / "runs" / one.name
    shutil.copytree(one.path, copy)
    other.keys, other.mark, other.begun = one.keys, one.mark, RunDir(copy.resolve())
    return one, other


def final(run: Live, gate: int) -> dict[str, bytes]:
    folder = run.path / "checkpoints" / f"{gate:02d}"
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def calmly(run: Live, tenths: int) -> None:
    run.start()
    for gate in range(tenths):
        run.until("GATE", gate=gate, seconds=90)
        run.consent()
    wait_for(lambda: run.status()["gate"] == tenths, "its tenths", 90)


def computing(run: Live) -> dict[int, str]:
    """Processor time, so far, of every process of the trainer that has torch in it."""
    found = {}
    for pid in run.marked():
        with contextlib.suppress(OSError):
            if "libtorch" in Path(f"/proc/{pid}/maps").read_text():
                found[pid] = Path(f"/proc/{pid}/schedstat").read_text().split()[0]
    return found


def stepped(run: Live) -> bool:
    return bool(run.status()["claims"].get("step"))


def not_at_all_calmly(run: Live, tenths: int, ranks: int) -> None:
    """Pulled in the first tenth; in the last one, which may be the same, the supervisor is killed."""
    run.start()
    run.run_to("GATE", gate=0)
    run.consent()
    run.until("RUNNING")  # not at once: what was consented to is looked at once more
    wait_for(lambda: run.status()["stance"] != "RUNNING" or stepped(run), "its first step", 60)
    run.pull()
    frozen = computing(run)
    assert len(frozen) == ranks
    time.sleep(0.1)
    assert computing(run) == frozen  # promise 2
    before = run.status()["claims"]
    run.say("reopened", "ada")
    run.consent()
    if tenths == 2:
        wait_for(lambda: run.status()["gate"] == 1, "the first tenth", 60)
        run.until("GATE")
        run.consent()
        before = run.dossier()["claims"]
    wait_for(lambda: run.status()["claims"] not in ({}, before), "a step of the last tenth", 60)
    crash(run)
    assert not computing(run)  # promise 6
    assert run.status()["gate"] == tenths - 1
    run.run_to("RUNNING")
    wait_for(lambda: run.status()["gate"] == tenths, "the last tenth", 90)


@pytest.mark.parametrize(
    ("tenths", "lines"), [(2, "batch = 8"), (1, "batch = 16\nranks = 2")], ids=["one rank", "two ranks"]
)
def test_the_built_in_trainer_ends_bitwise_the_same(live: Callable[..., Live], tenths: int, lines: str) -> None:
    pytest.importorskip("torch", reason="the trainer's packages are not installed")
    if "ranks" in lines and not sandbox.bubblewrap():
        pytest.skip("bubblewrap is not installed or not allowed here: ranks have no loopback interface of their own")
    one, other = two_alike(live, RECIPE + lines)
    # One after the other: a supervisor that begins ends what it finds of its run, and these two bear one name.
    calmly(one, tenths)
    one.stop()
    not_at_all_calmly(other, tenths, 2 if "ranks" in lines else 1)
    events = other.events()
    assert (events.count("pulled"), events.count("tripped")) == (1, 1)
    assert "thaw" in [e["body"]["lease"]["resume"] for e in other.entries() if e["event"] == "leased"]
    left, right = final(one, tenths), final(other, tenths)
    assert any(name.startswith("model") and name.endswith(".safetensors") for name in left)
    assert left == right
