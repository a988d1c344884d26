"""``tenth pull``: light, quick, stubborn. It finds the run, and what does not answer is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from cli.conftest import REPO, Shell, write_project

HEAVY = ("click", "rich", "cryptography", "pathlib", "tomllib", "asyncio", "torch", "numpy", "rfc8785")
OURS = {"tenth", "tenth.errors", "tenth.sanitise", "tenth.cli"}
OURS |= {f"tenth.cli.{name}" for name in ("find", "outcome", "pull", "wire")}
SCRIPT = """
import sys
from tenth.cli import main
sys.argv = ["tenth", "pull", *sys.argv[1:]]
code = main()
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def test_the_path_of_pull_imports_next_to_nothing(shell: Shell) -> None:
    write_project(shell)
    run = shell.begin()["path"]
    for words in ([run], ["--help"], ["nothing-here"]):
        command = [sys.executable, "-c", SCRIPT, *words]
        done = subprocess.run(command, cwd=REPO, env=shell.environment, capture_output=True, text=True, check=False)
        loaded = done.stderr.splitlines()[-1].split()
        assert not {name.partition(".")[0] for name in loaded} & set(HEAVY), words
        assert {"tenth"} <= {name for name in loaded if name.startswith("tenth")} <= OURS, "no key, no log, no law"
    assert shell.status()["stance"] == "HALTED"


def test_a_pull_from_a_shell_is_quick(shell: Shell) -> None:
    """Loosely timed, for a busy machine: the benchmark has the figure."""
    write_project(shell, steps=10_000, pause=0.01)
    shell.begin()
    for name in ("ada", "bob"):
        shell.ok("consent", "--as", name, "--yes")
    shell.training()
    began = time.monotonic()
    done = shell.ok("pull", "--json")
    assert time.monotonic() - began < 2
    assert done.json["stance"] == "HALTED"
    assert done.json["stopped_ms"] < 1000
    entries = (Path(done.json["run"]) / "log" / "entries.jsonl").read_text().splitlines()
    assert json.loads(entries[-1])["body"]["by"]["name"] == "tess"


def test_a_supervisor_that_does_not_answer_is_killed(shell: Shell) -> None:
    write_project(shell, steps=10_000, pause=0.01)
    begun = shell.begin()
    for name in ("ada", "bob"):
        shell.ok("consent", "--as", name, "--yes")
    trainer = shell.training()["trainer"]
    os.kill(begun["supervisor"], signal.SIGSTOP)
    done = shell.ok("pull")
    assert "did not answer and was killed" in done.out
    for _ in range(500):
        if not any(map(alive, (begun["supervisor"], trainer))):
            break
        time.sleep(0.01)
    assert not alive(begun["supervisor"])
    assert not alive(trainer)
    again = shell.ok("pull", begun["run"], "--json").json
    assert again == {"run": begun["path"], "stopped": True, "running": False}
    assert "RUNNING" in shell("status").out
    shell.ok("run", begun["run"], "--detach")
    status = shell.stance("HALTED")
    assert status["halts"][-1]["reason"] == "lost_supervisor"
    assert "because      the supervisor ended while the run was running" in shell("status").out


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_which_run_is_pulled(shell: Shell) -> None:
    """The live one, not the newest dead one; by path, name, or beginning of the name."""
    write_project(shell)
    nothing = shell("pull")
    assert nothing.code == 1
    assert "nothing was stopped" in nothing.err
    live = shell.begin()
    dead = Path(shell.folder / "runs" / "zombie")
    subprocess.run(["cp", "-r", live["path"], dead], check=True)
    (dead / "control.sock").unlink(missing_ok=True)
    assert shell.ok("pull", "--json").json["run"] == live["path"]
    assert shell.ok("pull", live["run"][:7], "--json").json["run"] == live["path"]
    assert shell.ok("pull", f"runs/{live['run']}", "--json").json["running"]
    assert shell.ok("pull", "zombie", "--json").json["running"] is False
    unknown = shell("pull", "poet", "--json")
    assert unknown.code == 1
    assert "'poet' is not a run" in unknown.json["error"]["refused"]
    odd = shell.ok("pull", "--foce")
    assert "passed over" in odd.err  # a stop is not refused for a word too many


def test_pull_asks_nothing_and_has_no_dry_run(shell: Shell) -> None:
    usage = shell.ok("pull", "--help").out
    assert "--dry-run" not in usage
    assert "--note" not in usage
    assert usage == shell.ok("pull", "-h").out
