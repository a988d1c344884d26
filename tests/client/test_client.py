"""The client: bounded frames, a lease read strictly, steps that cover an epoch once, death with the supervisor."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenth.client import Lease, LoopError, NotSupervised, ProtocolError, Run, attach, connect, frames
from tenth.client.channel import BROKEN_CHANNEL, SUPERVISOR_GONE, Channel
from tenth.client.lease import from_frame
from tenth.supervisor.channel import FRAMES, OPTIONAL

SOURCE = Path(__file__).resolve().parents[2] / "src"


def lease_frame(work: Path = Path("/tmp"), **changes: Any) -> dict[str, Any]:
    frame = {
        "frame": "lease", "run": "r-1", "gate": 1, "phase": "pretrain", "epoch": 1, "tenth": 1, "of": 10,
        "resume": None, "position": None, "work": str(work), "recipe": "/r.toml", "data": "/d.jsonl", "root": "/root",
        "samples_per_minute": 20, "prompts": ["def "], "device_seconds": 1.0, "flop": 1e15, "seed": 7,
    }  # fmt: skip
    return frame | changes


class Clock:
    """Time that moves when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Pipe:
    """A run whose channel ends in this test."""

    def __init__(self, work: Path, **changes: Any) -> None:
        self.ours, theirs = socket.socketpair()
        self.deaths: list[int] = []
        self.clock = Clock()
        self.channel = Channel(theirs, self.deaths.append)
        self.run = Run(from_frame(lease_frame(work, **changes)), self.channel, self.clock)

    def frames(self) -> list[dict[str, Any]]:
        self.channel.close()
        data = b""
        while piece := self.ours.recv(1 << 20):
            data += piece
        return [json.loads(line) for line in data.splitlines()]


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    pipe = Pipe(tmp_path)
    yield pipe
    pipe.channel.close()
    pipe.ours.close()


def folder(work: Path) -> Path:
    place = work / "checkpoint"
    (place / "deep").mkdir(parents=True)
    (place / "deep" / "weights").write_bytes(b"1")
    return place


# ------------------------------------------------------------------------------------------------------------- attach


def test_without_a_supervisor_nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENTH_FD", raising=False)
    with pytest.raises(NotSupervised) as caught, attach():
        pass
    assert "tenth run" in caught.value.do
    assert "TENTH_FD" in caught.value.found


