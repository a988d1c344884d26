"""Trainers that say what no honest trainer says, or say nothing, or something false."""

import array
import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import door
from tally import Tally, alive

Facts = dict[str, Any]


def _wait() -> None:
    while alive():
        time.sleep(0.01)


def _raw(data: bytes) -> None:
    door.hello()
    door.channel.sendall(data)
    _wait()


def malformed(facts: Facts) -> None:
    _raw(b'{"frame":"progress",\n')


def bytes_that_are_no_text(facts: Facts) -> None:
    _raw(bytes(range(128, 256)) + b"\n")


def endless(facts: Facts) -> None:
    """A line that does not end; it ends after eight megabytes, should nobody mind."""
    _raw(b"x" * (8 << 20))


def deeply_nested(facts: Facts) -> None:
    _raw(b'{"frame":"done","position":' + b"[" * 60_000 + b"]" * 5_000 + b"}\n")


def nested_as_deep_as_fits(facts: Facts) -> None:
    _raw(b'{"frame":"done","position":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}\n")


def numbers_without_end(facts: Facts) -> None:
    _raw(b'{"frame":"progress","step":' + b"9" * 60_000 + b"}\n")


def out_of_order(facts: Facts) -> None:
    door.hello()
    door.say(frame="done", position={})
    _wait()


def goes_backwards(facts: Facts) -> None:
    door.hello()
    door.progress(7)
    door.progress(6)
    _wait()


def speaks_after_it_was_done(facts: Facts) -> None:
    lease = door.hello()
    door.checkpoint(lease, state="x")
    door.say(frame="saved", path="checkpoint")
    door.say(frame="done", position={})
    door.progress(1)
    _wait()


def speaks_for_the_supervisor(facts: Facts) -> None:
    """Echoes a lease of its own making."""
    lease = door.hello()
    door.say(**{**lease, "gate": 100, "device_seconds": 1e9})
    _wait()


def claims_another_gate(facts: Facts) -> None:
    lease = door.hello()
    door.checkpoint(lease, state="x")
    door.say(frame="saved", path="checkpoint", gate=lease["gate"] + 5)
    _wait()


def claims_another_gate_in_its_position(facts: Facts) -> None:
    """The position is its own note, and moves no gate."""
    lease = door.hello()
    door.checkpoint(lease, loot=json.dumps({"gate": lease["gate"]}))
    door.say(frame="saved", path="checkpoint")
    door.say(frame="done", position={"gate": 99, "tenth": 99, "epoch": 7})


def saved_beyond_its_folder(facts: Facts) -> None:
    lease = door.hello()
    door.checkpoint(lease, state="x")
    door.say(frame="saved", path="checkpoint/../../log")
    door.say(frame="done", position={})
    _wait()


def saved_nothing(facts: Facts) -> None:
    door.hello()
    door.say(frame="saved", path="checkpoint that is not there")
    door.say(frame="done", position={})


def floods_with_samples(facts: Facts) -> None:
    door.hello()
    line = json.dumps({"frame": "sample", "step": 1, "prompt": "", "text": "x", "temperature": 0}) + "\n"
    while alive():
        door.channel.sendall(line.encode() * 20)


def floods_with_progress(facts: Facts) -> None:
    """Until its lease is used up."""
    door.hello()
    step = 0
    while alive():
        step += 1
        door.progress(step)


def drips(facts: Facts) -> None:
    """One byte at a time of a line that never ends."""
    door.hello()
    while alive():
        door.channel.sendall(b" ")
        time.sleep(0.02)


def never_says_hello(facts: Facts) -> None:
    _wait()


def never_reports(facts: Facts) -> None:
    """Sleeps: a trainer that computes without a word comes to the end of its lease instead."""
    door.hello()
    _wait()


def closes_the_channel_and_computes(facts: Facts) -> None:
    tally = Tally(door.hello()["work"])
    os.close(int(os.environ["TENTH_FD"]))
    tally.burn(60, 0, speak=False)


def computes_before_it_says_hello(facts: Facts) -> None:
    Tally(os.environ["HOME"]).burn(60, 0, speak=False)


def reports_fewer_flop(facts: Facts) -> None:
    """Computes, and says that it hardly did."""
    tally, step = Tally(door.hello()["work"]), 0
    while alive():
        step += 1
        tally.burn(0.01, 0, speak=False)
        door.progress(step, flop=float(step), tokens=0)


def reports_more_flop(facts: Facts) -> None:
    """More than any device computes."""
    door.hello()
    door.progress(1, flop=1e39)
    _wait()


def reports_more_flop_and_leaves(facts: Facts) -> None:
    """Before anybody compares."""
    lease = door.hello()
    door.progress(1, flop=1e39)
    door.done(lease)


def says_it_is_done_and_goes_on(facts: Facts) -> None:
    lease = door.hello()
    tally = Tally(lease["work"])
    door.checkpoint(lease, state="x")
    door.say(frame="saved", path="checkpoint")
    door.say(frame="done", position={})
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tally.burn(60, 0, speak=False)


def sends_descriptors(facts: Facts) -> None:
    """Hands the supervisor descriptors that nobody asked for, one of them with a checkpoint behind it."""
    lease = door.hello()
    folder = door.checkpoint(lease, loot="{}")
    with Path(folder, "loot").open("r+b") as file:
        for _ in range(50):
            door.channel.sendmsg(
                [b" "], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()] * 10).tobytes())]
            )
        door.say(frame="saved", path="checkpoint")
        door.say(frame="done", position={})
