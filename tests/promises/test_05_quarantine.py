"""Promise 5: the trainer reaches no network, no file outside its folders, no key, no log, no other process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.live import PYTHON, Live, machines
from tenth import opening
from tenth.probes.attempts import ATTEMPTS
from tenth.probes.outside import LEFT_OPEN, probe
from tenth.quarantine import landlock, sandbox, seccomp

PROMISE = 5
STATUS = (
    "partly kept: with bubblewrap every attempt of 'tenth probe' is contained; "
    "without it, all but what docs/threat-model.md lists"
)

needs_walls = pytest.mark.skipif(sandbox.bubblewrap() is None, reason="bubblewrap is not installed or not allowed here")


def loot(run: Live, **want: Any) -> dict[str, Any]:
    """Let the burglar in, and read what it found."""
    (run.root / "wishes.json").write_text(json.dumps(want, default=str))
    run.start()
    run.consent()
    run.until("GATE", gate=1)
    return dict(json.loads(run.result()))


def refused(found: Any) -> bool:
    return isinstance(found, str) and "Error" in found


@pytest.fixture(params=machines())
def burglar(live: Callable[..., Live], request: pytest.FixtureRequest) -> Live:
    level = "full" if "bwrap" in request.param else "partial"
    return live(trainer="burglar.py", level=level, machine=request.param).begin()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home with secrets, which the supervisor believes to be its user's."""
    folder = tmp_path / "home"
    for name in (".ssh/id_ed25519", ".gnupg/secring.gpg", ".aws/credentials", ".config/token", "keys/ada"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("secret")
    (folder / ".netrc").write_text("secret")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("TENTH_HOME", str(folder / "keys"))
    return folder


def test_no_network(burglar: Live) -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as tcp,
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp,
        closing(socket.socket(socket.AF_UNIX)) as abstract,
        closing(socket.socket(socket.AF_UNIX)) as named,
        tempfile.TemporaryDirectory(prefix="tenth-test-") as folder,
    ):
        udp.bind(("127.0.0.1", 0))
        name = f"tenth-test-{os.getpid()}"
        abstract.bind("\0" + name)
        named.bind(f"{folder}/host.sock")
        for one in (abstract, named):
            one.listen()
        found = loot(
            burglar,
            tcp=tcp.getsockname()[1],
            udp=udp.getsockname()[1],
            abstract=name,
            unix=[f"{folder}/host.sock", "/run/docker.sock", "/run/systemd/private", "/run/user/0/bus"],
        )
        assert refused(found["tcp"])
        assert refused(found["udp"])
        assert refused(found["abstract"])
        assert all(refused(value) for key, value in found.items() if key.startswith("unix"))
        for one in (tcp, abstract, named, udp):
            one.setblocking(False)
        for one in (tcp, abstract, named):
            with pytest.raises(BlockingIOError):
                one.accept()
        with pytest.raises(BlockingIOError):
            udp.recv(100)


def test_no_key_no_log_and_no_control(burglar: Live, home: Path) -> None:
    (burglar.path / "samples" / "secret").write_text("x")
    names = ("supervisor.key", "supervisor.lock", "log/entries.jsonl", "log/heads", "charter.toml", "samples/secret")
    own = (".ssh/id_ed25519", ".gnupg/secring.gpg", ".aws/credentials", ".config/token", ".netrc", "keys/ada")
    secrets = [burglar.path / name for name in names] + [home / name for name in own]
    control = burglar.path / "control.sock"
    found = loot(burglar, read=[*secrets, "/proc/1/environ"], unix=[control], list=[burglar.path, home / ".ssh"])
    assert [path for path in secrets if not path.exists()] == [], "they were there to be found"
    assert [path for path in secrets if found[f"read {path}"] is True] == []
    assert refused(found[f"unix {control}"])
    listed = found[f"list {burglar.path}"]
    assert refused(listed) or set(listed) <= {"work", "recipe.toml", "data.phase0.jsonl", "checkpoints"}
    assert not {name for name in found["environment"] if "TENTH" in name} - {"TENTH_FD"}


def test_no_key_of_another_run(live: Callable[..., Live], burglar: Live) -> None:
    """Runs of one project lie side by side."""
    other = opening.begin(burglar.root / "charter.toml", burglar.path.parent, [], 0.0, {"flop_per_device_second": 1e12})
    secrets = [other.path / name for name in ("supervisor.key", "log/heads")]
    found = loot(burglar, read=secrets)
    assert [path for path in secrets if found[f"read {path}"] is True] == []


def test_no_file_is_written_outside_the_work_folder(burglar: Live) -> None:
    run = burglar
    targets = [
        run.path / name for name in ("charter.toml", "recipe.toml", "log/entries.jsonl", "log/more", "supervisor.key")
    ]
    targets += [run.path / "data.phase0.jsonl", run.path / "new", run.path / "checkpoints" / "00"]
    targets += [run.root / name for name in ("charter.toml", "data/poem.txt", "data/new", "code/burglar.py")]
    targets += [
        run.folder / "new",
        Path(PYTHON).parent / "new",
        Path("/etc/tenth-test"),
        Path("/tmp/tenth-test-burglar"),
    ]
    before = {path: path.read_bytes() for path in targets if path.is_file()}
    found = loot(run, write=targets)
    for path in targets:
        if path.name == "entries.jsonl":
            continue  # it grows; that it holds is for the audit at the end
        assert (path.read_bytes() if path.is_file() else None) == before.get(path), path
    assert found["work"] is True
    assert (run.path / "work" / "mine").read_text() == "mine"