@pytest.mark.parametrize("number", ["x", "-1", "9999", "", "99999999999999999999"])
def test_a_wrong_descriptor_is_no_supervisor(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setenv("TENTH_FD", number)
    with pytest.raises(NotSupervised), attach():
        pass


def test_attach_says_hello_and_takes_the_lease(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(json.dumps(lease_frame(tmp_path, position={"step": 5, "state": {"a": 1}})).encode() + b"\n")
    monkeypatch.setenv("TENTH_FD", str(theirs.detach()))
    with pytest.raises(LoopError, match="without a checkpoint"), attach() as run:  # noqa: PT012 - all is in the with
        assert json.loads(ours.makefile().readline()) == {"frame": "hello", "protocol": 1, "client": "tenth 0.1"}
        assert "TENTH_FD" not in os.environ
        assert run.position == 5
        assert run.state == {"a": 1}
        assert run.prompts == ("def ",)
        assert run.resume_from is None
        assert run.work == tmp_path
    ours.close()


def test_an_error_of_the_loop_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(json.dumps(lease_frame(tmp_path)).encode() + b"\n")
    monkeypatch.setenv("TENTH_FD", str(theirs.detach()))
    with pytest.raises(ZeroDivisionError), attach():
        _ = 1 / 0
    ours.close()


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b"x" * 70_000, b'{"frame":"lease"}\n', b'{"frame":"leave"}\n'])
def test_no_lease_no_training(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    ours, theirs = socket.socketpair()
    speaker = threading.Thread(target=lambda: (ours.sendall(answer), ours.shutdown(socket.SHUT_WR)), daemon=True)
    speaker.start()
    monkeypatch.setenv("TENTH_FD", str(theirs.detach()))
    with pytest.raises(ProtocolError), attach():
        pass
    speaker.join()
    ours.close()


TRAINER = """
import sys, time
import tenth.client
with tenth.client.attach() as run:
    print("attached", flush=True)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""


@pytest.mark.parametrize(("farewell", "status"), [(b"", SUPERVISOR_GONE), (b"?", BROKEN_CHANNEL)])
def test_the_trainer_dies_with_its_supervisor(tmp_path: Path, farewell: bytes, status: int) -> None:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINER], pass_fds=(theirs.fileno(),), stdout=subprocess.PIPE,
        env=os.environ | {"TENTH_FD": str(theirs.fileno()), "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    theirs.close()
    ours.sendall(json.dumps(lease_frame(tmp_path)).encode() + b"\n")
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"attached\n"
        ours.sendall(farewell)
        if not farewell:
            ours.close()
        assert process.wait(timeout=5) == status
    ours.close()


def test_sending_to_a_dead_supervisor_is_death_too(pipe: Pipe) -> None:
    pipe.ours.close()
    pipe.run.report(loss=1.0)
    assert pipe.deaths == [SUPERVISOR_GONE]


def test_after_done_the_end_of_the_channel_is_no_death(pipe: Pipe) -> None:
    pipe.channel.watch()
    pipe.run.last_step(0)
    pipe.run.checkpoint(folder(pipe.run.work))
    pipe.ours.close()
    time.sleep(0.05)
    assert pipe.deaths == []


# -------------------------------------------------------------------------------------------------------------- steps


@given(st.integers(0, 500), st.integers(1, 20))
def test_the_tenths_of_an_epoch_are_the_epoch(total: int, of: int) -> None:
    seen: list[int] = []
    position = 0
    for tenth in range(1, of + 1):
        lease = from_frame(lease_frame(tenth=tenth, of=of, position={"step": position}))
        run = Run(lease, None)  # type: ignore[arg-type]
        seen.extend(run.steps(range(run.position, total)))
        position = run.position
        assert position == -(-total * tenth // of)
    assert seen == list(range(total))


def test_a_loader_is_not_asked_for_more_than_the_tenth_needs(pipe: Pipe) -> None:
    asked = []

    def loader() -> Iterator[int]:
        for step in range(100):
            asked.append(step)
            yield step

    assert list(pipe.run.steps(loader(), total=100)) == list(range(10))
    assert asked == list(range(10))


def test_a_loader_without_a_length_needs_a_total(pipe: Pipe) -> None:
    with pytest.raises(LoopError, match="total="):
        pipe.run.steps(iter([1]))


def test_a_loader_that_ends_early_is_an_error(pipe: Pipe) -> None:
    with pytest.raises(LoopError, match="step 3 of 10"):
        list(pipe.run.steps([1, 2, 3], total=100))


# ------------------------------------------------------------------------------------------------------------ reports


def test_reports_are_throttled_and_totals_lose_nothing(pipe: Pipe) -> None:
    for _ in pipe.run.steps(range(100)):
        pipe.clock.now += 0.01
        pipe.run.report(loss=2.0, tokens=10, flop=1e9)
    pipe.run.checkpoint(folder(pipe.run.work))
    sent = [f for f in pipe.frames() if f["frame"] == "progress"]
    assert len(sent) < 5
    assert (sent[-1]["step"], sent[-1]["tokens"], sent[-1]["flop"]) == (10, 100, 1e10)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_null_and_said_so(pipe: Pipe, loss: float) -> None:
    pipe.run.report(loss=loss, tokens=1, good=2.0, bad=float("nan"))
    (frame,) = pipe.frames()
    assert frame["loss"] is None
    assert frame["metrics"] == {"good": 2.0, "nonfinite": 1.0}


def test_the_supervisor_takes_whatever_a_loop_reports(pipe: Pipe) -> None:
    """Checked by the supervisor's own table: one frame that it does not know would trip the run."""
    pipe.run.report(loss=1e300, tokens=3, **{"x" * 200: 1.0, "bad \ud800 name": 2.0, "huge": -1e50})
    pipe.run.sample("def ", "f")
    pipe.run.sample("def ", "f", 0.0)
    pipe.run.sample("\ud800", "f" * 100_000, 0.8, [(100_000, 1.0)])
    pipe.run.sample("def ", "ab", bits=[(1, 0.123), (1, float("inf"))])
    frames = pipe.frames()
    assert len(frames) == 5
    for frame in frames:
        checks = FRAMES[frame["frame"]]
        assert set(frame) | OPTIONAL == {"frame", *checks} | OPTIONAL
        assert all(check(frame[name]) for name, check in checks.items() if name in frame), frame
    assert "bits" not in frames[3]
    assert frames[4]["bits"] == [[1, 0.12], [1, 999.0]]
    assert frames[0]["metrics"] == {"x" * 64: 1.0, "bad ? name": 2.0, "nonfinite": 1.0}


def test_too_many_metrics_are_refused(pipe: Pipe) -> None:
    with pytest.raises(LoopError, match="33 metrics"):
        pipe.run.report(loss=1.0, **{f"m{i}": 1.0 for i in range(33)})


def test_samples_come_at_the_agreed_rate(pipe: Pipe) -> None:
    shown = 0
    for _ in range(600):  # a minute
        pipe.clock.now += 0.1
        if pipe.run.wants_samples:
            pipe.run.sample("def ", "f")
            shown += 1
    assert shown in (19, 20)


@pytest.mark.parametrize("how", ["steps", "advance"])
def test_a_tenth_of_a_moment_shows_a_round_with_its_last_step(pipe: Pipe, how: str) -> None:
    wanted = []
    if how == "steps":
        wanted = [pipe.run.wants_samples for _ in pipe.run.steps(range(1000), total=1000)]
    else:
        last = pipe.run.last_step(1000)
        while pipe.run.position < last:
            pipe.run.advance()
            wanted.append(pipe.run.wants_samples)
    assert wanted == [False] * (len(wanted) - 1) + [True]
    pipe.run.sample("def ", "f")
    assert not pipe.run.wants_samples


def test_no_samples_are_wanted_where_none_were_agreed(tmp_path: Path) -> None:
    pipe = Pipe(tmp_path, samples_per_minute=0)
    pipe.clock.now += 1e6
    assert not pipe.run.wants_samples
    pipe.run.advance(pipe.run.last_step(1000))
    assert not pipe.run.wants_samples
    pipe.ours.close()
    pipe.channel.close()


# --------------------------------------------------------------------------------------------------------- checkpoint


def test_saved_then_done_with_the_position(pipe: Pipe) -> None:
    list(pipe.run.steps(range(20)))
    pipe.run.checkpoint(folder(pipe.run.work), state={"shuffle": 3})
    saved, done = pipe.frames()[-2:]
    assert saved == {"frame": "saved", "path": "checkpoint"}
    assert done == {"frame": "done", "position": {"step": 2, "state": {"shuffle": 3}}}
    assert pipe.run.finished


def test_a_checkpoint_in_mid_tenth_is_refused(pipe: Pipe) -> None:
    for _ in pipe.run.steps(range(100)):
        break
    with pytest.raises(LoopError, match="step 0, the tenth ends at step 10"):
        pipe.run.checkpoint(folder(pipe.run.work))


def test_a_checkpoint_outside_the_work_folder_is_refused(pipe: Pipe, tmp_path: Path) -> None:
    pipe.run.last_step(0)
    for path in (tmp_path, tmp_path.parent, tmp_path / ".." / "elsewhere", Path("/etc")):
        with pytest.raises(LoopError, match="is not inside"):
            pipe.run.checkpoint(path)
    with pytest.raises(LoopError, match="is no folder"):
        pipe.run.checkpoint(tmp_path / "nothing")


def test_links_and_second_checkpoints_are_refused(pipe: Pipe) -> None:
    pipe.run.last_step(0)
    place = folder(pipe.run.work)
    (place / "link").symlink_to("/etc/passwd")
    with pytest.raises(LoopError, match="is a link"):
        pipe.run.checkpoint(place)
    (place / "link").unlink()
    pipe.run.checkpoint(place)
    with pytest.raises(LoopError, match="already has one"):
        pipe.run.checkpoint(place)


def test_a_position_too_large_is_refused(pipe: Pipe) -> None:
    pipe.run.last_step(0)
    for state in ({"x": "y" * 5000}, {"x": float("nan")}, {"x": object()}):
        with pytest.raises(LoopError, match="position was not sent"):
            pipe.run.checkpoint(folder(pipe.run.work) if not (pipe.run.work / "checkpoint").exists()
                                else pipe.run.work / "checkpoint", state=state)  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- frames


@given(st.text(max_size=40_000), st.text(max_size=40_000))
def test_every_sample_fits_its_frame(prompt: str, text: str) -> None:
    frame = frames.sample(1, prompt, text, 0.8)
    assert len(frames.encode(frame)) <= frames.MAX_FRAME
    assert len(frame["prompt"]) <= frames.MAX_TEXT
    assert len(frame["text"]) <= frames.MAX_TEXT


@pytest.mark.parametrize("character", ["\0", "\U0001f600", "\ud800", '"', "\n"])
def test_samples_of_wide_characters_are_cut_until_they_fit(character: str) -> None:
    frame = frames.sample(1, character * 20_000, character * 20_000, None)
    line = frames.encode(frame)
    assert len(line) <= frames.MAX_FRAME
    assert line.count(b"\n") == 1
    assert json.loads(line) == frame


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_a_protocol_error(line: bytes) -> None:
    try:
        assert isinstance(frames.decode(line)["frame"], str)
    except ProtocolError:
        pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(lease_frame())), JSON)
def test_a_lease_with_any_field_changed_is_a_lease_or_a_protocol_error(key: str, value: Any) -> None:
    try:
        assert isinstance(from_frame(lease_frame(**{key: value})), Lease)
    except ProtocolError:
        pass


@pytest.mark.parametrize("key", sorted(set(lease_frame()) - {"resume", "position"}))
def test_a_lease_with_a_field_missing_is_refused(key: str) -> None:
    frame = lease_frame()
    del frame[key]
    with pytest.raises(ProtocolError):
        from_frame(frame)


def test_a_newer_supervisor_may_say_more() -> None:
    assert from_frame(lease_frame(novelty=1)).run == "r-1"


def test_connect_is_attach_without_the_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(json.dumps(lease_frame(tmp_path)).encode() + b"\n")
    monkeypatch.setenv("TENTH_FD", str(theirs.detach()))
    run = connect()
    assert run.last_step(10) == 1
    run.advance()
    run.checkpoint(folder(tmp_path))
    run.close()
    ours.close()
