"""Other people's trainers under a real supervisor: gates, a cord in mid-lease, resumption, samples, claims, curves.

That the weights are those of an uninterrupted training is tested in tests/client, without a process for each tenth.
Here all examples run at the same time, and as short as it goes, since each process spends seconds on imports.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from client.test_huggingface import EXAMPLES, RECIPE, documents
from core.live import PYTHON, Live, wait_for
from tenth import charter as charters
from tenth.errors import BrokenPromise
from tenth.sinks import Reader

NAMES = {
    "huggingface_trainer": 900, "trl_sft": 400, "trl_dpo": 300, "trl_grpo": 100, "lightning": 900, "wandb_shim": 1,
}  # fmt: skip
"""Example -> rows or lines of its data."""
ONE_TENTH = {"huggingface_trainer", "trl_sft", "trl_dpo"}
"""They end at their first gate: trl_grpo shows how their callback goes on from one. The others end at their second."""
SHOW_SAMPLES = {"huggingface_trainer", "trl_sft", "trl_dpo", "trl_grpo", "lightning"}
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
SECONDS = 300.0
"""For all of them; most of it is imports."""

pytestmark = pytest.mark.timeout(400)  # the first test waits for all examples, on a busy machine for minutes


def to_a_gate(run: Live, gate: int) -> Live:
    """Say yes to everything, but pull the cord once while it trains."""
    run.start()
    pulled = False

    def there() -> bool:
        nonlocal pulled
        status = run.status()
        assert not [halt for halt in status["halts"] if halt["event"] == "tripped"], trainer_log(run)
        if status["stance"] == "RUNNING" and not pulled and (status["claims"] or {}).get("step", 0) > 0:
            pulled = run.pull()["processes"] > 0
            time.sleep(0.1)
            assert run.status()["claims"]["step"] > 0
        elif pulled and status["stance"] == "GATE" and status["gate"] >= gate:
            return True
        else:
            run.act(status)
        time.sleep(0.01)
        return False

    wait_for(there, f"gate {gate}: {run.said()[-300:]}", SECONDS)
    run.stop()
    return run


def gates_of(name: str) -> int:
    return 1 if name in ONE_TENTH else 2


def trainer_log(run: Live) -> str:
    return (run.path / "trainer.log").read_text(errors="replace")[-3000:]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Live]]:
    """Every example, one tenth or two of it trained."""
    made = {}
    for name, count in NAMES.items():
        run = Live(
            tmp_path_factory.mktemp(name), command=[PYTHON, str(EXAMPLES / name / "train.py")], env=ENVIRONMENT,
            prompts=("All ",), silence_seconds=120,
            samples_per_minute=600,  # often enough for a tenth of a second's training
        )  # fmt: skip
        text = documents(name, count) if name.startswith("trl") else "All work and no play.\n" * 2 * count
        run.documents, run.recipe = {"one.jsonl": text}, RECIPE
        made[name] = run
    try:
        with ThreadPoolExecutor(len(made)) as pool:
            yield dict(zip(made, pool.map(to_a_gate, made.values(), map(gates_of, made)), strict=True))
    finally:
        for run in made.values():
            run.close()


@pytest.mark.parametrize("name", list(NAMES))
def test_an_adapter_lives_under_the_law(name: str, runs: dict[str, Live]) -> None:
    run = runs[name]
    events = run.events()
    gates = [entry["body"] for entry in run.entries() if entry["event"] == "reached"]
    assert len(gates) >= gates_of(name)
    steps = [gate["position"]["step"] for gate in gates]
    assert len(gates) == 1 or abs(steps[1] - 2 * steps[0]) <= 1  # a tenth is ceil(total * tenth / of)
    assert all(isinstance(gate["claims"]["loss"], float) and gate["claims"]["step"] > 0 for gate in gates)

    pull = run.last("pulled")
    assert pull["frozen"]
    assert "tripped" not in events
    leases = [entry["body"]["lease"]["resume"] for entry in run.entries() if entry["event"] == "leased"]
    assert leases[0] == "fresh"
    assert {"thaw", *(["checkpoint"] if len(gates) > 1 else [])} <= set(leases)

    points = Reader(run.path).new()
    losses = {point.step for point in points if "loss" in point.values}
    assert losses >= set(range(1, steps[-1] + 1)), "every step, spikes included"
    if name in SHOW_SAMPLES:
        shown = [
            json.loads(line) for path in run.path.glob("samples/*.jsonl") for line in path.read_bytes().splitlines()
        ]
        assert {sample["prompt"] for sample in shown} == {"All "}
    assert not isinstance(run.audit(), BrokenPromise)


@pytest.mark.parametrize("name", [*NAMES, "plain_pytorch"])
def test_the_charter_of_an_example_is_one(name: str) -> None:
    folder = Path(EXAMPLES / name)
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJxFZ2McLMpZkJzjmwDCsAJV92JNEy3/fHhbotlDSmSR"
    charter = charters.parse((folder / "charter.toml").read_text().replace("ssh-ed25519 AAAA...", key).encode())
    (phase,) = charter.phases
    assert (folder / phase.recipe).is_file()
    assert list(phase.command) == ["python", "train.py"]
    assert (folder / "train.py").read_text().count("tenth.attach()") == 1
