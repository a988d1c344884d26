"""The demo of all four phases, tiny: one charter under a real supervisor, from source code to what annotators like."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import REPO, Shell
from tenth.cli.demo.judges import preferred
from tenth.cli.replay import audit, replay

SCRIPT = """
import dataclasses, sys
from pathlib import Path
from tenth.cli.demo.full import Size, plan
from tenth.cli.demo.stage import play
folder, trainer = map(Path, sys.argv[1:])
size = Size(depth=1, width=64, vocabulary=300, batch=4, lessons=60, steps=10, proposals=8, pairs=12, votes=4)
SECONDS = {"read_seconds": 0.0, "halt_seconds": 0.0}
whole = plan(folder / "demo", size, corpus=folder / "corpus", evidence={}, completions=(), **SECONDS)
phases = [
    dataclasses.replace(part, command=(sys.executable, str(trainer), part.command[1])) for part in whole.phases
]
sys.exit(play(dataclasses.replace(whole, phases=phases))[0])
"""


@pytest.mark.timeout(400)
def test_four_phases_from_start_to_end(shell: Shell) -> None:
    (shell.folder / "corpus").mkdir()
    for number in range(12):
        text = "".join(f"def f{n}(x):\n    return x + {n * number}\n\n" for n in range(9))
        (shell.folder / "corpus" / f"m{number}.py").write_text(text)
    command = [sys.executable, "-c", SCRIPT, str(shell.folder), str(REPO / "tests" / "trainers" / "first_tenths.py")]
    environment = {**shell.environment, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, cwd=shell.folder, capture_output=True, text=True, timeout=360, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (shell.folder / "demo" / "runs").iterdir()
    report, entries = audit(run), replay(run).log.entries
    assert (report.stance, report.gate) == ("CLOSED", 40)
    assert [state(run, gate)["phase"] for gate in (1, 11, 21, 31)] == ["pretrain", "sft", "selfplay", "feedback"]
    for before in (10, 20, 30):
        assert saved(run, before + 1, "model.safetensors") != saved(run, before, "model.safetensors"), "it was trained"
        assert saved(run, before + 1, "tokenizer.json") == saved(run, 1, "tokenizer.json")
    assert state(run, 21)["selfplay"]["start"] == "20"
    assert state(run, 21)["selfplay"]["counts"]["proposals"] == 8, "they were looked at in the jail"
    assert saved(run, 31, "reference.safetensors") == saved(run, 30, "model.safetensors")
    sealed = [entry.body["path"] for entry in entries if entry.event == "sealed" and entry.body["gate"] == 30]
    assert sealed == ["gates/30", "gates/30.2"], "everyone consented to the batch"
    (batch,) = tomllib.loads((run / "feedback.2.toml").read_text())["feedback"]["batches"]
    rows = (run / "feedback" / f"{batch}.jsonl").read_text().splitlines()
    assert state(run, 31)["rows"]["report"]["rows"] == len(rows) > 0
    judges = {one["by"] for one in judgements(run)}
    assert judges == {"simulated-1", "simulated-2"}
    assert "votes of simulated annotators, blind" in done.stdout


def test_simulated_annotators_like_the_shorter_program_whatever_its_plan() -> None:
    class Sure(random.Random):
        def random(self) -> float:
            return 0.5

    short, long = "def f(x):\n    return x\n", "def f(x):\n    x = x\n    return x\n"
    planned = f"# x\n# {'and on ' * 20}\n{short}"
    for better, worse in ((short, long), (planned, long), (planned, "what?"), (long, "# what?\n")):
        assert preferred(better, worse, Sure()) == "first"
        assert preferred(worse, better, Sure()) == "second"
    assert preferred(planned, short, Sure()) == "tie"


def saved(run: Path, gate: int, name: str) -> bytes:
    return (run / "checkpoints" / f"{gate:02d}" / name).read_bytes()


def state(run: Path, gate: int) -> Any:
    return json.loads(saved(run, gate, "state.json"))


def judgements(run: Path) -> list[Any]:
    envelopes = map(json.loads, (run / "feedback" / "events.jsonl").read_text().splitlines())
    return [json.loads(base64.b64decode(one["payload"]))["predicate"] for one in envelopes]
