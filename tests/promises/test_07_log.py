"""Promise 7: nothing in the log is altered, dropped or reordered unseen; anyone can check that offline."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import verify_run
from core.live import PYTHON, Live, audit
from tenth.cli.record import witnesses
from tenth.errors import BrokenPromise
from tenth.verify import Report, verify

PROMISE = 7
STATUS = "kept"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run in which everything happened that can happen: pulls, objections, adjustments, evidence, a crash."""
    panel = [PYTHON, "code/panel.py", "write"]
    run = Live(tmp_path_factory.mktemp("finished"), evidence=[("size", panel)], env={"STEPS": 100, "PAUSE": 0.004})
    try:
        run.start()
        run.until("GATE", gate=0)
        run.say("objected", "ada", note="é \u202e")
        run.consent("ada")
        run.run_to("RUNNING", gate=2)
        run.pull()
        run.say("reopened", "bob")
        run.run_to("GATE", gate=4)
        run.say("adjusted", "ada", patch={"recipe": {"optim.lr": 0.125}, "exclude": ["data/pro*"]})
        run.run_to("RUNNING", gate=6)
        run.kill9()
        run.start()
        run.finish()
    finally:
        run.close()
    assert isinstance(run.audit(), Report)
    return run.path


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / finished.name, ignore=shutil.ignore_patterns("work", "*.log")))


def broken(run: Path) -> BrokenPromise:
    said = audit(run)
    assert isinstance(said, BrokenPromise), "nobody saw it"
    return said


def test_a_true_log_verifies_offline_anywhere(finished: Path, copied: Path) -> None:
    report = verify(copied)
    assert (report.stance, report.gate) == ("CLOSED", 10)
    assert report.fingerprint == verify(finished).fingerprint
    for private in ("supervisor.key", "supervisor.lock"):
        (copied / private).unlink()
    assert verify(copied).fingerprint == report.fingerprint, "no secret is needed"
    tool = [sys.executable, verify_run.__file__, str(copied)]
    assert subprocess.run(tool, env={"PATH": ""}, cwd="/", capture_output=True).returncode == 0


@pytest.mark.parametrize("name", ["entries.jsonl", "heads"])
def test_a_changed_byte_is_seen(copied: Path, name: str) -> None:
    """At places drawn from the whole file; tests/core tries every byte of a small log."""
    path, dice = copied / "log" / name, random.Random(7)
    data = path.read_bytes()
    unsigned = _unsigned(copied) if name == "heads" else []
    places = [0, len(data) // 2, *(dice.randrange(len(data) - 400) for _ in range(25))]
    for at in places:
        if any(start <= at < end for start, end in unsigned):
            continue
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << dice.randrange(7)]) + data[at + 1 :])
        assert broken(copied).promise == 7
    path.write_bytes(data)
    assert isinstance(audit(copied), Report)


def _unsigned(run: Path) -> list[tuple[int, int]]:
    """Where the signatures stand that are bound by the root of a later head alone (docs/formats.md, section 3)."""
    entries = (run / "log" / "entries.jsonl").read_bytes().splitlines()
    notes = (run / "log" / "heads").read_bytes().splitlines(keepends=True)
    spans, at, before = [], 0, 0
    for row in range(0, len(notes), 5):
        size, end = int(notes[row + 1]), at + sum(map(len, notes[row : row + 5]))
        quiet = all(b'"event":"metered"' in line or b'"event":"sampled"' in line for line in entries[before:size])
        if quiet:
            spans.append((end - len(notes[row + 4]), end))
        at, before = end, size
    return spans


