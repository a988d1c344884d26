"""The live view: drawn from recorded messages at every size, and from a real run in a terminal, where Ctrl-C pulls."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from cli.conftest import TENTH, Shell, write_project
from cli.terminal import Terminal
from tenth.cli.chart import curve, segments
from tenth.cli.demo.picture import draw
from tenth.cli.live.following import Following
from tenth.cli.live.screen import LineShow
from tenth.cli.live.view import View
from tenth.cli.live.watching import KEYS

SIZES = [(40, 10), (60, 16), (80, 24), (100, 30), (120, 40), (160, 50), (200, 60), (80, 5)]
STATUS: dict[str, Any] = {
    "run": "poet-7f3a9c21", "path": "/r", "stance": "RUNNING", "anchor": "a", "gate": 3, "gates": 10,
    "phase": "pretrain", "epoch": 1, "dossier": None, "signatories": ["ada", "bob"], "consents": [], "objections": [],
    "waiting_for": [], "spent": {"device_seconds": 40.0, "flop": 1e12},
    "ceiling": {"device_seconds": 100.0, "flop": 5e12}, "limit": None, "claims": {}, "halts": [], "frozen": False,
    "unwatched": False, "entries": 9, "root": "00" * 32, "supervisor": 1, "trainer": 2,
}  # fmt: skip
EVIL = "\x1b]0;title\x07[red]markup[/red] \u202eesrever\u200b e" + "\u0301" * 30 + "\n\tdef f():\n中文" + "\x9b31m" * 3


def entry(index: int, event: str, **body: Any) -> dict[str, Any]:
    return {"on": "entry", "entry": {"index": index, "time": "2026-11-21T09:30:00.123Z", "event": event, "body": body}}


def messages(stance: str = "RUNNING", **more: Any) -> Iterator[tuple[float, dict[str, Any]]]:
    """A run in its fourth tenth, with a trainer that means harm."""
    lease = {"phase": "pretrain", "epoch": 1, "tenth": 4, "of": 10, "resume": "checkpoint"}
    yield 0.0, {"ok": True, "status": STATUS, "entries": []}
    yield 0.0, entry(7, "reached", gate=3, position={"step": 300}, checkpoint={}, spent={}, claims={})
    yield 0.0, entry(8, "leased", dossier="d", lease=lease)
    for step in range(301, 351):
        now = (step - 300) / 10
        frame = {
            "frame": "progress",
            "step": step,
            "tokens": step * 100,
            "flop": 1e9,
            "loss": 5 - step / 100,
            "metrics": {},
        }
        yield now, {"on": "progress", "progress": frame, "spent": STATUS["spent"]}
    sample = {
        "step": 350,
        "gate": 3,
        "prompt": EVIL,
        "text": EVIL,
        "temperature": 0.8,
        "time": "2026-11-21T09:30:00.123Z",
    }
    yield 5.0, {"on": "sample", "sample": sample}
    if stance == "HALTED":
        by = {"name": EVIL, "uid": 0}
        yield 5.0, entry(9, "pulled", by=by, frozen=True, stopped_ms=1.5, spent={})
    yield 5.0, {"on": "status", "status": {**STATUS, "stance": stance, **more}}


def following(stance: str = "RUNNING", **more: Any) -> Following:
    one = Following()
    for now, message in messages(stance, **more):
        one.heed(message, now)
    return one


def screen(one: Following, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(View(one, keys=KEYS, labels={"ada": "automatic"}), height=height)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().split("\n")[:-1]


@pytest.mark.parametrize("stance", ["GATHERING", "GATE", "RUNNING", "HALTED", "CLOSED"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_it_fits_every_size_and_lets_nothing_through(width: int, height: int, stance: str) -> None:
    lines = screen(following(stance, waiting_for=["ada"]), width, height)
    assert len(lines) == height
    assert max(map(cell_len, lines)) <= width
    text = "".join(lines)
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\u200b"} & set(text)
    assert stance in text
    assert "pull the cord" in text or height < 6


def test_before_the_first_message() -> None:
    assert "waiting for the supervisor" in screen(Following(), 80, 24)[0]


def test_what_it_says() -> None:
    lines = "\n".join(screen(following(), 120, 40))
    assert "training tenth 4 of 10   0:05 to the next gate" in lines
    assert "tokens/s 1,000" in lines
    assert "40%  40.0 of 100 device-seconds" in lines or "40%  40.0 of 100" in lines
    assert "20%  1e12 of 5e12" in lines
    assert "about" in lines
    assert "now, claimed" in lines
    assert "[red]markup[/red]" in lines  # shown, not obeyed
    gate = "\n".join(screen(following("GATE", waiting_for=["bob"], consents=["ada"]), 120, 40))
    assert "at gate 3: waiting for bob to consent" in gate
    assert "✓ ada  · bob   automatic: ada" in gate
    halted = "\n".join(screen(following("HALTED"), 120, 40))
    assert "pulled the cord: stopped in 1.5 ms, trainer frozen" in halted


def test_the_fraction_and_the_pace() -> None:
    one = following()
    assert one.fraction == pytest.approx(0.5)
    assert one.seconds_to_gate == pytest.approx(5.0, abs=0.3)
    assert one.done_in_epoch == pytest.approx(3.5)
    assert following("CLOSED", gate=10).done_in_epoch == 10
    assert following("CLOSED", gate=10).fraction is None


def test_a_long_run_is_thinned_out() -> None:
    one = Following()
    for step in range(50_000):
        frame = {
            "frame": "progress",
            "step": step,
            "tokens": step,
            "flop": 0,
            "loss": 1.0 if step else float("nan"),
            "metrics": {},
        }
        one.heed({"on": "progress", "progress": frame, "spent": {}}, step / 10)
    assert 2_000 <= len(one.losses) <= 4_096


def test_drawings() -> None:
    assert [len(line) for line in curve([3.0, 2.0, 1.0], 10, 4)] == [10] * 4
    assert curve([1.0], 3, 2)
    assert curve([2.0] * 1_000, 3, 2)
    for width in (20, 60, 117):
        for done in (0, 0.5, 3.25, 10):
            assert segments(done, 10, width).cell_len == width
    assert segments(3, 100, 60).cell_len == 60


def test_a_picture_is_an_svg_that_calls_nowhere() -> None:
    picture = draw(following())
    root = ET.fromstring(picture)
    assert root.tag.endswith("svg")
    assert "poet-7f3a9c21" in picture
    assert "url(http" not in picture
    assert "@font-face" not in picture


# --- in a terminal ----------------------------------------------------------------------------------------------------


@pytest.fixture
def project(shell: Shell) -> Shell:
    write_project(shell, steps=20_000, pause=0.005)
    return shell


def open_terminal(shell: Shell, *words: str, width: int = 120, height: int = 40) -> Terminal:
    return Terminal([str(TENTH), *words], shell.folder, shell.environment, width, height)


def test_run_draws_and_ctrl_c_pulls(project: Shell) -> None:
    """First Ctrl-C: the cord. Second: the supervisor leaves too, exit code 4."""
    terminal = open_terminal(project, "run", "charter.toml")
    try:
        terminal.until("at gate 0: waiting for ada and bob to consent")
        for name in ("ada", "bob"):
            project.ok("consent", "--as", name, "--yes")
        terminal.until("training tenth 1 of 10")
        terminal.until(r"step [1-9]")
        terminal.resize(80, 24)
        terminal.type("\x03")
        terminal.until("HALTED  tess pulled the cord")
        assert project.status()["stance"] == "HALTED"
        terminal.until("Ctrl-C again makes the supervisor leave")
        terminal.type("\x03")
        assert terminal.wait() == 4
        assert "HALTED, after gate 0 of 10: pulled" in terminal.until("state")
    finally:
        terminal.close()
    assert project.status()["supervisor"] is None


@pytest.mark.parametrize("key", [" ", "p"])
def test_watch_pulls_with_one_key_and_leaves_with_q(project: Shell, key: str) -> None:
    project.begin()
    for name in ("ada", "bob"):
        project.ok("consent", "--as", name, "--yes")
    project.training()
    terminal = open_terminal(project, "watch", "--name", "lin", width=80, height=24)
    try:
        terminal.until("what it writes")
        terminal.type("\x1b[A\x1bOP")  # an arrow, a function key: they pull nothing
        terminal.until("training tenth 1")
        terminal.type("\x1b[B" + key)
        terminal.until("HALTED  lin pulled the cord")
        terminal.type("q")
        assert terminal.wait() == 0
        terminal.until("goes on without you")
    finally:
        terminal.close()
    assert project.status()["supervisor"]


def test_watch_as_lines_and_as_json(project: Shell, tmp_path: Path) -> None:
    """Not a terminal: a line for each event; --json: every message. Both end with the supervisor."""
    import json
    import subprocess

    project.begin()
    words = ([str(TENTH), "watch"], [str(TENTH), "watch", "--json"])
    watching = [
        subprocess.Popen(word, cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, text=True)
        for word in words
    ]
    assert watching[1].stdout is not None
    first = json.loads(watching[1].stdout.readline())
    assert first["status"]["stance"] == "GATE"
    project.ok("close", "--as", "ada", "--yes", "--note", "done with it")
    lines, _ = watching[0].communicate(timeout=20)
    assert "ada abandoned the run: “done with it”" in lines
    rest, _ = watching[1].communicate(timeout=20)
    assert json.loads(rest.splitlines()[-1])["status"]["stance"] == "CLOSED"
    assert [one.returncode for one in watching] == [0, 0]


def test_a_person_is_asked_before_they_sign(project: Shell) -> None:
    project.begin()
    terminal = open_terminal(project, "consent", "--as", "ada")
    try:
        terminal.until(r"Sign\?")
        terminal.type("n\n")
        assert terminal.wait() == 1
        assert project.status()["consents"] == []
    finally:
        terminal.close()
    terminal = open_terminal(project, "consent", "--as", "ada")
    try:
        text = terminal.until(r"Sign\?")
        assert "train tenth 1 of 10" in text
        terminal.type("y\n")
        assert terminal.wait() == 0
    finally:
        terminal.close()
    assert project.status()["consents"] == ["ada"]


def test_plain_lines_show_what_was_shown_least(capsys: pytest.CaptureFixture[str]) -> None:
    """Every prompt has its turn, one that comes once before others; of long prompts the end is kept."""
    show = LineShow(Following())
    show.SAMPLE_SECONDS = 0
    for number in range(4):
        for prompt in ("def ", "class ", *([f"{'x' * 90}{number}: "] if number % 2 else [])):
            sample = {"prompt": prompt, "text": f"{number}{'y' * 300}"}
            show.heed({"on": "sample", "sample": sample})
        show.heed({"on": "status"})
    lines = [line.split("sample  ")[1] for line in capsys.readouterr().out.splitlines()]
    assert [line[:7] for line in lines] == ["class 0", "…xxxxxx", "def 2yy", "…xxxxxx"]
    assert all("x1: 1yy" in line or "x3: 3yy" in line for line in lines[1::2])
    assert max(map(len, lines)) < LineShow.PROMPT + LineShow.WRITTEN + 20


def test_unwatched_runs_wait_for_a_watcher(shell: Shell) -> None:
    """unwatched = "wait": the trainer stands still until somebody of the charter watches."""
    write_project(shell, steps=20_000, pause=0.005)
    path = shell.folder / "charter.toml"
    path.write_text(path.read_text().replace("[quarantine]", '[watch]\nunwatched = "wait"\n\n[quarantine]'))
    shell.begin()
    for name in ("ada", "bob"):
        shell.ok("consent", "--as", name, "--yes")
    shell.until(lambda status: bool(status["unwatched"]))
    terminal = open_terminal(shell, "watch", "--name", "lin")
    try:
        terminal.until("training tenth 1 of 10")
        assert not shell.until(lambda status: not status["unwatched"])["frozen"]
        terminal.type("q")
        terminal.wait()
    finally:
        terminal.close()
    shell.until(lambda status: bool(status["unwatched"]))