def test_no_other_process_is_seen_or_signalled(burglar: Live) -> None:
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        others = {bystander.pid, os.getpid(), os.getppid()} - {1}  # in a namespace of its own, 1 is its own
        try:
            found = loot(burglar, pids=sorted(others), read=[f"/proc/{os.getpid()}/environ"])
        finally:
            bystander.kill()
    assert [key for key, value in found.items() if key.startswith("signal") and not refused(value)] == []
    assert refused(found[f"read /proc/{os.getpid()}/environ"])
    assert refused(found["processes"]) or len(found["processes"]) <= 4, "its own, and nobody else's"


def test_the_checkpoints_are_shown_but_cannot_be_changed(burglar: Live) -> None:
    loot(burglar)
    kept = burglar.path / "checkpoints" / "01" / "loot"
    (burglar.root / "wishes.json").write_text(json.dumps({"write": [str(kept)], "read": [str(kept)]}))
    before = kept.read_bytes()
    burglar.consent()
    burglar.until("GATE", gate=2)
    found = json.loads(burglar.result())
    assert found[f"read {kept}"] is True
    assert refused(found[f"write {kept}"])
    assert kept.read_bytes() == before


@needs_walls
def test_evidence_is_kept_in_as_well(live: Callable[..., Live]) -> None:
    theft = "import os,pathlib; p=pathlib.Path(os.environ['TENTH_OUT']); run=p.parents[3]; found=[]\n"
    theft += "for name in ('supervisor.key','log/heads','control.sock'):\n    found.append((run/name).exists())\n"
    theft += "for name in ('work/new','checkpoints/01/state','gates/00/dossier.json'):\n"
    theft += "    try: (run/name).write_text('x')\n    except OSError: pass\n"
    theft += "(p/'summary.json').write_text('{\"found\": %s}' % str(found).lower())"
    run = live(evidence=[("theft", [PYTHON, "-c", theft])], level="full", env={"STEPS": 10}).start()
    run.run_to("GATE", gate=1)
    panel = run.path / run.dossier()["evidence"][0]["path"]
    assert json.loads((panel / "summary.json").read_text()) == {"found": [False, False, False]}
    assert not (run.path / "work" / "new").exists()


def test_a_charter_that_wants_walls_does_not_begin_without(live: Callable[..., Live]) -> None:
    run = live(level="full", machine="neither").begin()
    run.start(answer=False)
    assert run.ended() == 1
    assert "this machine holds 'partial'" in run.said()
    assert run.events() == ["opened"]


@pytest.mark.parametrize("machine", machines())
def test_every_dossier_says_what_holds(live: Callable[..., Live], machine: str) -> None:
    run = live(machine=machine).start()
    run.until("GATE", gate=0)
    holds = {row["name"]: row["holds"] for row in run.dossier()["protections"]}
    missing = {name for name, one in holds.items() if not one}
    assert ("namespaces" in missing) is ("bwrap" not in machine)
    assert ("groups of processes" in missing) is ("cgroup" not in machine)
    assert not missing & {"filter of system calls", "rules for files"}


@pytest.fixture(params=["bubblewrap", "without"])
def level(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Level of the sandbox that is probed."""
    if request.param == "bubblewrap":
        if sandbox.bubblewrap() is None:
            pytest.skip("bubblewrap is not installed or not allowed here")
        return "full"
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: None)
    return "partial"


def test_every_attempt_to_escape_is_contained(level: str) -> None:
    """But for those that the threat model names."""
    found = probe()
    assert len(found) >= 45
    assert sandbox.level() == level
    assert {one.name: one.what for one in found if not one.contained and one.name not in LEFT_OPEN[level]} == {}


def test_the_probes_notice_a_sandbox_with_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same attempts without walls: a probe that cannot fail would say nothing."""
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: None)
    monkeypatch.setattr(landlock, "version", lambda: 0)
    monkeypatch.setattr(seccomp, "supported", lambda: False)
    escaped = {one.name for one in probe() if not one.contained}
    assert {"connect by tcp", "send by udp", "read a file of the host", "slow a process down"} <= escaped
    assert {"connect to a unix socket of the host", "climb out of the folder", "find a process of the host"} <= escaped
    assert len(escaped) >= 15


def test_an_escape_attempt_trips_the_run(live: Callable[..., Live]) -> None:
    """A system call that no honest trainer makes kills it, and the log says why."""
    run = live(command=[PYTHON, "-c", "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)"]).start()
    run.consent()
    run.until("HALTED")
    assert run.entries()[-1]["body"]["reason"] == "escape"


def test_the_threat_model_says_what_is_left_open() -> None:
    """Its matrix is of the attempts that there are, and names each that gets out."""
    page = (Path(__file__).parents[2] / "docs" / "threat-model.md").read_text(encoding="utf-8")
    matrix = page.partition("<!-- escapes -->")[2].partition("<!-- end -->")[0]
    assert f"{len(ATTEMPTS)} of {len(ATTEMPTS)}" in matrix
    assert [name for name in LEFT_OPEN["partial"] if name not in matrix] == []