def test_dropped_doubled_and_swapped_entries_are_seen(copied: Path) -> None:
    path, dice = copied / "log" / "entries.jsonl", random.Random(8)
    lines = path.read_bytes().splitlines(keepends=True)
    for at in dice.sample(range(len(lines) - 1), 8):
        for variant in (
            lines[:at] + lines[at + 1 :],
            lines[: at + 1] + lines[at:],
            [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
        ):
            path.write_bytes(b"".join(variant))
            assert broken(copied).promise == 7


def test_heads_that_are_doubled_or_swapped_are_seen(copied: Path) -> None:
    path, dice = copied / "log" / "heads", random.Random(9)
    lines = path.read_bytes().splitlines(keepends=True)
    notes = [b"".join(lines[at : at + 5]) for at in range(0, len(lines), 5)]
    for at in dice.sample(range(len(notes) - 1), 6):
        for variant in (notes[: at + 1] + notes[at:], [*notes[:at], notes[at + 1], notes[at], *notes[at + 2 :]]):
            path.write_bytes(b"".join(variant))
            assert broken(copied).promise == 7


def test_a_head_that_was_kept_shows_what_was_cut_off_later(copied: Path) -> None:
    """Cutting back to an earlier head cannot be seen from the folder alone: the promise says to keep a head."""
    kept = verify(copied).fingerprint
    heads = (copied / "log" / "heads").read_bytes().splitlines(keepends=True)
    copied_head = copied.parent / "head.txt"
    copied_head.write_bytes(b"".join(heads[-5:]))
    assert witnesses.check(copied, verify(copied), None, [str(copied_head)])
    assert verify_run.verify(copied, [copied_head])["ok"]
    (copied / "log" / "heads").write_bytes(b"".join(heads[:-5]))
    said = audit(copied)
    assert isinstance(said, Report)
    assert said.notes, "and even so it is said that entries lie beyond the last head"
    assert said.fingerprint != kept
    with pytest.raises(BrokenPromise, match="the log was cut back") as error:
        witnesses.check(copied, said, None, [str(copied_head)])
    assert error.value.promise == 7
    assert verify_run.verify(copied, [copied_head])["broken"]["promise"] == 7


@pytest.mark.parametrize(
    "name",
    ["charter.toml", "recipe.toml", "recipe.2.toml", "data.phase0.jsonl", "data.phase0.2.jsonl", "manifest.json"],
)
def test_what_the_log_speaks_of_is_bound_to_it(copied: Path, name: str) -> None:
    path = copied / name
    data = path.read_bytes()
    for changed in (data + b"\n", data[:-1], data[: len(data) // 2] + b"#" + data[len(data) // 2 + 1 :], b""):
        path.write_bytes(changed)
        assert broken(copied).promise in (7, 9)
    path.unlink()
    broken(copied)


def test_every_file_of_gates_checkpoints_and_samples_is_bound_to_it(copied: Path) -> None:
    files = [
        path for kind in ("gates", "checkpoints", "samples") for path in (copied / kind).rglob("*") if path.is_file()
    ]
    files = [path for path in files if path.name != "sealed.json"]  # what evidence commands were told: not evidence
    assert len(files) > 30
    for path in random.Random(10).sample(files, 20):
        data, mode = path.read_bytes(), path.stat().st_mode
        path.chmod(0o644)
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert broken(copied).promise in (7, 9)
        path.write_bytes(data)
        path.chmod(mode)
    assert isinstance(audit(copied), Report)


@pytest.mark.parametrize(
    "name", ["charter.toml", "log/entries.jsonl", "log/heads", "manifest.json", "samples/000001.jsonl"]
)
def test_a_fifo_in_the_way_does_not_hold_the_auditor_up(copied: Path, name: str) -> None:
    (copied / name).unlink()
    subprocess.run(["mkfifo", str(copied / name)], check=True)
    code = "import sys; from pathlib import Path; from tenth.verify import verify; verify(Path(sys.argv[1]))"
    for command in ([sys.executable, "-c", code], [sys.executable, verify_run.__file__]):
        said = subprocess.run([*command, str(copied)], capture_output=True, text=True, timeout=10)
        assert said.returncode != 0


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenPromise):
        verify(tmp_path)


def test_another_run_cannot_be_passed_off_as_this_one(live: Callable[..., Live], copied: Path) -> None:
    run = live().start()
    run.until("GATE")
    run.stop()
    for name in ("entries.jsonl", "heads"):
        shutil.copy(run.path / "log" / name, copied / "log" / name)
    broken(copied)
