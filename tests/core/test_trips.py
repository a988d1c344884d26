"""Does the supervisor survive whatever a trainer or an evidence command says, leaves or does, and say what it was?"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.live import PYTHON, Live, machines, wait_for


def tripped(run: Live, *reasons: str) -> str:
    """The run halted for this reason, the supervisor lives, and everyone may go on; returns the detail."""
    status = run.until("HALTED")
    assert run.last("tripped")["reason"] in reasons, run.last("tripped")
    assert run.marked() == []
    assert run.alive
    run.say("reopened", "ada")
    run.until("GATE", gate=status["gate"])
    assert "Traceback" not in run.said()
    return str(run.last("tripped")["detail"])


def progress(**changes: Any) -> str:
    frame = {"frame": "progress", "step": 1, "tokens": 1, "flop": 1, "loss": 1, "metrics": {}, **changes}
    return json.dumps(frame).replace("\\", "\\\\") + "\\n"


LINES = {
    "rubbish": "rubbish\\n",
    "an empty line": "\\n",
    "bytes that are not text": "\\xff\\n",
    "an unknown frame": '{"frame":"root"}\\n',
    "hello again": '{"frame":"hello","protocol":1,"client":"x"}\\n',
    "done before saved": '{"frame":"done","position":{}}\\n',
    "falling steps": progress(step=5) + progress(step=4),
    "NaN": progress().replace('"loss": 1', '"loss": NaN'),
    "a path that leaves": '{"frame":"saved","path":"../log"}\\n',
    "a path that is not text": '{"frame":"saved","path":"\\\\ud800"}\\n{"frame":"done","position":{}}\\n',
}


@pytest.mark.parametrize("name", LINES)
def test_an_impossible_frame_trips_the_run(live: Callable[..., Live], name: str) -> None:
    run = live(trainer="liar.py", env={"LINE": LINES[name]}).start()
    run.consent()
    tripped(run, "frame")


@pytest.mark.parametrize(
    ("line", "times"),
    [("x", 70_000), ("[", 60_000), (" ", 10_000_000)],
    ids=["a line without end", "brackets without end", "megabytes of nothing"],
)
def test_an_oversized_frame_trips_the_run(live: Callable[..., Live], line: str, times: int) -> None:
    run = live(trainer="liar.py", env={"LINE": line + ("\\n" if line == "[" else ""), "TIMES": times}).start()
    run.consent()
    tripped(run, "frame")


@pytest.mark.parametrize("amount", [2**53, 10**20, 10**39])
def test_large_whole_numbers_do_not_hurt_the_supervisor(live: Callable[..., Live], amount: int) -> None:
    line = progress(tokens=amount, loss=amount, metrics={"x": amount}) + json.dumps(
        {"frame": "sample", "step": 1, "prompt": "", "text": "", "temperature": amount}
    )
    run = live(trainer="liar.py", env={"LINE": line + "\\n", "LEAVE": "nothing", "SAVED": "absent"}).start()
    run.consent()
    tripped(run, "checkpoint")


def test_more_samples_than_anyone_asked_for_trip_the_run(live: Callable[..., Live]) -> None:
    run = live(trainer="flood.py", env={"WHAT": "sample"}).start()
    run.consent()
    tripped(run, "frame")


LEFT = ["symlink", "hard link", "fifo", "socket", "linked folder", "file", "nothing", "empty", "bad name", "deep"]


@pytest.fixture
def swept(live: Callable[..., Live]) -> Iterator[Callable[..., Live]]:
    """As ``live``, for folders without end, which Python cannot remove."""
    made: list[Live] = []

    def make(**options: Any) -> Live:
        made.append(live(**options))
        return made[-1]

    yield make
    for run in made:
        run.close()
        subprocess.run(["rm", "-rf", str(run.path / "work")], check=True)
        for folder in (run.path / "gates").glob("*/evidence/*/d"):
            subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.parametrize("machine", [machines()[0], machines()[-1]])
@pytest.mark.parametrize("left", LEFT)
def test_a_checkpoint_that_cannot_be_sealed_trips_the_run(swept: Callable[..., Live], left: str, machine: str) -> None:
    run = swept(trainer="liar.py", env={"LEAVE": left}, machine=machine).start()
    run.consent()
    assert tripped(
        run, *(("checkpoint", "crash") if left == "socket" else ("checkpoint",))
    )  # some walls let none be made
    # The same once more: what the first attempt left is in nobody's way.
    run.consent()
    run.until("HALTED")
    assert run.last("tripped")["reason"] in ("checkpoint", "crash")
    assert run.alive


def test_a_checkpoint_with_odd_modes_is_sealed_or_refused(live: Callable[..., Live]) -> None:
    run = live(trainer="liar.py", env={"LEAVE": "odd modes"}).start()
    run.consent()
    wait_for(lambda: run.status()["stance"] in ("GATE", "HALTED") and "leased" in run.events(), "an end")
    assert run.alive


BAD = ["fail", "nothing", "link", "name", "deep", "hang", "text", "nan", "listing", "maybe", "huge"]


@pytest.mark.parametrize("how", BAD)
def test_evidence_that_fails_trips_the_run(swept: Callable[..., Live], how: str) -> None:
    panel = [("panel", [PYTHON, "code/panel.py", how])]
    run = swept(evidence=panel, env={"STEPS": 10}, timeout_seconds=1 if how == "hang" else 60).start()
    for _ in range(2):  # and again, over what the first attempt left
        run.run_to("HALTED", gate=1)
        assert run.last("tripped")["reason"] == "evidence"
        assert run.evidence_runs() == []
        run.say("reopened", "ada")
    run.until("HALTED")
    run.stop()
    run.start()
    run.say("adjusted", "ada", patch={"evidence": {"drop": ["panel"]}})
    run.run_to("GATE", gate=2)


def test_evidence_that_makes_and_removes_files_is_nobodys_trouble(live: Callable[..., Live]) -> None:
    run = live(evidence=[("churn", [PYTHON, "code/panel.py", "churn"])], env={"STEPS": 10}).start()
    run.run_to("GATE", gate=1)
    assert run.events().count("tripped") == 0


@pytest.mark.parametrize("machine", machines())
def test_a_command_that_does_not_exist_halts_the_run(live: Callable[..., Live], machine: str) -> None:
    run = live(command=["no-such-program"], machine=machine).start()
    run.consent()
    assert "status" in tripped(run, "crash")


def test_what_the_trainer_prints_is_kept_as_a_claim(live: Callable[..., Live]) -> None:
    shell = r"printf 'first words %0500d last \033[31m\342\200\256 words\377\n' 0; exit 3"
    run = live(command=["sh", "-c", shell]).start()
    run.consent()
    said = tripped(run, "crash")
    assert "status 3" in said
    assert said.endswith("0 last [31m words\ufffd")
    assert "first words" not in said
    assert "first words" in (run.path / "trainer.log").read_text(errors="replace")


def test_two_phases_with_two_trainers_follow_each_other(live: Callable[..., Live]) -> None:
    run = live(phases=2, env={"STEPS": 20, "PAUSE": 0}).start()
    run.finish()
    leases = [entry["body"]["lease"] for entry in run.entries() if entry["event"] == "leased"]
    assert [(lease["phase"], lease["tenth"]) for lease in leases] == [
        (f"phase{phase}", tenth) for phase in (0, 1) for tenth in range(1, 11)
    ]
    assert run.entries()[-1]["body"]["outcome"] == "released"


def test_a_supervisor_that_leaves_at_gates_says_so_by_its_exit_status(live: Callable[..., Live]) -> None:
    run = live(env={"STEPS": 20}).start("--exit-at-gate", answer=False)
    assert run.ended() == 3
    run.start()
    run.consent("ada")
    run.stop()
    run.start("--exit-at-gate", answer=False)
    assert run.ended() == 3, "not everyone has consented"
    run.start()
    run.pull()
    run.stop()
    run.start("--exit-at-gate", answer=False)
    assert run.ended() == 4
