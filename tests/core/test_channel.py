"""Does the channel take every honest frame, and refuse everything that no honest trainer sends?"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenth.encoding import canonical
from tenth.supervisor.channel import MAX_LINE, BadFrame, Channel

HELLO = {"frame": "hello", "protocol": 1, "client": "tests"}
PROGRESS = {"frame": "progress", "step": 3, "tokens": 10, "flop": 1e9, "loss": 1.5, "metrics": {"lr": 0.1}}
SAMPLE = {"frame": "sample", "step": 3, "prompt": "def ", "text": "f(): \x1b[31m", "temperature": 0.8}
SAVED = {"frame": "saved", "path": "checkpoint"}
DONE = {"frame": "done", "position": {"step": 3}}


@contextmanager
def channel() -> Iterator[Channel]:
    made = Channel()
    try:
        yield made
    finally:
        made.close()


def hear(data: bytes) -> list[dict[str, Any]]:
    """What the supervisor reads when the trainer sends ``data`` and hangs up."""
    heard: list[dict[str, Any]] = []
    with channel() as made:
        made.theirs.setblocking(False)
        while not made.ended:
            if data:
                data = data[made.theirs.send(data) :]
            if not data:
                made.theirs.shutdown(socket.SHUT_WR)
            heard += made.frames()
    return heard


def lines(*frames: Any) -> bytes:
    return b"".join(json.dumps(frame).encode() + b"\n" for frame in frames)


def test_an_honest_trainer_is_heard() -> None:
    bits = [[1, 0.25], [12, 31]]
    said = [HELLO, PROGRESS, {**PROGRESS, "loss": None, "metrics": {}}, SAMPLE, {**SAMPLE, "bits": bits}, SAVED, DONE]
    assert hear(lines(*said)) == said


def test_frames_may_come_in_pieces() -> None:
    data = lines(HELLO, PROGRESS)
    with channel() as made:
        heard: list[Any] = []
        for byte in data:
            made.theirs.send(bytes([byte]))
            heard += made.frames()
        assert heard == [HELLO, PROGRESS]


@pytest.mark.parametrize(
    "said",
    [
        [PROGRESS],
        [SAVED],
        [HELLO, HELLO],
        [HELLO, DONE],
        [HELLO, SAVED, SAVED],
        [HELLO, SAVED, PROGRESS],
        [HELLO, SAVED, DONE, DONE],
        [HELLO, SAVED, DONE, PROGRESS],
        [HELLO, {**PROGRESS, "step": 2}, {**PROGRESS, "step": 1}],
        [HELLO, PROGRESS, {**PROGRESS, "tokens": 9}],
        [HELLO, PROGRESS, {**PROGRESS, "flop": 9.9e8}],
        [HELLO, PROGRESS, SAMPLE, {**PROGRESS, "step": 0}],
    ],
)
def test_frames_out_of_order_are_refused(said: list[Any]) -> None:
    with pytest.raises(BadFrame):
        hear(lines(*said))


IMPOSSIBLE: list[dict[str, Any]] = [
    *({**HELLO, **change} for change in ({"protocol": 2}, {"protocol": "1"}, {"client": 1}, {"client": "x" * 20_000})),
    *({**PROGRESS, "step": value} for value in (-1, 1.5, "1", None, True, 2**53, 10**400)),
    *({**PROGRESS, "tokens": value} for value in (-1, "1", None, True, [], 1e41, 10**41)),
    *({**PROGRESS, "flop": value} for value in (-1.0, None, 1e300)),
    *({**PROGRESS, "loss": value} for value in ("x", True, [1], 1e300, -(10**41))),
    *({**PROGRESS, "metrics": value} for value in (None, [], {"a": "x"}, {"a": None}, {"a": True}, {"a": 10**41})),
    {**PROGRESS, "metrics": {str(number): 1 for number in range(33)}},
    {**PROGRESS, "metrics": {"x" * 65: 1}},
    {**PROGRESS, "metrics": {"\ud800": 1}},
    {**PROGRESS, "more": 1},
    {name: value for name, value in PROGRESS.items() if name != "loss"},
    *({**SAMPLE, "text": value} for value in (1, None, "x" * 16_385, "\ud800")),
    *({**SAMPLE, "prompt": value} for value in (1, "\udfff")),
    *({**SAMPLE, "temperature": value} for value in (-1, "hot", 10**41)),
    *(
        {**SAMPLE, "bits": value}
        for value in (None, 1, "x", {}, [1], [[1]], [[1, 2, 3]], [[-1, 1]], [[1, -1]], [[1, "x"]])
    ),
    {name: value for name, value in SAMPLE.items() if name != "temperature"},
    *(
        {**SAVED, "path": path}
        for path in ("", "/etc", "..", "a/../../b", "a/..", ".", "x" * 256, "a\0b", 1, None, "\ud800")
    ),
    {"frame": "leave"},
    {"frame": None},
    {"frame": {}},
    {},
]


@pytest.mark.parametrize("frame", IMPOSSIBLE, ids=lambda frame: repr(frame)[-60:])
def test_an_impossible_frame_is_refused(frame: dict[str, Any]) -> None:
    before = [] if frame.get("frame") == "hello" else [HELLO]
    with pytest.raises(BadFrame):
        hear(lines(*before, frame))


LARGE = [
    *({**PROGRESS, name: value} for name in ("tokens", "flop", "loss") for value in (2**53, 2**53 + 1, 10**39)),
    {**PROGRESS, "metrics": {"a": 10**39}},
    {**SAMPLE, "temperature": 2**60},
]


@pytest.mark.parametrize("frame", LARGE, ids=lambda frame: repr(frame)[-60:])
def test_a_large_whole_number_is_read_as_a_double(frame: dict[str, Any]) -> None:
    """As canonical JSON has it: 2e16 FLOP may well be sent as 20000000000000000."""
    heard = hear(lines(HELLO, frame))[-1]
    assert heard == json.loads(json.dumps(frame), parse_int=float)
    canonical(heard)


@pytest.mark.parametrize(
    "position",
    [None, [], 1, {"x": "y" * 5000}, {"x": "\ud800"}],
    ids=lambda value: repr(value)[:30],
)
def test_an_impossible_position_is_refused(position: Any) -> None:
    with pytest.raises(BadFrame):
        hear(lines(HELLO, SAVED, {**DONE, "position": position}))


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"7\n",
        b"\xff\n",
        b"{\n",
        b'{"frame":"progress","step":1,"tokens":NaN,"flop":0,"loss":0,"metrics":{}}\n',
        b'{"frame":"progress","step":1,"tokens":0,"flop":Infinity,"loss":0,"metrics":{}}\n',
        b'{"frame":"progress","step":1,"tokens":0,"flop":1e999,"loss":0,"metrics":{}}\n',
        b'{"frame":"progress","step":1,"tokens":0,"flop":0,"loss":-1e999,"metrics":{}}\n',
        b"[" * 60_000 + b"\n",
        b'{"frame":"done","position":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}\n",
        b"9" * 60_000 + b"\n",
        b"x" * (MAX_LINE + 1) + b"\n",
        b"x" * (4 * MAX_LINE),
        b" " * 200_000,
    ],
    ids=lambda data: repr(data[:50]),
)
def test_malformed_oversized_or_deeply_nested_lines_are_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        hear(lines(HELLO) + data)


def nested(depth: int) -> bytes:
    return b'{"frame":"done","position":{"x":' + b"[" * depth + b"1" + b"]" * depth + b"}}\n"


def test_what_the_channel_takes_can_be_written_into_the_log() -> None:
    """A position that the channel lets through is writable one level further in, too, from deeper in the stack."""
    taken = []
    for depth in [*range(1, 40), *range(40, 250, 7), *range(250, 1000)]:
        try:
            taken.append(hear(lines(HELLO, SAVED) + nested(depth))[-1]["position"])
        except BadFrame:
            continue

    def deeper(levels: int, value: Any) -> bytes:
        return deeper(levels - 1, value) if levels else canonical({"body": {"position": value}})

    assert len(taken) >= 5
    for position in taken:
        deeper(40, position)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FRAMES = st.sampled_from([HELLO, PROGRESS, SAMPLE, SAVED, DONE])
NOISY = st.builds(
    lambda frame, key, value: {**frame, key: value},
    FRAMES,
    st.sampled_from(sorted({key for frame in (HELLO, PROGRESS, SAMPLE, SAVED, DONE) for key in frame})),
    JSON,
)


@given(st.lists(FRAMES | NOISY | JSON, max_size=5), st.booleans())
def test_whatever_is_heard_can_be_written_down(said: list[Any], greet: bool) -> None:
    try:
        heard = hear(lines(*([HELLO] if greet else []), *said))
    except BadFrame:
        return
    for frame in heard:
        canonical(frame)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    try:
        assert hear(lines(HELLO) + noise) == [HELLO]
        assert b"\n" not in noise
    except BadFrame:
        pass


def test_a_trainer_that_hangs_up_is_noticed() -> None:
    with channel() as made:
        assert list(made.frames()) == []
        assert not made.ended
        made.theirs.close()
        assert list(made.frames()) == []
        assert made.ended


def test_a_trainer_that_has_died_is_no_failure_of_the_disk() -> None:
    """It may be killed between its hello and its lease; that it ended is seen by its process."""
    with channel() as made:
        made.theirs.close()
        made.send({"frame": "lease"})
        assert list(made.frames()) == []
        assert made.ended
